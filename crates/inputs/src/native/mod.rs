//! The records of dpkg and rpm in a root, never changed. An adopted package is a registration of a native package
//! ([`NativeOrigin`]). Its facts show later upgrades, reinstallations and removals ([`NativeRegistration`],
//! [`native_changes`]).
//!
//! ```text
//! var/lib/dpkg ─► dpkg ─┐
//!                       ├─► NativePackage, NativePresence ─► native_changes
//! rpm -q ───────► rpm ──┘
//! ```

mod changes;
pub mod dpkg;
mod fixed_in;
mod ownership;
mod package;
mod package_url;
mod records;
pub mod rpm;
mod upcoming;
mod verifiers;

use std::cmp::Ordering;

pub use changes::{NativeChange, NativeChanges, NativeClaims, native_changes};
pub use dpkg::{DivertedPath, Diverting};
pub use fixed_in::{
    FIXED_IN, FixedIn, FixedInClause, FixedInError, fixed_in_of, fixed_in_parameter, fixed_in_said,
};
pub use ownership::{NativeIndex, NativeOwners};
pub use package::{
    ADOPTED, FileSum, LONGEST_PKG, NATIVE_DIFFERING, NATIVE_DIGEST, NATIVE_DIVERTED, NATIVE_NAME,
    NATIVE_OVERTAKEN, NATIVE_STAMP, NATIVE_VERSION, NativeError, NativeManager, NativeOrigin, NativeOwner,
    NativePackage, NativePath, NativePresence, NativeRegistration, RegisteredPackage, UnfinishedChange,
    differing_of, differing_text, is_native_parameter,
};
pub use package_url::{Distribution, NativeIdentity, package_url};
use patchadm_rootfs::Root;
pub use records::NativeRecords;
pub use upcoming::{UpcomingChange, UpcomingError, upcoming_changes};
pub use verifiers::{VerifiedPath, VerifierReport};

impl NativeManager {
    /// Compares two versions as the manager itself does.
    pub fn compare(self, one: &str, other: &str) -> Ordering {
        match self {
            Self::Dpkg => dpkg::version::compare(one, other),
            Self::Rpm => rpm::version::compare(one, other),
        }
    }

    pub fn version_fault(self, version: &str) -> Option<&'static str> {
        match self {
            Self::Dpkg => dpkg::version::fault(version),
            Self::Rpm => rpm::version::fault(version),
        }
    }

    /// `NAME` or `NAME:ARCH` for dpkg; `NAME`, `NAME.ARCH` or `NAME-VERSION-RELEASE.ARCH` for rpm.
    pub fn package(self, root: &Root, name: &str) -> Result<NativePackage, NativeError> {
        match self {
            Self::Dpkg => dpkg::DpkgRecords::of(root)?.package(name),
            Self::Rpm => rpm::RpmRecords::of(root)?.package(name),
        }
    }

    /// Returns the installed packages that replace another one, as far as records can be read.
    pub fn successors(self, root: &Root, name: &str) -> Vec<NativeOwner> {
        let found = match self {
            Self::Dpkg => dpkg::DpkgRecords::of(root).map(|records| records.successors(name)),
            Self::Rpm => rpm::RpmRecords::of(root).and_then(|records| records.successors(name)),
        };
        found.unwrap_or_default()
    }

    /// Oldest first; empty while its manager is changing it, or if that cannot be read.
    pub fn installed_versions(self, root: &Root, name: &str) -> Vec<String> {
        let found = match self {
            Self::Dpkg => dpkg::DpkgRecords::of(root).map(|records| records.installed_versions(name)),
            Self::Rpm => rpm::RpmRecords::of(root).and_then(|records| records.installed_versions(name)),
        };
        let mut versions = found.unwrap_or_default();
        versions.sort_by(|one, other| self.compare(one, other));
        versions
    }
}

impl NativeOrigin {
    /// Reads everything recorded about a registered package, which has this version and architecture now.
    pub fn package(&self, root: &Root, version: &str, arch: &str) -> Result<NativePackage, NativeError> {
        match self.manager {
            NativeManager::Dpkg => dpkg::DpkgRecords::of(root)?.registered_package(self),
            NativeManager::Rpm => rpm::RpmRecords::of(root)?.registered_package(self, version, arch),
        }
    }
}
