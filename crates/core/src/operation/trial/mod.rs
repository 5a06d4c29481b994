//! The trial of a run: its patches are applied, and back out by themselves unless somebody confirms them in time.
//!
//! ```text
//!   run, and in it the record ─► on trial ─┬─► confirmed: a run takes the record away, the patches stay
//!                                          └─► over, or undone: one run takes both away
//! ```
//! The record says when a trial is over, and no timer: whoever locks the root first after that carries it out, before
//! anything else (`begin`). A process that waits, a timer and the boot are only ways to have somebody come.

pub(in crate::operation) mod begin;
pub(in crate::operation) mod change;
mod check_command;
mod claims;
mod confirm;
mod expire;
mod guard;
mod outcome;
mod refusal;
mod request;
mod status;

pub use check_command::{CheckEnd, CheckReport, run_check};
pub use confirm::{ConfirmReport, confirm_trial};
pub use expire::{ExpiryReport, end_expired_trial};
pub use guard::guard_run;
pub use outcome::{TrialOutcome, TrialOutcomeEnd};
pub use refusal::ConfirmRefusal;
pub use request::{CheckRequest, TrialRequest};
pub use status::{TrialStatus, trial_status};
