//! The package database of one tree, read for what comes from it to another one: packages, undo data, lines, directories.

use std::collections::{BTreeMap, BTreeSet};

use super::changed_paths::ChangedPaths;
use super::failure::BroughtFailure;
use super::packages::{ContinuedList, PackageDatabase};
use super::record_files::{is_there, record_files};
use super::undo_data::{StagedPatch, StagedUndo, ledger_of};
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use crate::operation::stages::kept_objects::without_kept;
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::installed::{SavedNames, records};
use patchadm_inputs::database::{DatabaseError, RecordView, places, saves};
use patchadm_inputs::inventory::Installed;
use patchadm_planning::plan::promotion::{BroughtPackage, BroughtPatches, PatchDirectory};
use patchadm_planning::plan::refusal::BroughtReason;
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// The package database of a stage or a root, and the other one to which its records are brought.
pub(in crate::operation::stages) struct RecordSource<'a> {
    /// The source.
    pub(super) from: &'a RootAndPolicy,
    pub(super) to: &'a Root,
    /// The packages of both.
    pub(super) databases: (PackageDatabase, &'a PackageDatabase),
    /// Asks for a signal, which ends the reading.
    pub(super) interrupt: Interrupt<'a>,
}

impl<'a> RecordSource<'a> {
    /// Reads the packages of a tree, or what they will be once these packages and patches have come to it. `known` are those
    /// of the other tree.
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

    /// Returns the same with given packages of the tree.
    pub(in crate::operation::stages) fn with(
        from: &'a RootAndPolicy,
        database: PackageDatabase,
        to: &'a Root,
        known: &'a PackageDatabase,
        interrupt: Interrupt<'a>,
    ) -> Self {
        Self { from, to, databases: (database, known), interrupt }
    }

    /// Returns the patches of the source tree.
    pub(in crate::operation::stages) fn applied(&self) -> &AppliedPatches {
        &self.databases.0.applied
    }

    /// Returns the package as it is in the source, and the patches that come.
    pub(super) fn package(
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

    /// Refuses a package of the other tree that another version replaces, if that tree applied patches of its own to it, or
    /// these patches, which are listed here as well: the history here tells which patches were ever applied here.
    pub(super) fn must_not_be_patched(
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

    /// Returns the patches of a package, in their order.
    pub(super) fn list(&self, package: &PkgInst) -> Vec<PatchId> {
        self.databases.0.list(package)
    }

    pub(super) fn installed(&self, package: &PkgInst) -> Result<Installed, Failure> {
        let mut installed = self.databases.0.packages.get(package).cloned().unwrap_or_default();
        records(&RecordView::live(&self.from.root), package, &mut installed)?;
        Ok(installed)
    }

    /// Adds the lines that the patches changed, as they are in the source.
    pub(super) fn lines(&self, changed: &ChangedPaths, patches: &mut BroughtPatches) -> Result<(), Failure> {
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

    /// Returns the directories of the patches that the other tree lacks.
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
