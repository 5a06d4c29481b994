//! Reasons why a run, or the patch of one source, fails.

use std::path::PathBuf;
use std::sync::Arc;

use super::request::TrialFailure;
use super::state::StateError;
use crate::build::{BuildError, PreviousError};
use crate::release::ReleaseError;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::{PatchId, PatchIdError, RequirementsError};

/// The reason a run ends before, or between, its sources. Patches that were finished stay.
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
    State {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: StateError,
    },
    /// A source has a base already, and another one is given to it.
    #[error("the patches of source {name} are {had}-NN, and {wanted} cannot become their base")]
    OtherBase {
        /// The source.
        name: String,
        /// The base that it has.
        had: String,
        /// The base that is given.
        wanted: String,
    },
    /// A base is given to two sources.
    #[error("{first} and {second} would both have the base {base}")]
    SameBase {
        /// A source.
        first: String,
        /// The other one.
        second: String,
        /// The base.
        base: String,
    },
    /// A source was named that is not there.
    #[error("no package of either directory is built from source {0}")]
    UnknownSource(String),
    /// A patch beside which the new ones are to stand cannot be read.
    #[error(transparent)]
    Against(#[from] PreviousError),
    /// A signal, or the user, ended it.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// The reason a source has no patch of what lies there. Those of the other sources are made all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceFailure {
    /// A package cannot be read.
    #[error("{0}")]
    Release(Arc<ReleaseError>),
    /// No patch can be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The revision before it cannot be contained.
    #[error(transparent)]
    Previous(#[from] PreviousError),
    /// The working directory cannot be read or written.
    #[error(transparent)]
    Work(#[from] RootError),
    /// The name of the source cannot stand in a list.
    #[error("<{0}> is not one word, and no name for a source")]
    Name(String),
    /// The name of the source cannot begin a patch id.
    #[error("{0}; --ids gives it another base")]
    Base(#[from] PatchIdError),
    /// Another source has this base.
    #[error("the base {base} is that of source {other}; --ids gives another one")]
    BaseTaken {
        /// The base.
        base: String,
        /// The source that has it.
        other: String,
    },
    /// A patch of the working directory is not what was built, and must be.
    #[error("{} {fault}, and it cannot be made again; put it back", .path.display())]
    NotAsBuilt {
        /// The patch.
        path: PathBuf,
        /// Its fault.
        fault: &'static str,
    },
    /// A file that is signed has the name of the patch.
    #[error("{} is signed, and state.json does not name it; move it away", .0.display())]
    Signed(PathBuf),
    /// There is no later revision.
    #[error("there is no revision after {0}")]
    LastRevision(PatchId),
    /// It needs what the patch of another source would bring.
    #[error("it needs {feature}, which no patch of {source_name} brings")]
    Required {
        /// The other source.
        source_name: String,
        /// What is needed.
        feature: String,
    },
    /// The patches that it requires have ids that make no list.
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    /// The patch did not pass its trial.
    #[error("its trial failed: {0}")]
    Trial(TrialFailure),
    /// A package became another one during the run.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
}
