//! A run: all packages that are wanted, built in the order that takes the least time, continued where it was cut off.

mod beginning;
mod carry_out;
mod distfiles;
mod ending;
mod fetch_queue;
mod journal_file;
mod master;
mod orders;
mod patching;
mod request;
mod results;
mod slots;
mod status;
mod telling;

pub use request::{RunError, RunEvent, RunPatches, RunRequest};
pub use results::{EndedRun, RunOutcome};

pub use carry_out::run;
pub use master::TASK_PROCESS;
pub use status::{RunStatus, RunningPackage, read_status};
pub use telling::base_of;
