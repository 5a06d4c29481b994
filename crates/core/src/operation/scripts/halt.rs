//! Giving up a run in which scripts take part, for any reason.

use crate::operation::failure::Failure;
use crate::script::ScriptError;
use patchadm_changeset::transaction::{Cause, Phase, Receipt, RootCondition, ScriptedRun, TransactionError};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::RootError;
use patchadm_svr4::package::PkgInst;

/// The reason why a run is given up.
#[derive(Debug)]
pub(crate) enum RunHalt {
    /// The transaction cannot go on.
    Cause(Cause),
    /// The undo data cannot be written.
    Saving(Cause),
    /// The plan does not fit the root any more.
    Refused(Reason),
    /// Something else failed.
    Failure(Box<Failure>),
}

impl From<Cause> for RunHalt {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl From<Reason> for RunHalt {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<Failure> for RunHalt {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<ScriptError> for RunHalt {
    fn from(error: ScriptError) -> Self {
        Self::Cause(match error {
            ScriptError::NotBegun { name, source } => Cause::NotBegun { script: name, source },
            error => Cause::Script(error.to_string()),
        })
    }
}

impl From<RootError> for RunHalt {
    fn from(error: RootError) -> Self {
        Self::Cause(error.into())
    }
}

impl RunHalt {
    /// Marks a cause as one that occurred while undo data was written.
    pub(crate) fn while_saving(self) -> Self {
        match self {
            Self::Cause(cause) if !matches!(cause, Cause::Interrupted(_)) => Self::Saving(cause),
            other => other,
        }
    }

    /// Names the package, if the cause is a script that refuses.
    pub(crate) fn of_package(mut self, package: &PkgInst) -> Self {
        if let Self::Failure(failure) = &mut self
            && let Failure::Script(failure) = &mut **failure
        {
            failure.told.package = Some(package.to_string());
        }
        self
    }

    /// Turns it into the failure of a command that has changed nothing yet. `subject` is the package or patch of `command`.
    pub(crate) fn without_run(self, command: Command, subject: &str) -> Failure {
        match self {
            Self::Cause(cause) | Self::Saving(cause) => {
                TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged }.into()
            }
            Self::Refused(reason) => reason.of(command, &subject).into(),
            Self::Failure(failure) => *failure,
        }
    }

    /// Restores everything, and returns the reason.
    fn give_up(self, run: ScriptedRun<'_>, command: Command, subject: &str) -> Failure {
        let failure = match self {
            Self::Cause(cause) => return run.roll_back(Phase::Switch, cause).into(),
            Self::Saving(cause) => return run.roll_back(Phase::Snapshot, cause).into(),
            other => other.without_run(command, subject),
        };
        let undone = run.roll_back(Phase::Switch, Cause::Script(failure.to_string()));
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
    done: Result<(), RunHalt>,
    command: Command,
    subject: &str,
) -> Result<Receipt, Failure> {
    match done {
        Ok(()) => Ok(run.commit()?),
        Err(halt) => Err(halt.give_up(run, command, subject)),
    }
}

/// Returns the cause of giving up a run whose script did not report that calls of installf(1M) or removef(1M) failed.
pub(crate) fn unanswered(script: &str, failed: &[String]) -> Cause {
    Cause::Script(format!("in script {script}: {}", failed.join("; ")))
}
