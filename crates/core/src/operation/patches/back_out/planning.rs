//! The plan of a backout: the rules, the undo archives, the later patches, and what the planner decides.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use super::heir::{HeirUndo, as_later, sources};
use super::hooks::kept_hooks;
use super::input::{BackOutInput, KnownArchives};
use super::known::known_files;
use super::later::later_patches;
use super::promotion_hooks::BackoutHooks;
use super::request::BackOutRequest;
use super::rules::rules;
use super::undo::{UndoReading, VerifiedUndo, wait_for};
use crate::operation::changed_texts::{ChangedTexts, TextReader};
use crate::operation::content::ArchiveSources;
use crate::operation::failure::Failure;
use crate::operation::libraries::{
    ArchivedLibraries, LaterContent, LibraryKeeper, PlanToSettle, SettledLibraries,
};
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_inputs::database::installed::SavedNames;
use patchadm_inputs::database::undo_data::{ArchiveError, DigestCheck};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::format::overtaken::OvertakenState;
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::concern::{add_backout, add_foreign_backout};
use patchadm_planning::plan::patch::back_out::{back_out, may_back_out, may_go_as_one};
use patchadm_planning::plan::patch::backout_input::{
    BackOutOptions, BackoutArchive, GoingPatch, LaterUndo, UndoSources,
};
use patchadm_planning::plan::patch::engine::BACKING_OUT;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::patch::taking_over::taking_over;
use patchadm_planning::plan::refusal::{Command, Reason, Refusal};
use patchadm_svr4::patch::PatchId;

/// A backout that was planned, with what it restores from and what it was planned with.
pub(super) struct PlannedBackout {
    pub(super) scripted: PatchPlan,
    pub(super) undo: Vec<VerifiedUndo>,
    /// The undo data of patches that stay, which is written anew.
    pub(super) later: Vec<HeirUndo>,
    pub(super) inventory: Inventory,
    /// The hooks that run with it.
    pub(super) promotion_hooks: BackoutHooks,
    /// Whether patches that go have a path in different packages.
    is_shared: bool,
    /// What the archives hold of kept libraries.
    archived: ArchivedLibraries,
}

/// A backout as it was planned, and what is done about libraries in it.
pub(super) type PlannedPatch = (PlannedBackout, Option<SettledLibraries>);

impl PlannedBackout {
    /// What content comes from: the archives by their places in the plan.
    pub(super) fn content(&self) -> ArchiveSources<'_> {
        sources(self.undo.iter(), &self.later)
    }

    /// Reads the texts of the files that change.
    pub(super) fn texts(&self, reader: &mut TextReader<'_>) -> ChangedTexts {
        let plan = (&self.scripted.plan, &BTreeMap::new());
        reader.read(plan, &self.scripted.known_to_scripts(), &mut self.content())
    }

    /// Settles what becomes of libraries. Unless it is the last, others are planned behind it.
    pub(super) fn settle(
        &self,
        keeper: &mut LibraryKeeper<'_>,
        is_last: bool,
    ) -> Result<Option<SettledLibraries>, Failure> {
        let plan = &self.scripted.plan;
        let by = format!("patchrm {}", plan.patches.first().map(String::as_str).unwrap_or_default());
        let asked = PlanToSettle {
            archived: Some(&self.archived),
            ..PlanToSettle::of((plan, &self.inventory), Command::Patchrm, &by)
        };
        let later = if is_last { LaterContent::NotAsked } else { LaterContent::ReadNow };
        keeper.settle(&asked, &mut self.content(), later)
    }

    /// The same with what was settled in its plan: it is carried out alone.
    pub(super) fn settled(self, input: &BackOutInput<'_>) -> Result<Self, Failure> {
        let settled = self.settle(&mut input.keeper(), true)?;
        Ok(self.with(settled))
    }

    /// The same with what was settled in its plan.
    pub(super) fn with(mut self, settled: Option<SettledLibraries>) -> Self {
        if let Some(settled) = settled {
            settled.apply(&mut self.scripted);
        }
        self
    }

    /// The undo data of patches that stay, as the planner took it.
    pub(super) fn later(&self) -> Vec<LaterUndo<'_>> {
        as_later(&self.later, self.undo.len())
    }
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
    let mut input = BackOutInput::of(ground, &request, now)?.steady();
    input.known = known;
    Ok(ids.iter().map(|id| plan(&input, id).map(drop)).collect())
}

/// Plans the backout of a patch. Meanwhile threads see whether its archives are what was written; if one is not, that
/// is what is told, whatever else stands against it.
pub(super) fn plan(input: &BackOutInput<'_>, id: &PatchId) -> Result<PlannedBackout, Failure> {
    let mut digesting = Vec::new();
    let planned = plan_meanwhile(input, id, &mut digesting);
    wait_for(digesting, input.interrupt())?;
    planned
}

/// Why a patch stays: where it has no undo data for a package although a run saved some, that this is lost, or exported.
fn lost(input: &BackOutInput<'_>, id: &PatchId, refusal: Refusal) -> Failure {
    let Reason::NoUndoData(package) = &*refusal.reason else { return refusal.into() };
    let name = installed::saved_as(&RecordView::live(&input.ground.root), package, id);
    let archive = name.map(|name| input.undo_data(package, &name));
    match archive {
        Ok(Err(error @ (ArchiveError::Lost { .. } | ArchiveError::Exported { .. }))) => error.into(),
        _ => refusal.into(),
    }
}

/// Plans the backout of one patch.
fn plan_meanwhile(
    input: &BackOutInput<'_>,
    id: &PatchId,
    digesting: &mut Vec<DigestCheck>,
) -> Result<PlannedBackout, Failure> {
    let (hooks, notes) = kept_hooks(input, id)?;
    let options = BackOutOptions { scripts: input.choice.clone(), notes, hooks, ..Default::default() };
    let mut rules = rules(input, std::slice::from_ref(id))?;
    let applied = input.applied(&rules);
    let applied = applied.as_ref().map_err(Clone::clone);
    let packages = may_back_out(id, &rules, applied, &input.ground.policy, input.force)
        .map_err(|refusal| lost(input, id, refusal))?;
    let promotion_hooks = BackoutHooks::of(input, std::slice::from_ref(id))?;
    let marker = std::mem::take(&mut rules.marker);
    let going = vec![GoingPatch { id: id.clone(), packages }];
    let opened = OpenedUndo::of(input, &going, &mut rules, (&marker, &mut *digesting))?;
    let planned = opened.plan(input, rules, options, (&marker, digesting))?;
    Ok(PlannedBackout { promotion_hooks, ..planned })
}

/// Plans the backout of several patches, the last applied first, as one run. None where that cannot be: scripts take part,
/// another tool made an archive, two of them have a path in different packages, or names of one file.
pub(super) fn plan_together(
    input: &BackOutInput<'_>,
    ids: &[PatchId],
) -> Result<Option<PlannedBackout>, Failure> {
    let mut digesting = Vec::new();
    let planned = plan_together_meanwhile(input, ids, &mut digesting);
    wait_for(digesting, input.interrupt())?;
    planned
}

fn plan_together_meanwhile(
    input: &BackOutInput<'_>,
    ids: &[PatchId],
    digesting: &mut Vec<DigestCheck>,
) -> Result<Option<PlannedBackout>, Failure> {
    for id in ids {
        let (hooks, _) = kept_hooks(input, id)?;
        if BACKING_OUT.into_iter().any(|name| hooks.contains(name)) {
            return Ok(None);
        }
    }
    let mut rules = rules(input, ids)?;
    let mut applied = input.applied(&rules).map_err(|reason| {
        let first = ids.first().map(ToString::to_string).unwrap_or_default();
        reason.of(Command::Patchrm, &first)
    })?;
    let mut going = Vec::new();
    for id in ids {
        let packages = may_back_out(id, &rules, Ok(&applied), &input.ground.policy, input.force)
            .map_err(|refusal| lost(input, id, refusal))?;
        going.push(GoingPatch { id: id.clone(), packages });
        applied.record_backed_out(id);
    }
    let promotion_hooks = BackoutHooks::of(input, ids)?;
    let marker = std::mem::take(&mut rules.marker);
    let opened = OpenedUndo::of(input, &going, &mut rules, (&marker, &mut *digesting))?;
    let manifests: Vec<&Manifest> = opened.undo.iter().filter_map(|one| one.manifest.as_ref()).collect();
    let is_scripted = opened.undo.iter().any(VerifiedUndo::is_by_scripts);
    if is_scripted || manifests.len() < opened.undo.len() || !may_go_as_one(&manifests) {
        return Ok(None);
    }
    let options = BackOutOptions { scripts: input.choice.clone(), ..Default::default() };
    let planned = opened.plan(input, rules, options, (&marker, digesting))?;
    let is_shared = planned.is_shared;
    Ok(Some(PlannedBackout { promotion_hooks, ..planned })
        .filter(|planned| !is_shared && !planned.scripted.has_scripts()))
}

/// Says of each patch that lost its fix at some paths that nothing is taken back there.
fn lost_in_part(input: &BackOutInput<'_>, going: &[GoingPatch], inventory: &Inventory) -> Vec<String> {
    // Where the list cannot be read, nothing is said of it.
    let list = overtaken_patches(&input.ground.root, &inventory.marker).unwrap_or_default();
    let note = |patch: &GoingPatch| {
        let known = list.of(patch.id.as_str()).filter(|known| known.state == OvertakenState::PartlyLost)?;
        let paths = known.paths.iter().filter_map(|lost| {
            let shown = inventory.show(&lost.object_path()?).to_string();
            Some(match &lost.by {
                Some(by) => format!("{shown} (taken over by {by})"),
                None => shown,
            })
        });
        let paths: Vec<String> = paths.collect();
        Some(format!("{} is {}: nothing is taken back at {}", patch.id, known.told(), paths.join(", ")))
    };
    going.iter().filter_map(note).collect()
}

/// Says of each patch that overrides of dpkg-statoverride(1) undo something of it.
fn overridden(
    input: &BackOutInput<'_>,
    going: &[GoingPatch],
    inventory: &Inventory,
) -> Result<Vec<String>, Failure> {
    let undone = input.ground.undone_by_overrides(&inventory.packages)?;
    let note = |patch: &GoingPatch| {
        let paths = undone.iter().filter(|(_, id, _)| *id == patch.id);
        let paths: Vec<String> = paths.map(|(_, _, path)| inventory.show(path).to_string()).collect();
        (!paths.is_empty()).then(|| {
            let paths = paths.join(", ");
            format!("{} is partly lost: overrides of dpkg-statoverride undo it at {paths}", patch.id)
        })
    };
    Ok(going.iter().filter_map(note).collect())
}

/// The undo data of patches that go, open.
struct OpenedUndo {
    going: Vec<GoingPatch>,
    undo: Vec<VerifiedUndo>,
    touched: Touched,
    archived: ArchivedLibraries,
}

impl OpenedUndo {
    fn of(
        input: &BackOutInput<'_>,
        going: &[GoingPatch],
        rules: &mut Inventory,
        (marker, digesting): (&str, &mut Vec<DigestCheck>),
    ) -> Result<Self, Failure> {
        let (root, outside) = (&input.ground.root, input.outside());
        let mut reading = UndoReading::of(root, outside, marker, digesting, input.interrupt());
        let (mut touched, mut undo) = (Touched::default(), Vec::new());
        let (mut names, mut archived) = (BTreeMap::new(), ArchivedLibraries::default());
        for package in going.iter().flat_map(|patch| &patch.packages) {
            if let Entry::Vacant(entry) = names.entry(package) {
                entry.insert(SavedNames::of(&RecordView::live(root), package)?);
            }
        }
        let all =
            going.iter().flat_map(|patch| patch.packages.iter().map(move |package| (&patch.id, package)));
        for (id, package) in all {
            let name = names.get(package).map_or_else(|| id.to_string(), |names| names.name(id));
            let known = input.known.get(&(package.clone(), name.clone()));
            let one = reading.undo((id, package), input.undo_data(package, &name)?, known)?.without_text();
            match (&one.manifest, rules.packages.get(package), one.device.image.packages.first()) {
                (Some(manifest), _, _) => {
                    add_backout(&mut touched, package, manifest);
                    touched.known.append(&mut known_files(root, package, &name, manifest));
                }
                (None, Some(installed), Some(image)) => {
                    add_foreign_backout(&mut touched, package, &name, image, &installed.params);
                }
                _ => {}
            }
            if let (Some(manifest), Some(archive)) = (&one.manifest, one.as_archive(undo.len()))
                && archive.is_bound
            {
                archived
                    .add(manifest, archive.image, archive.index)
                    .map_err(|reason| one.damaged(&reason))?;
            }
            undo.push(one);
        }
        touched.paths.extend(archived.paths().cloned());
        rules.packages.values_mut().for_each(|installed| installed.saves.clear());
        Ok(Self { going: going.to_vec(), undo, touched, archived })
    }

    /// Looks at the objects and at the later patches, and plans.
    fn plan(
        self,
        input: &BackOutInput<'_>,
        rules: Inventory,
        mut options: BackOutOptions,
        (marker, digesting): (&str, &mut Vec<DigestCheck>),
    ) -> Result<PlannedBackout, Failure> {
        let Self { going, undo, touched, archived } = self;
        let (policy, ground) = (&input.ground.policy, input.ground);
        let inventory = input.survey(rules.all_packages(), &touched)?;
        let is_shared = later_patches(input, &going, &undo, &inventory, &mut options)?;
        options.notes.extend(undo.iter().filter_map(|one| one.stays.clone()));
        options.notes.extend(lost_in_part(input, &going, &inventory));
        options.notes.extend(overridden(input, &going, &inventory)?);
        let archives: Vec<BackoutArchive<'_>> =
            undo.iter().enumerate().filter_map(|(index, one)| one.as_archive(index)).collect();
        let heirs = taking_over(&going, &archives, &inventory, (policy, input.now), &options)?;
        let mut reading =
            UndoReading::of(&ground.root, input.outside(), marker, digesting, input.interrupt());
        let later = heirs.into_iter().map(|heir| HeirUndo::open(input, &mut reading, heir));
        let later = later.collect::<Result<Vec<_>, _>>()?;
        options.notes.extend(later.iter().filter_map(HeirUndo::stays));
        let written_anew = as_later(&later, undo.len());
        let sources = UndoSources { archives: &archives, later: &written_anew };
        let scripted = back_out(&going, sources, &inventory, policy, &options, input.now, input.interrupt())?;
        let promotion_hooks = BackoutHooks::default();
        Ok(PlannedBackout { scripted, undo, later, inventory, promotion_hooks, is_shared, archived })
    }
}
