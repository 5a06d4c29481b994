//! The reasons why a tree cannot be scanned.

use std::io;

use patchadm_rootfs::RootError;

use crate::set::SetError;

/// The reasons why nothing is known of a tree.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The list of locations could not be had.
    #[error("the list of locations: {0}")]
    Listing(String),
    /// A sandbox could not be made, or was lost.
    #[error("{0}")]
    Sandbox(#[from] io::Error),
    /// The set that says who has which name cannot be read.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The disk.
    #[error(transparent)]
    Root(#[from] RootError),
    /// It was asked to end.
    #[error("it was interrupted by signal {0}")]
    Interrupted(i32),
}
