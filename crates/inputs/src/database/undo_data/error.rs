//! The reasons why undo data cannot be used.

use patchadm_changeset::archive_file::ArchiveFileError;
use patchadm_rootfs::{Interrupt, RootError};
use patchadm_svr4::package::PkgInst;

use crate::database::ViewError;
use crate::database::ledger::LedgerFault;

/// The reasons why a patch cannot be backed out from its archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is no archive: the patch was applied without undo data, or the archive has been removed.
    #[error("patch {patch}, package {package}: there is no undo archive at {path}")]
    Missing {
        /// The patch id.
        patch: String,
        /// The package instance.
        package: PkgInst,
        /// The expected place: the save directory, or the path on the host.
        path: String,
        /// Whether the archive is kept outside the save directory.
        remote: bool,
    },
    /// The ledger names an archive, and neither it nor a pointer to it is in the save directory.
    #[error("patch {patch}, package {package}: the undo data that run {run} saved at {path} is lost")]
    Lost {
        /// The patch id.
        patch: String,
        /// The package instance.
        package: PkgInst,
        /// The place where it was kept.
        path: String,
        /// The run that saved it.
        run: String,
    },
    /// The archive is in an exported file.
    #[error("patch {patch}, package {package}: the undo data was exported by run {run}")]
    Exported {
        /// The patch id.
        patch: String,
        /// The package instance.
        package: PkgInst,
        /// The run that exported it.
        run: String,
    },
    /// The archive differs from what was written, or cannot be read to its end.
    #[error("the undo archive {path} is damaged: {reason}")]
    Damaged {
        /// The path of the archive, or of the pointer to it.
        path: String,
        /// The damage.
        reason: String,
    },
    /// An earlier form of the program made the archive, or the manifest of a patch without undo data.
    #[error(
        "the undo data {path} was made by an earlier form of this program, with digests that this one does not read"
    )]
    Earlier {
        /// The path of the archive or manifest.
        path: String,
    },
    /// The manifest of a patch without undo data is missing or differs from what was written.
    #[error("the manifest {path} of a patch without undo data cannot be used: {reason}")]
    KeptManifest {
        /// The path of the manifest.
        path: String,
        /// The reason why it cannot be used.
        reason: String,
    },
    /// The ledger of the root does not know the archive.
    #[error("the undo archive {path}: {reason}")]
    NotBound {
        /// The path of the archive.
        path: String,
        /// The statement of the ledger instead.
        reason: String,
    },
    /// The ledger of the package cannot be read.
    #[error(transparent)]
    Ledger(LedgerFault),
    /// The archive lies outside the root, and only the root says so.
    #[error("the undo archive {path} is not opened: {reason}")]
    Outside {
        /// The path on the host.
        path: String,
        /// The reason for the refusal.
        reason: &'static str,
    },
    /// The archive saves objects of another root.
    #[error("the undo archive {path} belongs to another root (its marker is {marker})")]
    OtherRoot {
        /// The path of the archive.
        path: String,
        /// The marker of that root.
        marker: String,
    },
    /// A signal came while it was read.
    #[error("reading the undo data was interrupted by signal {0}")]
    Interrupted(i32),
    /// The save directory could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A file could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
}

impl ArchiveError {
    /// Fails if a signal came.
    pub(super) fn unless_interrupted(interrupt: Interrupt<'_>) -> Result<(), Self> {
        interrupt().map_or(Ok(()), |signal| Err(Self::Interrupted(signal)))
    }

    /// Returns the error, or the signal if one came: it is the reason then.
    pub(super) fn or_interrupted(self, interrupt: Interrupt<'_>) -> Self {
        interrupt().map_or(self, Self::Interrupted)
    }

    /// Tells whether the caller may not read it: that says nothing about its validity.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Root(error) => error.is_refused_access(),
            Self::View(error) | Self::Ledger(LedgerFault::View(error)) => error.is_refused_access(),
            Self::Ledger(LedgerFault::Database(error)) => error.is_refused_access(),
            _ => false,
        }
    }
}

impl From<ArchiveFileError> for ArchiveError {
    fn from(error: ArchiveFileError) -> Self {
        match error {
            ArchiveFileError::Damaged { path, reason } => Self::Damaged { path, reason },
            ArchiveFileError::Earlier { path } => Self::Earlier { path },
            ArchiveFileError::Root(error) => Self::Root(error),
        }
    }
}

impl From<LedgerFault> for ArchiveError {
    fn from(fault: LedgerFault) -> Self {
        match fault {
            LedgerFault::View(error) => Self::View(error),
            other => Self::Ledger(other),
        }
    }
}
