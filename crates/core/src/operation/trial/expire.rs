//! The end of a trial that was not confirmed: its patches are backed out, as `undo` of its run would do it.

use super::change::TrialChange;
use super::claims::TrialClaims;
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::patches::back_out::BackOutRequest;
use crate::operation::patches::back_out::locked::{back_out_locked, still_applied};
use crate::operation::patches::overtaken::RefreshRequest;
use crate::operation::patches::overtaken::locked::refresh_locked;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database};
use patchadm_changeset::transaction::{Receipt, RootCondition};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::history::trial;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::trial::{OverReason, TrialRecord, TrialState};
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Mode, PkgInst};
use patchadm_svr4::places;

/// The name of a package that is in no root, for runs that change no package.
const NO_PACKAGE: &str = "patchadm";

/// The command of runs that only tell of a trial, as history and journal have it.
const TRIAL: &str = "trial";

/// What a command finds of a trial once it has locked the root.
pub(in crate::operation) enum FoundTrial {
    /// No run is on trial.
    None,
    /// The trial of this run was over, and is ended now by one that has these notes.
    Expired(String, Vec<String>),
    /// A run is on trial.
    Running(TrialRecord),
    /// A trial is over, and its patches cannot be backed out.
    Stuck(TrialRecord, Failure),
}

impl FoundTrial {
    /// Refuses a root on which a run is on trial.
    pub(in crate::operation) fn must_be_none(self) -> Result<(), Failure> {
        match self {
            Self::None | Self::Expired(..) => Ok(()),
            Self::Running(record) => Err(on_trial(&record)),
            Self::Stuck(record, failure) => {
                Err(Failure::StuckTrial { run: record.run, failure: Box::new(failure) })
            }
        }
    }

    /// Returns the record of a trial that goes on, whether or not it is stuck.
    pub(in crate::operation) fn record(&self) -> Option<&TrialRecord> {
        match self {
            Self::None | Self::Expired(..) => None,
            Self::Running(record) | Self::Stuck(record, _) => Some(record),
        }
    }
}

/// The refusal of a change while a run is on trial.
pub(in crate::operation) fn on_trial(record: &TrialRecord) -> Failure {
    Failure::OnTrial { run: record.run.clone(), until: record.deadline() }
}

/// Locks a root, recovers it, and ends a trial that is over.
pub(in crate::operation) fn begin_with_trial<'a>(
    ground: RootAndPolicy,
    caller: &'a Caller<'a>,
    managers: &[NativeManager],
) -> Result<(Session<'a>, FoundTrial), Failure> {
    let session = Session::begin_beside(ground, caller, managers)?;
    let Some(record) = trial(&RecordView::live(&session.ground.root))? else {
        return Ok((session, FoundTrial::None));
    };
    let now = (caller.moment)();
    match (record.state(&now), record.counting_boot(&now)) {
        (TrialState::Running { .. }, None) => Ok((session, FoundTrial::Running(record))),
        (TrialState::Running { .. }, Some(counted)) => {
            let (session, written) = write_record(session, &counted, TrialChange::None);
            written?;
            Ok((session, FoundTrial::Running(counted)))
        }
        (TrialState::Over(reason), _) => expired(session, record, reason),
    }
}

/// Writes the record of a trial in a run of its own.
fn write_record<'a>(
    session: Session<'a>,
    record: &TrialRecord,
    change: TrialChange,
) -> (Session<'a>, Result<Receipt, Failure>) {
    let caller = session.caller.doing(TRIAL);
    let write = RecordChange::Write {
        path: places::trial_record(),
        bytes: record.write(),
        mode: Mode::of(0o644),
        mtime: None,
    };
    session.acting_as(&caller, change, |session| perform_records(session, TRIAL, vec![write]))
}

/// Ends a trial that is over.
fn expired(
    session: Session<'_>,
    record: TrialRecord,
    reason: OverReason,
) -> Result<(Session<'_>, FoundTrial), Failure> {
    let (session, done) = end_by_backout(session, &record, "expired", true);
    match done {
        Ok(receipt) => {
            let run = record.run;
            let left = left_paths(&session, &run);
            let left = left.map(|left| format!(", {left}")).unwrap_or_default();
            let told = format!("the trial of run {run} was over ({}): it is backed out{left}", why(reason));
            let notes: Vec<String> = receipt.into_iter().flat_map(|receipt| receipt.notes).collect();
            let session = session.noticing([vec![told], notes.clone()].concat());
            Ok((session, FoundTrial::Expired(run, notes)))
        }
        // Nothing is known of the root, or somebody wants the command to end.
        Err(failure @ Failure::Trial(_)) => Err(failure),
        Err(failure) if failure.signal().is_some() || is_left_undone(&failure) => Err(failure),
        Err(failure) => {
            let (session, record) = tell_stuck(session, record, &failure);
            Ok((session, FoundTrial::Stuck(record, failure)))
        }
    }
}

/// Returns what of a trial was not taken back, in words, if the history says that something was not.
fn left_paths(session: &Session<'_>, run: &str) -> Option<String> {
    let history = readable_history(&RecordView::live(&session.ground.root));
    let end = history.iter().rev().find_map(|entry| entry.trial_end.as_ref().filter(|end| end.run == run))?;
    end.left.as_ref().map(ToString::to_string)
}

fn is_left_undone(failure: &Failure) -> bool {
    !matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack)
}

/// Returns why a trial is over, in words.
fn why(reason: OverReason) -> &'static str {
    match reason {
        OverReason::TimeIsUp => "not confirmed in time",
        OverReason::OtherBoot => "the machine was booted since",
        OverReason::ClockWasSet => "the clock was set",
        OverReason::ProbeFailed => "its probe failed",
    }
}

/// Backs out the patches of a trial in the run that ends it. `end` is the word of the history. Stale registrations follow
/// their package manager first where `refreshes`: what it wrote since stays.
fn end_by_backout<'a>(
    session: Session<'a>,
    record: &TrialRecord,
    end: &str,
    refreshes: bool,
) -> (Session<'a>, Result<Option<Receipt>, Failure>) {
    let caller = session.caller;
    let claims = match TrialClaims::read(&session.ground, record) {
        Ok(claims) => claims,
        Err(failure) => return (session, Err(failure)),
    };
    let (session, refreshed) =
        session.acting_as(&caller.doing(Command::Patchrm.name()), TrialChange::None, |session| {
            must_agree(&session.ground.root, session.caller.interrupt, |_| false)?;
            if refreshes {
                refresh_locked(session, &RefreshRequest::default())?;
            }
            session.ground.forget_preparation();
            still_applied(session, record)
        });
    let patches = match refreshed {
        Ok(patches) => patches,
        Err(failure) => return (session, Err(failure)),
    };
    let native = match claims.native(&session.ground) {
        Ok(native) => native,
        Err(failure) => return (session, Err(failure)),
    };
    let change = TrialChange::ending_beside(record, end, &patches, native);
    let backing_out = caller.doing(Command::Patchrm.name());
    let (session, done) = session.acting_as(&backing_out.undoing(&record.run), change, |session| {
        if patches.is_empty() {
            // What was on trial is gone already.
            return perform_records(session, Command::Patchrm.name(), Vec::new()).map(Some);
        }
        let scripts =
            PatchScriptRequest { settings: caller.scripts.clone(), ..PatchScriptRequest::default() };
        let request = BackOutRequest { ids: patches.clone(), scripts, ..BackOutRequest::default() };
        let outcomes = back_out_locked(session, &request)?;
        let mut receipt = None;
        for outcome in outcomes {
            match outcome.result {
                Ok(done) => receipt = done.or(receipt),
                // It is another patch that says why.
                Err(Failure::NotTried(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(receipt)
    });
    session.ground.forget_preparation();
    (session, done)
}

/// Carries out a run that changes records of this program only.
pub(super) fn perform_records(
    session: &Session<'_>,
    command: &'static str,
    records: Vec<RecordChange>,
) -> Result<Receipt, Failure> {
    let package = PkgInst::new(NO_PACKAGE).map_err(|error| Failure::BadId(error.to_string()))?;
    let empty = Plan::empty(command, session.caller.now.trailer(command, &package));
    session.perform(&Plan { records, ..empty }, &mut NoContent, None, String::new())
}

/// Records why the patches of a trial cannot be backed out. Without room for that, the next command says so again.
fn tell_stuck<'a>(
    session: Session<'a>,
    record: TrialRecord,
    failure: &Failure,
) -> (Session<'a>, TrialRecord) {
    let stuck = record.stuck_because(&failure.to_string());
    if stuck == record {
        return (session, record);
    }
    let (session, written) = write_record(session, &stuck, TrialChange::telling(&record, "stuck"));
    (session, if written.is_ok() { stuck } else { record })
}

/// What became of a trial that was over.
#[derive(Debug)]
pub struct ExpiryReport {
    /// The run whose trial was ended; `None` if none was over.
    pub ended: Option<String>,
    /// The notes of the run that ended it.
    pub notes: Vec<String>,
}

/// Ends a trial of a root that is over; does nothing where none is.
pub fn end_expired_trial(root: &Root, caller: &Caller<'_>) -> Result<ExpiryReport, Failure> {
    must_have_database(root)?;
    if trial(&RecordView::live(root))?.is_none() {
        return Ok(ExpiryReport { ended: None, notes: Vec::new() });
    }
    may_change(root)?;
    let (_session, found) = begin_with_trial(RootAndPolicy::of(root)?, caller, &[])?;
    match found {
        FoundTrial::None | FoundTrial::Running(_) => Ok(ExpiryReport { ended: None, notes: Vec::new() }),
        FoundTrial::Expired(run, notes) => Ok(ExpiryReport { ended: Some(run), notes }),
        stuck @ FoundTrial::Stuck(..) => {
            stuck.must_be_none()?;
            Ok(ExpiryReport { ended: None, notes: Vec::new() })
        }
    }
}

/// Backs out a run on trial whose check failed. Another command may have ended the trial meanwhile: that is no failure.
pub(super) fn end_failed_trial(
    root: &Root,
    run: &str,
    caller: &Caller<'_>,
) -> Result<Option<Receipt>, Failure> {
    let session = Session::begin(RootAndPolicy::of(root)?, caller)?;
    let record = trial(&RecordView::live(root))?.filter(|record| record.run == run);
    let Some(record) = record else { return Ok(None) };
    let (session, done) = end_by_backout(session, &record, "failed", true);
    match done {
        Err(failure) if failure.signal().is_none() && !is_left_undone(&failure) => {
            tell_stuck(session, record, &failure);
            Err(Failure::StuckTrial { run: run.to_owned(), failure: Box::new(failure) })
        }
        other => other,
    }
}
