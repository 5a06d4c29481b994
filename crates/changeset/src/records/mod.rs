//! The records of a root at one moment.

pub mod contents;
pub mod stamped;
mod view;

use crate::format::contents::ContentsError;
use crate::places;
use crate::root::RootError;

pub use view::{OpenRun, RecordReader, RecordView, ViewError, marker, open_run, read_consistently};

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No steady state was seen, or a file could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// `contents` cannot be parsed where it is wanted.
    #[error("{path}: {reason}")]
    Contents {
        /// Its path, with the prefix of the root.
        path: String,
        /// What is wrong, with the line.
        reason: ContentsError,
    },
    /// Something else stands where a record file belongs: a link, a pipe, a directory.
    #[error("{0} is not a regular file")]
    NoFile(String),
}

impl From<RootError> for RecordError {
    fn from(error: RootError) -> Self {
        Self::View(error.into())
    }
}
