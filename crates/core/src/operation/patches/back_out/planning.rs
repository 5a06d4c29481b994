//! The plan of a backout: the rules, the undo archives, the later patches, and what the planner decides.

use std::collections::BTreeMap;
use std::path::Path;

use super::hooks::{hook_directory, kept_hooks};
use super::input::{BackOutInput, KnownArchives};
use super::known::known_files;
use super::later::later_patches;
use super::request::{BackOutOutcome, BackOutRequest};
use super::rules::rules;
use super::undo::{UndoReading, VerifiedUndo};
use crate::database::archive::{ArchiveError, DigestCheck};
use crate::database::{RecordView, installed};
use crate::inventory::{Inventory, Touched};
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::must_be_safe;
use crate::operation::session::RootAndPolicy;
use crate::plan::clock::Now;
use crate::plan::patch::back_out::{back_out, may_back_out};
use crate::plan::patch::backout_input::{BackOutOptions, BackoutArchive};
use crate::plan::patch::patch_plan::PatchPlan;
use crate::plan::refusal::{Command, Reason, Refusal};
use patchadm_changeset::format::manifest::Manifest;
use patchadm_svr4::patch::PatchId;

/// A backout that was planned, with what it restores from and what it was planned with.
pub(super) struct PlannedBackout {
    pub(super) scripted: PatchPlan,
    pub(super) undo: Vec<VerifiedUndo>,
    pub(super) inventory: Inventory,
}

/// Whether each of these patches could be backed out as things are: it is planned, and nothing is changed. The caller
/// has one steady state of the root; the archives in `known` are not verified once more.
pub(in crate::operation) fn rehearse(
    ground: &RootAndPolicy,
    ids: &[PatchId],
    known: KnownArchives,
    undo_dir: Option<&Path>,
    now: &Now,
) -> Result<Vec<Result<(), Failure>>, Failure> {
    let request = BackOutRequest { moved_to: undo_dir.map(Path::to_owned), ..BackOutRequest::default() };
    let mut input = BackOutInput::of(ground, &request, now)?;
    input.known = known;
    Ok(ids.iter().map(|id| plan(&input, id).map(drop)).collect())
}

/// What would become of each of these patches if they were backed out in this order. All or nothing: where one cannot go,
/// none of the others is tried.
pub(super) fn rehearse_all(
    ground: &RootAndPolicy,
    request: &BackOutRequest,
    ids: &[PatchId],
    now: &Now,
) -> Result<Vec<BackOutOutcome>, Failure> {
    let mut input = BackOutInput::of(ground, request, now)?;
    let (mut all, mut in_the_way) = (Vec::new(), None);
    for id in ids {
        let planned = plan(&input, id).and_then(|PlannedBackout { scripted, .. }| {
            must_be_safe(ground, Command::Patchrm, id.as_str(), &scripted)?;
            let hooks = scripted.hooks.iter().map(|hook| hook.name.as_str());
            hook_directory(ground, id).must_be_executable(hooks).map_err(Failure::Script)?;
            Ok(scripted)
        });
        match planned {
            Ok(scripted) => {
                if ids.len() > 1 {
                    input.before.add(scripted.plan.clone(), BTreeMap::new());
                }
                all.push(BackOutOutcome::of(id, scripted, Ok(None)));
            }
            Err(failure) => {
                in_the_way.get_or_insert(id);
                all.push(BackOutOutcome::refused(id, failure).with_way_out(&input));
            }
        }
    }
    let Some(in_the_way) = in_the_way else { return Ok(all) };
    let with_its_end = ids.iter().zip(all).map(|(id, outcome)| match outcome.result {
        Ok(_) => BackOutOutcome::refused(id, Failure::NotTried(in_the_way.to_string())),
        Err(_) => outcome,
    });
    Ok(with_its_end.collect())
}

/// Plans the backout of a patch. Meanwhile threads see whether its archives are what was written; if one is not, that
/// is what is told, whatever else stands against it.
pub(super) fn plan(input: &BackOutInput<'_>, id: &PatchId) -> Result<PlannedBackout, Failure> {
    let mut digesting = Vec::new();
    let planned = plan_meanwhile(input, id, &mut digesting);
    digesting.into_iter().try_for_each(DigestCheck::wait)?;
    planned
}

/// Why a patch stays: where it has no undo data for a package although a run saved some, that this is lost.
fn lost(input: &BackOutInput<'_>, id: &PatchId, refusal: Refusal) -> Failure {
    let Reason::NoUndoData(package) = &*refusal.reason else { return refusal.into() };
    let name = installed::saved_as(&RecordView::live(&input.ground.root), package, id);
    let archive = name.map(|name| input.archive(package, &name));
    match archive {
        Ok(Err(error @ ArchiveError::Lost { .. })) => error.into(),
        _ => refusal.into(),
    }
}

fn plan_meanwhile(
    input: &BackOutInput<'_>,
    id: &PatchId,
    digesting: &mut Vec<DigestCheck>,
) -> Result<PlannedBackout, Failure> {
    let (hooks, notes) = kept_hooks(input, id)?;
    let mut options = BackOutOptions { scripts: input.choice.clone(), notes, hooks, ..Default::default() };
    let policy = &input.ground.policy;
    let mut rules = rules(input, id)?;
    let packages = may_back_out(id, &rules, input.applied(&rules), policy, input.force)
        .map_err(|refusal| lost(input, id, refusal))?;
    let mut touched = Touched::default();
    let mut undo = Vec::new();
    let mut reading =
        UndoReading { root: &input.ground.root, outside: input.outside(), marker: &rules.marker, digesting };
    for package in &packages {
        let name = installed::saved_as(&RecordView::live(&input.ground.root), package, id)?;
        let known = input.known.get(&(package.clone(), name.clone()));
        let one = reading.undo(package, input.archive(package, &name)?, known)?;
        match (&one.manifest, rules.packages.get(package), one.device.image.packages.first()) {
            (Some(manifest), _, _) => {
                touched.by_backout(package, manifest);
                touched.known.append(&mut known_files(&input.ground.root, package, &name, manifest));
            }
            (None, Some(installed), Some(image)) => {
                touched.by_foreign_backout(package, &name, image, &installed.params);
            }
            _ => {}
        }
        undo.push(one);
    }
    rules.packages.values_mut().for_each(|installed| installed.saves.clear());
    let inventory = input.survey(rules.packages, &touched)?;
    let manifests: Vec<&Manifest> = undo.iter().filter_map(|one| one.manifest.as_ref()).collect();
    (options.later, options.elsewhere) = later_patches(input, id, &packages, &inventory, &manifests)?;
    options.notes.extend(undo.iter().filter_map(|one| one.stays.clone()));
    let archives: Vec<BackoutArchive<'_>> = undo.iter().filter_map(VerifiedUndo::as_archive).collect();
    let scripted = back_out(id, packages, &archives, &inventory, policy, &options, input.now)?;
    Ok(PlannedBackout { scripted, undo, inventory })
}
