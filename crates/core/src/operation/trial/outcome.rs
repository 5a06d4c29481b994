//! What became of a run that went on trial, as the command that made it knows.

use super::check_command::CheckReport;
use crate::operation::failure::Failure;
use crate::operation::patches::after_run::AfterRun;
use patchadm_inputs::trial::TrialRecord;

/// A run that went on trial, and what became of it.
#[derive(Debug)]
pub struct TrialOutcome {
    /// Its record.
    pub record: TrialRecord,
    /// The check, if one followed.
    pub check: Option<CheckReport>,
    /// What the command did about it.
    pub end: TrialOutcomeEnd,
    /// What followed by the policy when it was confirmed.
    pub after: AfterRun,
}

/// What a command did about the trial that it began.
#[derive(Debug)]
pub enum TrialOutcomeEnd {
    /// The run is on trial.
    OnTrial,
    /// The check was good, and nobody asked for more.
    Confirmed,
    /// The check failed, and the run is backed out.
    BackedOut,
    /// What should have followed the check was not done: the next command does it.
    Failed(Failure),
}
