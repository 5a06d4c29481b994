//! A record file that is copied from another tree, and what its bytes must be.

use patchadm_rootfs::{Digest, Root};
use patchadm_svr4::package::ObjectPath;

/// A file of another tree, for one that may be too large for memory: the undo archive of a patch that comes from a stage.
#[derive(Clone, Debug)]
pub struct CopiedRecord {
    /// The tree. The path is resolved inside it.
    pub tree: Root,
    /// The path of the file there.
    pub path: ObjectPath,
    /// Its bytes.
    pub size: u64,
    /// The BLAKE3 that they must have.
    pub b3: Digest,
}
