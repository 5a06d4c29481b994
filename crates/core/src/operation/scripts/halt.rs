//! Giving up a run in which scripts take part, whatever it is that stands against it.

use crate::operation::failure::Failure;
use crate::plan::refusal::{Command, Reason};
use crate::root::RootError;
use crate::script::ScriptError;
use crate::transaction::{Cause, Phase, Receipt, RootCondition, ScriptedRun};

use super::failure::ScriptFailure;

/// Why a run is given up.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The transaction cannot go on.
    Cause(Cause),
    /// The undo data cannot be written.
    Saving(Cause),
    /// A script says no.
    Script(ScriptFailure),
    /// What was planned does not fit any more.
    Refused(Reason),
    /// Something else failed.
    Failure(Box<Failure>),
}

impl From<Cause> for Halt {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl From<Reason> for Halt {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<ScriptError> for Halt {
    fn from(error: ScriptError) -> Self {
        Self::Cause(match error {
            ScriptError::NotBegun { name, source } => Cause::NotBegun { script: name, source },
            error => Cause::Script(error.to_string()),
        })
    }
}

impl From<RootError> for Halt {
    fn from(error: RootError) -> Self {
        Self::Cause(error.into())
    }
}

impl Halt {
    /// The same, met while undo data was written.
    pub(crate) fn while_saving(self) -> Self {
        match self {
            Self::Cause(cause) if !matches!(cause, Cause::Interrupted(_)) => Self::Saving(cause),
            other => other,
        }
    }

    /// Puts everything back. `subject` is the package or patch of `command`.
    pub(crate) fn give_up(self, run: ScriptedRun<'_>, command: Command, subject: &str) -> Failure {
        let (cause, failure) = match self {
            Self::Cause(cause) => return run.roll_back(Phase::Switch, cause).into(),
            Self::Saving(cause) => return run.roll_back(Phase::Snapshot, cause).into(),
            Self::Script(failure) => (Cause::Script(failure.to_string()), Failure::Script(failure)),
            Self::Refused(reason) => {
                let refusal = reason.of(command, &subject);
                (Cause::Script(refusal.to_string()), refusal.into())
            }
            Self::Failure(failure) => (Cause::Script(failure.to_string()), *failure),
        };
        let undone = run.roll_back(Phase::Switch, cause);
        match failure {
            _ if undone.left != RootCondition::RolledBack => undone.into(),
            Failure::Script(mut failure) => {
                failure.left = RootCondition::RolledBack;
                Failure::Script(failure)
            }
            failure => failure,
        }
    }
}

/// Commits a run whose work is done, or gives it up. `subject` is the package or patch of `command`.
pub(crate) fn end_run(
    run: ScriptedRun<'_>,
    done: Result<(), Halt>,
    command: Command,
    subject: &str,
) -> Result<Receipt, Failure> {
    match done {
        Ok(()) => Ok(run.commit()?),
        Err(halt) => Err(halt.give_up(run, command, subject)),
    }
}

/// Why a run is given up whose script did not tell that calls of installf(1M) or removef(1M) failed.
pub(crate) fn unanswered(script: &str, failed: &[String]) -> Cause {
    Cause::Script(format!("in script {script}: {}", failed.join("; ")))
}
