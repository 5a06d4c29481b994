//! How a step of a task ends that does not end well: by the fault of the package, or of the machine.

use std::path::PathBuf;

use patchadm_rootfs::{LockError, RootError};

use super::order::TaskFailure;
use crate::sandbox::SandboxError;

/// The failures of a machine in a task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("no space is left for {0}")]
    Full(String),
    #[error("no space is left in `build_dir`, {}", .0.display())]
    FullBuildDir(PathBuf),
}

impl TaskError {
    /// Turns an error of writing something that is kept into that there is no space for it, where it is that.
    pub(super) fn of_kept(self, kept: &str) -> Self {
        match self {
            Self::Root(error) | Self::Sandbox(SandboxError::Log(error)) if error.is_no_space() => {
                Self::Full(format!("{kept}: {error}"))
            }
            other => other,
        }
    }
}

/// The reasons why a step of a task did not end well.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The package failed.
    Package(TaskFailure),
    /// The machine failed: nothing is known of the package.
    Machine(TaskError),
}

impl From<TaskFailure> for StepError {
    fn from(failure: TaskFailure) -> Self {
        Self::Package(failure)
    }
}

impl<E: Into<TaskError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Machine(error.into())
    }
}
