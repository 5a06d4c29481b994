//! The reasons why records cannot be read.

use rustix::io::Errno;

use crate::format::journal::JournalError;
use patchadm_rootfs::RootError;

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
    /// The journal disappeared or changed while it was read; [`read_consistently`](super::read_consistently) tries again.
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
    /// Tells whether the caller may not read a record.
    pub fn is_refused_access(&self) -> bool {
        matches!(self, Self::Root(error) if error.is_refused_access())
    }
}

/// Returns the error of a call on an open record.
pub(super) fn failed(action: &'static str, path: String, error: &std::io::Error) -> ViewError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootError::Call { action, path, errno }.into()
}
