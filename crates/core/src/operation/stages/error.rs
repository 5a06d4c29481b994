//! Errors of operations on stages.

use std::fmt::{Display, Formatter};
use std::path::PathBuf;

use crate::operation::failure::Failure;
use crate::operation::promotion_records::PromotionRecordFault;
use patchadm_changeset::transaction::Recovered;
use patchadm_inputs::database::ViewError;
use patchadm_inputs::stage::{BaseError, ScopeError, StageFileError, StageNameError};
use patchadm_rootfs::RootError;
use patchadm_svr4::package::{ObjectPath, PathError};
use rustix::io::Errno;

/// A failed operation on a stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The root does not allow it, or a change of it failed.
    #[error(transparent)]
    Failure(Failure),
    /// A call on the stage, or on the staged paths of the root, failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The paths make no scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// A path is invalid.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The name is not a valid name of a stage.
    #[error(transparent)]
    Name(#[from] StageNameError),
    /// A staged path does not exist.
    #[error("{0} is not there")]
    Missing(String),
    /// A staged path is no directory.
    #[error("{path} is no directory but a {kind}: name the directory that is meant")]
    NoDirectory {
        /// The path.
        path: String,
        /// The kind of object.
        kind: &'static str,
    },
    /// A staged path leads through a symbolic link.
    #[error("{path} leads through a symbolic link: name {physical}")]
    ThroughLink {
        /// The path.
        path: String,
        /// The path that it leads to.
        physical: String,
    },
    /// A staged path belongs to the records.
    #[error("{0} belongs to the records of the root, which are not staged (--records copies them)")]
    Reserved(String),
    /// The stage and a staged path are nested.
    #[error("the stage {stage} and the staged path {path} lie one inside the other")]
    Nested {
        /// The stage.
        stage: String,
        /// The path.
        path: String,
    },
    /// The stage exists already and is not empty.
    #[error("{0} is there already and is no empty directory")]
    NotEmpty(String),
    /// The caller cannot make such an object.
    #[error(
        "{0} is a device, which only root can copy: leave it out with --exclude, or let root make the stage"
    )]
    Device(String),
    /// The caller cannot read an object.
    #[error("{0} cannot be read by you: leave it out with --exclude, or let root make the stage")]
    Unreadable(String),
    /// An object changed while it was read.
    #[error("{0} changes while it is read: try again when nobody writes there")]
    Changing(String),
    /// The root lists a stage of the same id in another directory.
    #[error(
        "{0} has the id of a stage that the root lists in another directory: a copy of it is not refreshed"
    )]
    ListedElsewhere(String),
    /// Somebody else may write to the directory that is to become a stage of the superuser.
    #[error("root makes no stage there: {0}")]
    NotAlone(String),
    /// The superuser works in no stage of another user.
    #[error("{0}")]
    OfAnother(Box<ForeignStage>),
    /// Only a user who may change the root can do this.
    #[error("{0} has no marker yet, and you may not make one: without it no records can be staged")]
    NoMarker(String),
    /// The named directory, or the stage of that name, does not exist.
    #[error("{0} is neither a stage nor the name of one")]
    NoStage(String),
    /// A named path is not in the base.
    #[error("{0} is no part of what was staged")]
    NotStaged(ObjectPath),
    /// The file of a base is that of a promotion other than its name says.
    #[error("{path} is not the base that the promotion {id} wrote")]
    OtherPromotion {
        /// The file.
        path: String,
        /// The promotion.
        id: String,
    },
    /// Several stages of the root have the name.
    #[error("the root has several stages of the name {0}: name the directory")]
    Ambiguous(String),
    /// A directory here has the name of another stage of the root.
    #[error(
        "the root lists the stage {name} at {listed}, and here is another {name}: name the directory, {listed} or ./{name}"
    )]
    OtherHere {
        /// The name.
        name: String,
        /// The directory of the listed stage.
        listed: String,
    },
    /// The stage was never completed.
    #[error("the stage {0} was never completed: `patchadm stage drop` removes it")]
    Unfinished(String),
    /// A run in the package database of the stage was not finished.
    #[error("run {run} in the package database of the stage {stage} was not finished")]
    UnfinishedRun {
        /// The stage.
        stage: String,
        /// The run.
        run: String,
    },
    /// The package database of the stage cannot be used as it is.
    #[error("the package database of the stage {stage}: {failure}")]
    RecordsOfStage {
        /// The stage.
        stage: String,
        /// The reason.
        failure: Box<Failure>,
    },
    /// A refresh of the stage was interrupted, and cannot be completed as it was requested.
    #[error("a refresh of the stage {stage} was interrupted, and cannot be completed: {failure}")]
    InterruptedRefresh {
        /// The name of the stage.
        stage: String,
        /// The reason.
        failure: Box<Failure>,
    },
    /// An interrupted refresh of the stage was completed, and then this error occurred.
    #[error("{error}")]
    AfterRefresh {
        /// The refresh.
        refreshed: CompletedRefresh,
        /// The error.
        error: Box<StageError>,
    },
    /// The stage belongs to another root.
    #[error("the stage {stage} is one of the root {root}, not of this one")]
    OtherRoot {
        /// The stage.
        stage: String,
        /// The root that it names.
        root: String,
    },
    /// A file of the stage, or a record about stages, is damaged.
    #[error("{path}: {error}")]
    Damaged {
        /// The file.
        path: String,
        /// The defect.
        error: StageFileError,
    },
    /// A base is damaged.
    #[error("{path}: {error}")]
    Base {
        /// The file.
        path: String,
        /// The defect.
        error: BaseError,
    },
    /// A base is another one than the root of the stage has recorded.
    #[error("{0} is not the base that the root has recorded: somebody else wrote it")]
    OtherBase(String),
    /// A named file cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// Each time the root was read, runs changed it.
    #[error("{0} was changed by other commands again and again while it was copied")]
    Busy(String),
    /// There are too many objects.
    #[error("{path} has more than {most} objects")]
    TooMany {
        /// The tree.
        path: String,
        /// The limit.
        most: u64,
    },
    /// The stage has no records of its own because the root has none.
    #[error("{0} has no package database: there are no records to stage")]
    NoRecords(String),
    /// A signal ended it.
    #[error("it was ended by signal {0}")]
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
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            other => Failure::BadFile(other.to_string()),
        }
    }

    /// Turns a read error into its meaning: missing permission, or an object that is changing.
    pub(super) fn of_reading(error: RootError, shown: impl FnOnce() -> String) -> Self {
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

/// An operation of the superuser in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undertaking {
    /// Run a command.
    Enter,
    /// Bring changes of the live tree.
    Refresh,
}

/// A stage of another user, in which the superuser does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignStage {
    /// Its name.
    pub name: String,
    /// Its directory, as it was named.
    pub path: PathBuf,
    /// The refused operation.
    pub undertake: Undertaking,
    /// Why it counts as another user's.
    pub reason: String,
    /// The user who can do it; `None` if nobody can before the stage is root's alone.
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

/// A refresh that a later command completed, or will complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletedRefresh {
    /// The stage.
    pub stage: String,
    /// Number of paths that the completion changed.
    pub taken: usize,
    /// The finding of recovery on the root, before anything else.
    pub(super) recovered: Recovered,
}
