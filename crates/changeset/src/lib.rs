//! Many objects of a root changed as one.

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod archive_file;
pub mod format;
pub mod ledgers;
pub mod outside;
pub mod plan;
mod record_file;
pub mod records;
pub mod transaction;

/// Values of packages and of the tree.
mod package {
    pub(crate) use crate::record_file::RecordFile;
    pub(crate) use patchadm_rootfs::{
        Digest, Hashing, Inode, Live, LiveKind, Summing, Sums, Timestamp, Xattrs, cores, side_by_side,
    };
    pub(crate) use patchadm_svr4::package::*;
}

/// The records of a root as a run sees them.
mod database {
    pub(crate) use crate::places;
    pub(crate) use crate::records::*;
    pub(crate) use patchadm_svr4::places::own_directory;
}

pub use record_file::RecordFile;

use patchadm_rootfs as root;
use patchadm_svr4::places;

/// Says which test is skipped and why, where it is seen: past the capture of what a test prints.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
