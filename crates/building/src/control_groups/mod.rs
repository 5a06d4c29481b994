//! Control groups of tasks: the kernel holds the limits of memory and processes for everything that a task starts.
//!
//! A task gets a group below the one of this process, or below one above it that hands its controllers down, wherever this
//! process may make one: in the hierarchies of version 1, one for each controller, or in the single one of version 2. Where it
//! may not, nothing is made, and whoever watches the task counts for itself. A group is removed with its task; one whose task
//! was killed is removed by the next task or run of the same bulk build.

mod hierarchies;
mod task_group;

pub(crate) use hierarchies::GroupController;
pub(crate) use task_group::{GroupLimits, GroupOverrun, TaskGroup, remove_abandoned_groups};
