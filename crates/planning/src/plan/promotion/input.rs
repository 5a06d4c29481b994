//! The inputs for planning a promotion, with the patches and packages that come live from the package
//! database of the stage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use patchadm_changeset::format::manifest::RecordedState;
use patchadm_changeset::plan::{BroughtLine, UndoFormat};
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::stage::PromotionRecord;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

use crate::plan::TreeFile;
use crate::plan::records::NewRecord;

/// A promotion whose paths are decided.
#[derive(Clone, Debug)]
pub struct PromotionInput<'a> {
    /// The objects that are taken, by path.
    pub taken: BTreeMap<ObjectPath, TakenObject<'a>>,
    /// The paths whose objects are deleted.
    pub deleted: Vec<ObjectPath>,
    /// The files of the stage with several names within the promoted paths.
    pub stage_names: &'a NamesOfFiles,
    /// The files of the live tree with several names.
    pub live_names: &'a NamesOfFiles,
    /// The directory of the stage, for messages.
    pub stage: String,
    /// The packages that only the stage has.
    pub new_packages: BTreeMap<PkgInst, NewPackage>,
    /// The directories of patches that were applied to new packages alone.
    pub directories: BTreeMap<PatchId, PatchDirectory>,
    /// The record of the promotion, still without its packages and its run.
    pub record: PromotionRecord,
    /// The choices of the command.
    pub options: PromotionOptions,
}

/// An object that a promotion takes from the stage.
#[derive(Clone, Copy, Debug)]
pub struct TakenObject<'a> {
    /// The object.
    pub object: &'a Live,
    /// True if only its modification time is taken.
    pub time_only: bool,
    /// True if another user could have made it.
    pub is_foreign: bool,
}

/// The choices of a promotion.
#[derive(Clone, Debug, Default)]
pub struct PromotionOptions {
    /// True if owners, set-id bits and the attributes of `security` and `trusted` come from the stage.
    /// Otherwise objects keep theirs, and new ones get the owners of their directory.
    pub owners: bool,
    /// Keep no undo data.
    pub no_undo: bool,
    /// The destination of undo archives instead of the save directories; a path of the host.
    pub undo_dir: Option<PathBuf>,
    /// The compression of undo archives.
    pub undo_format: UndoFormat,
}

/// The files of a tree that have several names in it.
#[derive(Clone, Debug, Default)]
pub struct NamesOfFiles {
    files: Vec<Vec<ObjectPath>>,
    file_of: HashMap<ObjectPath, usize>,
}

impl NamesOfFiles {
    /// Collects names, each with the number of its file.
    pub fn of(names: impl Iterator<Item = (ObjectPath, u32)>) -> Self {
        let mut by_number: BTreeMap<u32, Vec<ObjectPath>> = BTreeMap::new();
        for (path, number) in names {
            by_number.entry(number).or_default().push(path);
        }
        let mut found = Self::default();
        for mut names in by_number.into_values().filter(|names| names.len() > 1) {
            names.sort();
            let file = found.files.len();
            found.file_of.extend(names.iter().map(|path| (path.clone(), file)));
            found.files.push(names);
        }
        found
    }

    /// Returns all names of the file at a path, sorted; none if it has only this one.
    pub fn all(&self, path: &ObjectPath) -> &[ObjectPath] {
        let file = self.file_of.get(path).and_then(|file| self.files.get(*file));
        file.map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns true if two paths are names of one file.
    pub fn are_one(&self, one: &ObjectPath, other: &ObjectPath) -> bool {
        one == other || self.all(one).contains(other)
    }
}

/// The patches of a stage that come live, read and compared: they follow those of the root, and every object
/// is as they left it in the stage, and as they found it on the root.
#[derive(Clone, Debug, Default)]
pub struct BroughtPatches {
    /// The patches, in the order in which they were applied.
    pub ids: Vec<PatchId>,
    /// The packages that they were applied to.
    pub packages: BTreeMap<PkgInst, BroughtPackage>,
    /// The objects that they changed.
    pub objects: BTreeMap<ObjectPath, BroughtObject>,
    /// The lines of `contents` that they changed, as the stage has them.
    pub lines: BTreeMap<ObjectPath, (PkgInst, Option<ContentsLine>)>,
    /// The packages that are removed, with all of their records.
    pub gone: BTreeSet<PkgInst>,
    /// The files of the directory of each patch that the root lacks.
    pub directories: BTreeMap<PatchId, PatchDirectory>,
}

/// A package with patches that come live.
#[derive(Clone, Debug)]
pub struct BroughtPackage {
    /// Its patches that come live.
    pub patches: Vec<PatchId>,
    /// Its state in the stage.
    pub staged: Installed,
    /// The patches that only the root has, which are promotions of this stage. Each keeps its position among
    /// the others.
    pub list: Vec<PatchId>,
    /// The files of each save directory that only the stage has, by its name.
    pub saves: BTreeMap<String, Vec<TreeFile>>,
    /// Their lines in the ledger.
    pub lines: Vec<BroughtLine>,
    /// True if it replaces another version, whose records are all removed.
    pub replaces: bool,
}

/// An object that a patch changed.
#[derive(Clone, Debug)]
pub struct BroughtObject {
    /// The package whose patch changed it.
    pub package: PkgInst,
    /// The last patch that changed it.
    pub patch: PatchId,
    /// True if it exists afterwards.
    pub is_there: bool,
}

/// The directory of a patch.
#[derive(Clone, Debug)]
pub struct PatchDirectory {
    /// True if the root has it, so that only files come.
    pub is_there: bool,
    /// The files that come.
    pub files: Vec<TreeFile>,
}

/// A package that only the stage has, and that the promotion installs.
#[derive(Clone, Debug)]
pub struct NewPackage {
    /// Its state in the stage.
    pub staged: Installed,
    /// Its lines of `contents`.
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// The patches that were applied to it in the stage. The promotion installs the package as they found it,
    /// and they follow the promotion.
    pub patched: NewPatches,
}

/// The patches of a package that only the stage has.
#[derive(Clone, Debug, Default)]
pub struct NewPatches {
    /// The patches, in their order.
    pub ids: Vec<PatchId>,
    /// The objects that they changed.
    pub objects: BTreeMap<ObjectPath, BroughtObject>,
    /// The object that the first of them found at each path.
    pub found: BTreeMap<ObjectPath, FoundByPatch>,
    /// The files of each save directory, by its name.
    pub saves: BTreeMap<String, Vec<TreeFile>>,
    /// Their lines in the ledger.
    pub lines: Vec<BroughtLine>,
}

/// The object that a patch of a new package found at a path.
#[derive(Clone, Debug)]
pub struct FoundByPatch {
    /// The object; `None` if there was nothing.
    pub state: Option<RecordedState>,
    /// The line of `contents`, escaped.
    pub line: Option<Box<str>>,
}

impl NewPackage {
    pub(super) fn records_but_pkginfo(&self) -> impl Iterator<Item = NewRecord> {
        self.staged.records.iter().filter(|(name, _)| name.as_slice() != b"pkginfo").filter_map(
            |(name, file)| {
                let name = String::from_utf8(name.clone()).ok()?;
                Some(NewRecord { name, bytes: file.bytes.to_vec(), mtime: Some(file.mtime) })
            },
        )
    }
}

impl BroughtPatches {
    /// Returns true if a package is removed as it is: with all of its records, or for another version.
    pub fn goes(&self, package: &PkgInst) -> bool {
        self.gone.contains(package) || self.packages.get(package).is_some_and(|of| of.replaces)
    }

    /// Returns every path that they changed, in object or line.
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.keys().chain(self.lines.keys())
    }

    /// Returns the paths that get something other than a directory.
    pub fn not_directories<'a>(
        &'a self,
        object: impl Fn(&ObjectPath) -> Option<&'a Live>,
    ) -> BTreeSet<ObjectPath> {
        let is_other = |path: &&ObjectPath| object(path).is_some_and(|live| !live.is_directory());
        self.objects.keys().filter(is_other).cloned().collect()
    }
}
