//! A trial: patches are backed out automatically unless confirmed in time.
//!
//! ```text
//!   run that writes the record ─► on trial ─┬─► confirmed: a run removes the record, the patches stay
//!                                           └─► expired, or undone: one run removes both
//! ```
//! The record decides, not a timer: the next command that locks the root ends an expired trial first (`begin`). A
//! waiting process, a timer and the boot only speed this up.

mod begin;
mod check;
mod expire;
mod guard;
mod probe_lock;
pub(in crate::operation) mod request;

pub use begin::{ExpiryReport, end_expired_trial};
pub(in crate::operation) use begin::{
    begin_change, begin_change_beside, begin_with_trial, must_be_off_trial,
};
pub use check::{TrialCheckEnd, TrialCheckReport, TrialOutcome, TrialOutcomeEnd, run_trial_check};
pub(in crate::operation) use expire::on_trial;
pub use guard::{ConfirmReport, TrialStatus, confirm_trial, guard_run, trial_status};
pub use request::{ConfirmRefusal, TrialCheckRequest, TrialRequest};
