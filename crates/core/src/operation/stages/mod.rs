//! Stages: copies of directories of a root that go live as a patch.
//!
//! ```text
//!  root ──── walk ──► copy ──► stage          new
//!  root ─┐
//!        ├── tree ──► compared                status, promote, refresh
//!  stage ┘
//! ```

mod compared;
mod copy;
mod drop;
mod enter;
pub mod list;
pub mod new;
pub mod own_files;
pub mod promote;
pub mod records;
pub mod refresh;
mod transfer;
pub mod tree;

use std::fmt::{Display, Formatter};
use std::path::PathBuf;

use rustix::io::Errno;

use crate::operation::failure::Failure;
use crate::operation::promotion_records::PromotionRecordFault;
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::database::ViewError;
use patchadm_inputs::stage::{BaseError, ScopeError, StageFileError, StageNameError};
use patchadm_rootfs::RootError;
use patchadm_svr4::package::{ObjectPath, PathError};

pub use compared::ConflictingPath;
pub use drop::{DropError, DroppedStage, drop_stage};
pub use enter::{EnterError, EnterRequest, StageView, enter_stage};
pub use own_files::StageRecord;
pub use tree::TreeRequest;

#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Failure(Failure),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Name(#[from] StageNameError),
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{path} is not a directory but a {kind}: specify the directory itself")]
    NoDirectory { path: String, kind: &'static str },
    #[error("{path} leads through a symbolic link: specify {physical}")]
    ThroughLink {
        path: String,
        /// The target.
        physical: String,
    },
    #[error("{0} belongs to the records of the root, which are not staged (--records copies them)")]
    Reserved(String),
    #[error("the stage {stage} and the staged path {path} are nested")]
    Nested { stage: String, path: String },
    #[error("{0} already exists and is not an empty directory")]
    NotEmpty(String),
    #[error(
        "{0} is a device, which only root can copy: leave it out with --exclude, or let root make the stage"
    )]
    Device(String),
    #[error("you cannot read {0}: leave it out with --exclude, or let root make the stage")]
    Unreadable(String),
    #[error("{0} changes while it is read: try again when nothing writes there")]
    Changing(String),
    /// A copied stage is not refreshed.
    #[error(
        "{0} has the id of a stage that the root lists in another directory: a copy of it is not refreshed"
    )]
    ListedElsewhere(String),
    #[error("root cannot make a stage there: {0}")]
    NotAlone(String),
    #[error("{0}")]
    OfAnother(Box<ForeignStage>),
    #[error("{0} has no marker yet, and you cannot create one: without it, no records can be staged")]
    NoMarker(String),
    #[error("{0} is neither a stage nor the name of one")]
    NoStage(String),
    #[error("{0} is not part of what was staged")]
    NotStaged(ObjectPath),
    #[error("{path} is not the base that the promotion {id} wrote")]
    OtherPromotion { path: String, id: String },
    #[error("the root has several stages named {0}: specify the directory")]
    Ambiguous(String),
    #[error(
        "the root lists the stage {name} at {listed}, and here is another {name}: specify the directory, {listed} or ./{name}"
    )]
    OtherHere {
        name: String,
        /// Directory of the listed stage.
        listed: String,
    },
    #[error("the stage {0} was never completed: `patchadm stage drop` removes it")]
    Unfinished(String),
    #[error("run {run} in the package database of the stage {stage} was not finished")]
    UnfinishedRun { stage: String, run: String },
    #[error("the package database of the stage {stage}: {failure}")]
    RecordsOfStage { stage: String, failure: Box<Failure> },
    #[error("a refresh of the stage {stage} was interrupted, and cannot be completed: {failure}")]
    InterruptedRefresh { stage: String, failure: Box<Failure> },
    /// After an interrupted refresh had been completed.
    #[error("{error}")]
    AfterRefresh { refreshed: CompletedRefresh, error: Box<StageError> },
    #[error("the stage {stage} belongs to the root {root}, not to this one")]
    OtherRoot { stage: String, root: String },
    #[error("{path}: {error}")]
    Damaged { path: String, error: StageFileError },
    #[error("{path}: {error}")]
    Base { path: String, error: BaseError },
    #[error("{0} is not the base that the root has recorded")]
    OtherBase(String),
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("other commands kept changing {0} while it was copied")]
    Busy(String),
    #[error("{path} has more than {most} objects")]
    TooMany { path: String, most: u64 },
    #[error("{0} has no package database: there are no records to stage")]
    NoRecords(String),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

impl From<Failure> for StageError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<PromotionRecordFault> for StageError {
    fn from(fault: PromotionRecordFault) -> Self {
        match fault {
            PromotionRecordFault::View(error) => error.into(),
            PromotionRecordFault::Damaged { path, error } => Self::Damaged { path, error },
        }
    }
}

impl From<ViewError> for StageError {
    fn from(error: ViewError) -> Self {
        Self::Failure(error.into())
    }
}

impl StageError {
    fn into_failure(self) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            other => Failure::BadFile(other.to_string()),
        }
    }

    /// Detects missing permission and changing objects.
    fn of_reading(error: RootError, shown: impl FnOnce() -> String) -> Self {
        match error.errno() {
            Some(Errno::ACCESS | Errno::PERM) => Self::Unreadable(shown()),
            Some(
                Errno::LOOP
                | Errno::NOTDIR
                | Errno::NOENT
                | Errno::INVAL
                | Errno::AGAIN
                | Errno::STALE
                | Errno::NXIO,
            ) => Self::Changing(shown()),
            _ => Self::Root(error),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undertaking {
    Enter,
    Refresh,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignStage {
    pub name: String,
    /// As named.
    pub path: PathBuf,
    pub undertake: Undertaking,
    /// Why it counts as another user's.
    pub reason: String,
    /// `None` if nobody can before the stage is root's alone.
    pub user: Option<u32>,
}

impl Display for ForeignStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let does = match self.undertake {
            Undertaking::Enter => "enter",
            Undertaking::Refresh => "refresh",
        };
        write!(f, "root does not {does} the stage {}: {}", self.name, self.reason)
    }
}

/// Completed, or to be completed, by a later command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletedRefresh {
    pub stage: String,
    /// Paths changed by the completion.
    pub taken: usize,
    recovered: Recovered,
}
