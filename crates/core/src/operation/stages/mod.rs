//! Stages: copies of parts of a root, in which software is built before it goes live.

mod drop;
mod enter;
mod found;
mod mounts_below;
mod shell;

pub use drop::{DropError, DroppedStage, drop_stage};
pub use enter::{EnterError, EnterRequest, StageView, enter_stage};
pub use found::{FoundStage, StageFault, find_stage};
