//! The content of `patchadm list --json` for one root: the values for reports about many hosts.
//!
//! Texts are as their host wrote them. Values that are equal on many hosts are stored once, and shared.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use patchadm_svr4::patch::PatchId;

/// The patches and packages of one root at one moment.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The node name of the machine; the name of the file if the document does not have it.
    pub machine: String,
    /// The root, as it was named on that machine.
    pub root: String,
    /// The time of listing, if the document has it.
    pub at: Option<DateTime<Utc>>,
    /// The version of the program that listed them, if the document has it.
    pub version: Option<Arc<str>>,
    /// The patches, in the order of the document.
    pub patches: Vec<InventoryPatch>,
    /// All installed packages; `None` if the document does not list them.
    pub packages: Option<Vec<Arc<InventoryPackage>>>,
    /// The patches whose fix is lost to an upgrade by dpkg or rpm.
    pub lost: Vec<OvertakenFix>,
    /// The patches that ended because a version of dpkg or rpm contains their fix.
    pub contained: Vec<OvertakenFix>,
    /// The patches that ended because dpkg or rpm changed their package, and whose loss was accepted.
    pub accepted: Vec<OvertakenFix>,
    /// The registrations that no longer agree with dpkg or rpm.
    pub stale: Vec<StaleRegistration>,
    /// The trial that the root is on.
    pub trial: Option<InventoryTrial>,
    /// The run that was interrupted.
    pub unfinished: Option<String>,
}

impl Inventory {
    /// Returns the name of the host: the machine, and the root, if that is not its own.
    pub fn host(&self) -> String {
        if self.root == "/" { self.machine.clone() } else { format!("{}:{}", self.machine, self.root) }
    }
}

/// A patch on a host.
#[derive(Clone, Debug)]
pub struct InventoryPatch {
    /// The facts that are equal on every host.
    pub about: Arc<PatchFacts>,
    /// Its state on the host.
    pub standing: PatchStanding,
    /// True if a policy restricts it there.
    pub is_restricted: bool,
    /// True if dpkg or rpm overtook a part of it.
    pub is_partly_overtaken: bool,
    /// True if dpkg or rpm overwrote the fix at some paths and nobody accepted that.
    pub is_partly_lost: bool,
    /// The patch that supersedes or obsoletes it.
    pub by: Option<Arc<str>>,
    /// The date of application, if the host could tell it as a moment.
    pub date: Option<DateTime<Utc>>,
    /// Its undo data, package by package.
    pub undo: Arc<[PackageUndoState]>,
    /// The bytes of its undo data.
    pub undo_bytes: u64,
    /// The obstacle to a backout; `None` if there is none.
    pub stuck: Option<Arc<str>>,
    /// The verdict on its signature when it was applied, if the root recorded one.
    pub signature: Option<Arc<SignatureVerdict>>,
}

/// The facts that a patch states about itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatchFacts {
    /// The patch.
    pub id: PatchId,
    /// Its subject in its own words.
    pub synopsis: Option<String>,
    /// The packages that it is applied to.
    pub packages: Vec<String>,
    /// The patches that it obsoletes.
    pub obsoletes: Vec<PatchId>,
    /// The ids of the defects that it fixes.
    pub fixes: Vec<String>,
    /// The SHA-256 of the patch, in 64 hexadecimal digits, if the root recorded it.
    pub sha256: Option<String>,
}

/// The state of a patch on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatchStanding {
    /// It is in force.
    #[default]
    Effective,
    /// A later revision is applied.
    Superseded,
    /// A patch that contains it is applied.
    Obsoleted,
    /// Another tool left it half applied.
    Interrupted,
    /// The native package that was installed since contains its fix.
    Contained,
    /// Its fix is lost to a change by dpkg or rpm.
    Lost,
    /// Its package was removed by dpkg or rpm.
    Removed,
    /// Its state has a word that this program does not know.
    Other,
}

impl PatchStanding {
    /// All standings.
    pub const ALL: [Self; 8] = [
        Self::Effective,
        Self::Superseded,
        Self::Obsoleted,
        Self::Interrupted,
        Self::Contained,
        Self::Lost,
        Self::Removed,
        Self::Other,
    ];

    /// Returns the word of documents for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Effective => "effective",
            Self::Superseded => "superseded",
            Self::Obsoleted => "obsoleted",
            Self::Interrupted => "interrupted",
            Self::Contained => "contained",
            Self::Lost => "lost",
            Self::Removed => "removed",
            Self::Other => "other",
        }
    }

    /// Returns true if the changes of the patch are on the host.
    pub fn is_applied(self) -> bool {
        matches!(self, Self::Effective | Self::Superseded | Self::Obsoleted | Self::Contained | Self::Other)
    }
}

/// The undo data of a patch in one package.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackageUndoState {
    /// The package.
    pub package: String,
    /// `saved`, `none`, `committed`, `exported`, `lost`, `damaged` or `classic`.
    pub state: String,
}

impl PackageUndoState {
    /// Returns true if undo data is missing or differs from what was written.
    pub fn is_damaged(&self) -> bool {
        matches!(self.state.as_str(), "damaged" | "lost")
    }
}

/// The verdict on a signature when the patch was applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignatureVerdict {
    /// `trusted`, `unsigned`, `unchecked`, …
    pub state: String,
    /// The id of the key that signed.
    pub key: Option<String>,
    /// The name that the root had for the key.
    pub name: Option<String>,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InventoryPackage {
    /// The instance.
    pub package: String,
    /// The name in words.
    pub name: Option<String>,
    /// The version.
    pub version: String,
    /// The architecture.
    pub arch: String,
    /// The package manager that it was adopted from: `dpkg` or `rpm`.
    pub manager: Option<String>,
    /// Its name in that package manager.
    pub native: Option<NativeName>,
    /// Its package URL.
    pub purl: Option<String>,
}

/// The name of a package in its package manager.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NativeName {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The architecture.
    pub arch: String,
}

/// A patch that ended, or would, because its package was changed by dpkg or rpm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OvertakenFix {
    /// The patch.
    pub id: String,
    /// The package manager that changed the package: `dpkg` or `rpm`.
    pub manager: String,
    /// The name of the package there.
    pub name: String,
    /// The version that is installed now.
    pub version: String,
    /// The ids of the defects that the patch fixed.
    pub fixes: Vec<String>,
    /// True if the patch is still applied and lost its fix at some paths.
    pub is_partial: bool,
}

/// A registration that no longer agrees with the package manager.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaleRegistration {
    /// The package.
    pub package: String,
    /// The difference, in words.
    pub reason: String,
}

/// The trial that a root is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryTrial {
    /// The run on trial.
    pub run: String,
    /// The deadline.
    pub until: String,
    /// True if it was over when the root was listed.
    pub is_over: bool,
    /// The obstacle to its backout.
    pub stuck: Option<String>,
    /// The patches on trial.
    pub patches: Vec<String>,
}
