//! The trial of a run as values: its duration, its record in the root, and the rule that says whether it is over.
//!
//! The record is written by the run itself and goes with the run that ends the trial, so it is there exactly as long as
//! the trial. The rule is a function of the record and three clocks; nothing here reads a clock.

mod duration;
mod moment;
mod record;
mod rule;

pub use duration::TrialDuration;
pub use moment::Moment;
pub use record::{LONGEST_TRIAL_RECORD, MOST_REBOOTS, TrialRecord, TrialRecordError};
pub use rule::{OverReason, TrialState};
