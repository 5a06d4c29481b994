//! Files whose bytes were read or written earlier, and need not be read again.

use crate::{Inode, ObjectStatus, Sums, Timestamp};

/// A regular file whose bytes are known as long as it does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// Its identity.
    pub inode: Inode,
    /// The modification time.
    pub mtime: Timestamp,
    /// The status change time, which no program can set.
    pub ctime: Timestamp,
    /// The known sums of the bytes.
    pub sums: Sums,
}

impl KnownFile {
    /// Tells whether a file is this one, unchanged.
    pub fn is(&self, seen: &ObjectStatus) -> bool {
        let same = (self.inode, self.sums.size, self.mtime) == (seen.inode, seen.size, seen.mtime);
        same && self.ctime == seen.ctime
    }
}
