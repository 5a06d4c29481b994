//! A file of a package's directory in the database.

use crate::package::{Mode, Timestamp};

/// A record file as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: Mode,
    /// Modification time.
    pub mtime: Timestamp,
}
