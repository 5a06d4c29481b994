//! What a patch manager knows: the package database of a root, sources, plans, scripts, and the sequences made of them.

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod database;
pub mod format;
pub mod inventory;
pub mod operation;
pub mod plan;
pub mod policy;
pub mod script;
pub mod source;

use patchadm_changeset::transaction;
use patchadm_rootfs as root;
use patchadm_svr4::patch;

/// Values of packages and of the tree.
mod package {
    pub(crate) use crate::inventory::Interruption;
    pub(crate) use crate::policy::{Edited, Policy, RootPatterns, ScriptPolicy};
    pub(crate) use patchadm_changeset::RecordFile;
    pub(crate) use patchadm_changeset::plan::UndoFormat;
    pub(crate) use patchadm_rootfs::{
        Digest, Hashing, Inode, Live, LiveKind, Summing, Sums, Timestamp, Xattrs, cores, side_by_side,
    };
    pub(crate) use patchadm_svr4::package::*;
}

/// Says which test is skipped and why, where it is seen: past the capture of what a test prints.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
