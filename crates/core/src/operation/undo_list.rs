//! `patchadm undo-data list`: disk space used for a root, and undo data that may be deleted.
//!
//! ```text
//! save/<id> of each package     undo data, patch by patch
//! var/sadm/patchadm             history, log, ledgers, …
//! cache, stages                 directories elsewhere
//! kept libraries                their files
//! ```
//! Directories count whole, like du(1): allocated blocks, hard links once. Unknown objects count as `other`, so the
//! areas add up. Nothing is locked: objects may disappear. Unreadable directories are named.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::operation::failure::Failure;
use crate::operation::patches::undo_states::UndoState;
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_changeset::archive_file::UnboundArchive;
use patchadm_changeset::format::escaped::{as_text, as_text_if_any};
use patchadm_changeset::format::manifest::UndoManifest;
use patchadm_changeset::format::undo_files::UNDO;
use patchadm_changeset::plan::{ARCHIVE_NAMES, UndoFormat};
use patchadm_changeset::stored_file::StoredFile;
use patchadm_inputs::database::survey::parameters;
use patchadm_inputs::database::{DatabaseError, RecordView, contents, installed, ledger, read_consistently};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::is_kept_package;
use patchadm_inputs::stage::{LONGEST_RECORD, StagesRecord};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};
use patchadm_svr4::places;

/// `cache` is the directory of fetched patches.
pub fn list_undo_data(root: &Root, cache: Option<&Path>) -> Result<UndoListReport, Failure> {
    must_have_database(root)?;
    SpaceSurvey::of(root)?.report(cache)
}

#[derive(Clone, Debug, Default)]
pub struct UndoListReport {
    /// In the order of listings.
    pub patches: Vec<PatchSpace>,
    /// Empty areas included.
    pub areas: Vec<AreaSpace>,
    pub directories: Vec<DirectorySpace>,
    pub file_systems: Vec<FileSystemShare>,
    /// Counted as empty.
    pub unread: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PatchSpace {
    #[serde(serialize_with = "as_text")]
    pub id: PatchId,
    /// `None` for an effective patch.
    pub may_go: Option<MayGo>,
    /// The patch that supersedes or contains it, if known.
    #[serde(serialize_with = "as_text_if_any")]
    pub by: Option<PatchId>,
    /// The newest applied revision of its base.
    #[serde(skip)]
    pub is_newest: bool,
    /// Why a package has no undo data, if one has none and its ledger can be read.
    #[serde(skip)]
    pub absence: Option<UndoState>,
    #[serde(flatten, serialize_with = "with_sums")]
    pub undo: Vec<PackageSpace>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PackageSpace {
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    #[serde(flatten)]
    pub space: UndoSpace,
}

#[derive(Clone, Debug, Serialize)]
pub struct AreaSpace {
    pub area: SpaceArea,
    pub bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct DirectorySpace {
    /// On the host.
    pub path: String,
    pub bytes: u64,
}

/// Why nobody is likely to need the undo data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayGo {
    Superseded,
    /// A patch with another base contains it.
    Contained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpaceArea {
    /// Save directories of applied patches.
    Undo,
    /// Archives outside the root.
    #[serde(rename = "undo-outside")]
    OutsideUndo,
    Ledgers,
    Runs,
    Stages,
    History,
    /// The root's log, and the directories of its patches.
    Logs,
    KeptLibraries,
    Cache,
    /// Everything else in the same directories.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSystemShare {
    /// Its mount point.
    pub path: String,
    /// Used by all areas.
    pub bytes: u64,
    pub size: u64,
    pub free: u64,
}

impl MayGo {
    pub fn word(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Contained => "contained",
        }
    }
}

impl Serialize for MayGo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl SpaceArea {
    /// In the order of reports.
    pub const ALL: [Self; 10] = [
        Self::Undo,
        Self::OutsideUndo,
        Self::Ledgers,
        Self::Runs,
        Self::Stages,
        Self::History,
        Self::Logs,
        Self::KeptLibraries,
        Self::Cache,
        Self::Other,
    ];
}

impl PatchSpace {
    /// Bytes in the root that deleting the undo data frees.
    pub fn freeable(&self) -> u64 {
        freeable(&self.undo)
    }
}

fn freeable(undo: &[PackageSpace]) -> u64 {
    undo.iter().map(|one| one.space.freeable).sum()
}

/// Serializes the bytes inside the root and outside, those to free, and the packages.
fn with_sums<S: Serializer>(undo: &[PackageSpace], serializer: S) -> Result<S::Ok, S::Error> {
    let bytes: u64 = undo.iter().map(|one| one.space.bytes + one.space.outside).sum();
    let mut fields = serializer.serialize_struct("PackageSpaces", 3)?;
    fields.serialize_field("bytes", &bytes)?;
    fields.serialize_field("freeable", &freeable(undo))?;
    fields.serialize_field("undo", undo)?;
    fields.end()
}

impl UndoListReport {
    pub fn bytes(&self) -> u64 {
        self.areas.iter().map(|area| area.bytes).sum()
    }
}

struct RecordedPatches {
    applied: AppliedPatches,
    packages: Vec<PkgInst>,
    kept: BTreeSet<PkgInst>,
}

struct SpaceSurvey<'a> {
    root: &'a Root,
    ground: Option<RootAndPolicy>,
    separator: String,
    records: RecordedPatches,
    usage: DiskUsage,
    undo: BTreeMap<(PatchId, PkgInst), UndoSpace>,
    areas: BTreeMap<SpaceArea, u64>,
    directories: Vec<DirectorySpace>,
    file_systems: BTreeMap<DeviceNumber, FileSystemShare>,
}

pub(in crate::operation) fn undo_spaces(root: &Root) -> Result<Vec<PatchSpace>, Failure> {
    let mut survey = SpaceSurvey::of(root)?;
    survey.count_saves()?;
    Ok(survey.patches())
}

impl<'a> SpaceSurvey<'a> {
    fn of(root: &'a Root) -> Result<Self, Failure> {
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

    fn report(mut self, cache: Option<&Path>) -> Result<UndoListReport, Failure> {
        self.count_saves()?;
        self.count_outside()?;
        self.count_own_directory()?;
        self.count_whole(&places::patches(), SpaceArea::Logs)?;
        self.count_stages()?;
        self.count_kept_libraries()?;
        if let Some(cache) = cache {
            self.count_elsewhere(cache, SpaceArea::Cache)?;
        }
        let mut patches = self.patches();
        self.note_absence(&mut patches);
        for (device, share) in &mut self.file_systems {
            share.bytes = self.usage.by_device.get(device).copied().unwrap_or_default();
            share.path = mount_point(&share.path);
        }
        Ok(UndoListReport {
            patches,
            areas: self.areas.into_iter().map(|(area, bytes)| AreaSpace { area, bytes }).collect(),
            directories: self.directories,
            file_systems: self.file_systems.into_values().collect(),
            unread: self.usage.unread.into_iter().collect(),
        })
    }

    fn patches(&self) -> Vec<PatchSpace> {
        let applied = &self.records.applied;
        let of = |id: &PatchId, package: &PkgInst| {
            let space = self.undo.get(&(id.clone(), package.clone())).copied();
            PackageSpace { package: package.clone(), space: space.unwrap_or_default() }
        };
        let each = applied.iter().map(|patch| {
            let (may_go, by) = match applied.superseded(&patch.id) {
                None => (None, None),
                Some(Superseded::Revision(later)) => (Some(MayGo::Superseded), Some(later.clone())),
                Some(Superseded::Obsoletion(of)) => (Some(MayGo::Contained), of.by.cloned()),
            };
            let is_newest = applied.later_revision(&patch.id).is_none();
            let undo = patch.packages.iter().map(|package| of(&patch.id, package)).collect();
            PatchSpace { id: patch.id.clone(), may_go, by, is_newest, absence: None, undo }
        });
        each.collect()
    }

    /// An unreadable ledger tells nothing.
    fn note_absence(&self, patches: &mut [PatchSpace]) {
        let view = RecordView::live(self.root);
        let mut ledgers: BTreeMap<PkgInst, Option<Ledger>> = BTreeMap::new();
        for patch in patches {
            for PackageSpace { package, .. } in patch.undo.iter().filter(|one| one.space.form.is_none()) {
                let read = || ledger::counting(&view, package).ok();
                let Some(ledger) = ledgers.entry(package.clone()).or_insert_with(read) else { continue };
                let Ok(name) = installed::saved_as(&view, package, &patch.id) else { continue };
                patch.absence.get_or_insert(UndoState::without(ledger.line(&name)));
            }
        }
    }

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

    fn count_save(&mut self, package: &PkgInst, saves: &Dir, name: &[u8]) -> Result<u64, Failure> {
        let id = std::str::from_utf8(name).ok().and_then(|name| PatchId::parse(name, &self.separator).ok());
        let id = id.filter(|id| self.records.applied.is_applied_to(id, package));
        let Some(id) = id else {
            let bytes = self.usage.of(saves, name)?;
            self.add(SpaceArea::Other, bytes);
            return Ok(bytes);
        };
        let undo = count_undo(&mut self.usage, saves, name)?;
        // Old files are counted in their own place.
        let bytes = undo.bytes - undo.stored;
        self.add(SpaceArea::Undo, bytes);
        self.undo.insert((id, package.clone()), undo);
        Ok(bytes)
    }

    fn count_outside(&mut self) -> Result<(), Failure> {
        let Some(ground) = &self.ground else { return Ok(()) };
        let view = RecordView::live(self.root);
        let reader = ground.undo_data(&view, None);
        let mut bytes = 0;
        for ((id, package), undo) in &mut self.undo {
            if undo.form == Some(UndoForm::Outside) {
                let name = installed::saved_as(&view, package, id)?;
                // An unreadable archive frees nothing here.
                let found = reader.find(package, &name);
                undo.outside = found.and_then(|found| found.allocated()).unwrap_or_default();
                bytes += undo.outside;
            }
        }
        self.add(SpaceArea::OutsideUndo, bytes);
        Ok(())
    }

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

    fn count_whole(&mut self, place: &ObjectPath, area: SpaceArea) -> Result<(), Failure> {
        if let Some(directory) = self.open(place)? {
            self.note_file_system(&directory)?;
            let bytes = self.usage.of_directory(&directory)?;
            self.add(area, bytes);
            self.add_directory(place, bytes);
        }
        Ok(())
    }

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
        self.directories.push(DirectorySpace { path: shown, bytes });
        Ok(())
    }

    /// `None` if it is missing or unreadable.
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
        self.directories.push(DirectorySpace { path: self.root.show(place), bytes });
    }
}

/// Returns the highest directory of the same file system, or the path itself if it cannot be followed.
fn mount_point(path: &str) -> String {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|seen| seen.dev());
    let Ok(physical) = std::fs::canonicalize(path) else { return path.to_owned() };
    let Some(own) = device(&physical) else { return path.to_owned() };
    let top = physical.ancestors().take_while(|above| device(above) == Some(own)).last();
    top.unwrap_or(&physical).display().to_string()
}

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

const BESIDE_ARCHIVE: [&[u8]; 3] = [b"undo.b3", b"remote", b"snapshot"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoForm {
    Inside(UndoFormat),
    Outside,
}

impl UndoForm {
    pub fn word(self) -> &'static str {
        match self {
            Self::Inside(format) => format.word(),
            Self::Outside => "outside",
        }
    }
}

impl Serialize for UndoForm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UndoSpace {
    /// `None` if the patch cannot be backed out, and only facts about its paths exist.
    pub form: Option<UndoForm>,
    /// Bytes in the root.
    pub bytes: u64,
    /// Bytes of old files in undo directories, part of `bytes`.
    #[serde(skip)]
    pub stored: u64,
    /// Bytes that deletion frees.
    pub freeable: u64,
    /// Bytes of an archive outside the root.
    pub outside: u64,
}

fn count_undo(usage: &mut DiskUsage, saves: &Dir, name: &[u8]) -> Result<UndoSpace, RootError> {
    let (form, freeable) = match saves.dir(name) {
        Ok(save) => look_at_archive(&save)?,
        // Counting reports unreadable directories.
        Err(error) if error.is_refused_access() || error.is_not_found() => (None, 0),
        Err(error) => return Err(error),
    };
    let is_files = form == Some(UndoForm::Inside(UndoFormat::Files));
    let stored = if is_files { stored_bytes(&saves.dir(name)?)? } else { 0 };
    let (bytes, freeable) = (usage.of(saves, name)? + stored, freeable + stored);
    Ok(UndoSpace { form, bytes, stored, freeable, outside: 0 })
}

/// Bytes of old files that the archive names. Counting and verifying report unreadable ones.
fn stored_bytes(save: &Dir) -> Result<u64, RootError> {
    let root = save.root();
    let mut usage = DiskUsage::default();
    let mut bytes = 0;
    for (name, _) in ARCHIVE_NAMES.iter().filter(|(_, format)| *format == UndoFormat::Files) {
        let name = name.as_bytes();
        let Some(seen) = save.look(name)?.filter(|seen| seen.file_type == FileType::Regular) else {
            continue;
        };
        let archive = match save.open_seen(name) {
            Err(error) if error.is_refused_access() => continue,
            opened => opened?,
        };
        let Some((file, _)) = archive.filter(|_| seen.size > 0) else { continue };
        let manifest = UnboundArchive::new(file, root.show(&save.at(name))).manifest().ok().flatten();
        bytes += manifest.map_or(Ok(0), |manifest| count_stored(&mut usage, root, &manifest))?;
    }
    Ok(bytes)
}

/// Bytes of old files that deletion frees.
pub(in crate::operation) fn stored_space(root: &Root, manifest: &UndoManifest) -> Result<u64, RootError> {
    count_stored(&mut DiskUsage::default(), root, manifest)
}

fn count_stored(usage: &mut DiskUsage, root: &Root, manifest: &UndoManifest) -> Result<u64, RootError> {
    let mut bytes = 0;
    for stored in StoredFile::all_of(manifest) {
        let directory = match root.dir_if_there(&stored.directory) {
            Err(error) if error.is_refused_access() => continue,
            opened => opened?,
        };
        let seen = directory.map(|directory| directory.look(stored.name.as_bytes())).transpose()?.flatten();
        bytes += seen.map_or(0, |seen| usage.of_one(&seen));
    }
    Ok(bytes)
}

fn look_at_archive(save: &Dir) -> Result<(Option<UndoForm>, u64), RootError> {
    let mut usage = DiskUsage::default();
    let (mut form, mut freeable) = (None, 0);
    for (name, format) in ARCHIVE_NAMES {
        if let Some(seen) = save.look(name.as_bytes())? {
            form = form.or(Some(UndoForm::Inside(format)));
            freeable += usage.of_one(&seen);
        }
    }
    if form.is_none() && save.look(b"remote")?.is_some() {
        form = Some(UndoForm::Outside);
    }
    if form.is_some() {
        for name in BESIDE_ARCHIVE {
            freeable += usage.of(save, name)?;
        }
    }
    Ok((form, freeable))
}

fn area_of(name: &[u8]) -> SpaceArea {
    match name {
        b"ledger" => SpaceArea::Ledgers,
        b"stage" => SpaceArea::Runs,
        UNDO => SpaceArea::Undo,
        b"history" | b"attempts" => SpaceArea::History,
        b"log" => SpaceArea::Logs,
        _ => SpaceArea::Other,
    }
}

/// Records and system trees nest far less deeply.
const DEEPEST: usize = 200;

/// Major and minor number.
type DeviceNumber = (u32, u32);

#[derive(Debug, Default)]
struct DiskUsage {
    counted: BTreeSet<(DeviceNumber, u64)>,
    by_device: BTreeMap<DeviceNumber, u64>,
    unread: BTreeSet<String>,
}

impl DiskUsage {
    /// Counts an object with everything below it; 0 if it is missing.
    fn of(&mut self, directory: &Dir, name: &[u8]) -> Result<u64, RootError> {
        self.of_entry(directory, name, DEEPEST)
    }

    fn of_directory(&mut self, directory: &Dir) -> Result<u64, RootError> {
        let own = self.of_one(&directory.itself()?);
        Ok(own + self.of_content(directory, DEEPEST)?)
    }

    fn of_one(&mut self, seen: &ObjectStatus) -> u64 {
        let may_be_met_again = seen.links > 1 || seen.file_type == FileType::Directory;
        if may_be_met_again && !self.counted.insert((seen.file_system, seen.inode.number)) {
            return 0;
        }
        *self.by_device.entry(seen.file_system).or_default() += seen.allocated;
        seen.allocated
    }

    fn of_entry(&mut self, directory: &Dir, name: &[u8], depth: usize) -> Result<u64, RootError> {
        let Some(seen) = directory.look(name)? else { return Ok(0) };
        let own = self.of_one(&seen);
        if seen.file_type != FileType::Directory {
            return Ok(own);
        }
        let path = directory.root().show(&directory.at(name));
        let Some(depth) = depth.checked_sub(1) else {
            self.unread.insert(path);
            return Ok(own);
        };
        let below = directory.dir(name).and_then(|inner| self.of_content(&inner, depth));
        Ok(own + self.as_far_as_readable(path, below)?)
    }

    fn of_content(&mut self, directory: &Dir, depth: usize) -> Result<u64, RootError> {
        let mut bytes = 0;
        for name in directory.names()? {
            bytes += self.of_entry(directory, &name, depth)?;
        }
        Ok(bytes)
    }

    fn as_far_as_readable(
        &mut self,
        path: String,
        counted: Result<u64, RootError>,
    ) -> Result<u64, RootError> {
        match counted {
            Err(error) if error.is_refused_access() => {
                self.unread.insert(path);
                Ok(0)
            }
            Err(error) if error.is_not_found() => Ok(0),
            counted => counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::places;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn space(place: &Path) -> UndoSpace {
        let saves = Dir::of_host(place).unwrap();
        count_undo(&mut DiskUsage::default(), &saves, b"100-01").unwrap()
    }

    #[test]
    fn the_form_is_told_by_name_and_the_list_of_paths_stays() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(space(place.path()), UndoSpace::default());
        let save = place.path().join("100-01");
        fs::create_dir(&save).unwrap();
        fs::write(save.join("undo.paths"), [b'p'; 5_000]).unwrap();
        let without = space(place.path());
        assert_eq!((without.form, without.freeable), (None, 0));
        for (name, form) in
            ["undo.gz", "obsolete.Z", "undo", "obsolete.zst"].into_iter().zip(["gz", "Z", "none", "zst"])
        {
            fs::write(save.join(name), vec![b'a'; 20_000]).unwrap();
            let found = space(place.path());
            assert_eq!(found.form.map(UndoForm::word), Some(form));
            assert_eq!(found.bytes - without.bytes, found.freeable, "{name}");
            assert!(found.freeable >= 20_000);
            fs::remove_file(save.join(name)).unwrap();
        }
        fs::write(save.join("remote"), "elsewhere").unwrap();
        assert_eq!(space(place.path()).form, Some(UndoForm::Outside));
    }

    #[test]
    fn a_document_sums_up_the_undo_data_of_a_patch() {
        let of = |package: &str, space| PackageSpace { package: PkgInst::new(package).unwrap(), space };
        let form = Some(UndoForm::Inside(UndoFormat::Gzip));
        let patch = PatchSpace {
            id: PatchId::new("100-01").unwrap(),
            may_go: Some(MayGo::Superseded),
            by: Some(PatchId::new("100-02").unwrap()),
            is_newest: false,
            absence: None,
            undo: vec![
                of("A", UndoSpace { form, bytes: 5, stored: 1, freeable: 4, outside: 0 }),
                of("B", UndoSpace { form: Some(UndoForm::Outside), outside: 7, ..UndoSpace::default() }),
            ],
        };
        let expected = r#"{"id":"100-01","may_go":"superseded","by":"100-02","bytes":12,"freeable":4,"undo":[{"package":"A","form":"gz","bytes":5,"freeable":4,"outside":0},{"package":"B","form":"outside","bytes":0,"freeable":0,"outside":7}]}"#;
        assert_eq!(serde_json::to_string(&patch).unwrap(), expected);
    }

    #[test]
    fn the_places_of_records_have_their_areas() {
        for (place, area) in [
            (places::ledgers(), SpaceArea::Ledgers),
            (places::stages(), SpaceArea::Runs),
            (places::history(), SpaceArea::History),
            (places::attempts(), SpaceArea::History),
            (places::root_id(), SpaceArea::Other),
        ] {
            assert_eq!(area_of(place.name()), area, "{place}");
        }
    }

    #[test]
    fn blocks_are_counted_once_for_all_names_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("inner/file"), vec![b'x'; 10_000]).unwrap();
        fs::hard_link(at("inner/file"), at("again")).unwrap();
        symlink("/usr", at("link")).unwrap();
        // A sparse file occupies less than its size.
        fs::File::create(at("sparse")).unwrap().set_len(1 << 30).unwrap();
        let blocks = |name: &str| fs::symlink_metadata(at(name)).unwrap().blocks() * 512;
        let expected: u64 = ["", "inner", "inner/file", "link", "sparse"].map(blocks).iter().sum();
        let mut usage = DiskUsage::default();
        let directory = Dir::of_host(place.path()).unwrap();
        assert_eq!(usage.of_directory(&directory).unwrap(), expected);
        assert_eq!(usage.by_device.values().sum::<u64>(), expected);
        assert_eq!(usage.of(&directory, b"inner").unwrap(), 0, "it is counted already");
        assert_eq!(usage.of(&directory, b"missing").unwrap(), 0);
        assert!(usage.unread.is_empty());
    }

    #[test]
    fn a_file_system_is_named_by_its_mount_point() {
        let place = tempfile::tempdir().unwrap();
        let named = mount_point(place.path().to_str().unwrap());
        let physical = place.path().canonicalize().unwrap();
        assert!(physical.starts_with(&named), "{named}");
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        assert_eq!(device(Path::new(&named)), device(&physical));
        let above = Path::new(&named).parent();
        assert!(above.is_none_or(|above| device(above) != device(&physical)), "{named}");
        assert_eq!(mount_point("/proc/self"), "/proc");
        assert_eq!(mount_point("missing/place"), "missing/place");
    }

    #[test]
    fn a_tree_that_is_too_deep_is_named() {
        let place = tempfile::tempdir().unwrap();
        let mut deep = place.path().to_owned();
        for _ in 0..=DEEPEST {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        let mut usage = DiskUsage::default();
        usage.of_directory(&Dir::of_host(place.path()).unwrap()).unwrap();
        assert_eq!(usage.unread.len(), 1);
    }
}
