//! The reasons why no patches are made.

use std::path::PathBuf;

use patchadm_inputs::source::SourceError;
use patchadm_making::delta::DeltaError;
use patchadm_making::release::ReleaseError;
use patchadm_rootfs::RootError;

use crate::set::SetError;
use crate::work::WorkError;

/// The reason why no patches are made.
#[derive(Debug, thiserror::Error)]
pub enum PatchesError {
    /// Nobody has said what users have.
    #[error("no set is released")]
    NothingReleased,
    /// There is no set to make patches to.
    #[error("there is no set yet")]
    NoSet,
    /// The list of ids cannot be used.
    #[error("{}: {reason}", path.display())]
    Ids {
        /// The path of the list.
        path: PathBuf,
        /// Why it cannot be read, or which line is none.
        reason: String,
    },
    /// What was left of earlier trials.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// A set that is damaged, or cannot be read.
    #[error(transparent)]
    Set(#[from] SetError),
    /// A package of a set that cannot be identified.
    #[error(transparent)]
    Package(#[from] ReleaseError),
    /// A package of a set that cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The making of patches.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// A file or directory of the bulk build that cannot be read or written.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A signal that asks for the end.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}
