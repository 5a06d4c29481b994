//! Plans a refresh: patches that end, trimmed undo data, new registrations with lines and records from the native
//! records and the disk.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::{
    NATIVE_DIFFERING, NATIVE_EDITED, NATIVE_OVERTAKEN, NATIVE_VERSION, NativeChange, NativeRegistration,
};
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::format::params;
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::back_out::{GoingPackage, LivePatch, patch_directories};
use super::backout_input::{GoingPatch, UndoSources};
use super::backout_records::{RecordsAfter, RecordsBefore, TakenRecords, fold};
use super::later::{AppliedPackages, LaterManifests};
use super::overtaken::SavedEdit;
use super::restore::restore;
use super::taking_over::{Rewritten, TakingOver, copied};
use crate::plan::clock::Now;
use crate::plan::package::adopt::{
    AdoptableSoftware, AdoptionConflict, FoundSoftware, found_software, image,
};
use crate::plan::parameters::PATCH_INFO;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::{RecordChanges, files, package_path};
use crate::plan::refusal::{Command, ObjectProblem, Reason, Refusal};
use crate::plan::scripts::{is_passing, is_recorded};
use crate::plan::target::PackageTarget;
use crate::plan::{Action, LedgerChange, Plan, RecordChange, UndoArchive, space};

#[derive(Clone, Debug)]
pub struct RefreshedPackage {
    pub change: NativeChange,
    /// `None` if it was removed.
    pub software: Option<RefreshedSoftware>,
}

#[derive(Clone, Debug)]
pub struct RefreshedSoftware {
    /// With parameters from the native records.
    pub software: AdoptableSoftware,
    pub registration: NativeRegistration,
    /// The native records are those of the registration, so its lines stay.
    pub is_same: bool,
    /// Escaped paths of files that differ from the native records, separated by blanks.
    pub differing: String,
    /// The files among them, as [`edited_text`](patchadm_inputs::native::edited_text) writes them.
    pub edited: String,
    /// Directories that its manager left out, with everything listed in them.
    pub left_out: BTreeSet<ObjectPath>,
    /// Patches that have handed over a part, now or before.
    pub overtaken: Vec<String>,
    /// Paths that patches hold or added.
    pub held: BTreeMap<ObjectPath, HeldPath>,
}

pub struct RefreshInput<'a> {
    pub packages: &'a BTreeMap<PkgInst, RefreshedPackage>,
    /// The last applied first, each with its future record.
    pub ending: &'a [(GoingPatch, String)],
    /// Of these patches, and the trimmed data of patches that stand.
    pub sources: UndoSources<'a>,
    /// Trimmed, of patches that stand.
    pub manifests: &'a LaterManifests,
    /// Patches that stand with trimmed undo data.
    pub trimmed: &'a BTreeSet<(PkgInst, PatchId)>,
    /// An administrator's bytes that would be lost with undo data.
    pub edits: &'a [SavedEdit<'a>],
    pub records: Vec<RecordChange>,
}

#[derive(Debug)]
pub struct IntendedRefresh {
    pub plan: Plan,
    /// Listed paths without an object.
    pub missing: Vec<ObjectPath>,
}

/// Plans until a signal comes.
pub fn refresh(
    input: &RefreshInput<'_>,
    inventory: &Inventory,
    policy: &Policy,
    now: &Now,
    interrupt: Interrupt<'_>,
) -> Result<IntendedRefresh, Refusal> {
    let subject = input.packages.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let planner = RefreshPlanner { input, inventory, separator: &policy.separator, now, interrupt };
    planner.plan().map_err(|reason| reason.shown(inventory).of(Command::AdoptRefresh, &subject))
}

struct RefreshPlanner<'a> {
    input: &'a RefreshInput<'a>,
    inventory: &'a Inventory,
    separator: &'a str,
    now: &'a Now,
    interrupt: Interrupt<'a>,
}

struct PackageAfter<'a> {
    going: GoingPackage<'a>,
    params: Params,
    records: Vec<RecordChange>,
}

impl<'a> RefreshPlanner<'a> {
    fn plan(&self) -> Result<IntendedRefresh, Reason> {
        let mut draft = PlanBuilder::new(self.inventory);
        let software = self.input.packages.values().filter_map(|one| one.software.as_ref());
        draft.left_out = software.flat_map(|software| &software.left_out).cloned().collect();
        let mut packages = Vec::new();
        for package in self.packages() {
            self.check_interrupt()?;
            packages.push(self.package(package)?);
        }
        let mut rewritten = Rewritten::default();
        self.objects(&mut draft, &packages, &mut rewritten)?;
        draft.relink()?;
        draft.finish()?;
        let (mut record_changes, mut missing, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
        let changed: BTreeSet<&PkgInst> = self.input.packages.keys().collect();
        let anew = changed.iter().copied().filter(|package| !self.keeps_lines(package)).collect();
        let mut lines = NewLines::without(self.inventory, std::mem::take(&mut draft.lines), &anew);
        for after in packages {
            self.check_interrupt()?;
            let changes = self.registered(after, &mut draft, &mut lines, &mut missing, &mut conflicts)?;
            record_changes.extend(changes);
        }
        refuse_conflicts(&conflicts)?;
        record_changes.extend(self.patch_directories()?);
        record_changes.append(&mut rewritten.records);
        record_changes.extend(self.input.records.iter().cloned());
        let plan = self.finished(draft, lines, fold(record_changes), rewritten)?;
        Ok(IntendedRefresh { plan, missing })
    }

    fn check_interrupt(&self) -> Result<(), Reason> {
        Reason::unless_interrupted(self.interrupt)
    }

    fn packages(&self) -> BTreeSet<&'a PkgInst> {
        let others = self.input.ending.iter().flat_map(|(patch, _)| &patch.packages);
        self.input.packages.keys().chain(others).collect()
    }

    fn software(&self, package: &PkgInst) -> Option<&'a RefreshedSoftware> {
        self.input.packages.get(package)?.software.as_ref()
    }

    fn keeps_lines(&self, package: &PkgInst) -> bool {
        let gives_up = self.input.trimmed.iter().any(|(trimmed, _)| trimmed == package)
            || self.input.ending.iter().any(|(patch, _)| patch.packages.contains(package));
        self.software(package).is_some_and(|software| software.is_same && !gives_up)
    }

    fn package(&self, package: &'a PkgInst) -> Result<PackageAfter<'a>, Reason> {
        let input = self.input;
        let of = input.ending.iter().filter(|(patch, _)| patch.packages.contains(package));
        let ending: Vec<&'a PatchId> = of.map(|(patch, _)| &patch.id).collect();
        let among = AppliedPackages {
            inventory: self.inventory,
            separator: self.separator,
            known: input.manifests,
            going: input.ending.iter().map(|(patch, _)| &patch.id).collect(),
        };
        let mut before = RecordsBefore::of(&among, package, self.now)?;
        let mut patches = Vec::new();
        for id in ending {
            let mut archives = input.sources.archives.iter();
            let archive = archives.find(|one| one.package == package && *one.patch == *id);
            patches.push((id, archive.ok_or_else(|| Reason::NoUndoData(package.clone()))?));
        }
        patches.sort_by_cached_key(|(id, _)| std::cmp::Reverse(before.listed.place(id)));
        for (id, archive) in &patches {
            before.back_out(id, archive)?;
        }
        let params = before.params().cloned().unwrap_or_default();
        let RecordsAfter { listed, changes: records, mut taken } = before.after()?;
        self.force_rewriting(package, &params, &mut taken);
        let going = GoingPackage { package, patches, listed, by_script: BTreeSet::new(), taken };
        Ok(PackageAfter { going, params, records })
    }

    fn force_rewriting(
        &self,
        package: &PkgInst,
        params: &Params,
        taken: &mut BTreeMap<PatchId, TakenRecords>,
    ) {
        let trimmed = self.input.trimmed.iter().filter(|(of, _)| of == package);
        for (_, id) in trimmed {
            taken.entry(id.clone()).or_default();
        }
        let Some(software) = self.software(package) else { return };
        let new = registered_params(params, software);
        let is_other = |name: &&str| new.get(name) != params.get(name);
        let others: Vec<&str> = ["NAME", "ARCH", "VERSION"].into_iter().filter(is_other).collect();
        if others.is_empty() {
            return;
        }
        for later in self.input.sources.later.iter().filter(|later| later.package == package) {
            let Ok(id) = PatchId::parse(&later.patch, self.separator) else { continue };
            let values = others.iter().map(|name| ((*name).to_owned(), new.get(name).map(<[u8]>::to_vec)));
            taken.entry(id).or_default().parameters.extend(values);
        }
    }

    fn objects(
        &self,
        draft: &mut PlanBuilder<'_>,
        packages: &[PackageAfter<'a>],
        rewritten: &mut Rewritten,
    ) -> Result<(), Reason> {
        let mut all = Vec::new();
        for after in packages {
            all.push((&after.going, after.going.all_chains()));
        }
        for (going, chains) in &all {
            self.check_interrupt()?;
            self.taking_over(going).rewrite(chains, rewritten)?;
        }
        let mut live = Vec::new();
        for (going, chains) in &all {
            live.extend(going.live(chains));
        }
        let restorings: Vec<_> = live.iter().map(LivePatch::restoring).collect();
        restore(draft, &restorings, self.interrupt)?;
        for (going, chains) in &all {
            self.taking_over(going).keep_edited(draft, chains)?;
        }
        self.emptied_directories(draft);
        self.input.edits.iter().try_for_each(|edit| self.keep_edit(draft, edit))
    }

    /// The package manager could not remove these directories while they held objects of a patch.
    fn emptied_directories(&self, draft: &mut PlanBuilder<'_>) {
        let mut emptied: BTreeSet<ObjectPath> = BTreeSet::new();
        for change in draft.changes.values() {
            if matches!(change.action, Action::Delete | Action::RemoveDirectory) {
                emptied.extend(std::iter::successors(change.path.parent(), ObjectPath::parent));
            }
        }
        for (package, refreshed) in self.input.packages {
            for (path, line) in &self.inventory.lines {
                let is_its_own = line.object.ftype.is_directory()
                    && line.owners.iter().all(|owner| owner.package == *package);
                let is_unlisted = self.inventory.native_owners.of(path).is_empty();
                let goes = match &refreshed.software {
                    None => is_unlisted,
                    Some(software) => {
                        emptied.contains(path) && (is_unlisted || software.left_out.contains(path))
                    }
                };
                let live = self.inventory.live.get(path).filter(|live| live.is_directory());
                if is_its_own && goes && live.is_some_and(|live| live.obstacle.is_none()) {
                    draft.change(package, path, Action::RemoveDirectory);
                }
            }
        }
    }

    fn taking_over<'g>(&'g self, going: &'g GoingPackage<'a>) -> TakingOver<'g> {
        going.taking_over(self.input.sources.later, self.inventory, self.separator)
    }

    fn keep_edit(&self, draft: &mut PlanBuilder<'_>, edit: &SavedEdit<'_>) -> Result<(), Reason> {
        let SavedEdit { package, id, record, .. } = edit;
        let Some(path) = record.object_path() else { return Ok(()) };
        let is_there = |live: &patchadm_rootfs::Live| {
            live.digest().is_some() && live.digest() == record.was.as_ref().and_then(RecordedState::digest)
        };
        if self.inventory.live.get(&path).is_some_and(is_there) {
            return Ok(());
        }
        let shown = draft.inventory.show(&path);
        let Some(new) = self.saved(edit) else {
            draft.notes.push(format!("changes to {shown} before {id} were not saved"));
            return Ok(());
        };
        let name = draft.free_name(&path, &format!("edited-{id}")).map_err(|problem: ObjectProblem| {
            Reason::Object { package: package.clone(), path: path.to_string(), problem }
        })?;
        let kept = draft.inventory.show(&name);
        draft
            .notes
            .push(format!("{shown} was edited before {id}; the run keeps the edited version as {kept}"));
        draft.open_way(package, &name).map_err(|problem| Reason::Object {
            package: package.clone(),
            path: name.to_string(),
            problem,
        })?;
        draft.change(package, &name, Action::Add(new));
        Ok(())
    }

    fn saved(&self, edit: &SavedEdit<'_>) -> Option<crate::plan::NewObject> {
        let is_it = |patch: &PatchId, package: &PkgInst| *patch == edit.id && *package == edit.package;
        let going = self.input.sources.archives.iter().find(|one| is_it(one.patch, one.package));
        let staying = || {
            let mut later = self.input.sources.later.iter();
            let later = later.find(|one| {
                let id = PatchId::parse(&one.patch, self.separator);
                id.is_ok_and(|id| is_it(&id, one.package))
            })?;
            Some((later.archive?.index, &edit.record))
        };
        let (index, record): (usize, &ObjectRecord) =
            going.map(|one| (one.index, &edit.record)).or_else(staying)?;
        copied(record, index, edit.image)
    }

    fn registered(
        &self,
        after: PackageAfter<'a>,
        draft: &mut PlanBuilder<'_>,
        lines: &mut NewLines<'_>,
        missing: &mut Vec<ObjectPath>,
        conflicts: &mut Vec<AdoptionConflict>,
    ) -> Result<Vec<RecordChange>, Reason> {
        let PackageAfter { going, params, records: mut changes } = after;
        let package = going.package;
        let Some(refreshed) = self.input.packages.get(package) else { return Ok(changes) };
        let Some(software) = &refreshed.software else {
            changes.push(RecordChange::RemoveTree(package_path(package, b"")?));
            changes.push(RecordChange::Ledger(LedgerChange::of(package)));
            return Ok(changes);
        };
        let installed = self.inventory.packages.get(package).ok_or(Reason::NoSuchPackage)?;
        let mut params = registered_params(&params, software);
        for (patch, told) in self.input.ending.iter().filter(|(patch, _)| patch.packages.contains(package)) {
            params.set(&format!("{PATCH_INFO}{}", patch.id), told.as_str());
        }
        let pkginfo = package_path(package, b"pkginfo")?;
        if self.keeps_lines(package) {
            let mode = installed
                .records
                .get(&b"pkginfo"[..])
                .map_or(patchadm_svr4::package::Mode::of(0o644), |old| old.mode);
            changes.push(RecordChange::Write {
                path: pkginfo,
                bytes: params::write(&params),
                mode,
                mtime: None,
            });
            return Ok(changes);
        }
        let mut there = Cow::Borrowed(&software.software);
        let goes = |path: &ObjectPath| {
            let change = draft.changes.get(path);
            change.is_some_and(|change| matches!(change.action, Action::RemoveDirectory))
        };
        if software.left_out.iter().any(goes) {
            there.to_mut().paths.retain(|path, _| !goes(path));
        }
        let found: FoundSoftware = lines.register(&there)?;
        for (path, held) in &software.held {
            lines.hold(package, path, held);
        }
        draft.notes.extend(found.notes.iter().cloned());
        let is_held = |path: &&ObjectPath| software.held.contains_key(*path);
        let gone = found.missing.iter().filter(|path| !is_held(path));
        missing.extend(gone.map(|path| self.inventory.show(path)));
        conflicts.extend(found.conflicts.iter().cloned());
        changes.extend(records(&there, installed, &found, params, self.now)?);
        Ok(changes)
    }

    fn patch_directories(&self) -> Result<Vec<RecordChange>, Reason> {
        let ending = self.input.ending.iter().map(|(patch, _)| patch);
        patch_directories(ending, self.input.sources.archives, self.inventory)
    }

    fn finished(
        &self,
        draft: PlanBuilder<'_>,
        lines: NewLines<'_>,
        records: Vec<RecordChange>,
        rewritten: Rewritten,
    ) -> Result<Plan, Reason> {
        let changes: Vec<_> = draft.changes.into_values().collect();
        let archives: Vec<&UndoArchive> = rewritten.undo.iter().collect();
        let passing = rewritten.versions.iter().map(|version| version.member.size);
        let extra: Vec<_> = passing.map(|size| (patchadm_svr4::places::own_directory(), size, 1)).collect();
        let space = space::needs(self.inventory, &changes, &records, &archives, &extra);
        space::enough(&space)?;
        let packages: Vec<PkgInst> = self.packages().into_iter().cloned().collect();
        let last = packages.last().ok_or(Reason::NoSuchPackage)?;
        let used_up = self.input.sources.archives.iter().filter_map(|archive| archive.outside);
        let used_up = used_up.map(std::path::Path::to_owned);
        Ok(Plan {
            command: Command::Adopt.name(),
            patches: Vec::new(),
            changes,
            records,
            contents: lines.edits(),
            trailer: self.now.trailer(Command::Adopt.name(), last),
            packages,
            undo: rewritten.undo,
            versions: rewritten.versions,
            space,
            discard: used_up.chain(rewritten.discard).collect(),
            signature: None,
            merges: Vec::new(),
            direction: crate::plan::Direction::Back,
            notes: draft.notes,
        })
    }
}

fn registered_params(params: &Params, software: &RefreshedSoftware) -> Params {
    let mut new = params.clone();
    let of_native = &software.software.params;
    // A version named at adoption stays.
    let is_followed = params.get(NATIVE_VERSION).is_none_or(|native| params.get("VERSION") == Some(native));
    for (name, value) in of_native.iter().filter(|(name, _)| matches!(*name, "NAME" | "ARCH" | "VERSION")) {
        if name != "VERSION" || is_followed {
            new.set(name, value);
        }
    }
    software.registration.write(&mut new);
    let lists = [
        (NATIVE_DIFFERING, software.differing.clone()),
        (NATIVE_EDITED, software.edited.clone()),
        (NATIVE_OVERTAKEN, software.overtaken.join(" ")),
    ];
    for (name, value) in lists {
        if value.is_empty() { new.remove(name) } else { new.set(name, value) }
    }
    new
}

/// A path that patches hold or added.
#[derive(Clone, Debug)]
pub struct HeldPath {
    /// Another one if it was diverted since.
    pub place: ObjectPath,
    /// The line, if an ending patch recorded another one.
    pub recorded: Option<ContentsLine>,
}

type LineEdits = BTreeMap<ObjectPath, (PkgInst, Option<Box<ContentsLine>>)>;

struct NewLines<'a> {
    before: &'a Inventory,
    edits: LineEdits,
    /// Future lines, without the changed packages.
    after: Inventory,
}

impl<'a> NewLines<'a> {
    fn without(inventory: &'a Inventory, edits: LineEdits, packages: &BTreeSet<&PkgInst>) -> Self {
        let mut after = inventory.clone();
        let lines = &mut after.lines;
        for (path, (_, line)) in &edits {
            match line {
                Some(line) => drop(lines.insert(path.clone(), ContentsLine::clone(line))),
                None => drop(lines.remove(path)),
            }
        }
        for line in lines.values_mut() {
            line.owners.retain(|owner| !packages.contains(&owner.package));
        }
        lines.retain(|_, line| !line.owners.is_empty());
        Self { before: inventory, edits, after }
    }

    fn register(&mut self, software: &AdoptableSoftware) -> Result<FoundSoftware, Reason> {
        let found = found_software(software, &self.after)?;
        for (path, line) in &found.lines {
            match line {
                Some(line) => drop(self.after.lines.insert(path.clone(), ContentsLine::clone(line))),
                None => drop(self.after.lines.remove(path)),
            }
        }
        Ok(found)
    }

    fn hold(&mut self, package: &PkgInst, path: &ObjectPath, HeldPath { place, recorded }: &HeldPath) {
        let held = match self.edits.get(path) {
            Some((_, line)) => line.as_deref(),
            None => self.before.lines.get(path),
        };
        let Some(held) = held.filter(|line| line.is_owned_by(package)) else { return };
        let mut line = ContentsLine { path: place.clone(), ..held.clone() };
        if let Some(recorded) = recorded {
            line.object = recorded.object.clone();
        }
        if let Some(new) = self.after.lines.get(place) {
            let others = new.owners.iter().filter(|owner| owner.package != *package).cloned();
            let own = held.owners.iter().filter(|owner| owner.package == *package).cloned();
            line.owners = others.chain(own).collect();
        } else {
            line.owners.retain(|owner| owner.package == *package);
        }
        self.after.lines.insert(place.clone(), line);
    }

    fn edits(self) -> ContentsEdits {
        let mut edits = ContentsEdits::new();
        for (path, line) in &self.before.lines {
            match self.after.lines.get(path) {
                Some(new) if new == line => {}
                new => drop(edits.insert(path.clone(), new.cloned().map(Box::new))),
            }
        }
        let new = self.after.lines.into_iter().filter(|(path, _)| !self.before.lines.contains_key(path));
        edits.extend(new.map(|(path, line)| (path, Some(Box::new(line)))));
        edits
    }
}

pub(super) fn records(
    software: &AdoptableSoftware,
    installed: &Installed,
    found: &FoundSoftware,
    params: Params,
    now: &Now,
) -> Result<Vec<RecordChange>, Reason> {
    let package = &software.package;
    let image = image(software, &found.entries, now)?;
    let target = PackageTarget::new(package.clone(), 0, &image, params)?;
    let stays = |name: &str| is_recorded(name) && !is_passing(name);
    let files = files(package, target.image, &target.params, stays)?;
    // Their records from an ending patch do not count.
    let unknown = Installed { records: BTreeMap::new(), ..installed.clone() };
    let mut changes = RecordChanges::of(package, &unknown, files)?.changes;
    for change in &mut changes {
        let RecordChange::Write { path, mode, .. } = change else { continue };
        let known = installed.records.iter().find(|(name, _)| path.as_bytes().ends_with(name));
        if let Some((_, known)) = known {
            *mode = known.mode;
        }
    }
    Ok(changes)
}

fn refuse_conflicts(conflicts: &[AdoptionConflict]) -> Result<(), Reason> {
    let Some(first) = conflicts.first() else { return Ok(()) };
    Err(Reason::Administration { found: first.to_string(), answer: None })
}
