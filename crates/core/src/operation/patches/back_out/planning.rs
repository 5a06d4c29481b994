//! Plans a backout: rules, undo archives, later patches.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::input::{BackOutInput, KnownArchives};
use super::request::BackOutRequest;
use super::undo::{StayingUndo, UndoReading, VerifiedUndo, as_later, sources, wait_for};
use crate::operation::changed_texts::{ChangedTexts, TextReader};
use crate::operation::content::ArchiveSources;
use crate::operation::failure::Failure;
use crate::operation::libraries::{
    ArchivedLibraries, LaterContent, LibraryKeeper, PlanToSettle, SettledLibraries,
};
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::patches::later_patches::LaterPatches;
use crate::operation::patches::outcome::PatchOutcome;
use crate::operation::patches::scripts::hooks::{HookDirectory, kept_script};
use crate::operation::promotion_hooks::{HookDirection, HookFiles, HookRun, HookSubject};
use crate::operation::promotion_records::{PromotionRecordFault, read_promotion};
use crate::operation::scripts::ScriptSettings;
use crate::operation::session::{RootAndPolicy, Session};
use patchadm_changeset::format::manifest::{ObjectRecord, UndoManifest, decode};
use patchadm_changeset::format::undo_sidecars::{
    DELIVERED, DeliveredIdentity, DeliveredObjects, LARGEST_DELIVERED,
};
use patchadm_inputs::database::installed::SavedNames;
use patchadm_inputs::database::undo_data::{ArchiveError, DigestCheck};
use patchadm_inputs::database::{RecordView, installed, ledger, saves};
use patchadm_inputs::format::overtaken::OvertakenState;
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::concern::{add_backout, add_foreign_backout};
use patchadm_planning::plan::patch::back_out::{back_out, may_back_out, may_go_as_one};
use patchadm_planning::plan::patch::backout_input::{
    BackOutOptions, BackoutArchive, Elsewhere, GoingPatch, UndoSources,
};
use patchadm_planning::plan::patch::engine::BACKING_OUT;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::patch::taking_over::taking_over;
use patchadm_planning::plan::refusal::{Command, HookReason, Reason, Refusal, WayOut};
use patchadm_rootfs::{KnownFile, Root, Sums};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchList};
use patchadm_svr4::places;

pub(super) struct PlannedBackout {
    pub(super) patch_plan: PatchPlan,
    pub(super) undo: Vec<VerifiedUndo>,
    /// Undo data of patches that stay, to be rewritten.
    pub(super) later: Vec<StayingUndo>,
    pub(super) inventory: Inventory,
    pub(super) promotion_hooks: BackoutHooks,
    /// Outgoing patches share a path in different packages.
    is_shared: bool,
    archived: ArchivedLibraries,
}

pub(super) type BackoutWithLibraries = (PlannedBackout, Option<SettledLibraries>);

impl PlannedBackout {
    pub(super) fn content(&self) -> ArchiveSources<'_> {
        sources(self.undo.iter(), &self.later)
    }

    pub(super) fn texts(&self, reader: &mut TextReader<'_>) -> ChangedTexts {
        let plan = (&self.patch_plan.plan, &BTreeMap::new());
        reader.read(plan, &self.patch_plan.known_to_scripts(), &mut self.content())
    }

    /// Decides which libraries are kept. Others are planned after it, unless it is the last.
    pub(super) fn settle(
        &self,
        keeper: &mut LibraryKeeper<'_>,
        is_last: bool,
    ) -> Result<Option<SettledLibraries>, Failure> {
        let plan = &self.patch_plan.plan;
        let by = format!("patchrm {}", plan.patches.first().map(String::as_str).unwrap_or_default());
        let asked = PlanToSettle {
            archived: Some(&self.archived),
            ..PlanToSettle::of((plan, &self.inventory), Command::Patchrm, &by)
        };
        let later = if is_last { LaterContent::NotAsked } else { LaterContent::ReadNow };
        keeper.settle(&asked, &mut self.content(), later)
    }

    /// For a backout that is performed alone.
    pub(super) fn settled(self, input: &BackOutInput<'_>) -> Result<Self, Failure> {
        let settled = self.settle(&mut input.keeper(), true)?;
        Ok(self.with(settled))
    }

    pub(super) fn with(mut self, settled: Option<SettledLibraries>) -> Self {
        if let Some(settled) = settled {
            settled.apply(&mut self.patch_plan);
        }
        self
    }
}

/// Plans each patch as if alone; changes nothing. The root must not change meanwhile; archives in `known` are not
/// verified again.
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

/// Threads check the archives meanwhile; a damaged archive is reported before other reasons.
pub(super) fn plan(input: &BackOutInput<'_>, id: &PatchId) -> Result<PlannedBackout, Failure> {
    let mut digesting = Vec::new();
    let planned = plan_meanwhile(input, id, &mut digesting);
    wait_for(digesting, input.interrupt())?;
    planned
}

/// Returns lost, exported or dropped undo data as the reason, or else the refusal.
fn lost(input: &BackOutInput<'_>, id: &PatchId, refusal: Refusal) -> Failure {
    let Reason::NoUndoData(package) = &*refusal.reason else { return refusal.into() };
    let view = RecordView::live(&input.ground.root);
    let Ok(name) = installed::saved_as(&view, package, id) else { return refusal.into() };
    if let Err(error @ (ArchiveError::Lost { .. } | ArchiveError::Exported { .. })) =
        input.undo_data(package, &name)
    {
        return error.into();
    }
    let ledger = ledger::counting(&view, package).ok();
    match ledger.as_ref().and_then(|ledger| ledger.line(&name)?.dropped_by()) {
        Some(run) => {
            let dropped = Reason::UndoDropped { package: package.clone(), run: run.to_owned() };
            dropped.of(refusal.command, &refusal.subject).into()
        }
        None => refusal.into(),
    }
}

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

/// Plans several patches as one run, the last applied first. `None` if impossible: scripts take part, another tool made
/// an archive, or two patches share a path in different packages, or names of one file.
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
    let manifests: Vec<&UndoManifest> = opened.undo.iter().filter_map(|one| one.manifest.as_ref()).collect();
    let is_scripted = opened.undo.iter().any(VerifiedUndo::is_by_scripts);
    if is_scripted || manifests.len() < opened.undo.len() || !may_go_as_one(&manifests) {
        return Ok(None);
    }
    let options = BackOutOptions { scripts: input.choice.clone(), ..Default::default() };
    let planned = opened.plan(input, rules, options, (&marker, digesting))?;
    let is_shared = planned.is_shared;
    Ok(Some(PlannedBackout { promotion_hooks, ..planned })
        .filter(|planned| !is_shared && !planned.patch_plan.has_scripts()))
}

/// Notes that a patch lost its fix at some paths: nothing is restored there.
fn lost_in_part(input: &BackOutInput<'_>, going: &[GoingPatch], inventory: &Inventory) -> Vec<String> {
    // An unreadable list adds no notes.
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
        Some(format!("{} is {}: nothing is restored at {}", patch.id, known.told(), paths.join(", ")))
    };
    going.iter().filter_map(note).collect()
}

/// Notes that dpkg-statoverride(1) undoes something of a patch.
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
        let staying = taking_over(&going, &archives, &inventory, (policy, input.now), &options)?;
        let mut reading =
            UndoReading::of(&ground.root, input.outside(), marker, digesting, input.interrupt());
        let later = staying.into_iter().map(|of| StayingUndo::open(input, &mut reading, of));
        let later = later.collect::<Result<Vec<_>, _>>()?;
        options.notes.extend(later.iter().filter_map(StayingUndo::stays));
        let written_anew = as_later(&later, undo.len());
        let sources = UndoSources { archives: &archives, later: &written_anew };
        let patch_plan =
            back_out(&going, sources, &inventory, policy, &options, input.now, input.interrupt())?;
        let promotion_hooks = BackoutHooks::default();
        Ok(PlannedBackout { patch_plan, undo, later, inventory, promotion_hooks, is_shared, archived })
    }
}

/// Surveys every package, and save directories of packages with one of the patches.
pub(super) fn rules(input: &BackOutInput<'_>, ids: &[PatchId]) -> Result<Inventory, Failure> {
    let mut rules = input.survey(input.packages()?, &Touched::default())?;
    for (package, installed) in &mut rules.packages {
        let list = PatchList::parse(&installed.params.text("PATCHLIST"), &input.ground.policy.separator);
        if list.is_ok_and(|list| ids.iter().any(|id| list.contains(id))) {
            let view = RecordView::live(&input.ground.root);
            installed.saves = saves::saves(&view, package)?;
            installed.interruption = installed::interruption(&view, package)?;
        }
    }
    Ok(input.before.onto(rules))
}

/// Reads effects of later patches into `options`: of the same packages, and of others with shared paths. Returns true
/// if outgoing patches share a path in different packages.
pub(super) fn later_patches(
    input: &BackOutInput<'_>,
    going: &[GoingPatch],
    undo: &[VerifiedUndo],
    inventory: &Inventory,
    options: &mut BackOutOptions,
) -> Result<bool, Failure> {
    let ids: BTreeSet<&PatchId> = going.iter().map(|patch| &patch.id).collect();
    let packages: BTreeSet<&PkgInst> = going.iter().flat_map(|patch| &patch.packages).collect();
    for package in packages {
        let of = undo.iter().filter(|one| one.package == *package);
        let manifests: Vec<&UndoManifest> = of.filter_map(|one| one.manifest.as_ref()).collect();
        of_package(input, package, (&ids, &manifests), inventory, options)?;
    }
    let mut is_shared = false;
    for patch in going {
        let of = undo.iter().filter(|one| one.patch == patch.id);
        let manifests: Vec<&UndoManifest> = of.filter_map(|one| one.manifest.as_ref()).collect();
        for one in elsewhere(input, patch, inventory, &manifests)? {
            let goes = PatchId::parse(&one.patch, &input.ground.policy.separator);
            if goes.is_ok_and(|id| ids.contains(&id)) {
                is_shared = true;
            } else {
                options.elsewhere.push(one);
            }
        }
    }
    Ok(is_shared)
}

/// Returns staying patches that were applied after the first outgoing one.
fn of_package(
    input: &BackOutInput<'_>,
    package: &PkgInst,
    (ids, manifests): (&BTreeSet<&PatchId>, &[&UndoManifest]),
    inventory: &Inventory,
    options: &mut BackOutOptions,
) -> Result<(), Failure> {
    let Some(of) = inventory.packages.get(package) else { return Ok(()) };
    let (root, separator) = (&input.ground.root, &input.ground.policy.separator);
    let list = installed::patch_records(root, package, &of.params, separator)?.list;
    let later = list.iter().skip_while(|id| !ids.contains(id)).filter(|id| !ids.contains(id));
    let later: Vec<&PatchId> = later.collect();
    if later.is_empty() {
        return Ok(());
    }
    let view = RecordView::live(root);
    let ledger = input.ledger(package)?;
    for id in later {
        let (key, name) = ((package.clone(), id.to_string()), installed::saved_as(&view, package, id)?);
        if ledger.line(&name).is_some_and(|line| line.snapshot.is_some()) {
            options.scripted.insert(key.clone());
        }
        match input.later_manifest(package, &name) {
            Ok(Some(manifest)) => drop(options.later.insert(key, manifest)),
            Err(ArchiveError::Earlier { .. }) => drop(options.earlier.insert(key)),
            Err(error) if has_path_of(&key.1, manifests, inventory) => return Err(error.into()),
            // Unneeded undo data may be missing.
            Ok(None) | Err(_) => {}
        }
    }
    Ok(())
}

fn has_path_of(patch: &str, manifests: &[&UndoManifest], inventory: &Inventory) -> bool {
    let records = manifests.iter().flat_map(|manifest| &manifest.objects);
    let paths = records.filter(|record| !record.is_as_found()).filter_map(ObjectRecord::object_path);
    let mut listed = paths.filter_map(|path| inventory.patched_by.get(&path)).flatten();
    listed.any(|other| other == patch)
}

/// Returns later patches of other packages with shared paths.
fn elsewhere(
    input: &BackOutInput<'_>,
    patch: &GoingPatch,
    inventory: &Inventory,
    manifests: &[&UndoManifest],
) -> Result<Vec<Elsewhere>, Failure> {
    let ledger = &|package: &PkgInst| input.ledger(package);
    let (root, separator) = (&input.ground.root, &input.ground.policy.separator);
    let manifest = &|package: &PkgInst, patch: &str| input.later_manifest(package, patch).ok()?;
    let (id, packages) = (&patch.id, patch.packages.as_slice());
    LaterPatches { root, separator, inventory, ledger, manifest, id, packages }.elsewhere(manifests)
}

/// Returns files in the list of save directory `save`, with the manifest's digests. Without a readable list, all files
/// are read.
pub(super) fn known_files(
    root: &Root,
    package: &PkgInst,
    save: &str,
    manifest: &UndoManifest,
) -> BTreeMap<ObjectPath, KnownFile> {
    let Some(DeliveredObjects(mut listed)) = list(root, package, save) else { return BTreeMap::new() };
    let known = manifest.objects.iter().filter_map(|record| {
        let path = ObjectPath::new(&decode(&record.path)).ok()?;
        let object = listed.remove(&path)?;
        Some((path, known_file(record, object)?))
    });
    known.collect()
}

fn list(root: &Root, package: &PkgInst, save: &str) -> Option<DeliveredObjects> {
    let path = places::save(package).join(save.as_bytes()).ok()?.join(DELIVERED).ok()?;
    DeliveredObjects::parse(&root.read(&path, LARGEST_DELIVERED).ok()??)
}

/// `None` unless list and manifest describe the same bytes.
fn known_file(record: &ObjectRecord, object: DeliveredIdentity) -> Option<KnownFile> {
    let became = record.became.as_ref().filter(|became| became.digest() == Some(object.b3))?;
    let line = ContentsLine::parse(&decode(record.new_line.as_deref()?)).ok()?;
    let content = line.object.content;
    let size = became.size.filter(|_| content.size == became.size)?;
    let sums = Sums { size, cksum: content.cksum?, b3: object.b3 };
    Some(KnownFile { inode: object.inode, mtime: became.mtime, ctime: object.changed, sums })
}

/// Plans until a search for the patches in the way ends without a result.
const LONGEST_WAY_OUT: usize = 64;

impl PatchOutcome {
    /// Adds the patches in the way to a refusal: projects the backout of each. `before` are outcomes of patches that
    /// were named, too, and whose backouts are projected.
    pub(super) fn with_way_out(mut self, input: &BackOutInput<'_>, before: &[Self]) -> Self {
        if let Err(Failure::Refused(refusal)) = &mut self.result {
            refusal.way_out = way_out(input, before, refusal);
        }
        self
    }
}

fn way_out(input: &BackOutInput<'_>, before: &[PatchOutcome], refusal: &Refusal) -> WayOut {
    let separator = &input.ground.policy.separator;
    let Ok(subject) = PatchId::parse(&refusal.subject, separator) else { return WayOut::Unknown };
    let mut ahead = input.anew().steady();
    ahead.before = input.before.clone();
    let (mut waiting, mut gone) = (vec![subject], Vec::new());
    let mut stands = refusal.reason.stands_in_the_way();
    for _ in 0..LONGEST_WAY_OUT {
        if let Some(patch) = stands.take() {
            match PatchId::parse(&patch, separator) {
                Ok(id) if !waiting.contains(&id) => waiting.push(id),
                _ => break,
            }
        }
        let Some(id) = waiting.last() else { break };
        let why = match plan(&ahead, id) {
            Ok(planned) => {
                ahead.before.add(planned.patch_plan.plan, BTreeMap::new());
                gone.extend(waiting.pop());
                continue;
            }
            Err(Failure::Refused(next)) => {
                stands = next.reason.stands_in_the_way();
                next.why()
            }
            Err(failed) => failed.to_string(),
        };
        if stands.is_none() {
            let is_subject = waiting.len() == 1;
            if is_subject {
                break;
            }
            return WayOut::Blocked { patch: id.to_string(), why };
        }
    }
    let Some(first) = gone.first().map(ToString::to_string) else { return WayOut::Unknown };
    let force = if input.force { "--force " } else { "" };
    let others = before.iter().filter(|outcome| outcome.result.is_ok()).map(|outcome| outcome.id.clone());
    let ids: Vec<String> = gone.iter().rev().map(ToString::to_string).chain(others).collect();
    let together = waiting.is_empty().then(|| format!("{force}{}", ids.join(" ")));
    WayOut::First { id: first, together }
}

/// Has the patch's own scripts, copied to the database by its application.
pub(super) fn hook_directory(ground: &RootAndPolicy, id: &PatchId) -> HookDirectory {
    let path = places::patches().join(id.as_str().as_bytes()).unwrap_or_else(|_| places::patches());
    HookDirectory::at(PathBuf::from(ground.root.show(&path)))
}

/// Returns file names in a patch's directory, and notes on scripts. Refuses scripts that may not run, if the policy
/// allows any.
pub(super) fn kept_hooks(
    input: &BackOutInput<'_>,
    id: &PatchId,
) -> Result<(BTreeSet<String>, Vec<String>), Failure> {
    let Ok(path) = places::patches().join(id.as_str().as_bytes()) else { return Ok(Default::default()) };
    let names = input.ground.root.list(&path)?.unwrap_or_default();
    let hooks: BTreeSet<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
    let mut notes = Vec::new();
    if input.choice.policy == ScriptPolicy::Run {
        for name in BACKING_OUT.into_iter().filter(|name| hooks.contains(*name)) {
            notes.extend(kept_script(input.ground, id, name)?.remark);
        }
    }
    Ok((hooks, notes))
}

#[derive(Debug, Default)]
pub(super) struct BackoutHooks {
    subjects: Vec<HookSubject>,
    files: HookFiles,
}

impl BackoutHooks {
    /// Refuses the backout of a promotion if a hook may not or cannot run.
    pub(super) fn of(input: &BackOutInput<'_>, ids: &[PatchId]) -> Result<Self, Failure> {
        let policy = &input.ground.policy;
        let has_none = policy.promote_before.is_none() && policy.promote_after.is_none();
        if has_none || input.without_scripts {
            return Ok(Self::default());
        }
        let subjects = ids.iter().filter_map(|id| subject(input, id).transpose());
        let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
        let Some(first) = subjects.first() else { return Ok(Self::default()) };
        let files = HookFiles::of(input.ground, input.choice.policy, HookDirection::BackOut);
        let files = files.map_err(|reason| HookDirection::BackOut.refuse(reason, &first.id))?;
        Ok(Self { subjects, files })
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let named = self.files.named().filter(|_| !self.subjects.is_empty());
        named.map(|(key, path)| format!("the hook {key} runs: {path}"))
    }

    pub(super) fn open<'a>(
        &self,
        session: &'a Session<'a>,
        settings: &'a ScriptSettings,
    ) -> Result<Option<RefCell<HookRun<'a>>>, Failure> {
        HookRun::open(session, settings, &self.files, (HookDirection::BackOut, &self.subjects))
    }
}

fn subject(input: &BackOutInput<'_>, id: &PatchId) -> Result<Option<HookSubject>, Failure> {
    let view = RecordView::live(&input.ground.root);
    let record = read_promotion(&view, id).map_err(|fault| match fault {
        PromotionRecordFault::View(error) => error.into(),
        PromotionRecordFault::Damaged { path, error } => {
            HookDirection::BackOut.refuse(HookReason::Record { path, why: error.to_string() }, id)
        }
    })?;
    Ok(record.map(|record| HookSubject { id: record.id, stage: record.name }))
}
