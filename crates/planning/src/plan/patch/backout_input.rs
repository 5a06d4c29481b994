//! What the backout of a patch is planned from: its undo archives, what the user chose, and the patches that were applied
//! later.

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

/// The undo archive of one package, read and verified. In the plan's [`Member`](crate::plan::Member)s its place among the
/// archives stands for the package.
#[derive(Clone, Copy, Debug)]
pub struct BackoutArchive<'a> {
    /// The patch that it takes back.
    pub patch: &'a PatchId,
    /// The package that it takes back.
    pub package: &'a PkgInst,
    /// Its place among the sources of the run.
    pub index: usize,
    /// The backout package that is restored from.
    pub image: &'a PackageImage,
    /// The backout package that the scripts of the patch made, where `image` is the snapshot beside it: its scripts run.
    pub made_by_scripts: Option<&'a PackageImage>,
    /// The manifest; none in an archive of the classic tools.
    pub manifest: Option<&'a Manifest>,
    /// The saved files of the package's directory in the database.
    pub records: &'a BTreeMap<Vec<u8>, RecordFile>,
    /// Whether the ledger of the root names the archive by digest, as one that a run of the root made. One that it
    /// does not name gives back set-id bits, file capabilities, devices and owners only where the root itself knows of
    /// them.
    pub is_bound: bool,
    /// For a package that was adopted from dpkg or rpm: the native version that the patch was applied to, if that is known.
    pub native: Option<&'a str>,
    /// Where the archive is, if that is outside the root: it is removed after the backout.
    pub outside: Option<&'a Path>,
}

/// The undo data of a patch that stays, read and verified, to be written anew with what earlier patches saved.
#[derive(Clone, Debug)]
pub struct LaterUndo<'a> {
    /// The package.
    pub package: &'a PkgInst,
    /// The patch, as its save directory is named.
    pub patch: String,
    /// What it did.
    pub manifest: &'a Manifest,
    /// Its archive; none where only the manifest is kept.
    pub archive: Option<LaterArchive<'a>>,
}

/// The archive of a patch that stays.
#[derive(Clone, Copy, Debug)]
pub struct LaterArchive<'a> {
    /// Its place among the sources of the run.
    pub index: usize,
    /// The backout package.
    pub image: &'a PackageImage,
    /// The saved files of the package's directory in the database.
    pub records: &'a BTreeMap<Vec<u8>, RecordFile>,
    /// How it is compressed.
    pub format: UndoFormat,
    /// Where it is, if that is outside the root.
    pub outside: Option<&'a Path>,
    /// Whether that one is removed after the commit.
    pub is_used_up: bool,
    /// Whether it is the snapshot beside an archive that scripts made: that one stays as it is.
    pub is_snapshot: bool,
}

impl LaterArchive<'_> {
    /// The place that the archive has when it is written anew.
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
    /// The undo data that is written anew: of the patches that [`taking_over`](super::taking_over::taking_over) names.
    pub later: &'a [LaterUndo<'a>],
}

/// A patch that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoingPatch {
    /// The patch.
    pub id: PatchId,
    /// The packages that it is applied to.
    pub packages: Vec<PkgInst>,
}

/// What the user of patchrm(1M) may choose, and what is known of later patches.
#[derive(Clone, Debug, Default)]
pub struct BackOutOptions {
    /// Manifests of patches that were applied later, as far as they can be read.
    pub later: BTreeMap<(PkgInst, String), Manifest>,
    /// Those among the later patches whose undo data is of an earlier form of the program.
    pub earlier: BTreeSet<(PkgInst, String)>,
    /// Those whose archives scripts made.
    pub scripted: BTreeSet<(PkgInst, String)>,
    /// Patches of other packages that were applied later and have paths of the patch.
    pub elsewhere: Vec<Elsewhere>,
    /// Which scripts run.
    pub scripts: ScriptChoice,
    /// The names of the files in the directory of the patch in the database.
    pub hooks: BTreeSet<String>,
    /// What is to be said of them.
    pub notes: Vec<String>,
}

/// A patch of a package that the one which goes does not touch: it was applied later, and may have paths of it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// The patch.
    pub patch: String,
    /// What it did to that package.
    pub manifest: Manifest,
}

/// The patches applied after the one that goes, oldest first, each with its manifest where that can be read.
pub(super) type Later<'a> = Vec<(PatchId, Option<&'a Manifest>)>;
