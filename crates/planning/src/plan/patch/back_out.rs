//! The effect of `patchrm`. [`may_back_out`] checks rules before archives are read; [`back_out`] restores objects,
//! lines and records. If a staying patch changed an object later, its undo data gets the saved state instead. Later
//! edits are kept as `PATH.edited-<id>`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use patchadm_changeset::format::manifest::{ObjectRecord, UndoManifest, decode};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::{Edited, Policy};
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::{Ftype, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};

use super::backout_input::{BackOutOptions, BackoutArchive, GoingPatch, Later, LaterUndo, UndoSources};
use super::backout_records::{RecordsAfter, RecordsBefore, TakenRecords, fold};
use super::chains::{ChainSegment, Chains};
use super::engine::{BACKING_OUT, Bookkeeping, Role};
use super::interrupted::why_interrupted;
use super::later::{Among, AppliedPackages, ListedPatches, changed_elsewhere, refuse_saved_before};
use super::patch_plan::{PackagePlan, PatchListChange, PatchPlan};
use super::restore::{Restoring, restore};
use super::taking_over::{Rewritten, TakingOver};
use super::validate::must_be_as_adopted;
use super::{interrupted, patch_plan};
use crate::plan::clock::Now;
use crate::plan::edits::{EditChoice, Edits};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::privileges::{OnRecord, may_be_device, mode};
use crate::plan::records::{has_undo_data, patch_path};
use crate::plan::refusal::{Command, HandOnProblem, Reason, Refusal};
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::target::{PackageTarget, Wanted};
use crate::plan::{Plan, RecordChange, UndoArchive, space};

/// Checks the rules of patchrm(1M): applied, not superseded, not needed, with undo data. Returns the packages whose
/// archives [`back_out`] needs, in the order of the inventory. `applied` are the patch records of these packages, or
/// the error of reading them; `force` admits superseded and obsoleted patches.
pub fn may_back_out(
    id: &PatchId,
    inventory: &Inventory,
    applied: Result<&AppliedPatches, Reason>,
    policy: &Policy,
    force: bool,
) -> Result<Vec<PkgInst>, Refusal> {
    let rules = || {
        let applied = applied?;
        let mut packages = inventory.packages.iter();
        let half = |(package, installed)| why_interrupted(package, installed, id, &policy.separator);
        match packages.find_map(half) {
            Some(reason) => Err(reason),
            None => may_go(id, applied, inventory, policy, force),
        }
    };
    rules().map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// Returns false if several patches with these manifests have a path that is one of several names of a file: a change
/// of one name changes the others, too.
pub fn may_go_as_one(manifests: &[&UndoManifest]) -> bool {
    let records = || manifests.iter().flat_map(|manifest| &manifest.objects);
    let is_name = |record: &&ObjectRecord| {
        [&record.was, &record.became].into_iter().flatten().any(|state| state.group.is_some())
    };
    let names: HashSet<&str> = records().filter(is_name).map(|record| record.path.as_str()).collect();
    let mut met = HashSet::new();
    let mut met_again = records().map(|record| record.path.as_str()).filter(|path| names.contains(path));
    met_again.all(|path| met.insert(path))
}

fn may_go(
    id: &PatchId,
    applied: &AppliedPatches,
    inventory: &Inventory,
    policy: &Policy,
    force: bool,
) -> Result<Vec<PkgInst>, Reason> {
    let Some(patch) = applied.get(id) else {
        return Err(
            progressive(id, inventory, &policy.separator).map_or(Reason::NotApplied, Reason::NoUndoData)
        );
    };
    match applied.superseded(id).filter(|_| !force) {
        Some(Superseded::Revision(by)) => return Err(Reason::Superseded(by.clone())),
        Some(Superseded::Obsoletion(by)) => {
            return Err(Reason::Obsoleted { by: by.by.cloned(), entry: by.entry.clone() });
        }
        None => {}
    }
    must_be_as_adopted(&patch.packages, inventory)?;
    let unmet = applied.dependents_after_removal(id);
    let can_go_first = |by: &PatchId| !applied.is_needed(by);
    let first = unmet.iter().find(|one| can_go_first(&one.patch)).or(unmet.first());
    if let Some(unmet) = first.cloned() {
        return Err(Reason::Needed { by: unmet.patch, requirement: unmet.requirement });
    }
    for package in &patch.packages {
        let installed = inventory.packages.get(package);
        if !installed.is_some_and(|installed| has_undo_data(installed, id, &policy.separator)) {
            return Err(Reason::NoUndoData(package.clone()));
        }
    }
    Ok(patch.packages.clone())
}

/// Returns the packages of a patch that could be backed out according to the records, unless it was left half applied;
/// otherwise the refusal.
pub fn packages_to_go(
    id: &PatchId,
    applied: &AppliedPatches,
    inventory: &Inventory,
    policy: &Policy,
) -> Result<Vec<PkgInst>, Refusal> {
    let may_go = may_go(id, applied, inventory, policy, false);
    may_go.map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// Old progressive patches are package instances that name themselves as the patch.
fn progressive(id: &PatchId, inventory: &Inventory, separator: &str) -> Option<PkgInst> {
    let mut packages = inventory.packages.iter();
    let is_patch = |params: &Params| {
        let own = params.text("SUNW_PATCHID");
        PatchId::parse(&own, separator).as_ref() == Ok(id)
            && params.get(&format!("PATCH_INFO_{own}")).is_none()
    };
    packages.find(|(_, installed)| is_patch(&installed.params)).map(|(package, _)| package.clone())
}

/// Plans until a signal comes, the last applied patch first, from the packages of [`may_back_out`]. Of several patches
/// none has scripts, and each archive has a manifest.
pub fn back_out(
    going: &[GoingPatch],
    sources: UndoSources<'_>,
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
    now: &Now,
    interrupt: Interrupt<'_>,
) -> Result<PatchPlan, Refusal> {
    let (is_elsewhere, is_installed) = (false, false);
    let backout =
        Backout { going, sources, is_elsewhere, is_installed, inventory, policy, options, now, interrupt };
    let ids: Vec<&str> = going.iter().map(|patch| patch.id.as_str()).collect();
    backout.plan().map_err(|reason| reason.shown(inventory).of(Command::Patchrm, &ids.join(" ")))
}

/// Plans the backout from the package of `archive` alone, as installing its backout package does. The user of
/// pkgadd(1M) checks requirements of other patches. `later` is the undo data of patches that take over parameters or
/// record files. With `is_elsewhere` the patch is applied to other packages as well.
pub fn back_out_of_package(
    going: &[GoingPatch; 1],
    archive: BackoutArchive<'_>,
    (later, is_elsewhere): (&[LaterUndo<'_>], bool),
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
    (now, interrupt): (&Now, Interrupt<'_>),
) -> Result<PatchPlan, Refusal> {
    let (sources, is_installed) = (UndoSources { archives: &[archive], later }, true);
    let backout =
        Backout { going, sources, is_elsewhere, is_installed, inventory, policy, options, now, interrupt };
    backout.plan().map_err(|reason| reason.shown(inventory).of(Command::Pkgadd, archive.package))
}

pub(super) struct Backout<'a> {
    pub(super) going: &'a [GoingPatch],
    pub(super) sources: UndoSources<'a>,
    /// The patch is also applied to other packages.
    pub(super) is_elsewhere: bool,
    /// A backout package is being installed: other archives are not rewritten.
    pub(super) is_installed: bool,
    pub(super) inventory: &'a Inventory,
    pub(super) policy: &'a Policy,
    pub(super) options: &'a BackOutOptions,
    pub(super) now: &'a Now,
    pub(super) interrupt: Interrupt<'a>,
}

impl<'a> Backout<'a> {
    pub(super) fn plan(&self) -> Result<PatchPlan, Reason> {
        must_be_as_adopted(self.packages(), self.inventory)?;
        let here = BACKING_OUT.into_iter().filter(|name| self.options.hooks.contains(*name));
        let hooks = self.options.scripts.hooks(here)?;
        let mut draft = PlanBuilder::new(self.inventory);
        draft.notes.clone_from(&self.options.notes);
        let (mut parts, mut records, mut packages) = (Vec::new(), Vec::new(), Vec::new());
        for package in self.packages() {
            self.check_interrupt()?;
            let (going, mut own, changes) = self.package(package, &mut draft)?;
            records.extend(changes);
            parts.append(&mut own);
            packages.push(going);
        }
        let has_scripts = !hooks.is_empty() || parts.iter().any(|part| part.chosen.has_scripts());
        let mut rewritten = Rewritten::default();
        self.objects(&mut draft, &packages, has_scripts, &mut rewritten)?;
        if !self.is_elsewhere {
            records.extend(self.patch_directories()?);
        }
        records.append(&mut rewritten.records);
        self.check_interrupt()?;
        let held = if has_scripts { patch_plan::held(&parts, self.inventory) } else { Vec::new() };
        let moved = std::mem::take(&mut rewritten.moved);
        let replaced_edits = std::mem::take(&mut draft.replaced_edits);
        let mut plan = self.finished(draft, fold(records), rewritten, &held)?;
        if has_scripts {
            plan.space = space::with_requests(plan.space);
            space::enough(&plan.space)?;
        }
        let missing = patch_plan::missing(self.inventory, &plan.changes, &mut plan.notes);
        Ok(PatchPlan {
            plan,
            parts,
            hooks,
            no_undo: false,
            again: false,
            replaced_edits,
            missing,
            moved,
            lists: self.lists()?,
            libraries: None,
            staying: BTreeMap::new(),
        })
    }

    fn check_interrupt(&self) -> Result<(), Reason> {
        Reason::unless_interrupted(self.interrupt)
    }

    fn packages(&self) -> Vec<&'a PkgInst> {
        let mut packages: Vec<&PkgInst> = Vec::new();
        for package in self.going.iter().flat_map(|patch| &patch.packages) {
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
        packages
    }

    fn ids(&self) -> BTreeSet<&'a PatchId> {
        self.going.iter().map(|patch| &patch.id).collect()
    }

    fn among(&self, id: &'a PatchId) -> Among<'a> {
        Among { id, all: self.applied_packages() }
    }

    fn applied_packages(&self) -> AppliedPackages<'a> {
        AppliedPackages {
            inventory: self.inventory,
            separator: &self.policy.separator,
            known: &self.options.later,
            going: self.ids(),
        }
    }

    fn lists(&self) -> Result<Vec<PatchListChange>, Reason> {
        let (among, mut known, mut lists) = (self.applied_packages(), BTreeSet::new(), Vec::new());
        for patch in self.going {
            for package in &patch.packages {
                let is_first = known.insert(package);
                let before = is_first.then(|| among.applied(package)).transpose()?;
                let before = before.map(|records| records.list);
                lists.push(PatchListChange { package: package.clone(), patch: patch.id.clone(), before });
            }
        }
        Ok(lists)
    }

    fn package(
        &self,
        package: &'a PkgInst,
        draft: &mut PlanBuilder<'_>,
    ) -> Result<(GoingPackage<'a>, Vec<PackagePlan>, Vec<RecordChange>), Reason> {
        let mut patches = Vec::new();
        for patch in self.going.iter().filter(|patch| patch.packages.contains(package)) {
            let mut archives = self.sources.archives.iter();
            let is_it =
                |archive: &&BackoutArchive<'_>| archive.package == package && *archive.patch == patch.id;
            let archive = archives.find(is_it).ok_or_else(|| Reason::NoUndoData(package.clone()))?;
            if let Some(manifest) = archive.manifest {
                self.check_header(&patch.id, package, manifest)?;
            }
            patches.push((&patch.id, archive));
        }
        let mut before = RecordsBefore::of(&self.applied_packages(), package, self.now)?;
        // Packages may differ in the order of application.
        patches.sort_by_cached_key(|(id, _)| std::cmp::Reverse(before.listed.place(id)));
        let (mut parts, mut by_script) = (Vec::new(), BTreeSet::new());
        for (id, archive) in &patches {
            let params = before.back_out(id, archive)?;
            let part = self.part(package, archive, params)?;
            let installed = self.inventory.packages.get(package).filter(|_| part.chosen.has_scripts());
            if let Some(installed) = installed {
                interrupted::refuse_scripts(package, installed, id, &self.policy.separator)?;
            }
            if archive.manifest.is_none() && part.chosen.bookkeeping == Bookkeeping::Program {
                let how = "restored from an archive without manifest, according to its pkgmap";
                draft.notes.push(format!("package {package}: {how}"));
            }
            by_script.extend(part.by_own_scripts());
            parts.push(part);
        }
        let RecordsAfter { listed, changes, taken } = before.after()?;
        Ok((GoingPackage { package, patches, listed, by_script, taken }, parts, changes))
    }

    fn objects(
        &self,
        draft: &mut PlanBuilder<'_>,
        packages: &[GoingPackage<'a>],
        has_scripts: bool,
        rewritten: &mut Rewritten,
    ) -> Result<(), Reason> {
        let mut all = Vec::new();
        for going in packages {
            all.push((going, going.chains()));
        }
        let told = all.iter().flat_map(|(_, chains)| chains.leaving());
        changed_elsewhere(told, &self.options.elsewhere)?;
        for (going, chains) in &all {
            self.check_interrupt()?;
            self.judge(going.package, chains, has_scripts)?;
            self.taking_over(going).rewrite(chains, rewritten)?;
            for (id, archive) in going.patches.iter().filter(|(_, archive)| archive.manifest.is_none()) {
                let later = going.listed.later(id);
                restore_classic(draft, id, going.package, archive.index, archive, &later)?;
            }
        }
        let mut live = Vec::new();
        for (going, chains) in &all {
            live.extend(going.live(chains));
        }
        let restorings: Vec<Restoring<'_>> = live.iter().map(LivePatch::restoring).collect();
        restore(draft, &restorings, self.interrupt)?;
        for (going, chains) in &all {
            self.taking_over(going).keep_edited(draft, chains)?;
        }
        Ok(())
    }

    fn judge(&self, package: &PkgInst, chains: &Chains<'_>, has_scripts: bool) -> Result<(), Reason> {
        let Some(first) = self.going.first() else { return Ok(()) };
        self.among(&first.id).judged(package, chains, self.options)?.refuse()?;
        let in_the_way = chains.runs.iter().find_map(|run| Some((run, run.heir?)));
        let Some((run, heir)) = in_the_way.filter(|_| has_scripts || self.is_installed) else {
            return Ok(());
        };
        let by = chains.order.get(heir.at).map(|patch| patch.id.to_string());
        match ObjectPath::new(&decode(run.path())) {
            Ok(path) if self.is_installed => Err(Reason::ChangedLater { path, by }),
            Ok(path) => {
                let by = by.unwrap_or_default();
                Err(Reason::NotHandedOn { path, by, why: HandOnProblem::Scripts })
            }
            Err(_) => Err(Reason::NotApplied),
        }
    }

    fn taking_over<'g>(&'g self, going: &'g GoingPackage<'a>) -> TakingOver<'g> {
        going.taking_over(self.sources.later, self.inventory, &self.policy.separator)
    }

    fn finished(
        &self,
        mut draft: PlanBuilder<'_>,
        records: Vec<RecordChange>,
        rewritten: Rewritten,
        held: &[(ObjectPath, u64, u64)],
    ) -> Result<Plan, Reason> {
        draft.relink()?;
        draft.finish()?;
        let changes: Vec<_> = draft.changes.into_values().collect();
        let archives: Vec<&UndoArchive> = rewritten.undo.iter().collect();
        let mut extra = held.to_vec();
        // A version passes through the stage, beside the records.
        let passing = rewritten.versions.iter().map(|version| version.member.size);
        extra.extend(passing.map(|size| (patchadm_svr4::places::own_directory(), size, 1)));
        let space = space::needs(self.inventory, &changes, &records, &archives, &extra);
        space::enough(&space)?;
        let packages: Vec<PkgInst> = self.packages().into_iter().cloned().collect();
        let last = packages.last().ok_or(Reason::NotApplied)?;
        let used_up = self.sources.archives.iter().filter_map(|archive| archive.outside);
        Ok(Plan {
            command: Command::Patchrm.name(),
            patches: self.going.iter().map(|patch| patch.id.to_string()).collect(),
            changes,
            records,
            contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
            trailer: self.now.trailer("pkgadd", last),
            packages,
            undo: rewritten.undo,
            versions: rewritten.versions,
            space,
            discard: used_up.map(Path::to_owned).chain(rewritten.discard).collect(),
            signature: None,
            merges: Vec::new(),
            direction: crate::plan::Direction::Back,
            notes: draft.notes,
        })
    }

    fn part(
        &self,
        package: &PkgInst,
        archive: &BackoutArchive<'_>,
        params: Params,
    ) -> Result<PackagePlan, Reason> {
        let is_ours = archive.manifest.is_some() && archive.made_by_scripts.is_none();
        let role = if is_ours { Role::Ours } else { Role::Foreign };
        let (image, index) = (archive.made_by_scripts.unwrap_or(archive.image), archive.index);
        let chosen = self.options.scripts.about(package, image, &params, role)?;
        let target = PackageTarget::new(package.clone(), index, image, params)?;
        let objects = if is_ours { target.saved()? } else { target.wanted()? };
        let mapped = objects.iter().map(MappedObject::of).collect();
        let deletes = image.deletes.iter().map(|path| target.resolve(path));
        let deletes = deletes.collect::<Result<_, _>>()?;
        let (package, restores) = (package.clone(), archive.manifest.is_some());
        // A run of several patches has no scripts; this would copy the parameters for each patch.
        let params = if self.going.len() > 1 { Params::new() } else { target.params };
        Ok(PackagePlan { package, index, params, chosen, mapped, deletes, restores })
    }

    fn patch_directories(&self) -> Result<Vec<RecordChange>, Reason> {
        patch_directories(self.going, self.sources.archives, self.inventory)
    }

    /// An archive of another patch or package would restore foreign files. The ledger says if it belongs to
    /// this root, not the header: a root may get another marker.
    fn check_header(&self, id: &PatchId, package: &PkgInst, manifest: &UndoManifest) -> Result<(), Reason> {
        let header = &manifest.header;
        let bad = |reason: String| Err(Reason::BadUndoData { package: package.clone(), reason });
        let patch = PatchId::parse(&header.patch, &self.policy.separator);
        if header.package != package.as_str() || patch.as_ref() != Ok(id) {
            return bad(format!("it belongs to patch {} and package {}", header.patch, header.package));
        }
        Ok(())
    }
}

pub(super) struct GoingPackage<'a> {
    pub(super) package: &'a PkgInst,
    pub(super) patches: Vec<(&'a PatchId, &'a BackoutArchive<'a>)>,
    pub(super) listed: ListedPatches<'a>,
    pub(super) by_script: BTreeSet<ObjectPath>,
    pub(super) taken: BTreeMap<PatchId, TakenRecords>,
}

impl<'a> GoingPackage<'a> {
    pub(super) fn chains(&self) -> Chains<'a> {
        self.listed.chains(&self.manifests())
    }

    pub(super) fn all_chains(&self) -> Chains<'a> {
        self.listed.all_chains(&self.manifests())
    }

    fn manifests(&self) -> BTreeMap<&'a PatchId, &'a UndoManifest> {
        let manifests = self.patches.iter().filter_map(|(id, archive)| Some((*id, archive.manifest?)));
        manifests.collect()
    }

    pub(super) fn taking_over<'g>(
        &'g self,
        later: &'g [LaterUndo<'g>],
        inventory: &'g Inventory,
        separator: &'g str,
    ) -> TakingOver<'g> {
        TakingOver {
            package: self.package,
            archives: self.patches.iter().map(|(_, archive)| *archive).collect(),
            taken: &self.taken,
            later,
            inventory,
            separator,
        }
    }

    pub(super) fn live<'g>(&'g self, chains: &Chains<'_>) -> Vec<LivePatch<'g, 'a>> {
        let place = |id: &PatchId| chains.order.iter().position(|patch| patch.id == *id);
        let (mut live, mut runs) = (Vec::new(), HashMap::<usize, Vec<&ChainSegment<'_>>>::new());
        for run in chains.runs.iter().filter(|run| run.heir.is_none()) {
            runs.entry(run.content_saver().unwrap_or(run.first()).at).or_default().push(run);
        }
        for (id, archive) in &self.patches {
            let (Some(at), Some(manifest)) = (place(id), archive.manifest) else { continue };
            let mut objects: Vec<ObjectRecord> = chains.others(at).into_iter().cloned().collect();
            let mut last = HashMap::new();
            for run in runs.remove(&at).unwrap_or_default() {
                let record = live_record(run);
                let is_another = run.saver().is_some() && run.last().at != at;
                let after = chains.order.get(run.last().at).filter(|_| is_another);
                if let (Some(after), Some(path)) = (after, record.object_path()) {
                    last.insert(path, after.id.clone());
                }
                objects.push(record);
            }
            objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            let manifest = UndoManifest { header: manifest.header.clone(), objects, shlibs: Vec::new() };
            live.push(LivePatch { going: self, id, archive, manifest, last });
        }
        live
    }
}

pub(super) struct LivePatch<'g, 'a> {
    going: &'g GoingPackage<'a>,
    id: &'a PatchId,
    archive: &'a BackoutArchive<'a>,
    manifest: UndoManifest,
    /// The last patch with the path, if that is another one.
    last: HashMap<ObjectPath, PatchId>,
}

impl LivePatch<'_, '_> {
    pub(super) fn restoring(&self) -> Restoring<'_> {
        let files = self.archive.image.files();
        Restoring {
            id: self.id,
            package: self.going.package,
            index: self.archive.index,
            saved: files.map(|entry| (&entry.path, entry.object.content)).collect(),
            manifest: &self.manifest,
            bound: self.archive.is_bound,
            native: self.archive.native,
            later: self.going.listed.later(self.id),
            listed: &self.going.listed,
            last: self.last.clone(),
            by_script: self.going.by_script.clone(),
        }
    }
}

fn live_record(run: &ChainSegment<'_>) -> ObjectRecord {
    let (first, last) = (run.first().record, run.last().record);
    let saver = run.content_saver().map_or(first, |link| link.record);
    // If no patch changed the object, only its line comes back.
    let became = if saver.is_untouched() { saver.was.clone() } else { last.became.clone() };
    ObjectRecord {
        line: first.line.clone(),
        new_line: last.new_line.clone(),
        became,
        kept: saver.kept,
        was: run.before().or_else(|| saver.was.clone()),
        ..saver.clone()
    }
}

pub(super) fn patch_directories<'p>(
    going: impl IntoIterator<Item = &'p GoingPatch>,
    archives: &[BackoutArchive<'_>],
    inventory: &Inventory,
) -> Result<Vec<RecordChange>, Reason> {
    let delivered = archives.iter().filter_map(|archive| archive.manifest);
    let mut names: BTreeSet<&str> = delivered.map(|manifest| manifest.header.patch.as_str()).collect();
    names.extend(going.into_iter().map(|patch| patch.id.as_str()));
    let paths: Vec<_> = names.into_iter().map(patch_path).collect::<Result<_, _>>()?;
    let there = paths.into_iter().filter(|path| inventory.live.contains_key(path));
    Ok(there.map(RecordChange::RemoveTree).collect())
}

// The archive of a classic tool has no manifest, only its pkgmap and `deletes`. Attributes that a pkgmap cannot say
// (nanoseconds, extended attributes, link groups) do not come back.

/// A path that a later patch changed again is refused.
fn restore_classic(
    draft: &mut PlanBuilder<'_>,
    id: &PatchId,
    package: &PkgInst,
    index: usize,
    archive: &BackoutArchive<'_>,
    later: &Later<'_>,
) -> Result<(), Reason> {
    let image = archive.image;
    let installed = draft.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
    let target = PackageTarget::new(package.clone(), index, image, installed.params.clone())?;
    let mut wanted = target.wanted()?;
    wanted.retain_mut(|each| is_allowed(draft, each, archive.is_bound));
    let choice = EditChoice { general: Edited::Replace, ..EditChoice::default() };
    let mut edits = Edits::new(draft.inventory, choice, id.as_str(), false);
    for each in &wanted {
        refuse_saved_before(&each.path, later, &draft.inventory.patched_by)?;
        edits.consider((package, false), &each.path, Some(&each.object))?;
    }
    draft.replaced_edits.extend(edits.replaced.iter().cloned());
    for links in [false, true] {
        for each in wanted.iter().filter(|each| (each.object.ftype == Ftype::Link) == links) {
            let handling = edits.handling(&each.path);
            if links {
                draft.link(&target, each, &handling)?;
            } else {
                draft.place(&target, each, &handling)?;
            }
        }
    }
    for path in &image.deletes {
        let path = target.resolve(path)?;
        refuse_saved_before(&path, later, &draft.inventory.patched_by)?;
        draft.delete(package, &path)?;
    }
    Ok(())
}

/// Removes set-id bits that only the archive records. False for such devices, which do not come back.
fn is_allowed(draft: &mut PlanBuilder<'_>, each: &mut Wanted<'_>, bound: bool) -> bool {
    let known = OnRecord::of(draft, &each.path);
    let (object, shown) = (&mut each.object, draft.inventory.show(&each.path));
    if matches!(object.ftype, Ftype::Block | Ftype::Character) && !may_be_device(object, bound, known) {
        draft
            .notes
            .push(format!("{shown} is not restored: only the undo archive says that it was this device"));
        return false;
    }
    if let Some(recorded) = object.attributes.mode.filter(|_| object.ftype.is_regular()) {
        let mode = mode(recorded, bound, known);
        if mode != recorded {
            object.set_mode(Some(mode));
            draft.notes.push(format!(
                "{shown} is restored without set-id bits: only the undo archive says that it had them"
            ));
        }
    }
    true
}
