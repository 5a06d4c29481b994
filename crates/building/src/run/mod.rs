//! A run: all packages that are wanted, built in the order that takes the least time, continued where it was cut off.

mod beginning;
mod carry_out;
mod changes;
mod decision;
mod distfiles;
mod driver_fetch;
mod dry_run;
mod ending;
mod entering;
mod fetch_queue;
mod flushing;
mod foresight;
mod journal_file;
mod master;
mod messages;
mod now_file;
mod orders;
mod patching;
mod probing;
mod request;
mod resting;
mod results;
mod run_base;
mod running_task;
mod slot_command;
mod status;
mod telling;
mod why;

pub use request::{RunError, RunEvent, RunPatches, RunRequest};
pub use results::{EndedRun, RunOutcome};
pub use run_base::RunBase;

pub use carry_out::run;
pub use changes::has_changed;
pub use dry_run::plan_run;
pub use entering::{EnterPackageError, EnterRequest, enter, enter_failed};
pub use master::{LONGEST_OVERTIME, TASK_PROCESS};
pub use now_file::RunningPackage;
pub use status::{InterruptedRun, RunStatus, read_status};
pub use why::{NeededPackage, PackageReasons, why};
