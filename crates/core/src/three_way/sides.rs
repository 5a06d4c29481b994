//! The trees that are compared.

use std::collections::BTreeSet;

use patchadm_releases::ReleaseObject;
use patchadm_svr4::package::ObjectPath;

/// The trees, each sorted by path with each path once, and within the same paths.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The common earlier state of both trees; `None` if it is not known.
    pub base: Option<&'a [ReleaseObject]>,
    /// The source tree.
    pub from: &'a [ReleaseObject],
    /// The tree that changes.
    pub to: &'a [ReleaseObject],
    /// The objects in that tree that are not compared and therefore stay: sockets, mount points, excluded paths.
    pub standing: &'a BTreeSet<ObjectPath>,
}
