//! Patches that are not in force for some programs: programs that still load a library from before a patch, kept for them.
//!
//! A kept library counts against every effective patch of the package that it is from, except in two cases. Its content may
//! have the patch (`KEPT_PATCHES`). Or the patch changed no library of that package: it neither removed a kept path nor
//! changed an object with the name of a library (`.so` at its end or before a version). If the undo data of a patch does not
//! tell what it changed, the patch counts as one that did: better a library is named too often than a loaded one is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::link_chains::{files_with_links, opened_name};
use super::look::{KeptLook, look_at_kept};
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{ObjectRecord, PatchedPaths, decode};
use patchadm_inputs::database::{DatabaseError, RecordView, contents, installed, ledger, places};
use patchadm_inputs::inventory::{Installed, KEPT_FROM, is_kept_package};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{
    CONSUMERS, KeptLibrary, ToldConsumer, is_named_as_kept, way_of_needing,
};
use patchadm_rootfs::never;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatch, AppliedPatches, PatchId};

/// The largest file of consumers that is read, in bytes.
const LARGEST_CONSUMERS: u64 = 16 << 20;

/// The kept libraries of each effective patch that they do not contain.
pub type LibrariesBeforePatches = BTreeMap<PatchId, Vec<KeptLibrary>>;

/// The records that tell which patches are newer than a kept library.
#[derive(Clone, Copy)]
pub(in crate::operation) struct PatchedRecords<'a> {
    pub(in crate::operation) view: &'a RecordView<'a>,
    /// The basis for reading undo data; without it, nothing tells what a patch changed.
    pub(in crate::operation) ground: Option<&'a RootAndPolicy>,
    pub(in crate::operation) separator: &'a str,
    pub(in crate::operation) packages: &'a BTreeMap<PkgInst, Installed>,
    pub(in crate::operation) applied: &'a AppliedPatches,
}

impl PatchedRecords<'_> {
    /// Returns what is still loaded by the records of the last run that looked; empty, at no cost, if nothing is kept. These
    /// records have the consumers of a package, not those of each of its libraries.
    pub(in crate::operation) fn by_records(self) -> Result<LibrariesBeforePatches, Failure> {
        let kept = self.packages.iter().filter(|(_, installed)| is_kept_package(&installed.params));
        let mut libraries = Vec::new();
        for (package, installed) in kept {
            libraries.extend(recorded(self.view, package, &installed.params)?);
        }
        Ok(self.by_patch(&libraries))
    }

    /// Returns what is still loaded as a look at the root has found it.
    pub(in crate::operation) fn by_look(self, look: &KeptLook) -> LibrariesBeforePatches {
        let libraries: Vec<KeptLibrary> = look.libraries.iter().map(|one| one.kept(look)).collect();
        self.by_patch(&libraries)
    }

    fn by_patch(self, libraries: &[KeptLibrary]) -> LibrariesBeforePatches {
        let mut all = LibrariesBeforePatches::new();
        if libraries.is_empty() {
            return all;
        }
        for patch in self.applied.effective() {
            let older: Vec<KeptLibrary> =
                libraries.iter().filter(|library| self.is_before(library, patch)).cloned().collect();
            if !older.is_empty() {
                all.insert(patch.id.clone(), older);
            }
        }
        all
    }

    /// Tells whether a kept library is from before a patch that changed a library of its package.
    fn is_before(self, library: &KeptLibrary, patch: &AppliedPatch) -> bool {
        let Some(from) = patch.packages.iter().find(|package| package.as_str() == library.from) else {
            return false;
        };
        let Some(keeper) = self.packages.get(&library.package) else { return false };
        let is_meant = |word: &str| PatchId::parse(word, self.separator).is_ok_and(|id| id == patch.id);
        if keeper.params.text("KEPT_PATCHES").split_whitespace().any(is_meant) {
            return false;
        }
        is_meant(&keeper.params.text("KEPT_BY")) || self.changed_library(patch, from, &library.paths)
    }

    fn changed_library(self, patch: &AppliedPatch, package: &PkgInst, kept: &[ObjectPath]) -> bool {
        match self.told(&patch.id, package) {
            Some(PatchedPaths::Manifest(manifest)) => {
                let changed =
                    manifest.objects.iter().filter(|record| record.has_path() && record.is_changed());
                let mut paths = changed.filter_map(ObjectRecord::object_path);
                paths.any(|path| is_library_name(path.name()) || kept.contains(&path))
            }
            Some(PatchedPaths::Paths(paths)) => {
                paths.iter().any(|path| is_library_name(path.name()) || kept.contains(path))
            }
            None => true,
        }
    }

    /// Returns what undo data tells of a patch in a package; `None` if it does not tell the caller.
    fn told(self, id: &PatchId, package: &PkgInst) -> Option<PatchedPaths> {
        let ground = self.ground?;
        let name = installed::saved_as(self.view, package, id).ok()?;
        let ledger = ledger::counting(self.view, package).ok()?;
        let params = &self.packages.get(package)?.params;
        ground.undo_data(self.view, None).told((package, params), &name, &ledger).ok()
    }
}

/// Examines the root, and returns what is still loaded. It scans programs and libraries if something is kept.
pub(in crate::operation) fn still_loaded(
    ground: &RootAndPolicy,
    now: &Now,
) -> Result<LibrariesBeforePatches, Failure> {
    let look = look_at_kept(ground, (now, &never), false)?;
    of_root(ground, Some(&look))
}

/// Returns what is still loaded by the records of the last run that looked, to a caller who has the lock. If nothing is
/// kept, only the names of the packages are read.
pub(in crate::operation) fn recorded_as_loaded(
    ground: &RootAndPolicy,
) -> Result<LibrariesBeforePatches, Failure> {
    let names = RecordView::live(&ground.root).list(&places::packages())?.unwrap_or_default();
    if !names.iter().any(|name| is_named_as_kept(name)) {
        return Ok(LibrariesBeforePatches::new());
    }
    of_root(ground, None)
}

/// Returns what is still loaded as a look has found it, or otherwise by records.
fn of_root(ground: &RootAndPolicy, look: Option<&KeptLook>) -> Result<LibrariesBeforePatches, Failure> {
    let packages = ground.packages()?;
    let applied = ground.recorded(&packages)?;
    let records = PatchedRecords {
        view: &RecordView::live(&ground.root),
        ground: Some(ground),
        separator: &ground.policy.separator,
        packages: &packages,
        applied: &applied,
    };
    match look {
        Some(look) => Ok(records.by_look(look)),
        None => records.by_records(),
    }
}

/// Returns the libraries of a kept package by its records.
fn recorded(
    view: &RecordView<'_>,
    package: &PkgInst,
    params: &Params,
) -> Result<Vec<KeptLibrary>, DatabaseError> {
    let lines = contents::lines_of_package(view, package)?;
    let consumers = consumers(view, package)?;
    let libraries = files_with_links(lines.values()).into_iter().map(|(file, paths)| KeptLibrary {
        package: package.clone(),
        from: params.text(KEPT_FROM).into_owned(),
        library: opened_name(&paths, &lines),
        bytes: lines.get(&file).and_then(|line| line.object.content.size).unwrap_or_default(),
        paths,
        consumers: consumers.clone(),
    });
    Ok(libraries.collect())
}

/// Returns what needed a kept package when a run last looked. Skips a line that makes no sense.
fn consumers(view: &RecordView<'_>, package: &PkgInst) -> Result<Vec<ToldConsumer>, DatabaseError> {
    let Ok(path) = places::package(package).join(CONSUMERS.as_bytes()) else { return Ok(Vec::new()) };
    let Some(text) = view.read(&path, LARGEST_CONSUMERS)? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&text);
    let parsed = text.lines().filter_map(|line| {
        let (how, path) = line.split_once(' ')?;
        Some((way_of_needing(how)?, ObjectPath::new(&decode(path)).ok()?))
    });
    let parsed: BTreeSet<(&'static str, ObjectPath)> = parsed.collect();
    let paths: BTreeSet<ObjectPath> = parsed.iter().map(|(_, path)| path.clone()).collect();
    let lines = contents::lines_of_paths(view, &paths)?;
    let mut told: Vec<ToldConsumer> = parsed
        .into_iter()
        .map(|(how, path)| {
            let owners = lines.get(&path).into_iter().flat_map(|line| &line.owners);
            let packages = owners.map(|owner| owner.package.clone()).collect();
            ToldConsumer { path, packages, how, pid: None }
        })
        .collect();
    told.sort();
    Ok(told)
}

/// Tells whether a name is that of a library: `.so` at its end, or before a version.
fn is_library_name(name: &[u8]) -> bool {
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_told_by_its_name() {
        for (name, expected) in [
            ("libx.so", true),
            ("libx.so.1.2", true),
            ("libx-1.so", true),
            ("libx.socket", false),
            ("so.1", false),
            ("x.conf", false),
        ] {
            assert_eq!(is_library_name(name.as_bytes()), expected, "{name}");
        }
    }
}
