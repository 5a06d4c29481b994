//! The input of a promotion, with patches and packages from the package database of the stage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use patchadm_changeset::format::manifest::RecordedState;
use patchadm_changeset::plan::{BroughtLine, UndoFormat};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::stage::PromotionRecord;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

use crate::plan::TreeFile;
use crate::plan::clock::Now;
use crate::plan::records::NewRecord;
use crate::plan::refusal::{PromotionReason, Reason};

#[derive(Clone, Debug)]
pub struct PromotionInput<'a> {
    pub taken: BTreeMap<ObjectPath, TakenObject<'a>>,
    pub deleted: Vec<ObjectPath>,
    /// Files of the stage with several names within the promoted paths.
    pub stage_names: &'a NamesOfFiles,
    /// Files of the live tree with several names.
    pub live_names: &'a NamesOfFiles,
    /// For messages.
    pub stage: String,
    /// Only in the stage.
    pub new_packages: BTreeMap<PkgInst, NewPackage>,
    /// Directories of patches that were applied to new packages alone.
    pub directories: BTreeMap<PatchId, PatchDirectory>,
    /// Still without its packages and its run.
    pub record: PromotionRecord,
    pub options: PromotionSettings,
}

#[derive(Clone, Copy, Debug)]
pub struct TakenObject<'a> {
    pub object: &'a Live,
    /// Only its modification time is taken.
    pub time_only: bool,
    /// Another user could have made it.
    pub is_foreign: bool,
}

#[derive(Clone, Debug, Default)]
pub struct PromotionSettings {
    /// Take owners, set-id bits and the attributes of `security` and `trusted` from the stage. Otherwise objects keep
    /// theirs, and new ones get the owners of their directory.
    pub owners: bool,
    pub no_undo: bool,
    /// A path of the host for undo archives, instead of the save directories.
    pub undo_dir: Option<PathBuf>,
    pub undo_format: UndoFormat,
}

/// Files of a tree with several names in it.
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
        let file = self.file_of(path).and_then(|file| self.files.get(file));
        file.map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the sorted names of each file.
    pub fn files(&self) -> &[Vec<ObjectPath>] {
        &self.files
    }

    /// Returns the index of the file at a path in [`files`](Self::files); `None` if it has only this name.
    pub fn file_of(&self, path: &ObjectPath) -> Option<usize> {
        self.file_of.get(path).copied()
    }

    pub fn are_one(&self, one: &ObjectPath, other: &ObjectPath) -> bool {
        one == other || self.file_of(one).is_some_and(|file| self.file_of(other) == Some(file))
    }
}

/// Patches of a stage that go live, read and compared: they follow those of the root, and every object is as they left
/// it in the stage, and as they found it on the root.
#[derive(Clone, Debug, Default)]
pub struct BroughtPatches {
    /// In the order of application.
    pub ids: Vec<PatchId>,
    pub packages: BTreeMap<PkgInst, BroughtPackage>,
    pub objects: BTreeMap<ObjectPath, BroughtObject>,
    /// As the stage has them.
    pub lines: BTreeMap<ObjectPath, (PkgInst, Option<ContentsLine>)>,
    /// Packages that are removed with all records.
    pub gone: BTreeSet<PkgInst>,
    /// Files that the root lacks.
    pub directories: BTreeMap<PatchId, PatchDirectory>,
}

#[derive(Clone, Debug)]
pub struct BroughtPackage {
    pub patches: Vec<PatchId>,
    /// In the stage.
    pub staged: Installed,
    /// Patches that only the root has, which are promotions of this stage. Each keeps its position among the others.
    pub list: Vec<PatchId>,
    /// Files of save directories that only the stage has.
    pub saves: BTreeMap<String, Vec<TreeFile>>,
    /// Lines in the ledger.
    pub lines: Vec<BroughtLine>,
    /// The package replaces another version, whose records are all removed.
    pub replaces: bool,
}

/// An object that a patch changed.
#[derive(Clone, Debug)]
pub struct BroughtObject {
    pub package: PkgInst,
    /// The last patch that changed it.
    pub patch: PatchId,
    /// It exists afterwards.
    pub is_there: bool,
}

#[derive(Clone, Debug)]
pub struct PatchDirectory {
    /// The root has it, so only files come.
    pub is_there: bool,
    pub files: Vec<TreeFile>,
}

/// A package that only the stage has; the promotion installs it.
#[derive(Clone, Debug)]
pub struct NewPackage {
    pub staged: Installed,
    pub lines: BTreeMap<ObjectPath, ContentsLine>,
    /// Patches applied to it in the stage. The promotion installs the package as they found it, and they follow.
    pub patched: NewPatches,
}

/// The patches of a package that only the stage has.
#[derive(Clone, Debug, Default)]
pub struct NewPatches {
    /// In order.
    pub ids: Vec<PatchId>,
    pub objects: BTreeMap<ObjectPath, BroughtObject>,
    /// By path, as the first of them found it.
    pub found: BTreeMap<ObjectPath, FoundByPatch>,
    /// By save directory.
    pub saves: BTreeMap<String, Vec<TreeFile>>,
    /// Lines in the ledger.
    pub lines: Vec<BroughtLine>,
}

#[derive(Clone, Debug)]
pub struct FoundByPatch {
    /// `None` if there was nothing.
    pub state: Option<RecordedState>,
    /// Escaped.
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

/// The parameter of a local package, which owns the promoted paths that no other package owns.
const LOCAL: &str = "PATCHADM_LOCAL";

pub fn local_name(base: &str) -> Result<PkgInst, Reason> {
    let name = format!("LOCL{}", base.replace('.', "_"));
    PkgInst::new(&name).map_err(|error| Reason::BadId(error.to_string()))
}

/// Returns the base; `None` if the parameters are not of a local package.
pub fn local_package(params: &Params) -> Option<String> {
    Some(params.text(LOCAL).trim().to_owned()).filter(|base| !base.is_empty())
}

pub(super) fn is_local_installed(name: &PkgInst, base: &str, inventory: &Inventory) -> Result<bool, Reason> {
    let Some(installed) = inventory.packages.get(name) else { return Ok(false) };
    if local_package(&installed.params).as_deref() == Some(base) {
        return Ok(true);
    }
    Err(Reason::Promotion(PromotionReason::OtherPackage { package: name.clone(), base: base.to_owned() }))
}

pub(super) fn local_parameters(name: &PkgInst, base: &str, stage: &str, now: &Now) -> Params {
    let mut params = Params::new();
    for (key, value) in [
        ("PKG", name.as_str()),
        ("NAME", &format!("Local changes promoted from stage {stage}")),
        ("ARCH", "all"),
        ("VERSION", "1.0"),
        ("CATEGORY", "local"),
        ("BASEDIR", "/"),
        ("CLASSES", "none"),
        (LOCAL, base),
        ("PKGINST", name.as_str()),
        ("PKGSAV", &places::save(name).to_string()),
        ("INSTDATE", &now.instdate()),
    ] {
        params.set(key, value);
    }
    params
}
