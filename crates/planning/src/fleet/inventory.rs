//! The content of `patchadm list --json` for one root. Texts are as their host wrote them. Equal values of many hosts
//! are stored once, and shared.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use patchadm_svr4::patch::PatchId;

#[derive(Clone, Debug)]
pub struct HostInventory {
    /// Node name; the name of the file if the document lacks it.
    pub machine: String,
    /// As it was named on that machine.
    pub root: String,
    pub at: Option<DateTime<Utc>>,
    /// Of the program that listed the patches.
    pub version: Option<Arc<str>>,
    /// In the order of the document.
    pub patches: Vec<InventoryPatch>,
    /// `None` if the document does not list packages.
    pub packages: Option<Vec<Arc<InventoryPackage>>>,
    /// Patches whose fix is lost to an upgrade by dpkg or rpm.
    pub lost: Vec<OvertakenFix>,
    /// Patches that ended because dpkg or rpm has a version with their fix.
    pub contained: Vec<OvertakenFix>,
    /// Patches that ended because dpkg or rpm changed their package, and whose loss was accepted.
    pub accepted: Vec<OvertakenFix>,
    /// Registrations that no longer agree with dpkg or rpm.
    pub stale: Vec<StaleRegistration>,
    pub trial: Option<InventoryTrial>,
    pub unfinished: Option<String>,
}

impl HostInventory {
    /// Returns the name of the host: the machine, and the root, if that is not its own.
    pub fn host(&self) -> String {
        if self.root == "/" { self.machine.clone() } else { format!("{}:{}", self.machine, self.root) }
    }

    /// Returns the ids of the patches on trial.
    pub fn on_trial(&self) -> HashSet<&str> {
        self.trial.iter().flat_map(|trial| &trial.patches).map(String::as_str).collect()
    }
}

#[derive(Clone, Debug)]
pub struct InventoryPatch {
    /// Equal on every host.
    pub about: Arc<PatchDescription>,
    pub standing: FleetPatchStanding,
    /// Restricted by a policy of the host.
    pub is_restricted: bool,
    /// dpkg or rpm overtook a part of it.
    pub is_partly_overtaken: bool,
    /// dpkg or rpm overwrote the fix at some paths and nobody accepted that.
    pub is_partly_lost: bool,
    /// dpkg or rpm has not finished with its package.
    pub is_uncertain: bool,
    /// The patch that supersedes or obsoletes it.
    pub by: Option<Arc<str>>,
    /// `None` if the host could not tell the moment.
    pub date: Option<DateTime<Utc>>,
    /// By package.
    pub undo: Arc<[PackageUndoState]>,
    pub undo_bytes: u64,
    /// The obstacle to a backout.
    pub stuck: Option<Arc<str>>,
    /// The recorded verdict at the time of application.
    pub signature: Option<Arc<SignatureVerdict>>,
}

/// Stated by the patch about itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PatchDescription {
    pub id: PatchId,
    pub synopsis: Option<String>,
    /// The packages that it is applied to.
    pub packages: Vec<String>,
    pub obsoletes: Vec<PatchId>,
    /// Ids of defects.
    pub fixes: Vec<String>,
    /// 64 hexadecimal digits, if the root recorded it.
    pub sha256: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FleetPatchStanding {
    #[default]
    Effective,
    /// A later revision is applied.
    Superseded,
    /// A patch that contains it is applied.
    Obsoleted,
    /// Another tool left it half applied.
    Interrupted,
    /// A native package that was installed since contains its fix.
    Contained,
    /// Lost to a change by dpkg or rpm.
    Lost,
    /// dpkg or rpm removed its package.
    Removed,
    /// This program does not know the word for its state.
    Other,
}

impl FleetPatchStanding {
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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackageUndoState {
    pub package: String,
    /// `saved`, `none`, `committed`, `exported`, `lost`, `damaged` or `classic`.
    pub state: String,
}

impl PackageUndoState {
    /// Undo data is missing or differs from the written data.
    pub fn is_damaged(&self) -> bool {
        matches!(self.state.as_str(), "damaged" | "lost")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignatureVerdict {
    /// `trusted`, `unsigned`, `unchecked`, …
    pub state: String,
    /// The id of the signing key.
    pub key: Option<String>,
    /// The root's name for the key.
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InventoryPackage {
    pub package: String,
    /// In words.
    pub name: Option<String>,
    pub version: String,
    pub arch: String,
    /// `dpkg` or `rpm` for an adopted package.
    pub manager: Option<String>,
    pub native: Option<NativeName>,
    pub purl: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NativeName {
    pub name: String,
    pub version: String,
    pub arch: String,
}

/// A patch that ended, or would, because dpkg or rpm changed its package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OvertakenFix {
    pub id: String,
    /// `dpkg` or `rpm`.
    pub manager: String,
    pub name: String,
    /// The present version.
    pub version: String,
    /// Ids of defects.
    pub fixes: Vec<String>,
    /// The patch is still applied and lost its fix at some paths.
    pub is_partial: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaleRegistration {
    pub package: String,
    /// The difference, in words.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryTrial {
    pub run: String,
    pub until: String,
    /// At the time of listing.
    pub is_over: bool,
    /// The obstacle to its backout.
    pub stuck: Option<String>,
    pub patches: Vec<String>,
}
