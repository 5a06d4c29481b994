//! The extended attributes that a release keeps.

use std::collections::BTreeMap;

/// Tells whether an extended attribute belongs to an object of a package. All others (labels, what a security module or a
/// file system keeps for itself) belong to the machine where the object lies.
pub fn is_kept_attribute(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Leaves only the attributes that a release keeps.
pub(super) fn kept(mut xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    xattrs.retain(|name, _| is_kept_attribute(name));
    xattrs
}
