//! The patches and packages that come live from the package database of a stage.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::TreeFile;
use crate::plan::records::NewRecord;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_changeset::plan::BroughtLine;
use patchadm_inputs::inventory::Installed;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The patches of a stage that come live, read and compared: they follow on those of the root, and every object is as they
/// left it in the stage, and as they found it on the root.
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
    /// The packages that go, with all of their records.
    pub gone: BTreeSet<PkgInst>,
    /// The files of the directory of each patch that the root lacks.
    pub directories: BTreeMap<PatchId, PatchDirectory>,
}

/// A package with patches that come live.
#[derive(Clone, Debug)]
pub struct BroughtPackage {
    /// Its patches that come.
    pub patches: Vec<PatchId>,
    /// The package as the stage has it.
    pub staged: Installed,
    /// The patches that only the root has: promotions of this stage. Each stands where it stands among the others.
    pub list: Vec<PatchId>,
    /// The files of each save directory that only the stage has, by its name.
    pub saves: BTreeMap<String, Vec<TreeFile>>,
    /// Their lines in the ledger.
    pub lines: Vec<BroughtLine>,
    /// Whether it replaces another version, whose records all go.
    pub replaces: bool,
}

/// An object that a patch changed.
#[derive(Clone, Debug)]
pub struct BroughtObject {
    /// The package whose patch changed it.
    pub package: PkgInst,
    /// The last patch that did.
    pub patch: PatchId,
    /// Whether it is there afterwards.
    pub is_there: bool,
}

/// The directory of a patch.
#[derive(Clone, Debug)]
pub struct PatchDirectory {
    /// Whether the root has it, so that only files come.
    pub is_there: bool,
    /// The files that come.
    pub files: Vec<TreeFile>,
}

/// A package that only the stage has, and that the promotion installs.
#[derive(Clone, Debug)]
pub struct NewPackage {
    /// The package as the stage has it.
    pub staged: Installed,
    /// Its lines of `contents`.
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// The patches that were applied to it in the stage: the promotion installs the package as they found it, and they
    /// follow the promotion.
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
    /// Returns the record files of it, but the one with its parameters.
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
    /// Tells whether a package goes as it is: with all of its records, or for another version.
    pub fn goes(&self, package: &PkgInst) -> bool {
        self.gone.contains(package) || self.packages.get(package).is_some_and(|of| of.replaces)
    }

    /// Returns every path that they changed, in object or line.
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.keys().chain(self.lines.keys())
    }

    /// Returns the paths at which something other than a directory comes.
    pub fn not_directories<'a>(
        &'a self,
        object: impl Fn(&ObjectPath) -> Option<&'a Live>,
    ) -> BTreeSet<ObjectPath> {
        let is_other = |path: &&ObjectPath| object(path).is_some_and(|live| !live.is_directory());
        self.objects.keys().filter(is_other).cloned().collect()
    }
}
