//! Begins every command that changes a root: lock, recovery, end of an expired trial. During a trial, nothing else may
//! change the root, because a backout could not restore the earlier state.

pub(in crate::operation) use super::expire::on_trial;

use super::expire::{FoundTrial, begin_with_trial};
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::trial;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::trial::TrialState;
use patchadm_rootfs::Root;

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
    let (session, found) = begin_with_trial(ground, caller, managers)?;
    found.must_be_none(caller)?;
    Ok(session)
}

pub(in crate::operation) fn begin_beside_trial<'a>(
    ground: RootAndPolicy,
    caller: &'a Caller<'a>,
) -> Result<(Session<'a>, FoundTrial), Failure> {
    begin_with_trial(ground, caller, &[])
}

/// Excludes the undo of the trial's own run.
pub(in crate::operation) fn must_be_off_trial(
    root: &Root,
    caller: &Caller<'_>,
    undone: Option<&str>,
) -> Result<(), Failure> {
    let record = trial(&RecordView::live(root))?.filter(|record| Some(record.run.as_str()) != undone);
    match record.map(|record| (record.state(&(caller.moment)()), record)) {
        None => Ok(()),
        Some((TrialState::Running { .. }, record)) => Err(on_trial(&record, caller)),
        Some((TrialState::Over(_), record)) => Err(Failure::TrialOver { run: record.run }),
    }
}
