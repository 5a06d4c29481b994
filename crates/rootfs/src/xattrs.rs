//! Extended attributes that a new version of an object takes over from the one before it.

use super::{Live, Xattrs};

/// The extended attribute that holds file capabilities.
pub const CAPABILITY: &[u8] = b"security.capability";

/// The extended attribute that holds a POSIX access list.
pub const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

/// The extended attribute that holds the POSIX access list of new objects in a directory.
pub const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";

/// Returns whether an extended attribute is a label of a security module.
pub fn is_label(key: &[u8]) -> bool {
    key == b"security.selinux" || key.starts_with(b"security.SMACK64")
}

/// Returns the rights of the owning group in a POSIX access list, limited by its mask, as three bits: the list is what
/// the attribute has for it. Returns none if it cannot be read.
pub fn group_rights_of_list(list: &[u8]) -> u32 {
    /// Tags of `linux/posix_acl.h`.
    const GROUP: u32 = 0x04;
    const MASK: u32 = 0x10;
    let Some((_version, entries)) = list.split_at_checked(4) else { return 0 };
    let rights_of = |wanted: u32| {
        let mut entries = entries.chunks_exact(8);
        entries.find_map(|entry| match *entry {
            [tag, high, rights, ..] if u32::from(tag) | u32::from(high) << 8 == wanted => {
                Some(u32::from(rights) & 7)
            }
            _ => None,
        })
    };
    rights_of(GROUP).unwrap_or(0) & rights_of(MASK).unwrap_or(7)
}

impl Live {
    /// Returns the extended attributes that the object in the place of this one takes over. Capabilities belong to the
    /// bytes.
    pub fn handed_on(&self, has_same_bytes: bool) -> Xattrs {
        let is_kept = |key: &[u8]| {
            is_label(key)
                || key.starts_with(b"user.")
                || key == ACCESS_LIST
                || key == CAPABILITY && has_same_bytes
        };
        let kept = self.xattrs.iter().filter(|(key, _)| is_kept(key));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}
