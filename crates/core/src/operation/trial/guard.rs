//! What follows a run on trial, when its lock is given back: somebody waits for its end, and the check is run.
//!
//! The record guards the check: whatever ends this process meanwhile, the next command finds a trial that is over.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use super::check_command::{CheckEnd, CheckReport, run_check};
use super::confirm::{confirm_trial, without_trial};
use super::expire::end_failed_trial;
use super::outcome::{TrialOutcome, TrialOutcomeEnd};
use super::refusal::ConfirmRefusal;
use super::request::TrialRequest;
use crate::operation::failure::Failure;
use crate::operation::patches::after_run::AfterRun;
use crate::operation::session::Caller;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::trial;
use patchadm_inputs::trial::TrialRecord;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::{LockHolder, Root};

/// The pause between two looks at a held lock.
const PAUSE: Duration = Duration::from_millis(50);

/// The most looks at a lock that another command holds when the check has ended: those of a minute.
const MOST_LOOKS: u32 = 1_200;

/// Follows a run on trial. `wait_for_end` lets somebody wait for the end of the trial. Returns `None` if the run is on
/// no trial.
pub fn guard_run(
    root: &Root,
    run: &str,
    request: &TrialRequest,
    caller: &Caller<'_>,
    wait_for_end: &dyn Fn(&TrialRecord),
) -> Result<Option<TrialOutcome>, Failure> {
    let record = trial(&RecordView::live(root))?.filter(|record| record.run == run);
    let Some(record) = record else { return Ok(None) };
    wait_for_end(&record);
    let check = request.check.as_ref().map(|check| run_check(check, root.prefix(), caller.interrupt));
    let looks = Cell::new(0);
    let patience = |_: &LockHolder| {
        looks.set(looks.get() + 1);
        thread::sleep(PAUSE);
        looks.get() < MOST_LOOKS
    };
    let following = Caller { wait: &patience, ..caller.doing_to_its_end() };
    let done = match &check {
        Some(CheckReport { end: CheckEnd::Good, .. }) if record.guards_check => {
            confirm(root, run, &following)
        }
        None | Some(CheckReport { end: CheckEnd::Good, .. }) => Ok(not_yet(TrialOutcomeEnd::OnTrial)),
        Some(_) => back_out(root, run, &following).map(not_yet),
    };
    let (end, after) = done.unwrap_or_else(|failure| not_yet(TrialOutcomeEnd::Failed(failure)));
    Ok(Some(TrialOutcome { record, check, end, after }))
}

/// An end upon which the limits of the policy go on waiting.
fn not_yet(end: TrialOutcomeEnd) -> (TrialOutcomeEnd, AfterRun) {
    (end, AfterRun::default())
}

/// Confirms a run whose check was good. Somebody else may have done so meanwhile.
fn confirm(root: &Root, run: &str, caller: &Caller<'_>) -> Result<(TrialOutcomeEnd, AfterRun), Failure> {
    match confirm_trial(root, Some(run), false, &caller.doing(Command::Confirm.name())) {
        Ok(report) => Ok((TrialOutcomeEnd::Confirmed, report.after)),
        Err(Failure::NotConfirmed(ConfirmRefusal::NotOnTrial(_))) => Ok(not_yet(TrialOutcomeEnd::Confirmed)),
        Err(failure) => Err(failure),
    }
}

/// Backs a run out whose check failed. Somebody else may have ended its trial meanwhile.
fn back_out(root: &Root, run: &str, caller: &Caller<'_>) -> Result<TrialOutcomeEnd, Failure> {
    if end_failed_trial(root, run, caller)?.is_some() {
        return Ok(TrialOutcomeEnd::BackedOut);
    }
    match without_trial(root, Some(run)) {
        ConfirmRefusal::Ended { .. } => Ok(TrialOutcomeEnd::BackedOut),
        ConfirmRefusal::NoTrial | ConfirmRefusal::NotOnTrial(_) => Ok(TrialOutcomeEnd::Confirmed),
    }
}
