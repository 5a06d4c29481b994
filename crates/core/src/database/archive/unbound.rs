//! An archive that is open and of which nothing is known yet: no patch, no package, no line of a ledger.

use std::fs::File;

use super::{ArchiveError, FromStart, MANIFEST, read_manifest, stream, unreadable, verify};
use crate::format::manifest::Manifest;
use crate::package::Digest;

/// A file that may be an undo archive.
#[derive(Debug)]
pub struct UnboundArchive {
    file: File,
    shown: String,
}

impl UnboundArchive {
    /// A regular file; `shown` is what messages call it.
    pub fn new(file: File, shown: String) -> Self {
        Self { file, shown }
    }

    /// SHA-256 of the file.
    pub fn digest(&self) -> Result<Digest, ArchiveError> {
        verify::digest_of(&self.file).map_err(|error| unreadable(&self.shown, &error))
    }

    /// Its manifest; none in an archive of another program.
    pub fn manifest(&self) -> Result<Option<Manifest>, ArchiveError> {
        let damaged = |reason: String| ArchiveError::Damaged { path: self.shown.clone(), reason };
        let bytes = FromStart { file: &self.file, offset: 0 };
        let mut stream = stream(bytes).map_err(|error| damaged(error.to_string()))?;
        stream.next_part().map_err(|error| damaged(error.to_string()))?;
        while let Some(member) = stream.next_member().map_err(|error| damaged(error.to_string()))? {
            let name = member.path.as_bytes();
            if name == MANIFEST {
                return read_manifest(&mut stream).map(Some).map_err(damaged);
            }
            if name.starts_with(b"reloc") || name.starts_with(b"root") {
                break;
            }
        }
        Ok(None)
    }
}
