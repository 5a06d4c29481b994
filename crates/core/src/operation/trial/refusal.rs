//! The reasons why a trial is not confirmed.

/// There is nothing to confirm, or it is too late.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmRefusal {
    /// No run is on trial.
    #[error("no run is on trial")]
    NoTrial,
    /// The run is not on trial.
    #[error("run {0} is not on trial")]
    NotOnTrial(String),
    /// The trial has ended, and its patches were backed out.
    #[error("the trial of run {run} has ended: it was backed out ({end})")]
    Ended {
        /// The run.
        run: String,
        /// How it ended, in the word of the history.
        end: String,
    },
}
