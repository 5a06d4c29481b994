//! The records of a root at one moment.

use rustix::io::Errno;

use crate::format::journal::JournalError;
use patchadm_rootfs::RootError;
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::format::pkglog::PkglogError;
use patchadm_svr4::places;

pub mod contents;
pub(crate) mod identity;
pub(crate) mod journal_head;
pub mod stamped;
mod view;

pub use identity::{IdentityFault, marker_of, parse_root_id, root_id_text};
pub use journal_head::{has_journal, identity_fault, last_committed_run, last_run, marker};
pub use view::{LastRecords, OpenRun, RecordReader, RecordView, open_run, read_consistently};

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

fn named(view: &RecordView<'_>) -> Option<String> {
    let root = view.root();
    (!root.is_system()).then(|| root.prefix().display().to_string())
}

/// The reasons why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A file could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The journal is damaged.
    #[error("the journal {path} cannot be read: {reason}; `patchadm recover` says what can be done")]
    Journal {
        /// The path of the journal.
        path: String,
        /// The damage.
        reason: JournalError,
    },
    /// Runs followed each other so fast that no consistent state was seen.
    #[error("the package database of {0} changes all the time")]
    Busy(String),
    /// The journal disappeared or changed while it was read; [`read_consistently`] tries
    /// again.
    #[error("the package database changed while it was read")]
    Raced,
    /// An unfinished run replaced or removed a record, and its old image is nowhere to be found.
    #[error("{path} is not to be found as it was before run {run}, neither in its place nor in {staged}")]
    Lost {
        /// The path of the record.
        path: String,
        /// The name of the unfinished run.
        run: String,
        /// The place where the run should have put the old image.
        staged: String,
    },
}

impl ViewError {
    /// Returns true if the caller may not read a record.
    pub fn is_refused_access(&self) -> bool {
        matches!(self, Self::Root(error) if error.is_refused_access())
    }
}

pub(crate) fn failed(action: &'static str, path: String, error: &std::io::Error) -> ViewError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootError::Call { action, path, errno }.into()
}
