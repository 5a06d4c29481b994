//! The input of a backout: undo archives, choices of the user, and later patches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::plan::UndoPlace;
use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::UndoManifest;
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::source::PackageImage;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

use super::engine::ScriptChoice;

/// The undo archive of one package, read and verified. [`Member`](crate::plan::Member)s of the plan name the package by
/// its index among the archives.
#[derive(Clone, Copy, Debug)]
pub struct BackoutArchive<'a> {
    pub patch: &'a PatchId,
    pub package: &'a PkgInst,
    /// Among the sources of the run.
    pub index: usize,
    /// The backout package.
    pub image: &'a PackageImage,
    /// The backout package made by scripts of the patch, if `image` is the snapshot beside it; its scripts run.
    pub made_by_scripts: Option<&'a PackageImage>,
    /// `None` in an archive of the classic tools.
    pub manifest: Option<&'a UndoManifest>,
    /// Saved files of the package's directory in the database.
    pub records: &'a BTreeMap<Vec<u8>, RecordFile>,
    /// The ledger of the root names the archive by digest. Any other archive restores set-id bits, capabilities,
    /// devices and owners only if the root itself knows of them.
    pub is_bound: bool,
    /// For an adopted package: the native version that the patch was applied to, if known.
    pub native: Option<&'a str>,
    /// An archive outside the root, which is removed after the backout.
    pub outside: Option<&'a Path>,
}

/// The verified undo data of a staying patch, to be rewritten with data that earlier patches saved.
#[derive(Clone, Debug)]
pub struct LaterUndo<'a> {
    pub package: &'a PkgInst,
    /// The name of its save directory.
    pub patch: String,
    pub manifest: &'a UndoManifest,
    /// `None` if only the manifest is kept.
    pub archive: Option<LaterArchive<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub struct LaterArchive<'a> {
    /// Among the sources of the run.
    pub index: usize,
    pub image: &'a PackageImage,
    /// Saved files of the package's directory in the database.
    pub records: &'a BTreeMap<Vec<u8>, RecordFile>,
    pub format: UndoFormat,
    /// An archive outside the root.
    pub outside: Option<&'a Path>,
    /// The archive is removed after the commit.
    pub is_used_up: bool,
    /// It is the snapshot beside an archive that scripts made, which stays as it is.
    pub is_snapshot: bool,
}

impl LaterArchive<'_> {
    pub(super) fn place(&self) -> UndoPlace {
        match self.outside {
            _ if self.is_snapshot => UndoPlace::Snapshot,
            None => UndoPlace::Save,
            Some(path) => UndoPlace::Beside(path.to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct UndoSources<'a> {
    /// One for each package of each going patch.
    pub archives: &'a [BackoutArchive<'a>],
    /// The undo data to be rewritten, of the patches from [`taking_over`](super::taking_over::taking_over).
    pub later: &'a [LaterUndo<'a>],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoingPatch {
    pub id: PatchId,
    /// The packages that it is applied to.
    pub packages: Vec<PkgInst>,
}

/// The choices of a user of patchrm(1M), and facts about later patches.
#[derive(Clone, Debug, Default)]
pub struct BackOutOptions {
    /// Readable manifests of later patches.
    pub later: BTreeMap<(PkgInst, String), UndoManifest>,
    /// Later patches with undo data of an earlier form.
    pub earlier: BTreeSet<(PkgInst, String)>,
    /// Later patches whose archives scripts made.
    pub scripted: BTreeSet<(PkgInst, String)>,
    /// Later patches of other packages with paths of the patch.
    pub elsewhere: Vec<Elsewhere>,
    pub scripts: ScriptChoice,
    /// Files in the patch's directory in the database.
    pub hooks: BTreeSet<String>,
    /// Notes about these patches.
    pub notes: Vec<String>,
}

/// A patch that was applied later to a package which the backed-out patch does not touch, and may have paths of it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    pub patch: String,
    /// In that package.
    pub manifest: UndoManifest,
}

pub(super) type Later<'a> = Vec<(PatchId, Option<&'a UndoManifest>)>;
