//! Why the records of a native package manager cannot be used.

use patchadm_rootfs::RootError;

use super::NativeManager;

/// Why the records of dpkg or rpm cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// A call on the root failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The records about a package are missing or make no sense.
    #[error("{manager} package {package}: {reason}")]
    Package {
        /// Whose records.
        manager: NativeManager,
        /// The package, as it was named.
        package: String,
        /// The fault.
        reason: String,
    },
    /// The records as a whole are missing or make no sense.
    #[error("{reason}")]
    Records {
        /// Whose records.
        manager: NativeManager,
        /// The fault.
        reason: String,
    },
}
