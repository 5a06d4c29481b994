//! What a task knows, and what its build takes.

use super::order::TaskOrder;
use super::place::TaskPlace;
use crate::base::BaseLayer;
use crate::driver::Driver;
use crate::pool::{Pool, PoolEntry};
use crate::sandbox::BuildUser;
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

/// The times and peaks of a build.
#[derive(Default)]
pub(super) struct BuildCosts {
    pub(super) ms: u64,
    pub(super) cpu_ms: u64,
    pub(super) peak_memory: u64,
    /// The phases, each with the milliseconds at which it began.
    pub(super) phases: Vec<(String, u64)>,
}
