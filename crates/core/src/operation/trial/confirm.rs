//! `patchadm confirm`: the patches on trial stay.

use super::change::TrialChange;
use super::expire::{FoundTrial, begin_with_trial, perform_records};
use super::refusal::ConfirmRefusal;
use crate::operation::failure::Failure;
use crate::operation::patches::after_run::{AfterRun, after_run};
use crate::operation::session::{Caller, RootAndPolicy, may_change, must_have_database};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::{HistoryEntry, readable_history};
use patchadm_inputs::trial::TrialRecord;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

/// The end of a trial in the words of the history.
const CONFIRMED: &str = "confirmed";

/// A trial that was confirmed.
#[derive(Debug)]
pub struct ConfirmReport {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// The trial.
    pub trial: TrialRecord,
    /// The run that confirmed it.
    pub receipt: Receipt,
    /// What followed by the policy: its limits wait while a run is on trial.
    pub after: AfterRun,
}

/// Confirms the trial that the root is on, or the one of a run. A trial that is over is ended first, and then it is too
/// late; one that is over and cannot be backed out is confirmed only `despite_failure`.
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
            stuck.must_be_none()?;
            return Err(Failure::NotConfirmed(without_trial(root, run)));
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

/// Tells whether a word names a run, by its name or its number.
fn is_named(run: &str, word: &str) -> bool {
    run == word || run.split_once('-').is_some_and(|(number, _)| number == word)
}

/// Returns why there is no trial of a run, or none at all.
pub(super) fn without_trial(root: &Root, run: Option<&str>) -> ConfirmRefusal {
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
