//! Which package is built next.
//!
//! [`Schedule`] is pure: it starts nothing and knows no clock. Of the packages that can be built it gives the one first that
//! has the longest way of work before it, counted to the last package that needs it. [`simulate`] plays a schedule in
//! virtual time, which tells how long a run will take.

mod priority;
mod run_plan;
mod simulation;
mod tasks;
mod work;

pub use priority::longest_way;
pub use run_plan::{PlannedAction, PlannedPackage, RunPlan};
pub use simulation::{Simulation, simulate};
pub use tasks::{Outcome, Schedule, TaskState};
pub use work::expected_work;
