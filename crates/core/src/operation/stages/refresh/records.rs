//! The records of packages that the stage did not change, put into its package database in a run of its own.

use std::collections::BTreeSet;

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change};
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::Stage;
use crate::operation::stages::promote::brought::must_be_finished_but_for_refresh;
use crate::operation::trial::begin::begin_change;
use patchadm_inputs::database::{RecordView, installed, places};
use patchadm_inputs::inventory::Touched;
use patchadm_planning::plan::promotion::{BroughtPatches, bring_records};
use patchadm_planning::plan::refusal::Command;

/// Locks the package database of a stage, if it has one that the caller may change.
pub(super) fn session<'a>(stage: &Stage, caller: &'a Caller<'_>) -> Result<Option<Session<'a>>, StageError> {
    if !are_there(stage)? {
        return Ok(None);
    }
    must_be_finished_but_for_refresh(stage)?;
    Ok(Some(begin_change(RootAndPolicy::of(&stage.root)?, caller)?))
}

/// Returns whether a stage has a package database that the caller may change.
pub(super) fn are_there(stage: &Stage) -> Result<bool, StageError> {
    let has_database = || installed::has_database(&RecordView::live(&stage.root)).map_err(Failure::from);
    Ok(stage.identity.records && has_database()? && may_change(&stage.root).is_ok())
}

/// Brings the records of patches into a stage, as one run of its package database.
pub(super) fn bring(session: &Session<'_>, patches: &BroughtPatches) -> Result<(), Failure> {
    let known = session.ground.all_packages()?;
    let going = known.iter().filter(|(package, _)| patches.goes(package));
    let lists = going.map(|(_, known)| known.params.text("PATCHLIST"));
    let ids: BTreeSet<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let of_patches = ids.iter().filter_map(|id| places::patch(id).ok());
    let paths = patches.lines.keys().cloned().chain(of_patches).collect();
    let packages = patches.packages.keys().chain(&patches.gone).cloned().collect();
    let touched = Touched { paths, packages, ..Touched::default() };
    let inventory = session.ground.survey_with(known, &touched, (None, session.caller.interrupt))?;
    let plan = bring_records(patches, &inventory, Command::Refresh, &session.caller.now);
    let plan = plan.map_err(|reason| {
        Failure::from(reason.of(Command::Refresh, &session.ground.root.prefix().display()))
    })?;
    if let Some(plan) = plan {
        session.perform(&plan, &mut NoContent, None, String::new())?;
    }
    Ok(())
}
