//! What is asked for of a trial.

use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::trial::TrialDuration;

/// The seconds that a guard of a check lasts beyond the check: the run before it, and the backout behind it.
const MARGIN: u64 = 15 * 60;

/// A trial, or a check that follows a run, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialRequest {
    /// How long the patches are on trial; `None` leaves it to the policy of the root.
    pub duration: Option<TrialDuration>,
    /// How many boots the trial may go on after.
    pub reboots: u32,
    /// The check that follows the run.
    pub check: Option<CheckRequest>,
}

/// A command that says by its exit code whether the root works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// The command, for the shell.
    pub command: String,
    /// The seconds that it may take.
    pub limit: u64,
}

/// The trial on which a run puts its patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operation) struct WantedTrial {
    /// How long it lasts.
    pub(in crate::operation) duration: TrialDuration,
    /// Whether nobody asked for it: it only guards the check that follows the run.
    pub(in crate::operation) guards_check: bool,
    /// How many boots it may go on after.
    pub(in crate::operation) reboots: u32,
}

impl TrialRequest {
    /// Returns the form of the undo data of a run: the one that was asked for, or that of the policy. A trial goes back at
    /// once if the old files stay as they are.
    pub(in crate::operation) fn undo_format(
        &self,
        asked: Option<UndoFormat>,
        policy: &Policy,
        no_undo: bool,
    ) -> UndoFormat {
        let of_trial = self.wanted(policy, no_undo).map(|_| UndoFormat::Files);
        asked.or(of_trial).unwrap_or(policy.undo_format)
    }

    /// Returns the trial that is wanted under a policy. A run that keeps no undo data cannot be on one: it was refused if
    /// it was asked for, and the policy does not count for it.
    pub(in crate::operation) fn wanted(&self, policy: &Policy, no_undo: bool) -> Option<WantedTrial> {
        let asked = self.duration.or(policy.trial.filter(|_| !no_undo));
        match (asked, &self.check) {
            (Some(duration), _) => Some(WantedTrial { duration, guards_check: false, reboots: self.reboots }),
            (None, Some(check)) => {
                let seconds = check.limit.saturating_add(MARGIN);
                let duration = TrialDuration::of_seconds(seconds)?;
                Some(WantedTrial { duration, guards_check: true, reboots: 0 })
            }
            (None, None) => None,
        }
    }
}
