//! The reasons a run is not undone.

use super::{Command, Wording};

/// A reason that lies in the run, or in what was done since.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndoReason {
    /// The history of the root has no run that changed something.
    #[error("the history of the root has no run that changed something")]
    NoRun,
    /// The history of the root does not have it.
    #[error("the history of the root does not have this run")]
    UnknownRun,
    /// It did something else than to apply patches or to back them out.
    #[error("it is a run of {0}, and only those of patchadd, patchrm and promote can be undone")]
    OtherCommand(String),
    /// It changed nothing.
    #[error("it was rolled back, and changed nothing")]
    RolledBack,
    /// Another run followed it while this command waited.
    #[error("it is no longer the last run: {0} came behind it")]
    NoLongerLast(String),
    /// A patch that it applied was backed out since.
    #[error("patch {0} is no longer applied")]
    NoLongerApplied(String),
    /// A patch that it applied was applied by another run too: to other packages, or once more.
    #[error("patch {patch} was applied to package {package} by {by}")]
    AppliedOtherwise {
        /// The patch.
        patch: String,
        /// The package.
        package: String,
        /// The other run, in words.
        by: String,
    },
    /// A patch that it backed out was applied since.
    #[error("patch {0} was applied again since")]
    AppliedAgain(String),
}

impl UndoReason {
    /// Returns the alternative; empty if nothing can be typed.
    pub(super) fn hint(&self, wording: &Wording) -> String {
        match self {
            Self::OtherCommand(command) if command == Command::Pkgadd.name() => format!(
                "if it put a package in the place of another version, go back to that with {}",
                wording.command("pkgadd", "--update -d DEVICE PKG")
            ),
            _ => String::new(),
        }
    }

    /// Returns the exit code.
    pub(super) fn code(&self) -> u8 {
        if *self == Self::UnknownRun { 2 } else { 10 }
    }
}
