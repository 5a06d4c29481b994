//! The reasons why nothing can be put in order.

use std::path::PathBuf;

use crate::operation::depots::DepotError;
use crate::operation::failure::Failure;
use crate::operation::libraries::ScanError;
use patchadm_inputs::database::{DatabaseError, ViewError};
use patchadm_inputs::source::SourceError;

/// The reason why nothing can be put in order.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The records of the root cannot be read.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// A signal came.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// A name or path that is invalid.
    #[error("{0} is no package, patch or object that is there")]
    Unknown(String),
    /// Packages and patches are named together.
    #[error("packages and patches cannot be put in one order: name one or the other")]
    Mixed,
    /// Stale libraries are requested for patches.
    #[error("patches have no stale libraries: name packages or paths with --stale, or nothing")]
    StalePatches,
    /// Stale libraries are requested for packages that are not installed.
    #[error("--stale is about what is installed, and -M names something else")]
    StaleElsewhere,
    /// The directory holds neither packages nor patches.
    #[error("{} holds neither packages nor patches", .0.display())]
    Empty(PathBuf),
    /// A package cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A depot cannot be read.
    #[error(transparent)]
    Depot(#[from] Box<DepotError>),
}

impl From<ScanError> for OrderError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Root(error) => Self::Failure(error.into()),
            ScanError::Interrupted(signal) => Self::Interrupted(signal),
        }
    }
}

impl From<DatabaseError> for OrderError {
    fn from(error: DatabaseError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<ViewError> for OrderError {
    fn from(error: ViewError) -> Self {
        Self::Failure(DatabaseError::from(error).into())
    }
}
