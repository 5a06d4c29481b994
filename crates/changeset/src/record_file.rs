//! A file of a package's directory in the database.

use std::sync::Arc;

use patchadm_rootfs::Timestamp;
use patchadm_svr4::package::Mode;

/// The content of a record file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// The bytes of the file. Plan, undo archive and survey share them: a pkgmap has a line for each object.
    pub bytes: Arc<Vec<u8>>,
    /// The permission bits.
    pub mode: Mode,
    /// The modification time.
    pub mtime: Timestamp,
}
