//! The records of a root at one moment.

pub mod contents;
pub(crate) mod identity;
mod journal_head;
mod last_records;
pub(crate) mod lost_journal;
pub mod pkglog;
pub mod stamped;
mod view;
mod view_error;

use patchadm_rootfs::RootError;
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::format::pkglog::PkglogError;
use patchadm_svr4::places;

pub use identity::IdentityFault;
pub use journal_head::{has_journal, identity_fault, last_committed_run, last_run, marker};
pub use last_records::LastRecords;
pub use view::{OpenRun, RecordReader, RecordView, open_run, read_consistently};
pub use view_error::ViewError;

/// The reasons why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No consistent state was seen, or a file could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A wanted line of `contents` cannot be parsed.
    #[error("{path}: {reason}")]
    Contents {
        /// The root on the host, unless it is that of the running system.
        root: Option<String>,
        /// The path of `contents`, with the prefix of the root.
        path: String,
        /// The error, with its line.
        reason: ContentsError,
    },
    /// The log of another tool beside `contents` cannot be read.
    #[error("{path}: {reason}")]
    Pkglog {
        /// The root on the host, unless it is that of the running system.
        root: Option<String>,
        /// The path of the log, with the prefix of the root.
        path: String,
        /// The error, with its line.
        reason: PkglogError,
    },
    /// An object other than a regular file (a link, a pipe, a directory) is in the place of a record.
    #[error("{path} is not a regular file")]
    NoFile {
        /// The root on the host, unless it is that of the running system.
        root: Option<String>,
        /// The path of the record, with the prefix of the root.
        path: String,
    },
}

impl RecordError {
    /// Wraps an error of reading `contents`.
    pub fn of_contents(view: &RecordView<'_>, reason: ContentsError) -> Self {
        Self::Contents { root: named(view), path: view.root().show(&places::contents()), reason }
    }
}

impl From<RootError> for RecordError {
    fn from(error: RootError) -> Self {
        Self::View(error.into())
    }
}

/// Returns the root on the host, unless it is that of the running system.
fn named(view: &RecordView<'_>) -> Option<String> {
    let root = view.root();
    (!root.is_system()).then(|| root.prefix().display().to_string())
}
