//! Counts the disk space of a root, directory by directory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::disk_usage::{DeviceNumber, DiskUsage};
use super::own_places::area_of;
use super::report::{FileSystemShare, MayGo, PatchSpace, SpaceArea, SpaceReport};
use super::undo_space::{UndoForm, UndoSpace, count_undo};
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::survey::parameters;
use patchadm_inputs::database::{DatabaseError, RecordView, contents, installed, read_consistently};
use patchadm_inputs::inventory::is_kept_package;
use patchadm_inputs::stage::{LONGEST_RECORD, StagesRecord};
use patchadm_rootfs::{Dir, FileType, Root, RootError};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};
use patchadm_svr4::places;

/// The packages and patches of a root.
struct RecordedPatches {
    applied: AppliedPatches,
    packages: Vec<PkgInst>,
    /// The packages of kept libraries.
    kept: BTreeSet<PkgInst>,
}

/// The disk space of a root while it is counted.
pub(super) struct SpaceSurvey<'a> {
    root: &'a Root,
    ground: Option<RootAndPolicy>,
    separator: String,
    records: RecordedPatches,
    usage: DiskUsage,
    undo: BTreeMap<(PatchId, PkgInst), UndoSpace>,
    areas: BTreeMap<SpaceArea, u64>,
    directories: Vec<(String, u64)>,
    file_systems: BTreeMap<DeviceNumber, FileSystemShare>,
}

/// Returns the disk space of the undo data of every applied patch, in the order of listings.
pub(in crate::operation) fn undo_spaces(root: &Root) -> Result<Vec<PatchSpace>, Failure> {
    let mut survey = SpaceSurvey::of(root)?;
    survey.count_saves()?;
    Ok(survey.patches())
}

impl<'a> SpaceSurvey<'a> {
    /// Reads the records of a root.
    pub(super) fn of(root: &'a Root) -> Result<Self, Failure> {
        let (policy, ground) = RootAndPolicy::as_far_as_known(root)?;
        let separator = policy.separator;
        let records = read_consistently(root, |view| recorded_patches(view, &separator))?;
        Ok(Self {
            root,
            ground,
            separator,
            records,
            usage: DiskUsage::default(),
            undo: BTreeMap::new(),
            areas: SpaceArea::ALL.map(|area| (area, 0)).into(),
            directories: Vec::new(),
            file_systems: BTreeMap::new(),
        })
    }

    /// Counts everything.
    pub(super) fn report(mut self, cache: Option<&Path>) -> Result<SpaceReport, Failure> {
        self.count_saves()?;
        self.count_outside()?;
        self.count_own_directory()?;
        self.count_whole(&places::patches(), SpaceArea::Logs)?;
        self.count_stages()?;
        self.count_kept_libraries()?;
        if let Some(cache) = cache {
            self.count_elsewhere(cache, SpaceArea::Cache)?;
        }
        let patches = self.patches();
        for (device, share) in &mut self.file_systems {
            share.bytes = self.usage.by_device.get(device).copied().unwrap_or_default();
        }
        Ok(SpaceReport {
            patches,
            areas: self.areas.into_iter().collect(),
            directories: self.directories,
            file_systems: self.file_systems.into_values().collect(),
            unread: self.usage.unread.into_iter().collect(),
        })
    }

    /// Returns the applied patches with what was counted of them.
    fn patches(&self) -> Vec<PatchSpace> {
        let applied = &self.records.applied;
        let of = |id: &PatchId, package: &PkgInst| {
            let undo = self.undo.get(&(id.clone(), package.clone())).copied();
            (package.clone(), undo.unwrap_or_default())
        };
        let each = applied.iter().map(|patch| {
            let (may_go, by) = match applied.superseded(&patch.id) {
                None => (None, None),
                Some(Superseded::Revision(later)) => (Some(MayGo::Superseded), Some(later.clone())),
                Some(Superseded::Obsoletion(of)) => (Some(MayGo::Contained), of.by.cloned()),
            };
            let is_newest = applied.later_revision(&patch.id).is_none();
            let undo = patch.packages.iter().map(|package| of(&patch.id, package)).collect();
            PatchSpace { id: patch.id.clone(), may_go, by, is_newest, undo }
        });
        each.collect()
    }

    /// Counts the save directories of all packages.
    fn count_saves(&mut self) -> Result<(), Failure> {
        for package in self.records.packages.clone() {
            let place = places::save(&package);
            let Some(saves) = self.open(&place)? else { continue };
            let mut bytes = self.count_itself(&saves, SpaceArea::Other)?;
            for name in saves.names()? {
                bytes += self.count_save(&package, &saves, &name)?;
            }
            self.add_directory(&place, bytes);
        }
        Ok(())
    }

    /// Counts a directory among the save directories of a package.
    fn count_save(&mut self, package: &PkgInst, saves: &Dir, name: &[u8]) -> Result<u64, Failure> {
        let id = std::str::from_utf8(name).ok().and_then(|name| PatchId::parse(name, &self.separator).ok());
        let id = id.filter(|id| self.records.applied.is_applied_to(id, package));
        let Some(id) = id else {
            let bytes = self.usage.of(saves, name)?;
            self.add(SpaceArea::Other, bytes);
            return Ok(bytes);
        };
        let undo = count_undo(&mut self.usage, saves, name)?;
        // Old files are counted where they are.
        let bytes = undo.bytes - undo.stored;
        self.add(SpaceArea::Undo, bytes);
        self.undo.insert((id, package.clone()), undo);
        Ok(bytes)
    }

    /// Counts the undo archives outside the root, as far as a backout may open them.
    fn count_outside(&mut self) -> Result<(), Failure> {
        let Some(ground) = &self.ground else { return Ok(()) };
        let view = RecordView::live(self.root);
        let reader = ground.undo_data(&view, None);
        let mut bytes = 0;
        for ((id, package), undo) in &mut self.undo {
            if undo.form == Some(UndoForm::Outside) {
                let name = installed::saved_as(&view, package, id)?;
                // What cannot be opened occupies nothing that could be given back here.
                let found = reader.find(package, &name);
                undo.outside = found.and_then(|found| found.allocated()).unwrap_or_default();
                bytes += undo.outside;
            }
        }
        self.add(SpaceArea::OutsideUndo, bytes);
        Ok(())
    }

    /// Counts the program's own directory, and its directories on other file systems of the root.
    fn count_own_directory(&mut self) -> Result<(), Failure> {
        let place = places::own_directory();
        if let Some(own) = self.open(&place)? {
            let mut bytes = self.count_itself(&own, SpaceArea::Other)?;
            for name in own.names()? {
                let of_name = self.usage.of(&own, &name)?;
                self.add(area_of(&name), of_name);
                bytes += of_name;
            }
            self.add_directory(&place, bytes);
        }
        self.count_whole(&places::stages_at_top(), SpaceArea::Runs)
    }

    /// Counts the stages made from the root. A list that cannot be read names none.
    fn count_stages(&mut self) -> Result<(), Failure> {
        let text = match RecordView::live(self.root).read(&places::stage_list(), LONGEST_RECORD) {
            Err(error) if error.is_refused_access() => return Ok(()),
            read => read?.unwrap_or_default(),
        };
        let stages = StagesRecord::parse(&text).unwrap_or_default();
        for stage in stages.stages() {
            self.count_elsewhere(Path::new(OsStr::from_bytes(stage.path.as_bytes())), SpaceArea::Stages)?;
        }
        Ok(())
    }

    /// Counts the files of kept libraries.
    fn count_kept_libraries(&mut self) -> Result<(), Failure> {
        let root = self.root;
        let lines = contents::lines_of_packages(&RecordView::live(root), &self.records.kept)
            .map_err(|error| Failure::Database(error.into()))?;
        let mut bytes = 0;
        for path in lines.into_values().flat_map(BTreeMap::into_keys) {
            let physical = root.resolver().locate(&path)?;
            let parent = physical.parent().unwrap_or_else(ObjectPath::root);
            let Some(parent) = root.dir_if_there(&parent)? else { continue };
            if let Some(seen) =
                parent.look(physical.name())?.filter(|seen| seen.file_type == FileType::Regular)
            {
                self.note_file_system(&parent)?;
                bytes += self.usage.of_one(&seen);
            }
        }
        self.add(SpaceArea::KeptLibraries, bytes);
        Ok(())
    }

    /// Counts a directory of the root for one area.
    fn count_whole(&mut self, place: &ObjectPath, area: SpaceArea) -> Result<(), Failure> {
        if let Some(directory) = self.open(place)? {
            self.note_file_system(&directory)?;
            let bytes = self.usage.of_directory(&directory)?;
            self.add(area, bytes);
            self.add_directory(place, bytes);
        }
        Ok(())
    }

    /// Counts a directory of the host for one area; a missing one counts nothing.
    fn count_elsewhere(&mut self, path: &Path, area: SpaceArea) -> Result<(), Failure> {
        let shown = path.display().to_string();
        let directory = match Dir::of_host(path) {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if error.is_refused_access() => {
                self.usage.unread.insert(shown);
                return Ok(());
            }
            opened => opened?,
        };
        let counted = self.note_file_system(&directory).and_then(|()| self.usage.of_directory(&directory));
        let bytes = self.usage.as_far_as_readable(shown.clone(), counted)?;
        self.add(area, bytes);
        self.directories.push((shown, bytes));
        Ok(())
    }

    /// Opens a directory of the root; `None` if there is none, or if the caller may not read it.
    fn open(&mut self, place: &ObjectPath) -> Result<Option<Dir>, Failure> {
        let physical = self.root.resolver().locate_dir(place)?;
        match self.root.dir_if_there(&physical) {
            Err(error) if error.is_refused_access() && !matches!(error, RootError::Untrusted(_)) => {
                self.usage.unread.insert(self.root.show(place));
                Ok(None)
            }
            opened => Ok(opened?),
        }
    }

    /// Counts a directory without its content.
    fn count_itself(&mut self, directory: &Dir, area: SpaceArea) -> Result<u64, Failure> {
        self.note_file_system(directory)?;
        let bytes = self.usage.of_one(&directory.itself()?);
        self.add(area, bytes);
        Ok(bytes)
    }

    fn note_file_system(&mut self, directory: &Dir) -> Result<(), RootError> {
        let device = directory.itself()?.file_system;
        if let Entry::Vacant(free) = self.file_systems.entry(device) {
            let space = directory.space()?;
            let path = directory.root().show(directory.path());
            free.insert(FileSystemShare { path, bytes: 0, size: space.size, free: space.bytes });
        }
        Ok(())
    }

    fn add(&mut self, area: SpaceArea, bytes: u64) {
        *self.areas.entry(area).or_default() += bytes;
    }

    fn add_directory(&mut self, place: &ObjectPath, bytes: u64) {
        self.directories.push((self.root.show(place), bytes));
    }
}

/// Reads the packages of a root, and their patches.
fn recorded_patches(view: &RecordView<'_>, separator: &str) -> Result<RecordedPatches, DatabaseError> {
    let installed = parameters(view)?;
    let records = installed.iter().map(|(package, installed)| {
        installed::patch_records(view.root(), package, &installed.params, separator)
    });
    let applied = AppliedPatches::new(records.collect::<Result<_, _>>()?);
    let kept = installed.iter().filter(|(_, installed)| is_kept_package(&installed.params));
    let kept = kept.map(|(package, _)| package.clone()).collect();
    Ok(RecordedPatches { applied, packages: installed.into_keys().collect(), kept })
}
