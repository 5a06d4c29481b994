//! The reasons why a transaction failed, and the state in which it left the root.

use std::fmt;

use rustix::io::Errno;

use crate::format::installf_queue::InstallfQueueError;
use crate::format::journal::JournalError;
use crate::records::{IdentityFault, RecordError, ViewError};
use crate::stored_file::StoredFileError;
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::package::ObjectPath;

/// The phases of a transaction, as far as exit codes distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Making stages and looking for obstacles.
    Prepare,
    /// Writing new objects beside their targets.
    Stage,
    /// Saving old objects in undo archives.
    Snapshot,
    /// Writing `contents`, `pkginfo` and the other records beside their targets.
    Records,
    /// Making everything durable and giving the journal its name.
    Publish,
    /// Exchanging names.
    Switch,
    /// Writing the outcome.
    Commit,
    /// Undoing or finishing an unfinished run.
    Recover,
}

/// The condition of the root after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCondition {
    /// Nothing was changed.
    Unchanged,
    /// Changes had begun, and all of them were undone.
    RolledBack,
    /// It is unknown whether the outcome reached the disk; the next command decides by what it finds.
    InDoubt,
    /// Some changes could not be undone. Each sentence names one and says where its old object is.
    Unfinished(Vec<String>),
}

impl fmt::Display for RootCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing was changed"),
            Self::RolledBack => f.write_str("everything is as before"),
            Self::InDoubt => f.write_str("whether the change is durable is not known"),
            Self::Unfinished(what) if what.is_empty() => f.write_str("not everything could be put back"),
            Self::Unfinished(what) => write!(f, "not everything could be put back: {}", what.join("; ")),
        }
    }
}

/// A failed transaction: the phase, the cause and the condition of the root.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct TransactionError {
    /// The phase that failed.
    pub phase: Phase,
    /// The reason for the failure.
    #[source]
    pub cause: Cause,
    /// The condition of the root afterwards.
    pub left: RootCondition,
}

/// Why a directory cannot be exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoExchange {
    /// The directory: a physical path.
    pub directory: ObjectPath,
    /// The directory as a person would type it.
    pub shown: String,
    /// The reason, a clause of its own.
    pub reason: String,
}

/// The causes of a failed transaction.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A system call on the root failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The queue of installf and removef requests of a run is damaged.
    #[error("{path}: {reason}")]
    Queue {
        /// The path of the queue.
        path: String,
        /// The damage, with its line.
        reason: InstallfQueueError,
    },
    /// The source could not be read.
    #[error("{0}")]
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// The source has other bytes than its pkgmap states.
    #[error("package {package}, file {path}: {reason}")]
    Corrupt {
        /// The package that delivers the file.
        package: String,
        /// The path of the file on the host.
        path: String,
        /// The difference, with both values.
        reason: String,
    },
    /// The source lacks a file that its pkgmap names.
    #[error("package {package}, file {path}: it is missing from the source")]
    Missing {
        /// The package that should deliver the file.
        package: String,
        /// The path of the file on the host.
        path: String,
    },
    /// An object changed after the plan was made.
    #[error("{0} was changed by somebody else in the meantime")]
    Changed(String),
    /// The directory of an object that must go back is missing, or is now reached through a symbolic link.
    #[error("its directory is gone; put it back, the old object waits in {stage}")]
    NoPlace {
        /// The current path of the object.
        stage: String,
    },
    /// An object appeared at a path that was free when the plan was made.
    #[error("{0} was made by somebody else in the meantime")]
    Appeared(String),
    /// The file system or directory cannot be changed in one atomic step.
    #[error("{path}: {reason}")]
    Unsupported {
        /// The path of the object or directory.
        path: String,
        /// The reason, as the rest of a sentence about the path.
        reason: &'static str,
    },
    /// Nothing can be renamed from the stage into a directory, although both are on one mount and file system.
    #[error("{error}: nothing can be renamed between this directory and the stage")]
    Apart {
        /// The directory, as a physical path.
        directory: ObjectPath,
        /// The error of the system call.
        error: RootError,
    },
    /// Nothing can be linked from the directory of one object into that of another.
    #[error(
        "{path} cannot be another name of {source_path}: no link leads from the directory of one into that of the other"
    )]
    LinkAcross {
        /// The path of the new name.
        path: String,
        /// The path of the object.
        source_path: String,
    },
    /// A directory cannot be exchanged, so that its changes would not become visible at once.
    #[error("{}: its changes cannot become visible at once: {}", .0.shown, .0.reason)]
    NoExchange(Box<NoExchange>),
    /// The directory that was exchanged is lost: no undo archive has it.
    #[error("{0}: the directory that was there before the run is neither in its place nor in the stage")]
    TreeLost(String),
    /// The undo archive cannot be read back as it was written.
    #[error("the undo archive of {package} does not read back as it was written: {reason}")]
    Archive {
        /// The package of the archive.
        package: String,
        /// The difference or damage.
        reason: String,
    },
    /// `contents` cannot be merged.
    #[error("{path}: {reason}")]
    Contents {
        /// The path of `contents`.
        path: String,
        /// The damage, with its line.
        reason: ContentsError,
    },
    /// The records could not be read.
    #[error(transparent)]
    View(ViewError),
    /// The ledger of a package cannot be read: the error of the code that makes ledgers.
    #[error(transparent)]
    Ledger(Box<dyn std::error::Error + Send + Sync>),
    /// The journal is damaged.
    #[error("the journal {path} is damaged: {reason}")]
    Journal {
        /// The path of the journal.
        path: String,
        /// The damage.
        reason: JournalError,
    },
    /// It is not known which root this is.
    #[error(transparent)]
    Identity(Box<IdentityFault>),
    /// The last run is not finished.
    #[error("run {run} is not finished")]
    Unfinished {
        /// The name of the run.
        run: String,
    },
    /// The journal is damaged or gone, and it cannot be proved that no run is unfinished.
    #[error("it cannot be proved whether a run is unfinished, in doubt are {}", .paths.join(", "))]
    Doubt {
        /// The paths that are in doubt.
        paths: Vec<String>,
    },
    /// The directory in which a stage should be kept cannot be used.
    #[error("{path} {reason}")]
    KeepingPlace {
        /// The directory.
        path: String,
        /// The reason, as the rest of a sentence about the directory.
        reason: &'static str,
    },
    /// A procedure script failed or could not be run.
    #[error("{0}")]
    Script(String),
    /// A procedure script was not started, because its process could not be recorded beforehand.
    #[error("script {script} was not begun: {source}")]
    NotBegun {
        /// The name of the script.
        script: String,
        /// The reason, which is itself a [`Cause`].
        source: std::io::Error,
    },
    /// A signal asked the run to end.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// The plan cannot be run as it is. This is a mistake of the planner, not of the user.
    #[error("internal error: {0}")]
    Internal(String),
    /// The file system of a domain of an unfinished run is not mounted.
    #[error("{top} is not mounted, or not the file system that the unfinished run {run} changed")]
    DomainMissing {
        /// The mount point.
        top: String,
        /// The name of the run.
        run: String,
    },
    /// Another user can write to the stage of an unfinished run.
    #[error(
        "{stage} belongs to uid {uid} or may be written by others, so what is in it is not believed; nothing was touched"
    )]
    NotOurs {
        /// The path of the stage.
        stage: String,
        /// The owner of the stage.
        uid: u32,
    },
    /// A record that the run needs cannot be read.
    #[error("{0}")]
    Record(Box<RecordError>),
    /// A stored object cannot be used, or not removed.
    #[error(transparent)]
    StoredFile(#[from] StoredFileError),
    /// A stage belongs to a later run than the journal knows.
    #[error(
        "{stage} belongs to a later run than the journal of this root: the file systems are of different times"
    )]
    LaterStage {
        /// The path of the stage.
        stage: String,
    },
}

impl From<IdentityFault> for Cause {
    fn from(fault: IdentityFault) -> Self {
        Self::Identity(Box::new(fault))
    }
}

impl From<RecordError> for Cause {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::View(error) => error.into(),
            RecordError::Contents { path, reason, .. } => Self::Contents { path, reason },
            other => Self::Record(Box::new(other)),
        }
    }
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
    /// Returns the error number of the failed system call, if the cause is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Root(error) | Self::Apart { error, .. } => error.errno(),
            Self::Contents { reason: ContentsError::Io(error), .. } => Errno::from_io_error(error),
            Self::NotBegun { source, .. } => source.get_ref()?.downcast_ref::<Self>()?.errno(),
            _ => None,
        }
    }

    /// Wraps a failed rename in `directory`; EXDEV becomes [`Cause::Apart`].
    pub(crate) fn apart(error: RootError, directory: &Dir) -> Self {
        match error.errno() {
            Some(Errno::XDEV) => Self::Apart { directory: directory.path().clone(), error },
            _ => Self::Root(error),
        }
    }

    pub(crate) fn no_exchange(root: &Root, directory: &ObjectPath, reason: String) -> Self {
        let shown = root.show(directory);
        Self::NoExchange(Box::new(NoExchange { directory: directory.clone(), shown, reason }))
    }

    pub(crate) fn or_changed(self, path: String) -> Self {
        match self {
            Self::Root(error) if error.is_not_found() => Self::Changed(path),
            other => other,
        }
    }

    /// Returns true if a file system or quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT))
    }
}

pub(crate) trait DuringPhase<T> {
    fn during(self, phase: Phase) -> Result<T, TransactionError>;
}

impl<T, E: Into<Cause>> DuringPhase<T> for Result<T, E> {
    fn during(self, phase: Phase) -> Result<T, TransactionError> {
        self.map_err(|cause| TransactionError { phase, cause: cause.into(), left: RootCondition::Unchanged })
    }
}
