//! Limits on undo archives, which may belong to an untrusted owner.

use patchadm_svr4::format::datastream::LARGEST_PKGMAP;
use patchadm_svr4::format::pkgmap::MOST_ENTRIES;

/// Bytes of the manifest, and of the old records: both have a line or more for each object.
pub const LARGEST_MANIFEST: u64 = 256 << 20;

/// For recovery, which reads what the interrupted run wrote.
pub(crate) const LARGEST_OWN_MANIFEST: u64 = 1 << 30;

/// Bytes after a datastream, such as tape padding. Compressed padding can be very long.
pub const LARGEST_REST: u64 = 16 << 20;

/// A pkgmap can name as many, besides itself and the pkginfo.
pub const MOST_MEMBERS: MemberLimits = MemberLimits { count: MOST_ENTRIES + 2, names: LARGEST_PKGMAP };

#[derive(Clone, Copy, Debug)]
pub struct MemberLimits {
    pub count: usize,
    /// Bytes of all names.
    pub names: u64,
}
