//! A trial: patches are backed out automatically unless confirmed in time.
//!
//! ```text
//!   run that writes the record ─► on trial ─┬─► confirmed: a run removes the record, the patches stay
//!                                           └─► expired, or undone: one run removes both
//! ```
//! The record decides, not a timer: the next command that locks the root ends an expired trial first (`begin`). A
//! waiting process, a timer and the boot only speed this up.

pub(in crate::operation) mod begin;
mod check;
mod expire;
mod guard;
pub(in crate::operation) mod request;

pub use check::{TrialCheckEnd, TrialCheckReport, run_trial_check};
pub use check::{TrialOutcome, TrialOutcomeEnd};
pub use expire::{ExpiryReport, end_expired_trial};
pub use guard::guard_run;
pub use guard::{ConfirmReport, confirm_trial};
pub use guard::{TrialStatus, trial_status};
pub use request::ConfirmRefusal;
pub use request::{TrialCheckRequest, TrialRequest};
