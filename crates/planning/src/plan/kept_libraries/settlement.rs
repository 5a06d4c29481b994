//! Settles kept libraries: their objects, lines and packages after a plan, the necessary changes in it, and the
//! libraries for its undo archive.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, SHLIBS, StateDifferences, encode};
use patchadm_inputs::inventory::{Installed, Inventory, KEPT_FROM, KeptLibraries};
use patchadm_inputs::native::NativeOwner;
use patchadm_rootfs::{Live, LiveKind, Timestamp};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{
    ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, OwningPackage, PackagePath, Params,
    PkgInst,
};
use patchadm_svr4::places;

use super::package_files::{
    DEPEND, KeptFiles, NewKeptPackage, depend_line, free_instance, instance_of, named_package, prerequisites,
};
use crate::plan::clock::Now;
use crate::plan::records::package_path;
use crate::plan::refusal::Reason;
use crate::plan::{Action, Change, NewObject, Plan, RecordChange, TreeContent, TreeFile, UndoPlace};

#[derive(Clone, Copy, Debug)]
pub struct KeepingCause<'a> {
    /// The change that removes them, as in `KEPT_BY`: a patch, or a command.
    pub by: &'a str,
    /// The patch forbids keeping and the user demanded it.
    pub is_forced: bool,
}

#[derive(Clone, Debug)]
pub enum StayingOrigin {
    TakenAway,
    Kept,
    /// An undo archive restores it.
    Archived(Box<ArchivedLibrary>),
}

/// A kept object in an undo archive.
#[derive(Clone, Debug)]
pub struct ArchivedLibrary {
    pub package: PkgInst,
    pub line: ContentsLine,
    pub object: NewObject,
    /// After the run.
    pub live: Live,
}

#[derive(Clone, Debug)]
pub struct StayingLibrary {
    pub origin: StayingOrigin,
    /// How each needs it, and the path; without processes.
    pub consumers: BTreeSet<(&'static str, ObjectPath)>,
    /// Packages that own a consumer of it.
    pub dependents: BTreeSet<PkgInst>,
    /// Packages that own its own needs.
    pub needs: BTreeSet<PkgInst>,
}

#[derive(Clone, Copy, Debug)]
pub struct KeptInput<'a> {
    /// Made as if nothing were kept.
    pub plan: &'a Plan,
    /// The inventory of that plan.
    pub inventory: &'a Inventory,
    /// Kept before the plan.
    pub kept: &'a KeptLibraries,
    /// Kept afterwards; `None` if consumers are unknown: then all kept libraries stay.
    pub staying: Option<&'a BTreeMap<ObjectPath, StayingLibrary>>,
    /// By package and record name.
    pub archived_packages: &'a BTreeMap<PkgInst, BTreeMap<Vec<u8>, RecordFile>>,
    /// Restored if libraries in them come back.
    pub archived_directories: &'a BTreeMap<ObjectPath, ArchivedLibrary>,
    /// Kept objects that the plan delivers with the same bytes and attributes.
    pub returned: &'a BTreeSet<ObjectPath>,
    /// The reason for keeping libraries that the plan removes.
    pub cause: KeepingCause<'a>,
    pub now: &'a Now,
}

/// The changes that kept libraries cause in a plan.
#[derive(Clone, Debug, Default)]
pub struct KeptSettlement {
    /// Kept afterwards.
    pub kept: KeptLibraries,
    /// Changes of the plan that are not made, so that the objects stay.
    pub unmade: BTreeSet<ObjectPath>,
    /// In addition to changes of the plan, or in place of them.
    pub changes: BTreeMap<ObjectPath, Box<Change>>,
    /// In place of lines of the plan; an inner `None` removes the line.
    pub contents: ContentsEdits,
    /// Lines that stay as they are, regardless of the plan.
    pub unchanged_lines: BTreeSet<ObjectPath>,
    /// Of packages of kept libraries.
    pub records: Vec<RecordChange>,
    /// About objects that stay because a package of dpkg or rpm owns them now.
    pub notes: Vec<String>,
}

impl KeptInput<'_> {
    pub fn settle(&self) -> Result<KeptSettlement, Reason> {
        let mut settling =
            KeptSettling { input: self, done: KeptSettlement::default(), after: BTreeMap::new() };
        settling.objects()?;
        settling.directories();
        settling.packages()?;
        Ok(settling.done)
    }

    fn change(&self, path: &ObjectPath) -> Option<&Change> {
        let at = self.plan.changes.binary_search_by(|change| change.path.cmp(path)).ok()?;
        self.plan.changes.get(at).map(Box::as_ref)
    }

    fn line_after(&self, path: &ObjectPath) -> Option<ContentsLine> {
        match self.plan.contents.get(path) {
            Some(edit) => edit.as_deref().cloned(),
            None => self.line_before(path),
        }
    }

    fn line_before(&self, path: &ObjectPath) -> Option<ContentsLine> {
        let kept = self.kept.lines.get(path).and_then(|line| self.kept.without_keepers(line));
        self.inventory.lines.get(path).cloned().or(kept)
    }

    fn stays(&self, path: &ObjectPath) -> bool {
        match self.staying {
            Some(staying) => staying.contains_key(path),
            None => !self.returned.contains(path) && !self.is_put(path),
        }
    }

    /// Returns the dpkg or rpm package that owns a path now, unless it is the unchanged origin of the kept package.
    fn native_owner(&self, keeper: &PkgInst, path: &ObjectPath) -> Option<&NativeOwner> {
        let owners = [&self.kept.native_owners, &self.inventory.native_owners];
        let owners = owners.into_iter().find(|owners| !owners.of(path).is_empty())?;
        let from = self.kept.packages.get(keeper).map(|kept| kept.params.text(KEPT_FROM).into_owned());
        let from = from.and_then(|from| PkgInst::new(from.trim()).ok());
        let from = from.filter(|from| !self.inventory.native_changes.contains_key(from));
        let origin = from.and_then(|from| self.inventory.native_origin(&from));
        owners.foreign(path, origin.as_ref())
    }

    fn is_put(&self, path: &ObjectPath) -> bool {
        let change = self.change(path);
        change.is_some_and(|change| matches!(change.action, Action::Add(_) | Action::Replace(_)))
    }
}

struct KeptSettling<'a, 'i> {
    input: &'a KeptInput<'i>,
    done: KeptSettlement,
    after: BTreeMap<ObjectPath, PkgInst>,
}

impl KeptSettling<'_, '_> {
    fn objects(&mut self) -> Result<(), Reason> {
        let input = self.input;
        for path in input.kept.paths() {
            if input.stays(path) {
                let Some(keeper) = input.kept.keeper(path) else { continue };
                self.after.insert(path.clone(), keeper.clone());
                self.keep_line(path, input.kept.lines.get(path).cloned());
            } else {
                self.give_up(path);
            }
        }
        let mut instances = BTreeMap::new();
        for (path, staying) in input.staying.into_iter().flatten() {
            match &staying.origin {
                StayingOrigin::Kept => {}
                StayingOrigin::TakenAway => self.leave(path, &mut instances)?,
                StayingOrigin::Archived(archived) => self.bring_back(path, archived, &mut instances)?,
            }
        }
        Ok(())
    }

    fn keep_line(&mut self, path: &ObjectPath, line: Option<ContentsLine>) {
        let live = self.input.kept.live.get(path).or_else(|| self.input.inventory.live.get(path)).cloned();
        self.done.kept.live.extend(live.map(|live| (path.clone(), live)));
        self.done.kept.lines.extend(line.map(|line| (path.clone(), line)));
    }

    /// Drops a kept object, unless the plan delivers it.
    fn give_up(&mut self, path: &ObjectPath) {
        let input = self.input;
        if input.returned.contains(path) {
            self.done.unmade.insert(path.clone());
            return;
        }
        let old = input.kept.live.get(path).cloned().map(Box::new);
        if let Some(change) = input.change(path) {
            if let (Action::Add(new), Some(old)) = (&change.action, old) {
                let action = Action::Replace(new.clone());
                let change = Change { action, old: Some(old), ..change.clone() };
                self.done.changes.insert(path.clone(), Box::new(change));
            }
            return;
        }
        if let (Some(package), Some(old)) = (input.kept.keeper(path).cloned(), old) {
            if let Some(owner) = input.native_owner(&package, path) {
                let note = format!("stays: it belongs to {}", owner.with_manager());
                self.done.notes.push(format!("{} {note}", input.inventory.show(path)));
                self.done.contents.insert(path.clone(), None);
                return;
            }
            let change = Change { package, path: path.clone(), action: Action::Delete, old: Some(old) };
            self.done.changes.insert(path.clone(), Box::new(change));
        }
        self.done.contents.insert(path.clone(), None);
    }

    /// Keeps an object that the plan would remove, and changes its owner.
    fn leave(&mut self, path: &ObjectPath, instances: &mut BTreeMap<PkgInst, PkgInst>) -> Result<(), Reason> {
        let input = self.input;
        let Some(change) = input.change(path) else { return Ok(()) };
        let known = input.line_before(path);
        let Some(mut line) = known.or_else(|| line_of_nobody(change, input.inventory)) else { return Ok(()) };
        let from = line.owners.first().map_or_else(|| change.package.clone(), |owner| owner.package.clone());
        let keeper = if let Some(known) = instances.get(&from) {
            known.clone()
        } else {
            let is_foreign =
                |name: &str| input.inventory.packages.keys().any(|package| package.abbreviation() == name);
            let keeper = free_instance(&from, is_foreign, |instance| self.is_taken(instance))?;
            self.add_package(&from, &keeper);
            instances.insert(from.clone(), keeper.clone());
            keeper
        };
        line.owners = vec![OwningPackage::new(keeper.clone())];
        self.done.unmade.insert(path.clone());
        self.done.contents.insert(path.clone(), Some(Box::new(line.clone())));
        self.after.insert(path.clone(), keeper);
        self.keep_line(path, Some(line));
        Ok(())
    }

    fn bring_back(
        &mut self,
        path: &ObjectPath,
        archived: &ArchivedLibrary,
        instances: &mut BTreeMap<PkgInst, PkgInst>,
    ) -> Result<(), Reason> {
        if let Some(owner) = self.input.native_owner(&archived.package, path) {
            let note = format!("is not restored: it belongs to {}", owner.with_manager());
            self.done.notes.push(format!("{} {note}", self.input.inventory.show(path)));
            return Ok(());
        }
        let keeper = if let Some(known) = instances.get(&archived.package) {
            known.clone()
        } else {
            let keeper = self.instance_again(&archived.package)?;
            instances.insert(archived.package.clone(), keeper.clone());
            keeper
        };
        let mut line = archived.line.clone();
        line.owners = vec![OwningPackage::new(keeper.clone())];
        let there = self.input.change(path).and_then(|change| change.old.as_deref());
        if there.is_some_and(|there| self.is_same(there, &archived.live)) {
            self.done.unmade.insert(path.clone());
        } else {
            let (new, old) = (archived.object.clone(), there.cloned().map(Box::new));
            let action = if old.is_some() { Action::Replace(new) } else { Action::Add(new) };
            let change = Change { package: keeper.clone(), path: path.clone(), action, old };
            self.done.changes.insert(path.clone(), Box::new(change));
        }
        self.done.contents.insert(path.clone(), Some(Box::new(line.clone())));
        self.done.kept.live.insert(path.clone(), archived.live.clone());
        self.done.kept.lines.insert(path.clone(), line);
        self.after.insert(path.clone(), keeper);
        Ok(())
    }

    fn is_same(&self, there: &Live, archived: &Live) -> bool {
        let differ = StateDifferences::between(&RecordedState::of(there), &RecordedState::of(archived));
        let is_link = matches!(there.kind, LiveKind::Symlink(_));
        let has_other_owner = differ.owner && self.input.inventory.privileged;
        !(differ.is_of_content() || has_other_owner || differ.xattrs)
            && (is_link || differ.mode == 0 && !differ.mtime)
    }

    /// The same package if it still exists, else the first free instance.
    fn instance_again(&mut self, archived: &PkgInst) -> Result<PkgInst, Reason> {
        let input = self.input;
        let records = input.archived_packages.get(archived);
        let bytes = records.and_then(|records| records.get(&b"pkginfo"[..])).map(|file| &file.bytes);
        let mut params = bytes.and_then(|bytes| params::parse(bytes).ok()).unwrap_or_default();
        let by = |params: &Params| {
            [KEPT_FROM, "KEPT_BY", "VERSION", "KEPT_PATCHES"].map(|name| params.text(name).into_owned())
        };
        let same = input.kept.packages.get(archived).filter(|known| by(&known.params) == by(&params));
        if same.is_some() {
            return Ok(archived.clone());
        }
        let is_own = |path: &PkgInst| self.is_taken(path);
        let instance =
            if is_own(archived) { instance_of(archived.abbreviation(), is_own)? } else { archived.clone() };
        params.set("PKGINST", instance.as_str());
        let depend = records.and_then(|records| records.get(DEPEND.as_bytes())).cloned();
        let mut installed = Installed { params, ..Installed::default() };
        installed.records.extend(depend.map(|file| (DEPEND.as_bytes().to_vec(), file)));
        self.done.kept.packages.insert(instance.clone(), installed);
        Ok(instance)
    }

    fn is_taken(&self, instance: &PkgInst) -> bool {
        let input = self.input;
        input.inventory.packages.contains_key(instance)
            || input.kept.packages.contains_key(instance)
            || self.done.kept.packages.contains_key(instance)
    }

    fn add_package(&mut self, from: &PkgInst, keeper: &PkgInst) {
        let input = self.input;
        let none = Installed::default();
        // The local package of a promotion may only come with it.
        let old = input.inventory.packages.get(from).unwrap_or(&none);
        let KeepingCause { by, is_forced } = input.cause;
        let new =
            NewKeptPackage { instance: keeper, from: (from, &old.params), by, is_forced, now: input.now };
        let mut installed = Installed { params: new.params(), ..Installed::default() };
        let depend = old.records.get(DEPEND.as_bytes()).map(|file| prerequisites(&file.bytes));
        let mut lines = depend.unwrap_or_default();
        let needs = input.staying.into_iter().flatten().filter(|(path, staying)| {
            let owner = input.line_before(path).and_then(|line| Some(line.owners.first()?.package.clone()));
            let owner = owner.or_else(|| input.change(path).map(|change| change.package.clone()));
            matches!(staying.origin, StayingOrigin::TakenAway) && owner.as_ref() == Some(from)
        });
        let needs: BTreeSet<&PkgInst> = needs.flat_map(|(_, staying)| &staying.needs).collect();
        for package in needs.into_iter().filter(|package| *package != keeper && *package != from) {
            let is_named = |line: &Vec<u8>| named_package(line) == Some(package.as_str().as_bytes());
            if !lines.iter().any(is_named) {
                lines.push(depend_line('P', package.as_str(), &self.name_of(package)));
            }
        }
        lines.sort();
        let text: Vec<u8> = lines.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect();
        let file = RecordFile { bytes: text.into(), mode: Mode::of(0o644), mtime: Timestamp::default() };
        installed.records.insert(DEPEND.as_bytes().to_vec(), file);
        self.done.kept.packages.insert(keeper.clone(), installed);
    }

    fn name_of(&self, package: &PkgInst) -> String {
        let all = [&self.input.inventory.packages, &self.input.kept.packages];
        let known = all.iter().find_map(|packages| packages.get(package));
        known.map(|installed| installed.params.text("NAME").into_owned()).unwrap_or_default()
    }

    /// Directories above kept objects belong to the keepers; other directories no longer do.
    fn directories(&mut self) {
        let input = self.input;
        let mut keepers: BTreeMap<ObjectPath, BTreeSet<PkgInst>> = BTreeMap::new();
        for (path, keeper) in &self.after {
            for above in path.ancestors() {
                keepers.entry(above).or_default().insert(keeper.clone());
            }
        }
        let before = input.kept.lines.iter().filter(|(_, line)| line.object.ftype.is_directory());
        let before = before.map(|(path, _)| path.clone());
        let all: BTreeSet<ObjectPath> = keepers.keys().cloned().chain(before).collect();
        for path in all {
            let here = keepers.remove(&path).unwrap_or_default();
            self.directory(&path, &here);
        }
    }

    fn directory(&mut self, path: &ObjectPath, keepers: &BTreeSet<PkgInst>) {
        let input = self.input;
        let before = input.kept.lines.get(path).or_else(|| input.inventory.lines.get(path));
        let others = input.line_after(path);
        let after = if keepers.is_empty() {
            others
        } else {
            let archived = input.archived_directories.get(path);
            let base = others.or_else(|| {
                let mut line = before.or(archived.map(|archived| &archived.line)).cloned()?;
                line.owners.clear();
                Some(line)
            });
            base.map(|mut line| {
                line.owners.extend(keepers.iter().cloned().map(OwningPackage::new));
                // A previous owner keeps its place in the line.
                let place = |owner: &OwningPackage| {
                    let known =
                        before.map(|line| line.owners.iter().position(|one| one.package == owner.package));
                    known.flatten().unwrap_or(usize::MAX)
                };
                line.owners.sort_by_key(place);
                line
            })
        };
        if !keepers.is_empty() {
            let is_removed = |change: &Change| matches!(change.action, Action::RemoveDirectory);
            if input.change(path).is_some_and(is_removed) {
                self.done.unmade.insert(path.clone());
            }
            if after.is_some() {
                self.keep_line(path, after.clone());
            }
            self.make_directory(path, keepers);
        } else if after.is_none() && before.is_some() {
            self.remove_directory(path);
        }
        if after.as_ref() == before {
            if input.plan.contents.contains_key(path) {
                self.done.unchanged_lines.insert(path.clone());
            }
        } else {
            self.done.contents.insert(path.clone(), after.map(Box::new));
        }
    }

    fn make_directory(&mut self, path: &ObjectPath, keepers: &BTreeSet<PkgInst>) {
        let input = self.input;
        let is_there = input.kept.live.contains_key(path)
            || input.inventory.live.contains_key(path)
            || input.change(path).is_some();
        if let (Some(archived), Some(keeper), false) =
            (input.archived_directories.get(path), keepers.first(), is_there)
        {
            let action = Action::Add(archived.object.clone());
            let change = Change { package: keeper.clone(), path: path.clone(), action, old: None };
            self.done.changes.insert(path.clone(), Box::new(change));
            self.done.kept.live.insert(path.clone(), archived.live.clone());
        }
    }

    /// Removes an empty directory that only kept packages owned.
    fn remove_directory(&mut self, path: &ObjectPath) {
        let input = self.input;
        let owner = input.kept.lines.get(path).and_then(|line| line.owners.first());
        let live = input.kept.live.get(path).filter(|live| live.is_directory());
        let is_native = !input.kept.native_owners.of(path).is_empty();
        if let (Some(owner), Some(old), None, false) = (owner, live, input.change(path), is_native) {
            let (package, old) = (owner.package.clone(), Some(Box::new(old.clone())));
            let change = Change { package, path: path.clone(), action: Action::RemoveDirectory, old };
            self.done.changes.insert(path.clone(), Box::new(change));
        }
    }

    fn packages(&mut self) -> Result<(), Reason> {
        let input = self.input;
        let mut all: BTreeSet<PkgInst> = self.after.values().cloned().collect();
        let gone: Vec<PkgInst> =
            input.kept.packages.keys().filter(|package| !all.contains(*package)).cloned().collect();
        for package in gone {
            self.done.records.push(RecordChange::RemoveTree(places::package(&package)));
        }
        while let Some(package) = all.pop_first() {
            self.package(&package)?;
        }
        Ok(())
    }

    fn package(&mut self, package: &PkgInst) -> Result<(), Reason> {
        let input = self.input;
        let (known, new) = (input.kept.packages.get(package), self.done.kept.packages.get(package));
        let Some(base) = new.or(known) else { return Ok(()) };
        let own = self.after.iter().filter(|(_, keeper)| *keeper == package).map(|(path, _)| path);
        let staying: Option<Vec<&StayingLibrary>> =
            input.staying.map(|staying| own.filter_map(|path| staying.get(path)).collect());
        let depend = base.records.get(DEPEND.as_bytes()).map(|file| prerequisites(&file.bytes));
        let mut files = match staying {
            Some(staying) => {
                let dependents: BTreeSet<&PkgInst> =
                    staying.iter().flat_map(|library| &library.dependents).collect();
                let named = |package: &&PkgInst| (package.to_string(), self.name_of(package));
                let dependents = dependents.iter().map(named).collect();
                let consumers =
                    staying.iter().flat_map(|library| library.consumers.iter().cloned()).collect();
                let prerequisites = depend.unwrap_or_default();
                self.files(package, &base.params, &prerequisites, &dependents, &consumers)
            }
            None => BTreeMap::new(),
        };
        let (params, is_new) = (base.params.clone(), known.is_none());
        let mut installed =
            Installed { params, records: BTreeMap::new(), ..known.cloned().unwrap_or_default() };
        installed.records = known.map(|known| known.records.clone()).unwrap_or_default();
        if let Some(known) = known {
            files.retain(|name, bytes| known.records.get(name).is_none_or(|file| *file.bytes != *bytes));
        }
        let mode = Mode::of(0o644);
        if is_new {
            let file = |(name, bytes): (&Vec<u8>, &Vec<u8>)| {
                let content = TreeContent::Bytes(bytes.clone());
                TreeFile { name: name.clone(), content, mode, mtime: Some(input.now.timestamp()) }
            };
            let (path, files) = (places::package(package), files.iter().map(file).collect());
            self.done.records.push(RecordChange::AddTree { path, files });
        } else {
            for (name, bytes) in &files {
                let (path, bytes) = (package_path(package, name)?, bytes.clone());
                let mtime = Some(input.now.timestamp());
                self.done.records.push(RecordChange::Write { path, bytes, mode, mtime });
            }
        }
        let files = files.into_iter().map(|(name, bytes)| {
            (name, RecordFile { bytes: bytes.into(), mode, mtime: input.now.timestamp() })
        });
        installed.records.extend(files);
        self.done.kept.packages.insert(package.clone(), installed);
        Ok(())
    }

    fn files(
        &self,
        package: &PkgInst,
        params: &Params,
        prerequisites: &[Vec<u8>],
        dependents: &BTreeMap<String, String>,
        consumers: &BTreeSet<(&'static str, ObjectPath)>,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let lines = self.done.kept.lines.values().filter(|line| line.is_owned_by(package)).collect();
        KeptFiles { params, lines, prerequisites, dependents, consumers }.files()
    }
}

fn line_of_nobody(change: &Change, inventory: &Inventory) -> Option<ContentsLine> {
    let live = change.old.as_deref()?;
    let mut object = match &live.kind {
        LiveKind::Regular { .. } => {
            let mut object = Object::new(Ftype::File, "none");
            object.content = live.content_info().unwrap_or_default();
            object
        }
        LiveKind::Symlink(target) => {
            let mut object = Object::new(Ftype::Symlink, "none");
            object.target = Some(target.clone());
            object
        }
        _ => return None,
    };
    if object.ftype == Ftype::File {
        object.attributes = ObjectAttributes {
            mode: Some(live.mode),
            owner: Some(inventory.accounts.user(live.uid)),
            group: Some(inventory.accounts.group(live.gid)),
        };
    }
    Some(ContentsLine { path: change.path.clone(), volume: None, object, owners: Vec::new() })
}

impl KeptSettlement {
    /// Returns the kept objects that are there before and after the plan.
    pub fn staying(&self) -> BTreeMap<ObjectPath, Live> {
        let stays =
            |(path, live): &(&ObjectPath, &Live)| !live.is_directory() && !self.changes.contains_key(*path);
        let staying = self.kept.live.iter().filter(stays);
        staying.map(|(path, live)| (path.clone(), live.clone())).collect()
    }

    pub fn apply(&self, plan: &mut Plan) {
        plan.changes
            .retain(|change| !self.unmade.contains(&change.path) && !self.changes.contains_key(&change.path));
        plan.changes.extend(self.changes.values().cloned());
        plan.changes.sort_by(|a, b| a.path.cmp(&b.path));
        plan.contents.retain(|path, _| !self.unchanged_lines.contains(path));
        plan.contents.extend(self.contents.iter().map(|(path, line)| (path.clone(), line.clone())));
        plan.records.extend(self.records.iter().cloned());
        plan.notes.extend(self.notes.iter().cloned());
    }
}

// The archive holds the kept libraries that the objects replaced by its patch need (patchadm-undo(5)): later pruning
// does not affect a backout.

#[derive(Clone, Debug, Default)]
pub struct SavedLibraries {
    records: Vec<ObjectRecord>,
    entries: Vec<(PkgmapEntry, ObjectPath)>,
    files: BTreeMap<Vec<u8>, RecordFile>,
    packages: BTreeSet<String>,
    unserved: Vec<(String, String, String)>,
}

impl SavedLibraries {
    /// Collects kept objects that do not stay, directories that only they used, and the `needed` objects of replaced
    /// ones. `unserved` are needs that only the plan meets: object, name and digest of the object.
    pub fn of(
        before: &KeptLibraries,
        after: &KeptSettlement,
        needed: &BTreeSet<ObjectPath>,
        unserved: &BTreeSet<(ObjectPath, String, String)>,
    ) -> Self {
        let mut saved = Self::default();
        for path in before.paths() {
            let stays = after.kept.keeper(path).is_some();
            if stays && !needed.contains(path) {
                continue;
            }
            let (Some(keeper), Some(line), Some(live)) =
                (before.keeper(path), before.lines.get(path), before.live.get(path))
            else {
                continue;
            };
            saved.add(keeper, line, live, stays.then(|| after.kept.lines.get(path)).flatten());
            saved.add_files(before, keeper);
        }
        saved.add_directories(before, after);
        let escaped = |(path, name, digest): &(ObjectPath, String, String)| {
            (encode(path.as_bytes()), name.clone(), digest.clone())
        };
        saved.unserved = unserved.iter().map(escaped).collect();
        saved
    }

    fn add(&mut self, keeper: &PkgInst, line: &ContentsLine, live: &Live, after: Option<&ContentsLine>) {
        let path = &line.path;
        let Ok(written) = PackagePath::new(path.as_bytes()) else { return };
        let was = RecordedState::of(live);
        let mut object = line.object.clone();
        let member = match &live.kind {
            LiveKind::Regular { size, cksum, .. } => {
                object.content.size = Some(*size);
                object.content.cksum = Some(*cksum);
                object.content.mtime = Some(live.mtime.seconds);
                Some(encode(path.as_bytes()).into())
            }
            LiveKind::Symlink(target) => {
                object.target = Some(target.clone());
                None
            }
            LiveKind::Directory => None,
            _ => return,
        };
        if object.ftype.is_regular() == member.is_none() {
            return;
        }
        self.records.push(ObjectRecord {
            path: encode(path.as_bytes()),
            became: after.map(|_| was.clone()),
            was: Some(was),
            line: Some(encode(&line.write()).into()),
            new_line: after.map(|line| encode(&line.write()).into()),
            kept: false,
            delivered: false,
            member,
            shlib: Some(keeper.as_str().into()),
            file: None,
        });
        self.entries.push((PkgmapEntry { part: 1, path: written, object }, path.clone()));
    }

    fn add_directories(&mut self, before: &KeptLibraries, after: &KeptSettlement) {
        let is_gone = |path: &ObjectPath| after.contents.get(path).is_some_and(Option::is_none);
        let directories = before.lines.iter().filter(|(_, line)| line.object.ftype.is_directory());
        for (path, line) in directories.filter(|(path, _)| is_gone(path)) {
            if let (Some(owner), Some(live)) = (line.owners.first(), before.live.get(path)) {
                self.add(&owner.package, line, live, None);
                self.add_files(before, &owner.package);
            }
        }
    }

    fn add_files(&mut self, before: &KeptLibraries, keeper: &PkgInst) {
        if !self.packages.insert(keeper.to_string()) {
            return;
        }
        let records = before.packages.get(keeper).map(|installed| &installed.records);
        for (name, file) in records.into_iter().flatten() {
            let name = [keeper.as_str().as_bytes(), b"/", name].concat();
            self.files.insert(name, file.clone());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.unserved.is_empty()
    }

    pub fn size(&self) -> u64 {
        self.entries.iter().filter_map(|(entry, _)| entry.object.content.size).sum()
    }

    /// Moves the libraries into the last undo archive of a plan.
    pub fn put_into(self, plan: &mut Plan) {
        let Some(archive) = plan.undo.last_mut().filter(|_| !self.is_empty()) else { return };
        let header = &mut archive.manifest.header;
        header.features.push(SHLIBS.to_owned());
        header.kept = self.packages.into_iter().collect();
        header.unserved = self.unserved;
        let saves_nothing = archive.place == UndoPlace::ManifestOnly;
        let records = self.records.into_iter().map(|record| {
            let member = record.member.clone().filter(|_| !saves_nothing);
            ObjectRecord { member, ..record }
        });
        archive.manifest.shlibs = records.collect();
        if !saves_nothing {
            archive.saved.extend(self.entries);
            archive.kept_records = self.files;
        }
    }
}
