//! Exit codes, and how errors become them.
//!
//! Commands return an [`Exit`] of their own, or an error. `Exit::of` is the one place that gives an error its code:
//! a `Stop` carries its own, a few errors of the library have a code that holds for every command, all others are 1.

use std::process::ExitCode;

use patchadm_core::database::{DatabaseError, ViewError};
use patchadm_core::operation::check::CheckError;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::queries::applied_patches::PatchesError;
use patchadm_core::operation::queries::packages::QueryError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit(u8);

impl Exit {
    /// Done, or nothing to do.
    pub(crate) const OK: Self = Self(0);
    /// Wrong usage, something named was not found, discrepancies: the general failure of the classic commands.
    pub(crate) const FAILED: Self = Self(1);
    /// Another process holds the lock of the root (patchrm(1M) has a code of its own for it).
    pub(crate) const LOCKED: Self = Self(64);
    /// An interrupted run needs recovery, or its outcome is in doubt.
    pub(crate) const UNFINISHED: Self = Self(65);
    /// A defect of this program.
    pub(crate) const INTERNAL: Self = Self(70);
    /// Nobody reads the output any more: what a shell shows for SIGPIPE.
    pub(crate) const PIPE: Self = Self(141);

    /// The code of a command that has its own table (patchadd(1M), pkgadd(1M)).
    pub(crate) const fn new(code: u8) -> Self {
        Self(code)
    }

    /// The end by a signal, as shells show it: 128 and its number.
    pub(crate) fn by_signal(signal: i32) -> Self {
        Self(u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX))
    }

    /// The number.
    pub fn code(self) -> u8 {
        self.0
    }

    /// A word for the codes that hold for every command; `failed` for the others.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OK => "ok",
            Self::LOCKED => "locked",
            Self::UNFINISHED => "unfinished",
            Self::INTERNAL => "internal",
            _ => "failed",
        }
    }

    /// The code for an error that ended a command.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(Stop::Refused { exit, .. } | Stop::Ended(exit)) = error.downcast_ref() {
            return *exit;
        }
        match error.chain().find_map(view_error) {
            Some(ViewError::Journal { .. } | ViewError::Lost { .. }) => Self::UNFINISHED,
            Some(ViewError::Busy(_)) => Self::LOCKED,
            _ => Self::FAILED,
        }
    }
}

/// Finds the trouble with the view of the records, if that is what an error is about. Errors that only pass it on are no
/// links of the chain of causes: they have to be opened.
fn view_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e ViewError> {
    let passed_on = match (
        error.downcast_ref::<PatchesError>(),
        error.downcast_ref::<QueryError>(),
        error.downcast_ref::<CheckError>(),
        error.downcast_ref::<Failure>(),
    ) {
        (Some(PatchesError::Database(inner)), ..)
        | (_, Some(QueryError::Database(inner)), ..)
        | (_, _, Some(CheckError::Database(inner)), _)
        | (.., Some(Failure::Database(inner))) => Some(inner),
        _ => error.downcast_ref::<DatabaseError>(),
    };
    match passed_on {
        Some(DatabaseError::View(inner)) => Some(inner),
        _ => error.downcast_ref(),
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// An end that a command chooses for itself, instead of its report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// Help or version was asked for: the text for standard output, exit 0.
    #[error("{0}")]
    Help(String),
    /// The command line makes no sense: what is wrong, and the synopsis; exit 1.
    #[error("{message}")]
    Usage {
        /// The fault in the command line.
        message: String,
        /// The synopsis of the command, lines without `usage:`.
        usage: &'static str,
    },
    /// Only the options of the command were asked for: their description.
    #[error("the options of the command")]
    Described(Box<clap::Command>),
    /// Another process has done all of it, and has reported.
    #[error("another process has done it")]
    Ended(Exit),
    /// It cannot or must not go on; one line says why.
    #[error("{message}")]
    Refused {
        /// The code.
        exit: Exit,
        /// The refusal and its reason.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_changeset::format::journal::JournalError;

    #[test]
    fn an_error_has_the_code_it_carries_or_the_one_of_its_cause() {
        let refused = Stop::Refused { exit: Exit::LOCKED, message: "held".to_owned() };
        assert_eq!(Exit::of(&refused.into()), Exit::LOCKED);
        assert_eq!(Exit::of(&Stop::Usage { message: String::new(), usage: "" }.into()), Exit::FAILED);
        assert_eq!(Exit::of(&ViewError::Raced.into()), Exit::FAILED);
        let journal = || ViewError::Journal { path: "/j".to_owned(), reason: journal_error() };
        assert_eq!(Exit::of(&anyhow::Error::from(journal()).context("reading")), Exit::UNFINISHED);
        let database = || DatabaseError::from(journal());
        let passed_on: [anyhow::Error; 5] = [
            database().into(),
            PatchesError::from(database()).into(),
            QueryError::from(database()).into(),
            CheckError::from(database()).into(),
            Failure::from(database()).into(),
        ];
        assert!(passed_on.iter().all(|error| Exit::of(error) == Exit::UNFINISHED));
        assert_eq!(Exit::of(&ViewError::Busy("/".to_owned()).into()), Exit::LOCKED);
    }

    fn journal_error() -> JournalError {
        patchadm_changeset::format::journal::parse_head(b"rubbish").unwrap_err()
    }
}
