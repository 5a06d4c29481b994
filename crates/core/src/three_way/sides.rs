//! The trees that are compared.

use std::collections::BTreeSet;

use patchadm_making::release::ReleaseObject;
use patchadm_svr4::package::ObjectPath;

/// The trees, each sorted by path with each path once, and within the same paths.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// What both trees had once; `None` where there is no such memory.
    pub base: Option<&'a [ReleaseObject]>,
    /// The tree that is taken from.
    pub from: &'a [ReleaseObject],
    /// The tree that changes.
    pub to: &'a [ReleaseObject],
    /// What is in that tree and is not compared, and so stays: sockets, mount points, what is excluded.
    pub standing: &'a BTreeSet<ObjectPath>,
}
