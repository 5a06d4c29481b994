//! The completion of an interrupted refresh before another command reads the stage: it brings what was requested, as the
//! live tree now has it. A command that only plans sees the stage as it will be then.

use super::bases::{with_packages, with_states_of};
use super::choices::RefreshChoices;
use super::decided::DecidedRefresh;
use super::{Refresher, StageRecords, refresh_locked};
use crate::operation::session::{Caller, RootAndPolicy};
use crate::operation::stages::completed_refresh::CompletedRefresh;
use crate::operation::stages::error::StageError;
use crate::operation::stages::foreign_stage::Undertaking;
use crate::operation::stages::own_files::Stage;
use crate::operation::stages::promote::brought::has_run_of_refresh;
use crate::operation::stages::rights::must_be_own;
use crate::operation::stages::tree::Tree;
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::stage::{Base, LONGEST_RECORD, REFRESHING, SCRATCH, Scope};
use patchadm_planning::plan::edits::EditChoice;
use patchadm_planning::plan::promotion::BroughtPatches;
use patchadm_rootfs::Root;

/// Completes the interrupted refresh of a stage, with the choices that it was given; `None` if none was interrupted. The
/// caller holds the lock of the stage, and no other.
pub(in crate::operation::stages) fn complete_refresh(
    root: &Root,
    stage: &Stage,
    caller: &Caller<'_>,
) -> Result<Option<CompletedRefresh>, StageError> {
    if !is_interrupted(stage)? {
        return Ok(None);
    }
    let kept = kept_choice(stage)?;
    let choice = |ground: &RootAndPolicy| kept.unwrap_or_else(|| default_choice(ground));
    let report = refresh_locked(root, stage, choice, &caller.exchanging(&[]))?;
    let name = report.stage;
    match report.refused {
        Some(failure) => Err(StageError::InterruptedRefresh { stage: name, failure: Box::new(failure) }),
        None => Ok(Some(CompletedRefresh { stage: name, taken: report.taken, recovered: report.recovered })),
    }
}

/// A stage as it will be once its interrupted refresh is completed.
#[derive(Debug)]
pub(in crate::operation::stages) struct StageToBe {
    decided: DecidedRefresh,
    /// The report on its completion.
    pub(in crate::operation::stages) told: CompletedRefresh,
}

/// Returns what completing the interrupted refresh of a stage will make of it.
pub(in crate::operation::stages) fn stage_to_be(
    ground: &RootAndPolicy,
    stage: &Stage,
    caller: &Caller<'_>,
) -> Result<StageToBe, StageError> {
    must_be_own(&ground.root, stage, Undertaking::Refresh)?;
    let choice = kept_choice(stage)?.unwrap_or_else(|| default_choice(ground));
    let records = StageRecords::planned(stage)?;
    let refresher = Refresher { ground, stage, choice, caller, records, session: None };
    let decided = refresher.decided()?;
    let report = refresher.report(&decided, Recovered::Nothing);
    let told = CompletedRefresh { stage: report.stage, taken: report.taken, recovered: Recovered::Nothing };
    match report.refused {
        Some(failure) => {
            Err(StageError::InterruptedRefresh { stage: told.stage, failure: Box::new(failure) })
        }
        None => Ok(StageToBe { decided, told }),
    }
}

impl StageToBe {
    /// Returns the future tree of the stage; `now` was read in a scope.
    pub(in crate::operation::stages) fn tree(&self, now: Tree, scope: &Scope) -> Tree {
        self.decided.stage_after(now, scope)
    }

    /// Returns its base.
    pub(in crate::operation::stages) fn base(&self, now: &Base) -> Base {
        let mut header = now.header.clone();
        header.packages = with_packages(header.packages, &self.decided.packages.in_bases);
        Base { objects: with_states_of(now, &self.decided), header }
    }

    /// Returns the packages and patches that come to its package database, or go from it.
    pub(in crate::operation::stages) fn records(&self) -> &BroughtPatches {
        &self.decided.patches
    }
}

/// Returns whether a refresh of the stage was interrupted: in its objects, in its bases, or in its package database.
pub(in crate::operation::stages) fn is_interrupted(stage: &Stage) -> Result<bool, StageError> {
    Ok(stage.own.look(SCRATCH)?.is_some() || has_run_of_refresh(stage)?)
}

/// Returns the decisions by the options of the interrupted refresh; `None` if it died before it recorded them.
fn kept_choice(stage: &Stage) -> Result<Option<EditChoice>, StageError> {
    // Without copies beside it, the refresh was completed.
    if stage.own.look(SCRATCH)?.is_none() {
        return Ok(None);
    }
    let Some(text) = stage.own.read_regular(REFRESHING, LONGEST_RECORD)? else { return Ok(None) };
    let path = || stage.root.show(&stage.own.at(REFRESHING));
    let choices = RefreshChoices::parse(&text);
    let choices = choices.map_err(|error| StageError::Damaged { path: path(), error })?;
    Ok(Some(choices.0))
}

fn default_choice(ground: &RootAndPolicy) -> EditChoice {
    EditChoice { general: ground.policy.edited, ..EditChoice::default() }
}
