//! A record file that is copied from another tree, or from a part of a file there, and the bytes expected in it.

use patchadm_rootfs::{Digest, Root};
use patchadm_svr4::package::ObjectPath;

/// A file of another tree, or a part of one, that may be too large for memory: the undo archive of a patch that comes from a
/// stage or from an export.
#[derive(Clone, Debug)]
pub struct CopiedRecord {
    /// The tree. The path is resolved inside it.
    pub tree: Root,
    /// The path of the file there.
    pub path: ObjectPath,
    /// The place in it of the first byte that is copied.
    pub from: u64,
    /// The number of bytes.
    pub size: u64,
    /// The BLAKE3 that they must have.
    pub b3: Digest,
}
