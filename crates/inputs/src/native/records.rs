//! All packages of the package managers of a root.

use super::dpkg::DpkgRecords;
use super::rpm::RpmRecords;
use super::{NativeError, NativeManager, NativePackage};
use patchadm_rootfs::Root;

/// The records of a package manager, of which all packages are read.
pub enum NativeRecords<'a> {
    /// Those of dpkg.
    Dpkg(DpkgRecords<'a>),
    /// Those of rpm.
    Rpm(RpmRecords),
}

impl<'a> NativeRecords<'a> {
    /// Finds the records of a manager; `None` where the root has none.
    pub fn find(root: &'a Root, manager: NativeManager) -> Result<Option<Self>, NativeError> {
        Ok(match manager {
            NativeManager::Dpkg => DpkgRecords::find(root)?.map(Self::Dpkg),
            NativeManager::Rpm => RpmRecords::find(root)?.map(Self::Rpm),
        })
    }

    /// Reads every package that is installed or in between, each when its turn comes.
    pub fn packages(
        &self,
    ) -> Result<Box<dyn Iterator<Item = Result<NativePackage, NativeError>> + '_>, NativeError> {
        Ok(match self {
            Self::Dpkg(records) => Box::new(records.packages()),
            Self::Rpm(records) => Box::new(records.packages()?),
        })
    }

    /// Returns the names, as [`NativeManager::package`] takes them, of the installed packages whose registration is called
    /// `pkg`.
    pub fn names_for(&self, pkg: &str) -> Result<Vec<String>, NativeError> {
        let is_it = |manager: NativeManager, name: &str, arch: &str| {
            manager.package_name(name) == pkg || manager.package_name(&format!("{name}-{arch}")) == pkg
        };
        Ok(match self {
            Self::Dpkg(records) => {
                let all = records.names().filter(|(name, arch)| is_it(NativeManager::Dpkg, name, arch));
                all.map(|(name, arch)| format!("{name}:{arch}")).collect()
            }
            Self::Rpm(records) => {
                let all = records.names()?.into_iter();
                all.filter(|(name, arch)| is_it(NativeManager::Rpm, name, arch))
                    .map(|(name, _)| name)
                    .collect()
            }
        })
    }
}
