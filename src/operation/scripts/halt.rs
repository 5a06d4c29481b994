//! Why a run with scripts is given up, and giving it up: everything is put back, and the failure says so.

use super::ScriptFailure;
use crate::operation::failure::Failure;
use crate::plan::refusal::{Command, Reason};
use crate::script::ScriptError;
use crate::transaction::{Cause, Left, Phase, ScriptedRun};

/// Why a run is given up.
pub(in crate::operation) enum Halt {
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
        Self::Cause(Cause::Script(error.to_string()))
    }
}

impl From<crate::root::RootError> for Halt {
    fn from(error: crate::root::RootError) -> Self {
        Self::Cause(error.into())
    }
}

impl Halt {
    /// The same, met while undo data was written.
    pub(in crate::operation) fn while_saving(self) -> Self {
        match self {
            Self::Cause(cause) if !matches!(cause, Cause::Interrupted(_)) => Self::Saving(cause),
            other => other,
        }
    }

    /// Puts everything back. The failure of `command` about a patch or package.
    pub(in crate::operation) fn give_up(
        self,
        run: ScriptedRun<'_>,
        command: Command,
        subject: &impl ToString,
    ) -> Failure {
        let (cause, failure) = match self {
            Self::Cause(cause) => return run.roll_back(Phase::Switch, cause).into(),
            Self::Saving(cause) => return run.roll_back(Phase::Snapshot, cause).into(),
            Self::Script(failure) => (Cause::Script(failure.to_string()), Failure::Script(failure)),
            Self::Refused(reason) => {
                let refusal = reason.of(command, subject);
                (Cause::Script(refusal.to_string()), refusal.into())
            }
            Self::Failure(failure) => (Cause::Script(failure.to_string()), *failure),
        };
        match (run.roll_back(Phase::Switch, cause), failure) {
            (undone, failure) if undone.left != Left::RolledBack => {
                drop(failure);
                undone.into()
            }
            (_, Failure::Script(mut failure)) => {
                failure.left = Left::RolledBack;
                Failure::Script(failure)
            }
            (_, failure) => failure,
        }
    }
}
