use std::collections::BTreeMap;

use super::dpkg::{self, DpkgRecords};
use super::rpm::{self, RpmRecords};
use super::{NativeError, NativeManager, NativePackage, NativePresence, RegisteredPackage};
use patchadm_rootfs::{Root, RootError};
use patchadm_svr4::package::ObjectPath;

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

    pub(super) fn presences(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Result<Vec<Result<NativePresence, NativeError>>, NativeError> {
        match self {
            Self::Dpkg(records) => records.presences(packages),
            Self::Rpm(records) => records.presences(packages),
        }
    }

    pub(super) fn registered(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Vec<Result<NativePackage, NativeError>> {
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
