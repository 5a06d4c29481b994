//! What queries tell of a trial.

use crate::operation::failure::Failure;
use patchadm_inputs::database::history::trial;
use patchadm_inputs::database::read_consistently;
use patchadm_inputs::trial::{Moment, OverReason, TrialRecord, TrialState};
use patchadm_rootfs::Root;

/// The trial that a root is on, or was on until its time was up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialStatus {
    /// Its record.
    pub record: TrialRecord,
    /// Whether it is over: the next command that changes the root backs its patches out.
    pub is_over: bool,
    /// Whether it is over because its probe failed.
    pub has_failed: bool,
}

/// Returns the trial that a root is on, as a command would find it at a moment; `None` if no run is on trial.
pub fn trial_status(root: &Root, now: &Moment) -> Result<Option<TrialStatus>, Failure> {
    let record = read_consistently(root, |view| trial(view).map_err(Failure::from))?;
    Ok(record.map(|record| {
        let state = record.state(now);
        let is_over = matches!(state, TrialState::Over(_));
        TrialStatus { record, is_over, has_failed: state == TrialState::Over(OverReason::ProbeFailed) }
    }))
}

impl TrialStatus {
    /// Returns the trial as a sentence without full stop.
    pub fn sentence(&self) -> String {
        match (&self.record.stuck, self.is_over) {
            (Some(reason), true) if self.has_failed => format!("probe failed, backout pending: {reason}"),
            (Some(reason), true) => format!("trial expired, backout pending: {reason}"),
            (None, true) => {
                "trial expired, will be backed out by the next command that changes the root".to_owned()
            }
            (_, false) => format!("on trial until {}", self.record.deadline()),
        }
    }
}
