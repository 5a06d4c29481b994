//! The trial of a run: its patches are applied, and back out by themselves unless somebody confirms them in time.
//!
//! ```text
//!   run, and in it the record ─► on trial ─┬─► confirmed: a run takes the record away, the patches stay
//!                                          └─► over, or undone: one run takes both away
//! ```
//! The record says when a trial is over, and no timer: whoever locks the root first after that carries it out, before
//! anything else (`begin`). A process that waits, a timer and the boot are only ways to have somebody come.

pub(in crate::operation) mod begin;
mod check;
mod expire;
mod guard;
pub(in crate::operation) mod request;

pub use check::{CheckEnd, CheckReport, run_check};
pub use check::{TrialOutcome, TrialOutcomeEnd};
pub use expire::{ExpiryReport, end_expired_trial};
pub use guard::guard_run;
pub use guard::{ConfirmReport, confirm_trial};
pub use guard::{TrialStatus, trial_status};
pub use request::ConfirmRefusal;
pub use request::{CheckRequest, TrialRequest};
