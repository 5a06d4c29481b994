//! Patches that dpkg or rpm overtook, and registrations that are stale, as queries tell of them.

use serde::Serialize;

use crate::reply::{Exit, ExitCause};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_inputs::native::NativeChange;
use patchadm_svr4::package::PkgInst;

/// The fix of a patch is lost, or would be with the next refresh.
pub(super) const LOST: Exit = Exit::new(68, ExitCause::NativeChanged);

/// A patch that ended because its package was changed; its fields are those of the JSON documents.
#[derive(Debug, Serialize)]
pub(super) struct OvertakenEntry {
    pub(super) id: String,
    pub(super) outcome: OvertakenState,
    pub(super) manager: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) fixed_in: Option<String>,
    pub(super) time: Option<String>,
    #[serde(skip)]
    pub(super) told: String,
}

impl OvertakenEntry {
    pub(super) fn of(patch: &OvertakenPatch) -> Self {
        Self {
            id: patch.patch.clone(),
            outcome: patch.state,
            manager: patch.manager.clone(),
            name: patch.package.clone(),
            version: patch.version.clone(),
            fixed_in: patch.fixed_in.clone(),
            time: Some(patch.time.clone()).filter(|time| !time.is_empty()),
            told: patch.told(),
        }
    }
}

/// A registration that no longer says what its package manager says.
#[derive(Debug, Serialize)]
pub(super) struct StaleEntry {
    package: String,
    reason: String,
}

impl StaleEntry {
    pub(super) fn of((package, change): (&PkgInst, &NativeChange)) -> Self {
        Self { package: package.to_string(), reason: change.to_string() }
    }

    /// Returns the sentence with the command that takes the change up.
    pub(super) fn sentence(&self) -> String {
        let Self { package, reason } = self;
        format!("package {package}: {reason}; `patchadm adopt --refresh` takes it up")
    }
}
