//! Why a transaction did not end as it should, and in which state it left the root.

use std::fmt;

use rustix::io::Errno;

use crate::database::ViewError;
use crate::format::contents::ContentsError;
use crate::format::journal::JournalError;
use crate::format::queue::QueueError;
use crate::package::ObjectPath;
use crate::root::{Dir, RootError};

/// The steps of a transaction, as far as exit codes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Stages are made, what stands in the way is looked for.
    Prepare,
    /// New objects are written beside their targets.
    Stage,
    /// Old objects are saved in undo archives.
    Snapshot,
    /// `contents`, `pkginfo` and the other records are written beside their targets.
    Records,
    /// Everything is made durable and the journal gets its name.
    Publish,
    /// Names are exchanged.
    Switch,
    /// The outcome is written.
    Commit,
    /// An unfinished run is undone or finished.
    Recover,
}

/// What the root is like after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing was changed.
    Unchanged,
    /// Changes had begun; everything is as before again.
    RolledBack,
    /// It is not known whether the outcome reached the disk; the next command decides by what it finds.
    InDoubt,
    /// Something could not be put back; what, and where it is, in sentences.
    Unfinished(Vec<String>),
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing was changed"),
            Self::RolledBack => f.write_str("everything is as before"),
            Self::InDoubt => {
                f.write_str("whether the change is durable is not known; run `patchadm recover`")
            }
            Self::Unfinished(what) if what.is_empty() => f.write_str("not everything could be put back"),
            Self::Unfinished(what) => write!(f, "not everything could be put back: {}", what.join("; ")),
        }
    }
}

/// A failed transaction.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct TransactionError {
    /// In which step.
    pub phase: Phase,
    /// Why.
    #[source]
    pub cause: Cause,
    /// What the root is like now.
    pub left: Left,
}

/// The reasons of a failure.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A system call on the root failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The queue of a run is damaged.
    #[error("{path}: {reason}")]
    Queue {
        /// Its path.
        path: String,
        /// What is wrong.
        reason: QueueError,
    },
    /// The source could not be read.
    #[error("{0}")]
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// The source has other bytes than its pkgmap says.
    #[error("package {package}, file {path}: {reason}")]
    Corrupt {
        /// The package.
        package: String,
        /// The file, as the host sees it.
        path: String,
        /// What differs, with both values.
        reason: String,
    },
    /// The source lacks a file that its pkgmap names.
    #[error("package {package}, file {path}: it is missing from the source")]
    Missing {
        /// The package.
        package: String,
        /// The file, as the host sees it.
        path: String,
    },
    /// An object is not as it was when the plan was made.
    #[error("{0} was changed by somebody else in the meantime")]
    Changed(String),
    /// The directory of an object that has to go back is not there, or a symbolic link leads to it now.
    #[error("its directory is gone; put it back, the old object waits in {stage}")]
    NoPlace {
        /// Where the object is.
        stage: String,
    },
    /// Something is at a path where nothing was when the plan was made.
    #[error("{0} was made by somebody else in the meantime")]
    Appeared(String),
    /// The file system or directory cannot be changed in one atomic step.
    #[error("{path}: {reason}")]
    Unsupported {
        /// Where.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// Nothing can be renamed between the stage and a directory, although both are on one mount and file system.
    #[error("{error}: nothing can be renamed between this directory and the stage")]
    Apart {
        /// The directory: a physical path.
        directory: ObjectPath,
        /// What the system said.
        error: RootError,
    },
    /// The undo archive cannot be read back as it was written.
    #[error("the undo archive of {package} does not read back as it was written: {reason}")]
    Archive {
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// `contents` cannot be merged.
    #[error("{path}: {reason}")]
    Contents {
        /// Its path.
        path: String,
        /// What is wrong.
        reason: ContentsError,
    },
    /// The records could not be read.
    #[error(transparent)]
    View(ViewError),
    /// The ledger of a package cannot be read: the error of whoever makes ledgers.
    #[error(transparent)]
    Ledger(Box<dyn std::error::Error + Send + Sync>),
    /// The journal is damaged.
    #[error("the journal {path} is damaged: {reason}")]
    Journal {
        /// Its path.
        path: String,
        /// What is wrong.
        reason: JournalError,
    },
    /// A procedure script did not do what it should, or could not be run.
    #[error("{0}")]
    Script(String),
    /// A procedure script was not begun, because that it runs could not be noted first.
    #[error("script {script} was not begun: {source}")]
    NotBegun {
        /// The script.
        script: String,
        /// Why it could not be noted: one of these causes.
        source: std::io::Error,
    },
    /// A signal asked for an end.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// The plan cannot be carried out as it is: a mistake of the planner, not of the user.
    #[error("internal error: {0}")]
    Internal(String),
    /// The file system of a domain of an unfinished run is not there.
    #[error("{top} is not mounted, or not the file system that the unfinished run {run} changed")]
    DomainMissing {
        /// Where it is mounted.
        top: String,
        /// The run.
        run: String,
    },
    /// The stage of an unfinished run is one that somebody else may write to.
    #[error(
        "{stage} belongs to uid {uid} or may be written by others, so what is in it is not believed; nothing was touched"
    )]
    NotOurs {
        /// The stage.
        stage: String,
        /// Its owner.
        uid: u32,
    },
    /// A stage of a later run than the journal knows.
    #[error(
        "{stage} belongs to a later run than the journal of this root: the file systems are of different times"
    )]
    LaterStage {
        /// The stage.
        stage: String,
    },
}

impl From<ViewError> for Cause {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Root(error) => Self::Root(error),
            other => Self::View(other),
        }
    }
}

impl Cause {
    /// What the system said, where a call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Root(error) | Self::Apart { error, .. } => error.errno(),
            Self::Contents { reason: ContentsError::Io(error), .. } => Errno::from_io_error(error),
            Self::NotBegun { source, .. } => source.get_ref()?.downcast_ref::<Self>()?.errno(),
            _ => None,
        }
    }

    /// A failed change of a name in `directory`.
    pub(super) fn apart(error: RootError, directory: &Dir) -> Self {
        match error.errno() {
            Some(Errno::XDEV) => Self::Apart { directory: directory.path().clone(), error },
            _ => Self::Root(error),
        }
    }

    /// The same, but what is not there, or is of another type than it was, was changed by somebody else.
    pub(super) fn or_changed(self, path: String) -> Self {
        match self {
            Self::Root(error) if error.is_not_found() => Self::Changed(path),
            other => other,
        }
    }

    /// Whether a file system or quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT))
    }
}

/// Attaches a step to a cause, while nothing has been changed yet.
pub(super) trait In<T> {
    /// The result with the step in which it failed.
    fn during(self, phase: Phase) -> Result<T, TransactionError>;
}

impl<T, E: Into<Cause>> In<T> for Result<T, E> {
    fn during(self, phase: Phase) -> Result<T, TransactionError> {
        self.map_err(|cause| TransactionError { phase, cause: cause.into(), left: Left::Unchanged })
    }
}
