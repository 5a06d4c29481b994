//! The lock files of the package managers of the system.

use super::{NativeManager, dpkg, rpm};
use patchadm_rootfs::{Root, RootError};
use patchadm_svr4::package::ObjectPath;

impl NativeManager {
    /// Returns the path of the file whose lock the manager holds while it changes packages of a root; `None` where the root
    /// has no records of it.
    pub fn lock_file(self, root: &Root) -> Result<Option<ObjectPath>, RootError> {
        match self {
            Self::Dpkg => Ok(frontend_lock()),
            Self::Rpm => rpm::lock_file(root),
        }
    }

    /// Returns the paths that this file can have.
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
