//! After the lock of a run on trial: its check, `patchadm confirm`, and status. If this process dies, the next command
//! finds an expired trial.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use super::begin::begin_with_trial;
use super::check::{TrialCheckEnd, TrialCheckReport, TrialOutcome, TrialOutcomeEnd, run_trial_check};
use super::expire::{FoundTrial, end_failed_trial, perform_records};
use super::probe_lock::{is_probed, lock_record};
use super::request::{ConfirmRefusal, TrialChange, TrialRequest};
use crate::operation::failure::Failure;
use crate::operation::patches::after_run::{AfterRun, after_run};
use crate::operation::session::{Caller, RootAndPolicy, may_change, must_have_database};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::history::trial;
use patchadm_inputs::database::history::{HistoryEntry, readable_history};
use patchadm_inputs::database::{RecordView, read_consistently};
use patchadm_inputs::trial::{Moment, OverReason, TrialRecord, TrialState};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::{LockHolder, Root};

const PAUSE: Duration = Duration::from_millis(50);

/// One minute.
const MOST_LOOKS: u32 = 1_200;

/// Runs the check and ends the trial accordingly. `wait_for_end` starts a process that waits for the end. `None` if the
/// run is not on trial.
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
    let check = request.check.as_ref().map(|check| {
        // Without the lock, other commands refuse instead of waiting.
        let _probing = lock_record(root).ok().flatten();
        run_trial_check(check, root.prefix(), caller.interrupt)
    });
    let looks = Cell::new(0);
    let patience = |_: &LockHolder| {
        looks.set(looks.get() + 1);
        thread::sleep(PAUSE);
        looks.get() < MOST_LOOKS
    };
    let following = Caller { wait: &patience, ..caller.doing_to_its_end() };
    let done = match &check {
        Some(TrialCheckReport { end: TrialCheckEnd::Good, .. }) if record.guards_check => {
            confirm(root, run, &following)
        }
        None | Some(TrialCheckReport { end: TrialCheckEnd::Good, .. }) => {
            Ok(not_yet(TrialOutcomeEnd::OnTrial))
        }
        Some(report) => back_out(root, run, &report.note(), &following).map(not_yet),
    };
    let (end, after) = done.unwrap_or_else(|failure| not_yet(TrialOutcomeEnd::Failed(failure)));
    Ok(Some(TrialOutcome { record, check, end, after }))
}

fn not_yet(end: TrialOutcomeEnd) -> (TrialOutcomeEnd, AfterRun) {
    (end, AfterRun::default())
}

/// Unless another command did.
fn confirm(root: &Root, run: &str, caller: &Caller<'_>) -> Result<(TrialOutcomeEnd, AfterRun), Failure> {
    match confirm_trial(root, Some(run), false, &caller.doing(Command::Confirm.name())) {
        Ok(report) => Ok((TrialOutcomeEnd::Confirmed, report.after)),
        Err(Failure::NotConfirmed(ConfirmRefusal::NotOnTrial(_))) => Ok(not_yet(TrialOutcomeEnd::Confirmed)),
        Err(failure) => Err(failure),
    }
}

/// Unless another command ended the trial. `note` is the reason, for the history.
fn back_out(root: &Root, run: &str, note: &str, caller: &Caller<'_>) -> Result<TrialOutcomeEnd, Failure> {
    if end_failed_trial(root, run, note, caller)?.is_some() {
        return Ok(TrialOutcomeEnd::BackedOut);
    }
    match without_trial(root, Some(run)) {
        ConfirmRefusal::Ended { .. } | ConfirmRefusal::EndedNow(_) => Ok(TrialOutcomeEnd::BackedOut),
        ConfirmRefusal::NoTrial | ConfirmRefusal::NotOnTrial(_) => Ok(TrialOutcomeEnd::Confirmed),
    }
}

const CONFIRMED: &str = "confirmed";

#[derive(Debug)]
pub struct ConfirmReport {
    pub recovered: Recovered,
    pub trial: TrialRecord,
    pub receipt: Receipt,
    /// Policy work, which waits during a trial.
    pub after: AfterRun,
}

/// An expired trial is ended first and cannot be confirmed, except one that cannot be backed out, with
/// `despite_failure`.
pub fn confirm_trial(
    root: &Root,
    run: Option<&str>,
    despite_failure: bool,
    caller: &Caller<'_>,
) -> Result<ConfirmReport, Failure> {
    must_have_database(root)?;
    may_change(root)?;
    let (session, found) = begin_with_trial(RootAndPolicy::of(root)?, caller, &[])?;
    let trial = match found {
        FoundTrial::Running(record) => record,
        FoundTrial::Stuck(record, _) if despite_failure => record,
        stuck @ FoundTrial::Stuck(..) => {
            stuck.must_be_none(caller)?;
            return Err(Failure::NotConfirmed(without_trial(root, run)));
        }
        FoundTrial::Expired(ended, _) if run.is_none_or(|word| is_named(&ended, word)) => {
            return Err(Failure::NotConfirmed(ConfirmRefusal::EndedNow(ended)));
        }
        FoundTrial::None | FoundTrial::Expired(..) => {
            return Err(Failure::NotConfirmed(without_trial(root, run)));
        }
    };
    if let Some(word) = run.filter(|word| !is_named(&trial.run, word)) {
        return Err(Failure::NotConfirmed(without_trial(root, Some(word))));
    }
    let change = TrialChange::ending(&trial, CONFIRMED, &[]);
    let session = session.changing_trial(change);
    let receipt = perform_records(&session, Command::Confirm.name(), Vec::new())?;
    let session = session.changing_trial(TrialChange::None);
    let after = after_run(&session);
    Ok(ConfirmReport { recovered: session.recovered, trial, receipt, after })
}

fn is_named(run: &str, word: &str) -> bool {
    run == word || run.split_once('-').is_some_and(|(number, _)| number == word)
}

fn without_trial(root: &Root, run: Option<&str>) -> ConfirmRefusal {
    let history = readable_history(&RecordView::live(root));
    let is_meant = |entry: &&HistoryEntry| {
        let of = entry.trial_end.as_ref().filter(|_| entry.result == "done");
        of.is_some_and(|end| run.is_none_or(|word| is_named(&end.run, word)) && end.end != "stuck")
    };
    let end = history.iter().rev().find(is_meant).and_then(|entry| entry.trial_end.clone());
    match (end, run) {
        (Some(end), _) if end.end != CONFIRMED => ConfirmRefusal::Ended { run: end.run, end: end.end },
        (_, Some(run)) => ConfirmRefusal::NotOnTrial(run.escape_debug().to_string()),
        (_, None) => ConfirmRefusal::NoTrial,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialStatus {
    pub record: TrialRecord,
    /// The next command that changes the root backs out its patches.
    pub is_over: bool,
    /// Over because its probe failed.
    pub has_failed: bool,
    /// Its probe is running.
    pub is_probed: bool,
}

/// `None` if no run is on trial.
pub fn trial_status(root: &Root, now: &Moment) -> Result<Option<TrialStatus>, Failure> {
    let record = read_consistently(root, |view| trial(view).map_err(Failure::from))?;
    Ok(record.map(|record| {
        let state = record.state(now);
        let is_over = matches!(state, TrialState::Over(_));
        let has_failed = state == TrialState::Over(OverReason::ProbeFailed);
        // A lock that cannot be asked for is not known to be held.
        let is_probed = !is_over && is_probed(root).unwrap_or(false);
        TrialStatus { record, is_over, has_failed, is_probed }
    }))
}

impl TrialStatus {
    /// Without a period. `deadline` is its end for people.
    pub fn sentence(&self, deadline: &str) -> String {
        match (&self.record.stuck, self.is_over) {
            (Some(reason), true) if self.has_failed => format!("probe failed, backout pending: {reason}"),
            (Some(reason), true) => format!("trial expired, backout pending: {reason}"),
            (None, true) => {
                "trial expired, will be reverted by the next command that changes the root".to_owned()
            }
            (_, false) if self.is_probed && self.record.guards_check => {
                "on trial; its probe is running and decides whether it is kept".to_owned()
            }
            (_, false) if self.is_probed => format!("on trial until {deadline}; its probe is running"),
            (_, false) => format!("on trial until {deadline}"),
        }
    }
}
