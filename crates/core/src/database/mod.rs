//! The package database of a root, `var/sadm`: what is installed, and who owns which object.
//!
//! Everything here reads; changes are staged and switched by `patchadm_changeset`. Readers take no lock: a [`RecordView`] shows all
//! records as before or all as after, at any moment of a run, also after a crash. A question about the records is a
//! function over a view, asked through [`read_consistently`]; whoever holds the lock asks a [`RecordView::live`].
//!
//! ```text
//! places                            where the records are
//! view                              one moment of them
//! installed  contents  history      each kind of record        policy   of the root
//! saves                             the save directories of a package
//! all                               every package at once
//! pieces                            every line of contents, by several threads
//! stamped                           lines of a contents that is known to be in order
//! ledger                            which undo archives the runs of the root made
//! archive                           undo archives: found, read, verified
//! survey                            all of it that a plan needs, as an Inventory
//! ```

pub mod all;
pub mod archive;
pub mod history;
pub mod installed;
pub mod ledger;
mod ledger_draft;
pub mod pieces;
pub mod policy;
mod record_places;
pub mod saves;
pub mod survey;

use patchadm_rootfs::RootError;
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::format::params::ParamsError;
use patchadm_svr4::patch::PatchRecordsError;

pub use ledger_draft::RootLedgers;
pub use patchadm_changeset::records::{
    OpenRun, RecordError, RecordReader, RecordView, ViewError, contents, marker, open_run, read_consistently,
};
pub use patchadm_svr4::places;
pub use places::own_directory;
pub use record_places::{host_policy, records};

/// The reasons why the records of a root cannot be read or make no sense.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No consistent state was seen, or a file could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A parameter file cannot be parsed.
    #[error("{path}: {reason}")]
    Params {
        /// The path of the file, with the prefix of the root.
        path: String,
        /// The error, with its line.
        reason: ParamsError,
    },
    /// A parameter file belongs to another package than its directory.
    #[error("{path}: PKG is {other}, which is not the package of this directory")]
    OtherPackage {
        /// The path of the file, with the prefix of the root.
        path: String,
        /// The package named in the file.
        other: String,
    },
    /// The patch records of a package are not lists of patches.
    #[error(transparent)]
    Applied(#[from] PatchRecordsError),
    /// `contents` cannot be parsed where it is wanted.
    #[error("{path}: {reason}")]
    Contents {
        /// The path of `contents`, with the prefix of the root.
        path: String,
        /// The error, with its line.
        reason: ContentsError,
    },
    /// Something other than a regular file (a link, a pipe, a directory) takes the place of a record.
    #[error("{0} is not a regular file")]
    NoFile(String),
    /// The history contains an invalid line.
    #[error("{path}: {reason}")]
    History {
        /// The path of the history, with the prefix of the root.
        path: String,
        /// The error, with its line.
        reason: history::HistoryError,
    },
}

impl From<RootError> for DatabaseError {
    fn from(error: RootError) -> Self {
        Self::View(error.into())
    }
}

impl From<RecordError> for DatabaseError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::View(error) => Self::View(error),
            RecordError::Contents { path, reason } => Self::Contents { path, reason },
            RecordError::NoFile(path) => Self::NoFile(path),
        }
    }
}
