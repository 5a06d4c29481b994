//! The records of dpkg and rpm in a root, never changed. An adopted package is a registration of a native package
//! ([`NativeOrigin`]). Its facts show later upgrades, reinstallations and removals ([`NativeRegistration`],
//! [`native_changes`]).
//!
//! ```text
//! var/lib/dpkg ─► dpkg ─┐
//!                       ├─► NativeReader ─► NativePackage, NativePresence ─► native_changes
//! rpm -q ───────► rpm ──┘
//! ```

mod changes;
pub mod dpkg;
mod fixed_in;
mod ownership;
mod package;
mod package_cache;
mod package_url;
mod reader;
pub mod rpm;
mod successors;
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
pub use reader::{NativeReader, NativeRecords};
pub use upcoming::{Upcoming, UpcomingChange, UpcomingError, upcoming_changes};
pub use verifiers::{VerifiedPath, VerifierReport};

use std::cmp::Ordering;

use patchadm_rootfs::{Root, RootError};
use patchadm_svr4::package::ObjectPath;

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
