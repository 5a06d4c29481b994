use std::path::PathBuf;
use std::sync::Arc;

use super::request::TrialFailure;
use super::state::StateError;
use crate::build::{BuildError, PreviousError};
use crate::release::ReleaseError;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::{PatchId, PatchIdError, RequirementsError};

/// Ends a run before all sources were built. Finished patches stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    #[error(transparent)]
    Set(#[from] ReleaseError),
    #[error(transparent)]
    Work(#[from] RootError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{}: {error}", .path.display())]
    State { path: PathBuf, error: StateError },
    /// A source already has another base.
    #[error("the patches of source {name} are {had}-NN, and {wanted} cannot become their base")]
    OtherBase { name: String, had: String, wanted: String },
    /// Two sources would get one base.
    #[error("{first} and {second} would both have the base {base}")]
    SameBase { first: String, second: String, base: String },
    #[error("no package of either directory is built from source {0}")]
    UnknownSource(String),
    #[error(transparent)]
    Against(#[from] PreviousError),
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// Why a source has no current patch. Other sources are still built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceFailure {
    #[error("{0}")]
    Release(Arc<ReleaseError>),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Previous(#[from] PreviousError),
    #[error(transparent)]
    Work(#[from] RootError),
    /// Not possible in a list.
    #[error("<{0}> is not one word, and no name for a source")]
    Name(String),
    /// Not possible at the start of a patch id.
    #[error("{0}; --ids gives it another base")]
    Base(#[from] PatchIdError),
    #[error("the base {base} is that of source {other}; --ids gives another one")]
    BaseTaken { base: String, other: String },
    /// A patch in the working directory differs from the built one.
    #[error("{} {fault}, and it cannot be made again; put it back", .path.display())]
    NotAsBuilt { path: PathBuf, fault: &'static str },
    #[error("{} is signed, and state.json does not name it; move it away", .0.display())]
    Signed(PathBuf),
    #[error("there is no revision after {0}")]
    LastRevision(PatchId),
    /// Another source's patch must provide a feature, but does not exist.
    #[error("it needs {feature}, which no patch of {source_name} brings")]
    Required { source_name: String, feature: String },
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    #[error("its trial failed: {0}")]
    Trial(TrialFailure),
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
}
