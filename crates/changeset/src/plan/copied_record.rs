//! A record file that is copied from another tree, and the bytes expected in it.

use patchadm_rootfs::{Digest, Root};
use patchadm_svr4::package::ObjectPath;

/// A file of another tree that may be too large for memory: the undo archive of a patch that comes from a stage.
#[derive(Clone, Debug)]
pub struct CopiedRecord {
    /// The tree. The path is resolved inside it.
    pub tree: Root,
    /// The path of the file there.
    pub path: ObjectPath,
    /// Its size in bytes.
    pub size: u64,
    /// The BLAKE3 that they must have.
    pub b3: Digest,
}
