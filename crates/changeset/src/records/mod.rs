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

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("{path}: {reason}")]
    Contents {
        /// On the host; `None` for the running system.
        root: Option<String>,
        /// With the prefix of the root.
        path: String,
        /// With the line.
        reason: ContentsError,
    },
    #[error("{path}: {reason}")]
    Pkglog {
        /// On the host; `None` for the running system.
        root: Option<String>,
        /// With the prefix of the root.
        path: String,
        /// With the line.
        reason: PkglogError,
    },
    #[error("{path} is not a regular file")]
    NoFile {
        /// On the host; `None` for the running system.
        root: Option<String>,
        /// With the prefix of the root.
        path: String,
    },
}

impl RecordError {
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

#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("the journal {path} cannot be read: {reason}; run `patchadm recover` to see what can be done")]
    Journal { path: String, reason: JournalError },
    #[error("the package database of {0} keeps changing")]
    Busy(String),
    /// The journal changed during reading; [`read_consistently`] tries again.
    #[error("the package database changed while it was read")]
    Raced,
    /// Its old image is nowhere.
    #[error("the version of {path} from before run {run} is neither at its path nor in {staged}")]
    Lost {
        path: String,
        run: String,
        /// The expected place of the old image.
        staged: String,
    },
}

impl ViewError {
    pub fn is_refused_access(&self) -> bool {
        matches!(self, Self::Root(error) if error.is_refused_access())
    }
}

pub(crate) fn failed(action: &'static str, path: String, error: &std::io::Error) -> ViewError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootError::Call { action, path, errno }.into()
}
