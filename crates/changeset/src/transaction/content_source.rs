//! The interface through which a run reads the content of new files.

use std::io::Read;

use super::error::Cause;
use crate::stored_file::StoredFile;
use patchadm_svr4::package::PackagePath;

/// The source of the content of new files: a patch, a package or an undo archive.
pub trait ContentSource {
    /// Streams every file for which `wanted` (index of the package, path in it) returns true to `sink`, in the order of
    /// the source.
    fn stream(&mut self, wanted: &WantedFile<'_>, sink: &mut FileSink<'_>) -> Result<(), StreamError>;

    /// Returns the place of a file that lies in an undo directory of the root, so that it can come back itself.
    fn stored(&self, _package: usize, _path: &PackagePath) -> Option<&StoredFile> {
        None
    }
}

/// Tells whether a file of the source is needed.
pub type WantedFile<'w> = dyn Fn(usize, &PackagePath) -> bool + 'w;

/// Receives the bytes of one file.
pub type FileSink<'s> = dyn FnMut(usize, &PackagePath, &mut dyn Read) -> Result<(), Cause> + 's;

/// The reason why streaming ended early.
#[derive(Debug)]
pub enum StreamError {
    /// The source cannot be read.
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// The sink failed.
    Sink(Cause),
}

impl From<StreamError> for Cause {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Source(error) => Self::Source(error),
            StreamError::Sink(cause) => cause,
        }
    }
}
