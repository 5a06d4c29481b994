//! The input of a backout: undo archives, choices of the user, and the patches that were applied later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::plan::UndoPlace;
use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::source::PackageImage;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

use super::engine::ScriptChoice;

/// The undo archive of one package, read and verified. [`Member`](crate::plan::Member)s of the plan name the
/// package by its index among the archives.
#[derive(Clone, Copy, Debug)]
pub struct BackoutArchive<'a> {
    /// The patch that it backs out.
    pub patch: &'a PatchId,
    /// The package that it backs out of.
    pub package: &'a PkgInst,
    /// Its index among the sources of the run.
    pub index: usize,
    /// The backout package with the saved objects.
    pub image: &'a PackageImage,
    /// The backout package that the scripts of the patch made, if `image` is the snapshot beside it; its
    /// scripts run.
    pub made_by_scripts: Option<&'a PackageImage>,
    /// The manifest; `None` in an archive of the classic tools.
    pub manifest: Option<&'a Manifest>,
    /// The saved files of the package's directory in the database.
    pub records: &'a BTreeMap<Vec<u8>, RecordFile>,
    /// True if the ledger of the root names the archive by digest, as made by a run of the root. Any other
    /// archive restores set-id bits, file capabilities, devices and owners only if the root itself knows of
    /// them.
    pub is_bound: bool,
    /// For a package that was adopted from dpkg or rpm: the native version that the patch was applied to, if
    /// known.
    pub native: Option<&'a str>,
    /// The path of an archive outside the root, which is removed after the backout.
    pub outside: Option<&'a Path>,
}

/// The undo data of a patch that stays, read and verified, to be rewritten with the data that earlier patches
/// saved.
#[derive(Clone, Debug)]
pub struct LaterUndo<'a> {
    /// The package.
    pub package: &'a PkgInst,
    /// The patch, by the name of its save directory.
    pub patch: String,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its archive; `None` if only the manifest is kept.
    pub archive: Option<LaterArchive<'a>>,
}

/// The archive of a patch that stays.
#[derive(Clone, Copy, Debug)]
pub struct LaterArchive<'a> {
    /// Its index among the sources of the run.
    pub index: usize,
    /// The backout package.
    pub image: &'a PackageImage,
    /// The saved files of the package's directory in the database.
    pub records: &'a BTreeMap<Vec<u8>, RecordFile>,
    /// Its compression.
    pub format: UndoFormat,
    /// The path of an archive outside the root.
    pub outside: Option<&'a Path>,
    /// True if that archive is removed after the commit.
    pub is_used_up: bool,
    /// True if it is the snapshot beside an archive that scripts made, which stays as it is.
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

/// The undo data that a backout is planned from.
#[derive(Clone, Copy, Debug)]
pub struct UndoSources<'a> {
    /// The archives of the patches that go, one for each package of each.
    pub archives: &'a [BackoutArchive<'a>],
    /// The undo data to be rewritten: of the patches that [`taking_over`](super::taking_over::taking_over)
    /// returns.
    pub later: &'a [LaterUndo<'a>],
}

/// A patch that is backed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoingPatch {
    /// The patch.
    pub id: PatchId,
    /// The packages that it is applied to.
    pub packages: Vec<PkgInst>,
}

/// The choices of a user of patchrm(1M), and the known facts about later patches.
#[derive(Clone, Debug, Default)]
pub struct BackOutOptions {
    /// Manifests of patches that were applied later, as far as they can be read.
    pub later: BTreeMap<(PkgInst, String), Manifest>,
    /// The later patches whose undo data is of an earlier form of the program.
    pub earlier: BTreeSet<(PkgInst, String)>,
    /// The later patches whose archives scripts made.
    pub scripted: BTreeSet<(PkgInst, String)>,
    /// Patches of other packages that were applied later and have paths of the patch.
    pub elsewhere: Vec<Elsewhere>,
    /// The scripts that run.
    pub scripts: ScriptChoice,
    /// The names of the files in the directory of the patch in the database.
    pub hooks: BTreeSet<String>,
    /// Notes about these patches.
    pub notes: Vec<String>,
}

/// A patch that was applied later to a package which the backed-out patch does not touch, and may have paths
/// of it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The patch.
    pub patch: String,
    /// Its manifest in that package.
    pub manifest: Manifest,
}

pub(super) type Later<'a> = Vec<(PatchId, Option<&'a Manifest>)>;
