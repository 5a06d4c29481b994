//! What the package manager of the system has recorded in a root: the packages of dpkg and of rpm, which are read and
//! never changed.
//!
//! An adopted package is a registration of such a package ([`NativeOrigin`]). It has the facts by which a later command sees
//! that the package was upgraded, installed again or removed since ([`NativeRegistration`], [`native_changes`]).
//!
//! ```text
//!   var/lib/dpkg ─► dpkg ─┐
//!                         ├─► NativePackage, NativePresence ─► native_changes
//!   rpm -q ───────► rpm ──┘
//! ```

mod changes;
mod distribution;
pub mod dpkg;
mod error;
mod file_sum;
mod fixed_in;
mod lock_file;
mod origin;
mod ownership;
mod package;
mod package_name;
mod package_url;
mod records;
mod registration;
pub mod rpm;
mod upcoming;
mod verifiers;

pub use changes::{NativeChange, NativeChanges, NativeClaims, native_changes};
pub use distribution::Distribution;
pub use dpkg::{DivertedPath, Diverting};
pub use error::NativeError;
pub use file_sum::FileSum;
pub use fixed_in::{
    FIXED_IN, FixedIn, FixedInClause, FixedInError, fixed_in_of, fixed_in_parameter, fixed_in_said,
};
pub use origin::{ADOPTED, NATIVE_NAME, NativeManager, NativeOrigin, NativeOwner};
pub use ownership::{NativeIndex, NativeOwners};
pub use package::{NativePackage, NativePath, NativePresence, RegisteredPackage, UnfinishedChange};
pub use package_name::LONGEST_PKG;
pub use package_url::{NativeIdentity, package_url};
pub use records::NativeRecords;
pub use registration::{
    NATIVE_DIFFERING, NATIVE_DIGEST, NATIVE_DIVERTED, NATIVE_OVERTAKEN, NATIVE_STAMP, NATIVE_VERSION,
    NativeRegistration, differing_of, differing_text, is_native_parameter,
};

pub use upcoming::{UpcomingChange, UpcomingError, upcoming_changes};
pub use verifiers::{VerifiedPath, VerifierReport};

use patchadm_rootfs::Root;
use std::cmp::Ordering;

impl NativeManager {
    /// Compares two versions as the manager itself does.
    pub fn compare(self, one: &str, other: &str) -> Ordering {
        match self {
            Self::Dpkg => dpkg::version::compare(one, other),
            Self::Rpm => rpm::version::compare(one, other),
        }
    }

    /// Returns what is wrong with a version.
    pub fn version_fault(self, version: &str) -> Option<&'static str> {
        match self {
            Self::Dpkg => dpkg::version::fault(version),
            Self::Rpm => rpm::version::fault(version),
        }
    }

    /// Reads everything that the manager has recorded about a package. The name is as its user gives it: `NAME` or
    /// `NAME:ARCH` for dpkg; `NAME`, `NAME.ARCH` or `NAME-VERSION-RELEASE.ARCH` for rpm.
    pub fn package(self, root: &Root, name: &str) -> Result<NativePackage, NativeError> {
        match self {
            Self::Dpkg => dpkg::DpkgRecords::of(root)?.package(name),
            Self::Rpm => rpm::RpmRecords::of(root)?.package(name),
        }
    }

    /// Returns the installed packages that say they replace another one; none if the records cannot be read.
    pub fn successors(self, root: &Root, name: &str) -> Vec<NativeOwner> {
        let found = match self {
            Self::Dpkg => dpkg::DpkgRecords::of(root).map(|records| records.successors(name)),
            Self::Rpm => rpm::RpmRecords::of(root).and_then(|records| records.successors(name)),
        };
        found.unwrap_or_default()
    }

    /// Returns the versions of a package that are installed, the oldest first; none where its manager has not finished with it,
    /// or where that cannot be read.
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
    /// Reads everything that the manager has recorded now about a registered package, which has this version and this
    /// architecture now.
    pub fn package(&self, root: &Root, version: &str, arch: &str) -> Result<NativePackage, NativeError> {
        match self.manager {
            NativeManager::Dpkg => dpkg::DpkgRecords::of(root)?.registered_package(self),
            NativeManager::Rpm => rpm::RpmRecords::of(root)?.registered_package(self, version, arch),
        }
    }
}
