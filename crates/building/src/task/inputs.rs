//! What a task knows, and what the machine may do to it.

use patchadm_rootfs::{LockError, RootError};

use super::order::TaskOrder;
use super::place::TaskPlace;
use crate::base::BaseLayer;
use crate::driver::Driver;
use crate::pool::{Pool, PoolEntry};
use crate::sandbox::{BuildUser, SandboxError};
use crate::work::Work;

/// Everything that a task knows.
pub(super) struct TaskInputs<'a> {
    pub(super) order: &'a TaskOrder,
    pub(super) work: &'a Work,
    pub(super) driver: &'a Driver,
    pub(super) pool: &'a Pool,
    pub(super) base: &'a BaseLayer,
    pub(super) user: BuildUser,
    /// The results that are installed, in the order of their dependencies.
    pub(super) install: &'a [PoolEntry],
    pub(super) place: &'a TaskPlace,
}

/// The failures of a machine in a task.
#[derive(Debug, thiserror::Error)]
pub(super) enum TaskError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the result cannot be written down: {0}")]
    Result(#[from] patchadm_bulk::result::ResultError),
}

/// The times and peaks of a build.
#[derive(Default)]
pub(super) struct BuildCosts {
    pub(super) ms: u64,
    pub(super) cpu_ms: u64,
    pub(super) peak_memory: u64,
    /// The phases, each with the milliseconds at which it began.
    pub(super) phases: Vec<(String, u64)>,
}
