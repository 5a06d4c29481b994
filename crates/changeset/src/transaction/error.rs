use std::fmt;

use rustix::io::Errno;

use crate::format::installf_queue::InstallfQueueError;
use crate::format::journal::JournalError;
use crate::records::{IdentityFault, RecordError, ViewError};
use crate::stored_file::StoredFileError;
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::package::ObjectPath;

/// As far as exit codes distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Prepare,
    Stage,
    Snapshot,
    Records,
    Publish,
    Switch,
    Commit,
    Recover,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCondition {
    Unchanged,
    /// All changes were undone.
    RolledBack,
    /// The outcome may not have reached the disk; the next command decides.
    InDoubt,
    /// Each sentence names a change that could not be undone, and the place of its old object.
    Unfinished(Vec<String>),
}

impl fmt::Display for RootCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing was changed"),
            Self::RolledBack => f.write_str("everything is as before"),
            Self::InDoubt => f.write_str("it is unknown whether the change is durable"),
            Self::Unfinished(what) if what.is_empty() => f.write_str("not everything could be restored"),
            Self::Unfinished(what) => write!(f, "not everything could be restored: {}", what.join("; ")),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct TransactionError {
    pub phase: Phase,
    #[source]
    pub cause: Cause,
    pub left: RootCondition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoExchange {
    /// The directory, as a person would type it.
    pub shown: String,
    /// A clause.
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{path}: {reason}")]
    Queue {
        path: String,
        /// With the line.
        reason: InstallfQueueError,
    },
    #[error("{0}")]
    Source(Box<dyn std::error::Error + Send + Sync>),
    #[error("package {package}, file {path}: {reason}")]
    Corrupt {
        package: String,
        /// On the host.
        path: String,
        /// With both values.
        reason: String,
    },
    #[error("package {package}, file {path}: it is missing from the source")]
    Missing {
        package: String,
        /// On the host.
        path: String,
    },
    #[error("{0} was changed by another process in the meantime")]
    Changed(String),
    #[error("its directory is gone; restore it: the old object is in {stage}")]
    NoPlace { stage: String },
    #[error("{0} was made by another process in the meantime")]
    Appeared(String),
    /// No atomic step is possible there.
    #[error("{path}: {reason}")]
    Unsupported {
        path: String,
        /// The rest of a sentence about the path.
        reason: &'static str,
    },
    /// Although both are on one mount and file system.
    #[error("{error}: nothing can be renamed between this directory and the stage")]
    Apart {
        /// Physical path.
        directory: ObjectPath,
        error: RootError,
    },
    #[error(
        "{path} cannot be another name of {source_path}: their directories do not allow links to each other"
    )]
    LinkAcross { path: String, source_path: String },
    /// Its changes would not become visible at once.
    #[error("{}: its changes cannot become visible atomically: {}", .0.shown, .0.reason)]
    NoExchange(Box<NoExchange>),
    /// No undo archive has it.
    #[error("{0}: the directory that was there before the run is neither in its place nor in the stage")]
    TreeLost(String),
    #[error("the undo archive of {package} does not read back intact: {reason}")]
    Archive { package: String, reason: String },
    #[error("{path}: {reason}")]
    Contents {
        path: String,
        /// With the line.
        reason: ContentsError,
    },
    #[error(transparent)]
    View(ViewError),
    /// An error of the code that makes ledgers.
    #[error(transparent)]
    Ledger(Box<dyn std::error::Error + Send + Sync>),
    #[error("the journal {path} is damaged: {reason}")]
    Journal { path: String, reason: JournalError },
    #[error(transparent)]
    Identity(Box<IdentityFault>),
    #[error("run {run} is not finished")]
    Unfinished { run: String },
    /// The journal is damaged or gone.
    #[error("it cannot be proved whether a run is unfinished; in doubt: {}", .paths.join(", "))]
    Doubt { paths: Vec<String> },
    #[error("{path} {reason}")]
    KeepingPlace {
        path: String,
        /// The rest of a sentence about the directory.
        reason: &'static str,
    },
    #[error("{0}")]
    Script(String),
    /// Its process could not be recorded beforehand.
    #[error("script {script} was not started: {source}")]
    NotBegun {
        script: String,
        /// Itself a [`Cause`].
        source: std::io::Error,
    },
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
    /// A mistake of the planner, not of the user.
    #[error("internal error: {0}")]
    Internal(String),
    #[error("{top} is not mounted, or not the file system that the unfinished run {run} changed")]
    DomainMissing { top: String, run: String },
    /// Another user can write to it.
    #[error(
        "{stage} belongs to uid {uid} or is writable by others, so its contents are not trusted; nothing was touched"
    )]
    NotOurs { stage: String, uid: u32 },
    #[error("{0}")]
    Record(Box<RecordError>),
    #[error(transparent)]
    StoredFile(#[from] StoredFileError),
    #[error(
        "{stage} belongs to a later run than the journal of this root: the file systems were saved at different times"
    )]
    LaterStage { stage: String },
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
    /// `None` unless a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Root(error) | Self::Apart { error, .. } => error.errno(),
            Self::Contents { reason: ContentsError::Io(error), .. } => Errno::from_io_error(error),
            Self::NotBegun { source, .. } => source.get_ref()?.downcast_ref::<Self>()?.errno(),
            _ => None,
        }
    }

    /// EXDEV becomes [`Cause::Apart`].
    pub(crate) fn apart(error: RootError, directory: &Dir) -> Self {
        match error.errno() {
            Some(Errno::XDEV) => Self::Apart { directory: directory.path().clone(), error },
            _ => Self::Root(error),
        }
    }

    pub(crate) fn no_exchange(root: &Root, directory: &ObjectPath, reason: String) -> Self {
        Self::NoExchange(Box::new(NoExchange { shown: root.show(directory), reason }))
    }

    pub(crate) fn or_changed(self, path: String) -> Self {
        match self {
            Self::Root(error) if error.is_not_found() => Self::Changed(path),
            other => other,
        }
    }

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
