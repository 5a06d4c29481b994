//! The lock of a stage's own package database, between the stage's lock and that of its root.

use crate::operation::session::Caller;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::Stage;
use patchadm_inputs::database::{OpenRun, RecordView, installed, open_run};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Lock;

use crate::operation::failure::Failure;

/// Locks the package database of a stage, if it has one. Refuses one with an unfinished run.
pub(in crate::operation::stages) fn lock_records(
    stage: Option<&Stage>,
    caller: &Caller<'_>,
) -> Result<Option<Lock>, StageError> {
    let Some(stage) = stage.filter(|stage| stage.identity.records) else { return Ok(None) };
    if !installed::has_database(&RecordView::live(&stage.root))
        .map_err(|error| of_records(stage, error.into()))?
    {
        return Ok(None);
    }
    let lock = Lock::take(&stage.root, caller.program, |holder| (caller.wait)(holder));
    let lock = lock.map_err(Failure::from)?;
    must_be_finished(stage)?;
    Ok(Some(lock))
}

/// Refuses a stage with an unfinished run in its package database.
pub(in crate::operation::stages) fn must_be_finished(stage: &Stage) -> Result<(), StageError> {
    refuse_unfinished(stage, |_| true)
}

/// Does the same, except for a run that a refresh began: the next refresh undoes it and begins it again.
pub(in crate::operation::stages) fn must_be_finished_but_for_refresh(
    stage: &Stage,
) -> Result<(), StageError> {
    refuse_unfinished(stage, |run| !is_of_refresh(run))
}

/// Returns whether a refresh was interrupted while it wrote the package database of the stage.
pub(in crate::operation::stages) fn has_run_of_refresh(stage: &Stage) -> Result<bool, StageError> {
    Ok(stage.identity.records && run_of(stage)?.as_ref().is_some_and(is_of_refresh))
}

/// Returns the unfinished run of the package database of a stage.
fn run_of(stage: &Stage) -> Result<Option<OpenRun>, StageError> {
    open_run(&stage.root).map_err(|error| of_records(stage, error.into()))
}

/// Returns the error of a stage whose package database cannot be used: it is not that of the root.
fn of_records(stage: &Stage, failure: Failure) -> StageError {
    StageError::RecordsOfStage { stage: stage.root.prefix().display().to_string(), failure: failure.into() }
}

fn is_of_refresh(run: &OpenRun) -> bool {
    run.command == Command::Refresh.name()
}

fn refuse_unfinished(stage: &Stage, is_refused: impl Fn(&OpenRun) -> bool) -> Result<(), StageError> {
    if !stage.identity.records {
        return Ok(());
    }
    match run_of(stage)?.filter(is_refused) {
        Some(run) => {
            let stage = stage.root.prefix().display().to_string();
            Err(StageError::UnfinishedRun { stage, run: run.name })
        }
        None => Ok(()),
    }
}
