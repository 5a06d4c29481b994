//! What comes live from the package database of a stage: the patches that the root lacks, and the packages that are new.
//!
//! ```text
//!   packages (which ones) ─► undo_data (verified) ─► changed_paths (both trees) ─► record_files ─► BroughtPatches
//! ```
//! Nothing is written here, neither in the stage nor on the root.

mod changed_paths;
mod failure;
mod lock;
mod packages;
mod record_files;
mod records;
mod undo_data;

use std::collections::{BTreeMap, BTreeSet};

use crate::database::contents::{lines_of_package, lines_of_paths};
use crate::database::installed::{SavedNames, records};
use crate::database::{DatabaseError, RecordView, marker, places, saves};
use crate::inventory::Installed;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use crate::plan::promotion::{BroughtPackage, BroughtPatches, NewPackage, PatchDirectory};
use crate::plan::refusal::BroughtReason;
use changed_paths::ChangedPaths;
use failure::BroughtFailure;
use packages::{ContinuedList, OnlyStaged, only_staged};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;
use record_files::{is_there, record_files};
use undo_data::{StagedPatch, StagedUndo};

pub(super) use changed_paths::ComparedSides;
pub(in crate::operation::stages) use lock::{lock_records, must_be_finished};
pub(super) use packages::PackageDatabase;
pub(super) use records::BroughtRecords;

/// A stage with records of its own, and its root.
pub(super) struct StagedRecords<'a> {
    /// The stage as the root that it is.
    stage: RootAndPolicy,
    root: &'a Root,
    databases: (PackageDatabase, &'a PackageDatabase),
}

impl<'a> StagedRecords<'a> {
    /// Reads the packages of a stage. `live` are those of its root.
    pub(super) fn of(stage: &Root, root: &'a Root, live: &'a PackageDatabase) -> Result<Self, Failure> {
        let stage = RootAndPolicy::of(stage)?;
        let packages = stage.packages()?;
        let applied = stage.recorded(&packages)?;
        let of_stage = PackageDatabase { packages, applied };
        Ok(Self { stage, root, databases: (of_stage, live) })
    }

    /// Says what comes live. `base` are the packages of the base in force, and `own` the promotions of this stage that the
    /// root has.
    pub(super) fn brought(
        &self,
        base: Option<&BTreeMap<PkgInst, String>>,
        own: &BTreeSet<PatchId>,
        sides: &ComparedSides<'_>,
    ) -> Result<BroughtRecords, BroughtFailure> {
        let (of_stage, live) = (&self.databases.0, self.databases.1);
        let only = only_staged((of_stage, live), base, own)?;
        if !only.patched.is_empty() && marker(&self.stage.root)? != marker(self.root)? {
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
        order.sort_by(|one, other| (one.0, one.1, one.2).cmp(&(other.0, other.1, other.2)));
        let mut changed = ChangedPaths::default();
        for (_, _, id, package, patch) in &order {
            changed.add(id, package, patch);
            if !brought.patches.ids.contains(id) {
                brought.patches.ids.push(PatchId::clone(id));
            }
        }
        brought.patches.objects = changed.compared(sides)?;
        self.lines(&changed, &mut brought.patches)?;
        self.directories(&mut brought.patches)?;
        brought.new_packages = self.new_packages(&only)?;
        Ok(brought)
    }

    /// The package as the stage has it, and the patches that come.
    fn package(
        &self,
        package: &PkgInst,
        list: &ContinuedList,
    ) -> Result<(BroughtPackage, Vec<StagedPatch>), BroughtFailure> {
        let view = RecordView::live(&self.stage.root);
        let staged = Installed { saves: saves::saves(&view, package)?, ..self.installed(package)? };
        let names = SavedNames::of(&view, package)?;
        let undo = StagedUndo::of(&self.stage, package)?;
        let (mut patches, mut lines, mut saved) = (Vec::new(), Vec::new(), BTreeMap::new());
        for id in &list.patches {
            let name = names.name(id);
            let patch = undo.patch(id, &name)?;
            lines.push(patch.line.clone());
            patches.push(patch);
            if let Ok(directory) = places::save(package).join(name.as_bytes()) {
                saved.insert(name, record_files(&view, &directory)?);
            }
        }
        let (list, ids) = (list.list.clone(), list.patches.clone());
        Ok((BroughtPackage { patches: ids, staged, list, saves: saved, lines }, patches))
    }

    fn installed(&self, package: &PkgInst) -> Result<Installed, Failure> {
        let mut installed = self.databases.0.packages.get(package).cloned().unwrap_or_default();
        records(&RecordView::live(&self.stage.root), package, &mut installed)?;
        Ok(installed)
    }

    /// The lines that the patches changed, as the stage has them.
    fn lines(&self, changed: &ChangedPaths, patches: &mut BroughtPatches) -> Result<(), Failure> {
        let paths = changed.lines.keys().cloned().collect();
        let mut lines =
            lines_of_paths(&RecordView::live(&self.stage.root), &paths).map_err(DatabaseError::from)?;
        let line =
            |(path, package): (&ObjectPath, &PkgInst)| (path.clone(), (package.clone(), lines.remove(path)));
        patches.lines = changed.lines.iter().map(line).collect();
        Ok(())
    }

    /// The directories of the patches, as far as the root lacks them.
    fn directories(&self, patches: &mut BroughtPatches) -> Result<(), Failure> {
        let (stage, live) = (RecordView::live(&self.stage.root), RecordView::live(self.root));
        for id in &patches.ids {
            let Ok(path) = places::patches().join(id.as_str().as_bytes()) else { continue };
            if !is_there(&stage, &path)? {
                continue;
            }
            let mut files = record_files(&stage, &path)?;
            let is_there = is_there(&live, &path)?;
            if is_there {
                let known: Vec<Vec<u8>> = live.list(&path)?.unwrap_or_default();
                files.retain(|file| !known.contains(&file.name));
            }
            patches.directories.insert(id.clone(), PatchDirectory { is_there, files });
        }
        Ok(())
    }

    fn new_packages(&self, only: &OnlyStaged) -> Result<BTreeMap<PkgInst, NewPackage>, Failure> {
        let view = RecordView::live(&self.stage.root);
        let new = |package: &PkgInst| {
            let lines = lines_of_package(&view, package).map_err(DatabaseError::from)?;
            Ok((package.clone(), NewPackage { staged: self.installed(package)?, lines }))
        };
        only.new.iter().map(new).collect()
    }
}
