//! The package database of a root, `var/sadm`: the installed packages, and the owners of each object.
//!
//! Everything here reads; changes are staged and switched by `patchadm_changeset`. Readers take no lock: a [`RecordView`] shows all
//! records as before or all as after, at any moment of a run, also after a crash. A question about the records is a
//! function over a view, asked through [`read_consistently`]. The holder of the lock asks a [`RecordView::live`].
//!
//! ```text
//! places                            where the records are
//! view                              one moment of them
//! installed  contents  history      each kind of record        policy   of the root
//! damage  agreement  patch_traces   what is wrong with them, and whether they are one state
//! foreign_changes                   what others changed since the last run
//! saves                             the save directories of a package
//! all                               every package at once
//! pieces                            every line of contents, by several threads
//! stamped                           lines of a contents that is known to be in order
//! ledger                            which undo archives the runs of the root made
//! undo_data                         what patches saved: found, read, verified
//! survey                            all of it that a plan needs, as an Inventory
//! ```

pub mod agreement;
pub mod all;

#[cfg(debug_assertions)]
mod counted;
mod damage;
pub mod foreign_changes;
pub mod history;
pub mod installed;
pub mod ledger;
mod ledger_draft;
mod patch_traces;
pub mod pieces;
pub mod policy;
mod record_places;
pub mod saves;
pub mod survey;
pub mod trial;
pub mod undo_data;

use patchadm_rootfs::{Interrupt, RootError};
use patchadm_svr4::format::contents::ContentsError;

#[cfg(debug_assertions)]
pub use counted::package_reads;
pub use damage::{RecordDamage, RecordRepair};
pub use ledger_draft::RootLedgers;
pub use patchadm_changeset::records::{
    IdentityFault, OpenRun, RecordError, RecordReader, RecordView, ViewError, contents, has_journal,
    identity_fault, last_run, marker, open_run, read_consistently,
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
    /// A record cannot be read, or another one contradicts it.
    #[error(transparent)]
    Damaged(Box<RecordDamage>),
    /// `contents` cannot be read.
    #[error("{path}: {reason}")]
    Contents {
        /// The path of `contents`, with the prefix of the root.
        path: String,
        /// The system's error.
        reason: ContentsError,
    },
    /// The history contains an invalid line.
    #[error("{path}: {reason}")]
    History {
        /// The path of the history, with the prefix of the root.
        path: String,
        /// The error, with its line.
        reason: history::HistoryError,
    },
    /// A signal came while the root was surveyed.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

impl From<RootError> for DatabaseError {
    fn from(error: RootError) -> Self {
        Self::View(error.into())
    }
}

impl From<RecordDamage> for DatabaseError {
    fn from(damage: RecordDamage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}

impl DatabaseError {
    /// Fails if a signal came.
    pub fn unless_interrupted(interrupt: Interrupt<'_>) -> Result<(), Self> {
        interrupt().map_or(Ok(()), |signal| Err(Self::Interrupted(signal)))
    }

    /// Tells whether the caller may not read a record.
    pub fn is_refused_access(&self) -> bool {
        matches!(self, Self::View(error) if error.is_refused_access())
    }

    /// Returns the damage of a record, if it is the cause.
    pub fn damage(&self) -> Option<&RecordDamage> {
        match self {
            Self::Damaged(damage) => Some(damage),
            _ => None,
        }
    }
}

impl From<RecordError> for DatabaseError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::View(error) => Self::View(error),
            RecordError::Contents { root, path, reason } => {
                match RecordDamage::of_contents_error(root, &path, &reason) {
                    Some(damage) => damage.into(),
                    None => Self::Contents { path, reason },
                }
            }
            RecordError::Pkglog { root, path, reason } => RecordDamage::of_pkglog(root, path, &reason).into(),
            RecordError::NoFile { root, path } => RecordDamage::of_no_file(root, path).into(),
        }
    }
}
