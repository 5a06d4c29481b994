use std::collections::{BTreeMap, BTreeSet};

use super::databases::{ContinuedList, PackageDatabase, only_live, only_staged};
use super::undo_data::{
    BroughtFailure, ComparedSides, SidePaths, StagedPatch, StagedUndo, found_by, ledger_of,
};
use crate::operation::failure::Failure;
use crate::operation::record_damage::must_agree;
use crate::operation::session::RootAndPolicy;
use crate::operation::stages::tree::{Tree, without_kept};
use crate::three_way::{Outcomes, PathOutcome};
use patchadm_changeset::archive_file::digest_of;
use patchadm_changeset::format::manifest::decode;
use patchadm_inputs::database::contents::{ContentsLines, lines_of_packages, lines_of_paths};
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::installed::{SavedNames, records};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{DatabaseError, RecordView, ViewError, marker, places, saves};
use patchadm_inputs::inventory::{Installed, Touched};
use patchadm_planning::plan::promotion::{
    BroughtPackage, BroughtPatches, NewPackage, NewPatches, PatchDirectory,
};
use patchadm_planning::plan::refusal::{BroughtReason, LineFault};
use patchadm_planning::plan::{CopiedRecord, TreeContent, TreeFile};
use patchadm_rootfs::{FileType, Interrupt, ObjectStatus, Root};
use patchadm_svr4::format::contents::ContentsReader;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Provides records for another tree.
pub(in crate::operation::stages) struct RecordSource<'a> {
    pub(in crate::operation::stages) from: &'a RootAndPolicy,
    pub(in crate::operation::stages) to: &'a Root,
    pub(in crate::operation::stages) databases: (PackageDatabase, &'a PackageDatabase),
    pub(in crate::operation::stages) interrupt: Interrupt<'a>,
}

impl<'a> RecordSource<'a> {
    /// Reads packages as after `brought`. `known` are the other tree's.
    pub(in crate::operation::stages) fn of(
        from: &'a RootAndPolicy,
        brought: Option<&BroughtPatches>,
        to: &'a Root,
        known: &'a PackageDatabase,
        interrupt: Interrupt<'a>,
    ) -> Result<Self, Failure> {
        let now = PackageDatabase::of(from)?;
        let database = match brought {
            Some(brought) => now.with(brought, from)?,
            None => now,
        };
        Ok(Self::with(from, database, to, known, interrupt))
    }

    pub(in crate::operation::stages) fn with(
        from: &'a RootAndPolicy,
        database: PackageDatabase,
        to: &'a Root,
        known: &'a PackageDatabase,
        interrupt: Interrupt<'a>,
    ) -> Self {
        Self { from, to, databases: (database, known), interrupt }
    }

    pub(in crate::operation::stages) fn applied(&self) -> &AppliedPatches {
        &self.databases.0.applied
    }

    pub(in crate::operation::stages) fn package(
        &self,
        package: &PkgInst,
        list: &ContinuedList,
    ) -> Result<(BroughtPackage, Vec<StagedPatch>), BroughtFailure> {
        let view = RecordView::live(&self.from.root);
        let staged = Installed { saves: saves::saves(&view, package)?, ..self.installed(package)? };
        let names = SavedNames::of(&view, package)?;
        let undo = StagedUndo::of(self.from, package, self.interrupt)?;
        let (mut patches, mut lines, mut saved) = (Vec::new(), Vec::new(), BTreeMap::new());
        for id in &list.patches {
            let name = names.name(id);
            let patch = undo.patch(id, &name)?;
            lines.push(patch.line.clone());
            patches.push(patch);
            if let Ok(directory) = places::save(package).join(name.as_bytes()) {
                saved.insert(name, record_files(&view, &directory, self.interrupt)?);
            }
        }
        let (list, ids) = (list.list.clone(), list.patches.clone());
        let of = BroughtPackage { patches: ids, staged, list, saves: saved, lines, replaces: false };
        Ok((of, patches))
    }

    /// Refuses replacing a package to which the other tree applied own patches. The history tells which patches were
    /// ever applied here.
    pub(in crate::operation::stages) fn must_not_be_patched(
        &self,
        package: &PkgInst,
        listed: &[PatchId],
    ) -> Result<(), BroughtFailure> {
        let there = self.databases.1.list(package);
        if there.is_empty() {
            return Ok(());
        }
        let view = RecordView::live(self.to);
        let (made, names) = (ledger_of(&view, package)?, SavedNames::of(&view, package)?);
        let done = readable_history(&RecordView::live(&self.from.root)).into_iter();
        let done = done.filter(|entry| entry.result == "done").flat_map(|entry| entry.patches);
        let known: BTreeSet<String> = done.collect();
        let is_own = |id: &PatchId| made.line(&names.name(id)).is_some() && !known.contains(id.as_str());
        let own: Vec<PatchId> = there.into_iter().filter(|id| listed.contains(id) || is_own(id)).collect();
        if own.is_empty() {
            return Ok(());
        }
        let live = self.databases.0.version(package).unwrap_or_default();
        Err(BroughtReason::PatchedAndReplaced { package: package.clone(), live, stage: own }.into())
    }

    pub(in crate::operation::stages) fn list(&self, package: &PkgInst) -> Vec<PatchId> {
        self.databases.0.list(package)
    }

    pub(in crate::operation::stages) fn installed(&self, package: &PkgInst) -> Result<Installed, Failure> {
        let mut installed = self.databases.0.packages.get(package).cloned().unwrap_or_default();
        records(&RecordView::live(&self.from.root), package, &mut installed)?;
        Ok(installed)
    }

    pub(in crate::operation::stages) fn lines(
        &self,
        changed: &SidePaths,
        patches: &mut BroughtPatches,
    ) -> Result<(), Failure> {
        let paths = changed.lines.keys().cloned().collect();
        let mut lines =
            lines_of_paths(&RecordView::live(&self.from.root), &paths).map_err(DatabaseError::from)?;
        let line = |(path, package): (&ObjectPath, &PkgInst)| {
            let line = lines.remove(path).and_then(|line| without_kept(line, &self.databases.0.kept));
            (path.clone(), (package.clone(), line))
        };
        patches.lines = changed.lines.iter().map(line).collect();
        Ok(())
    }

    pub(in crate::operation::stages) fn directories(
        &self,
        patches: &mut BroughtPatches,
    ) -> Result<(), Failure> {
        let (stage, live) = (RecordView::live(&self.from.root), RecordView::live(self.to));
        for id in &patches.ids {
            let Ok(path) = places::patches().join(id.as_str().as_bytes()) else { continue };
            if !is_there(&stage, &path)? {
                continue;
            }
            let mut files = record_files(&stage, &path, self.interrupt)?;
            let is_there = is_there(&live, &path)?;
            if is_there {
                let known: Vec<Vec<u8>> = live.list(&path)?.unwrap_or_default();
                files.retain(|file| !known.contains(&file.name));
            }
            patches.directories.insert(id.clone(), PatchDirectory { is_there, files });
        }
        Ok(())
    }
}

impl RecordSource<'_> {
    /// Returns records to go live. `base` has the packages of the base in force, `own` the stage's promotions. The
    /// stage's records must agree first.
    pub(in crate::operation::stages) fn brought(
        &self,
        base: Option<&BTreeMap<PkgInst, String>>,
        own: &BTreeSet<PatchId>,
        sides: &ComparedSides<'_>,
    ) -> Result<BroughtRecords, BroughtFailure> {
        let (of_stage, live) = (&self.databases.0, self.databases.1);
        let is_nobody = |_: &PkgInst| false;
        must_agree(&RecordView::live(&self.from.root), self.from.root.workers(), self.interrupt, is_nobody)?;
        let only = only_staged((of_stage, live), base, own)?;
        let is_any_patched = !only.patched.is_empty() || only.new.values().any(|patches| !patches.is_empty());
        if is_any_patched && marker(&self.from.root)? != marker(self.to)? {
            return Err(BroughtReason::OtherMarker.into());
        }
        let mut brought = BroughtRecords { versions: of_stage.versions(), ..BroughtRecords::default() };
        let mut order = Vec::new();
        for (package, list) in &only.patched {
            let (of, patches) = self.package(package, list)?;
            for (place, (id, patch)) in list.patches.iter().zip(patches).enumerate() {
                order.push((patch.run, place, id, package, patch));
            }
            brought.patches.packages.insert(package.clone(), of);
        }
        let (mut of_new, mut of_new_packages) = (Vec::new(), Vec::new());
        let names = only.new.keys().cloned().collect();
        let lines = lines_of_packages(&RecordView::live(&self.from.root), &names);
        let mut lines = lines.map_err(DatabaseError::from)?;
        for (package, ids) in &only.new {
            let lines = lines.remove(package).unwrap_or_default();
            let (new, patches) = self.new_package((package, lines), ids, sides, &mut of_new)?;
            of_new_packages.extend(ids.iter().zip(patches).map(|(id, patch)| (id, package, patch)));
            brought.new_packages.insert(package.clone(), new);
        }
        order.sort_by(|one, other| (one.0, one.1, one.2).cmp(&(other.0, other.1, other.2)));
        let mut changed = SidePaths::default();
        for (_, _, id, package, patch) in &order {
            changed.add(id, package, patch);
        }
        let of_known = order.iter().map(|(run, place, id, ..)| (*run, *place, PatchId::clone(id)));
        of_new.extend(of_known);
        of_new.sort();
        for (_, _, id) in of_new {
            if !brought.patches.ids.contains(&id) {
                brought.patches.ids.push(id);
            }
        }
        brought.patches.objects = changed.compared(sides)?;
        self.lines(&changed, &mut brought.patches)?;
        let of_known = order.iter().map(|(_, _, id, package, patch)| (*id, *package, patch));
        let of_new = of_new_packages.iter().map(|(id, package, patch)| (*id, *package, patch));
        for (id, package, patch) in of_known.chain(of_new) {
            self.must_put_back((id, package), patch, &brought)?;
        }
        self.must_agree(&brought)?;
        brought.leave_new_owners_to_their_packages();
        self.directories(&mut brought.patches)?;
        Ok(brought)
    }

    /// Returns a package with lines and patches; `order` gets run and position of each patch.
    fn new_package(
        &self,
        (package, lines): (&PkgInst, ContentsLines),
        ids: &[PatchId],
        sides: &ComparedSides<'_>,
        order: &mut Vec<(u64, usize, PatchId)>,
    ) -> Result<(NewPackage, Vec<StagedPatch>), BroughtFailure> {
        let own = lines
            .into_iter()
            .filter_map(|(path, line)| Some((path, without_kept(line, &self.databases.0.kept)?)));
        let lines = own.collect();
        if ids.is_empty() {
            let patched = NewPatches::default();
            return Ok((NewPackage { staged: self.installed(package)?, lines, patched }, Vec::new()));
        }
        let list = ContinuedList { patches: ids.to_vec(), list: ids.to_vec() };
        let (of, patches) = self.package(package, &list)?;
        let mut changed = SidePaths::default();
        for (place, (id, patch)) in ids.iter().zip(&patches).enumerate() {
            order.push((patch.run, place, id.clone()));
            changed.add(id, package, patch);
        }
        let patched = NewPatches {
            ids: of.patches,
            objects: changed.compared_with_stage(sides)?,
            found: found_by(&patches),
            saves: of.saves,
            lines: of.lines,
        };
        Ok((NewPackage { staged: of.staged, lines, patched }, patches))
    }
}

impl RecordSource<'_> {
    /// Returns records for a stage, without patch directories. `own` are its promotions; `is_as_live` tells whether a
    /// path equals the root from now on. Skips packages with unreadable undo data.
    pub(in crate::operation::stages) fn refreshed(
        &self,
        own: &BTreeSet<PatchId>,
        is_as_live: &dyn Fn(&ObjectPath) -> bool,
    ) -> Result<BroughtPatches, Failure> {
        let mut brought = BroughtPatches::default();
        let mut changed = SidePaths::default();
        for (package, list) in only_live((self.databases.1, &self.databases.0), own) {
            let (of, patches) = match self.package(&package, &list) {
                Ok(found) => found,
                Err(BroughtFailure::Refused(_)) => continue,
                Err(BroughtFailure::Failed(failure)) => return Err(failure),
            };
            let mut paths = SidePaths::default();
            for (id, patch) in list.patches.iter().zip(&patches) {
                paths.add(id, &package, patch);
            }
            if !paths.objects().all(is_as_live) {
                continue;
            }
            let new = list.patches.iter().filter(|id| !brought.ids.contains(id));
            let new: Vec<PatchId> = new.cloned().collect();
            brought.ids.extend(new);
            brought.packages.insert(package, of);
            changed.lines.append(&mut paths.lines);
        }
        self.lines(&changed, &mut brought)?;
        self.keep_owners_of_stage(&mut brought)?;
        Ok(brought)
    }

    /// Gives changed lines the owners that the stage has, with those that only the stage has.
    fn keep_owners_of_stage(&self, brought: &mut BroughtPatches) -> Result<(), Failure> {
        let (live, stage) = (&self.databases.0.packages, &self.databases.1.packages);
        let paths = brought.lines.keys().cloned().collect();
        let there = lines_of_paths(&RecordView::live(self.to), &paths).map_err(DatabaseError::from)?;
        for (path, (_, line)) in &mut brought.lines {
            let mut own = there.get(path).cloned();
            if let Some(own) = &mut own {
                own.owners.retain(|owner| !live.contains_key(&owner.package));
            }
            let own = own.filter(|own| !own.owners.is_empty());
            if let Some(line) = line {
                line.owners.retain(|owner| stage.contains_key(&owner.package));
                line.owners.extend(own.iter().flat_map(|own| own.owners.iter().cloned()));
            }
            *line = line.take().filter(|line| !line.owners.is_empty()).or(own);
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(in crate::operation::stages) struct BroughtRecords {
    pub(in crate::operation::stages) patches: BroughtPatches,
    /// Packages that only the stage has.
    pub(in crate::operation::stages) new_packages: BTreeMap<PkgInst, NewPackage>,
    pub(in crate::operation::stages) versions: BTreeMap<PkgInst, String>,
}

impl BroughtRecords {
    /// Removes new packages from changed lines: their own lines add them, and a backout removes them there.
    fn leave_new_owners_to_their_packages(&mut self) {
        let is_new = |package: &PkgInst| self.new_packages.contains_key(package);
        for (_, line) in self.patches.lines.values_mut() {
            if let Some(known) = line {
                known.owners.retain(|owner| !is_new(&owner.package));
            }
            *line = line.take().filter(|line| !line.owners.is_empty());
        }
    }

    pub(in crate::operation::stages) fn has(&self, path: &ObjectPath) -> bool {
        let is_of_new = |package: &NewPackage| package.lines.contains_key(path);
        self.patches.objects.contains_key(path) || self.new_packages.values().any(is_of_new)
    }

    /// The stage wins at paths that its patches changed.
    pub(in crate::operation::stages) fn decide(&self, outcomes: &mut Outcomes, live: &Tree) {
        for (path, object) in &self.patches.objects {
            let is_on_root = live.object(path).is_some();
            match (object.is_there, is_on_root) {
                (true, _) => drop(outcomes.insert(path.clone(), PathOutcome::Take)),
                (false, true) => drop(outcomes.insert(path.clone(), PathOutcome::Delete)),
                (false, false) => drop(outcomes.remove(path)),
            }
        }
    }

    /// Refuses a path of a new package's patch if another object stays on the root.
    pub(in crate::operation::stages) fn must_be_taken(
        &self,
        outcomes: &Outcomes,
    ) -> Result<(), BroughtReason> {
        let objects = self.new_packages.values().flat_map(|package| &package.patched.objects);
        for (path, object) in objects.filter(|(_, object)| object.is_there) {
            let outcome = outcomes.get(path);
            if outcome.is_some_and(|outcome| !outcome.is_taken() && *outcome != PathOutcome::TakeTime) {
                return Err(BroughtReason::NotAsFound { patch: object.patch.clone(), path: path.clone() });
            }
        }
        Ok(())
    }

    pub(in crate::operation::stages) fn touch(&self, touched: &mut Touched, stage: &Tree) {
        let objects = |path: &_| stage.object(path).map(|object| &object.live);
        touched.paths.extend(self.patches.paths().cloned());
        touched.not_directories.extend(self.patches.not_directories(objects));
        touched.packages.extend(self.patches.packages.keys().cloned());
        touched.paths.extend(self.new_packages.values().flat_map(|package| package.lines.keys().cloned()));
    }

    pub(in crate::operation::stages) fn is_empty(&self) -> bool {
        self.patches.packages.is_empty() && self.new_packages.is_empty()
    }
}

/// In bytes.
const LARGEST: u64 = 1 << 30;

impl RecordSource<'_> {
    /// Refuses the stage's lines that contradict the root's packages.
    pub(in crate::operation::stages) fn must_agree(
        &self,
        brought: &BroughtRecords,
    ) -> Result<(), BroughtFailure> {
        let of_patches = brought.patches.lines.iter();
        let of_patches = of_patches.map(|(path, (package, line))| (path, package, line.as_ref()));
        let of_new = brought
            .new_packages
            .iter()
            .flat_map(|(package, new)| new.lines.iter().map(move |(path, line)| (path, package, Some(line))));
        let lines: Vec<_> = of_patches.chain(of_new).collect();
        let paths = lines.iter().map(|(path, ..)| ObjectPath::clone(path)).collect();
        let live = lines_of_paths(&RecordView::live(self.to), &paths).map_err(DatabaseError::from)?;
        let known = self.known(brought);
        for (path, package, line) in lines {
            let fault = line.and_then(|line| fault(line, &known)).or_else(|| {
                let there = live.get(path)?;
                let taken = there.owners.iter().map(|owner| &owner.package).find(|owner| {
                    let stays = line.map_or(*owner == package, |line| line.is_owned_by(owner));
                    !stays && !self.databases.1.kept.contains_key(*owner)
                })?;
                Some(LineFault::Taken(taken.clone()))
            });
            if let Some(fault) = fault {
                let view = RecordView::live(&self.from.root);
                let file = view.root().show(&places::contents());
                let line = number(&view, path);
                return Err(BroughtReason::BadLine { file, line, path: path.clone(), fault }.into());
            }
        }
        Ok(())
    }

    /// Refuses undo data whose lines contradict the root's packages.
    fn must_put_back(
        &self,
        (id, package): (&PatchId, &PkgInst),
        patch: &StagedPatch,
        brought: &BroughtRecords,
    ) -> Result<(), BroughtFailure> {
        let known = self.known(brought);
        let texts = patch.manifest.objects.iter().flat_map(|record| [&record.line, &record.new_line]);
        for text in texts.flatten() {
            let file = format!("the undo data of patch {id} of package {package}");
            let bad = |reason: String| BroughtReason::DamagedUndo(format!("{file}: {reason}"));
            let line = ContentsLine::parse(&decode(text)).map_err(|error| bad(error.to_string()))?;
            if let Some(fault) = fault(&line, &known) {
                return Err(BroughtReason::BadLine { file, line: None, path: line.path, fault }.into());
            }
        }
        Ok(())
    }

    fn known<'k>(&'k self, brought: &'k BroughtRecords) -> BTreeSet<&'k PkgInst> {
        let live = self.databases.1;
        live.packages.keys().chain(live.kept.keys()).chain(brought.new_packages.keys()).collect()
    }
}

fn fault(line: &ContentsLine, known: &BTreeSet<&PkgInst>) -> Option<LineFault> {
    let mut counts: BTreeMap<&PkgInst, usize> = BTreeMap::new();
    for owner in &line.owners {
        if !known.contains(&owner.package) {
            return Some(LineFault::Unknown(owner.package.clone()));
        }
        let count = counts.entry(&owner.package).or_default();
        *count += 1;
        if *count > 1 {
            return Some(LineFault::Twice(owner.package.clone()));
        }
    }
    None
}

fn number(view: &RecordView<'_>, path: &ObjectPath) -> Option<u64> {
    let text = view.read(&places::contents(), LARGEST).ok().flatten()?;
    let mut reader = ContentsReader::new(text.as_slice());
    loop {
        let number = reader.line() + 1;
        let raw = reader.next_line().ok()??;
        if ContentsLine::parse(raw).is_ok_and(|line| line.path == *path) {
            return Some(number);
        }
    }
}

pub(in crate::operation::stages) fn fault_after_merge(
    line: &ContentsLine,
    before: Option<&ContentsLine>,
    known: &BTreeSet<&PkgInst>,
) -> Option<LineFault> {
    fault(line, known).or_else(|| {
        let mut owners = before?.owners.iter().map(|owner| &owner.package);
        owners.find(|owner| !line.is_owned_by(owner)).cloned().map(LineFault::Taken)
    })
}

/// In bytes.
const IN_MEMORY: u64 = 64 << 10;

/// Empty if the directory does not exist.
pub(in crate::operation::stages) fn record_files(
    view: &RecordView<'_>,
    directory: &ObjectPath,
    interrupt: Interrupt<'_>,
) -> Result<Vec<TreeFile>, ArchiveError> {
    let mut files = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(below) = open.pop() {
        let at = join(directory, &below);
        for name in at.as_ref().map(|at| view.list(at)).transpose()?.flatten().unwrap_or_default() {
            let name = if below.is_empty() { name } else { [&below[..], b"/", &name].concat() };
            let Some(path) = join(directory, &name) else { continue };
            let Some(seen) = view.look(&path)? else { continue };
            match seen.file_type {
                FileType::Directory => open.push(name),
                FileType::Regular => files.extend(record_file(view, &path, name, &seen, interrupt)?),
                _ => {}
            }
        }
    }
    files.sort_by(|one: &TreeFile, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Package tools cannot have made a name that is too deep.
fn join(directory: &ObjectPath, below: &[u8]) -> Option<ObjectPath> {
    if below.is_empty() { Some(directory.clone()) } else { directory.join(below).ok() }
}

fn record_file(
    view: &RecordView<'_>,
    path: &ObjectPath,
    name: Vec<u8>,
    seen: &ObjectStatus,
    interrupt: Interrupt<'_>,
) -> Result<Option<TreeFile>, ArchiveError> {
    let content = if seen.size <= IN_MEMORY {
        let Some(bytes) = view.read(path, IN_MEMORY)? else { return Ok(None) };
        TreeContent::Bytes(bytes)
    } else {
        let Some(file) = view.open(path)? else { return Ok(None) };
        let shown = view.root().show(path);
        let failed = |error| ArchiveError::from(patchadm_changeset::archive_file::unreadable(&shown, &error));
        let b3 = digest_of(&file, interrupt);
        // An interrupted read also fails.
        interrupt().map_or(Ok(()), |signal| Err(ArchiveError::Interrupted(signal)))?;
        let b3 = b3.map_err(failed)?;
        TreeContent::Copied(Box::new(CopiedRecord {
            tree: view.root().clone(),
            path: path.clone(),
            from: 0,
            size: seen.size,
            b3,
        }))
    };
    Ok(Some(TreeFile { name, content, mode: seen.mode, mtime: Some(seen.mtime) }))
}

pub(in crate::operation::stages) fn is_there(
    view: &RecordView<'_>,
    directory: &ObjectPath,
) -> Result<bool, ViewError> {
    Ok(view.look(directory)?.is_some_and(|seen| seen.file_type == FileType::Directory))
}
