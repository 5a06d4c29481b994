//! A run: requested packages built in the order that takes the least time, continued after an interruption.
//!
//! `perform` is the sequence of a run or dry run, `master` its loop over tasks, `ending` the end of tasks.

mod decision;
mod driver_fetch;
mod ending;
mod entering;
mod foresight;
mod journal;
mod master;
mod perform;
mod probing;
mod request;
mod results;
mod running_task;
mod slot_command;
mod status;
mod why;

pub use entering::{EnterBuildRequest, EnterPackageError, enter, enter_failed};
pub use master::{LONGEST_OVERTIME, TASK_PROCESS};
pub use perform::{has_changed, plan_run, run};
pub use request::{BulkRunEvent, RunBase, RunError, RunPatches, RunRequest};
pub use results::{BulkRunOutcome, EndedRun};
pub use status::{InterruptedRun, RunStatus, RunningPackage, read_status};
pub use why::{NeededPackage, PackageReasons, why};
