//! A trial: patches are backed out automatically unless confirmed in time.
//!
//! ```text
//!   run that writes the record ─► on trial ─┬─► confirmed: a run removes the record, the patches stay
//!                                           └─► expired, or undone: one run removes both
//! ```
//! The record decides, not a timer: the next command that locks the root ends an expired trial first (`begin_change`). A
//! waiting process, a timer and the boot only speed this up.

mod check;
mod expire;
mod guard;
pub(in crate::operation) mod request;

use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use expire::{FoundTrial, begin_with_trial};
use guard::is_probed;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::trial;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::trial::TrialState;
use patchadm_rootfs::{LockError, LockHolder, Root};
use patchadm_svr4::places;

pub use check::{TrialCheckEnd, TrialCheckReport, TrialOutcome, TrialOutcomeEnd, run_trial_check};
pub(in crate::operation) use expire::on_trial;
pub use expire::{ExpiryReport, end_expired_trial};
pub use guard::{ConfirmReport, TrialStatus, confirm_trial, guard_run, trial_status};
pub use request::{ConfirmRefusal, TrialCheckRequest, TrialRequest};

/// Begins a command that changes a root: lock, recovery, end of an expired trial. During a trial, nothing else may change
/// the root, because a backout could not restore the earlier state.
pub(super) fn begin_change<'a>(
    ground: RootAndPolicy,
    caller: &'a Caller<'a>,
) -> Result<Session<'a>, Failure> {
    begin_change_beside(ground, caller, &[])
}

pub(super) fn begin_change_beside<'a>(
    ground: RootAndPolicy,
    caller: &'a Caller<'a>,
    managers: &[NativeManager],
) -> Result<Session<'a>, Failure> {
    wait_for_probe(&ground.root, caller, None)?;
    let (session, found) = begin_with_trial(ground, caller, managers)?;
    found.must_be_none(caller)?;
    Ok(session)
}

/// Waits while the probe of another command decides on a run, as for a lock.
fn wait_for_probe(root: &Root, caller: &Caller<'_>, undone: Option<&str>) -> Result<(), Failure> {
    // What cannot be read is reported by the command itself.
    while is_probed(root).unwrap_or(false) {
        let record = trial(&RecordView::live(root)).ok().flatten();
        let Some(record) = record.filter(|record| Some(record.run.as_str()) != undone) else { return Ok(()) };
        let holder = LockHolder::of_probe(&record.run);
        if !(caller.wait)(&holder) {
            let path = root.show(&places::trial());
            return Err(LockError::Held { path, holder }.into());
        }
    }
    Ok(())
}

pub(super) fn begin_beside_trial<'a>(
    ground: RootAndPolicy,
    caller: &'a Caller<'a>,
) -> Result<(Session<'a>, FoundTrial), Failure> {
    begin_with_trial(ground, caller, &[])
}

/// Excludes the undo of the trial's own run.
pub(super) fn must_be_off_trial(
    root: &Root,
    caller: &Caller<'_>,
    undone: Option<&str>,
) -> Result<(), Failure> {
    wait_for_probe(root, caller, undone)?;
    let record = trial(&RecordView::live(root))?.filter(|record| Some(record.run.as_str()) != undone);
    match record.map(|record| (record.state(&(caller.moment)()), record)) {
        None => Ok(()),
        Some((TrialState::Running { .. }, record)) => Err(on_trial(&record, caller)),
        Some((TrialState::Over(_), record)) => Err(Failure::TrialOver { run: record.run }),
    }
}
