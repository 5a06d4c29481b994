//! Reasons why a run, or the patch of one source, fails.

use std::path::PathBuf;
use std::sync::Arc;

use super::request::TrialFailure;
use super::state::StateError;
use crate::build::{BuildError, PreviousError};
use crate::release::ReleaseError;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::{PatchId, PatchIdError, RequirementsError};

/// The reason why a run ends before all sources were built. Finished patches stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// One of the two directories cannot be listed.
    #[error(transparent)]
    Set(#[from] ReleaseError),
    /// The working directory cannot be read or written.
    #[error(transparent)]
    Work(#[from] RootError),
    /// Another run is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A record of the working directory is damaged.
    #[error("{}: {error}", .path.display())]
    State { path: PathBuf, error: StateError },
    /// A source that has a base gets another one.
    #[error("the patches of source {name} are {had}-NN, and {wanted} cannot become their base")]
    OtherBase {
        name: String,
        /// The base that it has.
        had: String,
        /// The base that is given.
        wanted: String,
    },
    /// A base is given to two sources.
    #[error("{first} and {second} would both have the base {base}")]
    SameBase { first: String, second: String, base: String },
    /// A named source does not exist.
    #[error("no package of either directory is built from source {0}")]
    UnknownSource(String),
    /// A patch of `against` cannot be read.
    #[error(transparent)]
    Against(#[from] PreviousError),
    /// A signal, or the user, stopped it.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// The reason why a source has no current patch. Other sources are still built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceFailure {
    /// A package cannot be read.
    #[error("{0}")]
    Release(Arc<ReleaseError>),
    /// No patch can be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The previous revision cannot be contained.
    #[error(transparent)]
    Previous(#[from] PreviousError),
    /// The working directory cannot be read or written.
    #[error(transparent)]
    Work(#[from] RootError),
    /// The name of the source cannot be in a list.
    #[error("<{0}> is not one word, and no name for a source")]
    Name(String),
    /// The name of the source cannot begin a patch id.
    #[error("{0}; --ids gives it another base")]
    Base(#[from] PatchIdError),
    /// Another source has this base.
    #[error("the base {base} is that of source {other}; --ids gives another one")]
    BaseTaken {
        base: String,
        /// The source that has it.
        other: String,
    },
    /// A patch of the working directory is not what was built.
    #[error("{} {fault}, and it cannot be made again; put it back", .path.display())]
    NotAsBuilt { path: PathBuf, fault: &'static str },
    /// A signed file has the name of the patch.
    #[error("{} is signed, and state.json does not name it; move it away", .0.display())]
    Signed(PathBuf),
    /// There is no later revision.
    #[error("there is no revision after {0}")]
    LastRevision(PatchId),
    /// It needs a feature of another source's patch, which is missing.
    #[error("it needs {feature}, which no patch of {source_name} brings")]
    Required { source_name: String, feature: String },
    /// The required ids form no valid list.
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    /// The patch did not pass its trial.
    #[error("its trial failed: {0}")]
    Trial(TrialFailure),
    /// A package changed during the run.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
}
