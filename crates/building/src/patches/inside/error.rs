//! The reasons why a trial cannot be carried out in its sandbox.

use std::io;

use patchadm_making::release::ReleaseError;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::PathError;

/// The reasons why a trial could not be carried out: nothing is known of the patches.
#[derive(Debug, thiserror::Error)]
pub enum TrialServeError {
    /// A file or directory.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A package.
    #[error(transparent)]
    Package(#[from] ReleaseError),
    /// What is installed cannot be looked at.
    #[error("{0}")]
    Tree(ReleaseError),
    /// The program could not be started.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A path of a package.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The order.
    #[error("the order cannot be read: {0}")]
    Order(String),
}
