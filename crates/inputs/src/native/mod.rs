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
mod program_run;
pub mod rpm;
mod upcoming;
mod verifiers;

pub use changes::{NativeChange, NativeChanges, NativeClaims, native_changes};
pub use dpkg::{DivertedPath, Diverting};
pub use fixed_in::{
    FIXED_IN, FixedIn, FixedInClause, FixedInError, fixed_in_of, fixed_in_parameter, fixed_in_said,
};
pub use ownership::{NativeIndex, NativeListings, NativeOwners};
pub use package::{
    ADOPTED, FileSum, LONGEST_PKG, NATIVE_DIFFERING, NATIVE_DIGEST, NATIVE_DIVERTED, NATIVE_EDITED,
    NATIVE_NAME, NATIVE_OVERTAKEN, NATIVE_STAMP, NATIVE_VERSION, NativeError, NativeManager, NativeOrigin,
    NativeOwner, NativePackage, NativePath, NativePresence, NativeRegistration, RegisteredPackage,
    UnfinishedChange, differing_of, differing_text, edited_of, edited_text, is_native_parameter,
};
pub use package_url::{Distribution, NativeIdentity, package_url};
pub use program_run::ending;
pub use upcoming::{Upcoming, UpcomingChange, UpcomingError, upcoming_changes};
pub use verifiers::{VerifiedPath, VerifierReport};

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use dpkg::DpkgRecords;
use patchadm_rootfs::{Root, RootError};
use patchadm_svr4::package::ObjectPath;
use rpm::RpmRecords;

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
            Self::Dpkg => DpkgRecords::of(root)?.package(name),
            Self::Rpm => RpmRecords::of(root)?.package(name),
        }
    }

    /// Returns the installed packages that replace another one, as far as records can be read.
    pub fn successors(self, root: &Root, name: &str) -> Vec<NativeOwner> {
        let found = match self {
            Self::Dpkg => DpkgRecords::of(root).map(|records| records.successors(name)),
            Self::Rpm => RpmRecords::of(root).and_then(|records| records.successors(name)),
        };
        found.unwrap_or_default()
    }

    /// Oldest first, by name; without packages that the manager is changing, or that cannot be read. Reads the records
    /// once.
    pub fn installed_versions_of(self, root: &Root, names: &BTreeSet<&str>) -> BTreeMap<String, Vec<String>> {
        if names.is_empty() {
            return BTreeMap::new();
        }
        let found = match self {
            Self::Dpkg => DpkgRecords::of(root).map(|records| records.installed_versions(names)),
            Self::Rpm => RpmRecords::of(root).and_then(|records| records.installed_versions(names)),
        };
        let mut found = found.unwrap_or_default();
        for versions in found.values_mut() {
            versions.sort_by(|one, other| self.compare(one, other));
        }
        found
    }
}

impl NativeOrigin {
    /// Reads everything recorded about a registered package, which has this version and architecture now.
    pub fn package(&self, root: &Root, version: &str, arch: &str) -> Result<NativePackage, NativeError> {
        match self.manager {
            NativeManager::Dpkg => DpkgRecords::of(root)?.registered_package(self),
            NativeManager::Rpm => RpmRecords::of(root)?.registered_package(self, version, arch),
        }
    }
}

pub enum NativeRecords<'a> {
    Dpkg(DpkgRecords<'a>),
    Rpm(RpmRecords),
}

impl<'a> NativeRecords<'a> {
    pub fn find(root: &'a Root, manager: NativeManager) -> Result<Option<Self>, NativeError> {
        Ok(match manager {
            NativeManager::Dpkg => DpkgRecords::find(root)?.map(Self::Dpkg),
            NativeManager::Rpm => RpmRecords::find(root)?.map(Self::Rpm),
        })
    }

    /// Reads every installed or half-installed package, one at a time.
    pub fn packages(
        &self,
    ) -> Result<Box<dyn Iterator<Item = Result<NativePackage, NativeError>> + '_>, NativeError> {
        Ok(match self {
            Self::Dpkg(records) => Box::new(records.packages()),
            Self::Rpm(records) => Box::new(records.packages()?),
        })
    }

    /// Like [`NativeManager::package`].
    pub fn package(&self, name: &str) -> Result<NativePackage, NativeError> {
        match self {
            Self::Dpkg(records) => records.package(name),
            Self::Rpm(records) => records.package(name),
        }
    }

    fn presences(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Result<Vec<Result<NativePresence, NativeError>>, NativeError> {
        match self {
            Self::Dpkg(records) => records.presences(packages),
            Self::Rpm(records) => records.presences(packages),
        }
    }

    fn registered(&self, packages: &[RegisteredPackage<'_>]) -> Vec<Result<NativePackage, NativeError>> {
        match self {
            Self::Dpkg(records) => records.registered_packages(packages),
            Self::Rpm(records) => records.registered_packages(packages),
        }
    }

    /// Returns the names of installed packages, as [`Self::package`] takes them, by possible names of their
    /// registrations: the name, or name and architecture, as in an earlier form.
    pub fn names(&self) -> Result<BTreeMap<String, Vec<String>>, NativeError> {
        let (manager, names): (_, Vec<(String, String, String)>) = match self {
            Self::Dpkg(records) => (NativeManager::Dpkg, records.names().collect()),
            Self::Rpm(records) => (NativeManager::Rpm, records.names()?),
        };
        let mut called: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, arch, own) in names {
            for pkg in [manager.package_name(&name), manager.package_name(&format!("{name}-{arch}"))] {
                called.entry(pkg).or_default().push(own.clone());
            }
        }
        Ok(called)
    }
}

impl NativeManager {
    /// Returns the file whose lock the manager holds while it changes packages, if the root has records of it.
    pub fn lock_file(self, root: &Root) -> Result<Option<ObjectPath>, RootError> {
        match self {
            Self::Dpkg => Ok(frontend_lock()),
            Self::Rpm => rpm::lock_file(root),
        }
    }

    pub fn lock_files(self) -> Vec<ObjectPath> {
        match self {
            Self::Dpkg => frontend_lock().into_iter().collect(),
            Self::Rpm => rpm::lock_files().collect(),
        }
    }
}

fn frontend_lock() -> Option<ObjectPath> {
    ObjectPath::new(dpkg::FRONTEND_LOCK.as_bytes()).ok()
}
