//! The beginning of every command that changes a root: lock, recovery, and the end of an expired trial.

use super::expire::{FoundTrial, expired, on_trial, write_record};
use super::probe_lock::is_probed;
use super::request::TrialChange;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_have_database};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::trial;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::trial::TrialState;
use patchadm_rootfs::{LockError, LockHolder, Root};
use patchadm_svr4::places;

/// Refuses during a trial: nothing else may change the root then, because a backout could not restore the earlier
/// state.
pub(in crate::operation) fn begin_change<'a>(
    ground: RootAndPolicy,
    caller: &'a Caller<'a>,
) -> Result<Session<'a>, Failure> {
    begin_change_beside(ground, caller, &[])
}

pub(in crate::operation) fn begin_change_beside<'a>(
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
    // The command itself reports records that it cannot read.
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

/// For commands that may run during a trial.
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

/// Excludes the undo of the trial's own run.
pub(in crate::operation) fn must_be_off_trial(
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

#[derive(Debug)]
pub struct ExpiryReport {
    /// `None` if no trial was over.
    pub ended: Option<String>,
    pub notes: Vec<String>,
}

/// Does nothing without an expired trial.
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
            stuck.must_be_none(caller)?;
            Ok(ExpiryReport { ended: None, notes: Vec::new() })
        }
    }
}
