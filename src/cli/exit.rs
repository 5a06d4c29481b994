//! Exit codes, and how errors become them.
//!
//! Commands return an [`Exit`] of their own, or an error. [`Exit::of`] is the one place that gives an error its code:
//! a [`Stop`] carries its own, a few errors of the library have a code that holds for every command, all others are 1.

use std::process::ExitCode;

use crate::database::{DatabaseError, ViewError};
use crate::operation::check::CheckError;
use crate::operation::failure::Failure;
use crate::operation::patches::PatchesError;
use crate::operation::query::QueryError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit(u8);

impl Exit {
    /// Done, or nothing to do.
    pub const OK: Self = Self(0);
    /// Wrong usage, something named was not found, discrepancies: the general failure of the classic commands.
    pub const FAILED: Self = Self(1);
    /// Another process holds the lock of the root (patchrm(1M) has a code of its own for it).
    pub const LOCKED: Self = Self(64);
    /// An interrupted run needs recovery, or its outcome is in doubt.
    pub const UNFINISHED: Self = Self(65);
    /// A defect of this program.
    pub const INTERNAL: Self = Self(70);
    /// Nobody reads the output any more: what a shell shows for SIGPIPE.
    pub const PIPE: Self = Self(141);

    /// The code of a command that has its own table (patchadd(1M), pkgadd(1M)).
    pub const fn new(code: u8) -> Self {
        Self(code)
    }

    /// The number.
    pub fn code(self) -> u8 {
        self.0
    }

    /// A word for the codes that hold for every command; `failed` for the others.
    pub fn name(self) -> &'static str {
        match self {
            Self::OK => "ok",
            Self::LOCKED => "locked",
            Self::UNFINISHED => "unfinished",
            Self::INTERNAL => "internal",
            _ => "failed",
        }
    }

    /// The code for an error that ended a command.
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(Stop::Refused { exit, .. }) = error.downcast_ref() {
            return *exit;
        }
        match view_error(error) {
            Some(ViewError::Journal { .. } | ViewError::Lost { .. }) => Self::UNFINISHED,
            Some(ViewError::Busy(_)) => Self::LOCKED,
            _ => Self::FAILED,
        }
    }
}

/// The failed reading of records behind an error, whichever query it ended.
fn view_error(error: &anyhow::Error) -> Option<&ViewError> {
    let database = match error.downcast_ref() {
        Some(QueryError::Database(error)) => Some(error),
        _ => None,
    };
    let database = database.or_else(|| match error.downcast_ref() {
        Some(CheckError::Database(error)) => Some(error),
        _ => None,
    });
    let database = database.or_else(|| match error.downcast_ref() {
        Some(PatchesError::Database(error)) => Some(error),
        _ => None,
    });
    let database = database.or_else(|| match error.downcast_ref() {
        Some(Failure::Database(error)) => Some(error),
        _ => None,
    });
    match database.or_else(|| error.downcast_ref()) {
        Some(DatabaseError::View(error)) => Some(error),
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
pub enum Stop {
    /// Help or version was asked for: the text for standard output, exit 0.
    #[error("{0}")]
    Help(String),
    /// The command line makes no sense: what is wrong, and the synopsis; exit 1.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// The synopsis of the command, lines without `usage:`.
        usage: &'static str,
    },
    /// It cannot or must not go on; one line says why.
    #[error("{message}")]
    Refused {
        /// The code.
        exit: Exit,
        /// What and why.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::journal::JournalError;

    #[test]
    fn an_error_has_the_code_it_carries_or_the_one_of_its_cause() {
        let refused = Stop::Refused { exit: Exit::LOCKED, message: "held".to_owned() };
        assert_eq!(Exit::of(&refused.into()), Exit::LOCKED);
        assert_eq!(Exit::of(&Stop::Usage { message: String::new(), usage: "" }.into()), Exit::FAILED);
        assert_eq!(Exit::of(&ViewError::Raced.into()), Exit::FAILED);
        let journal = ViewError::Journal { path: "/j".to_owned(), reason: journal_error() };
        let query = QueryError::Database(DatabaseError::View(journal));
        assert_eq!(Exit::of(&anyhow::Error::from(query).context("reading")), Exit::UNFINISHED);
        let busy = || DatabaseError::View(ViewError::Busy("/".to_owned()));
        assert_eq!(Exit::of(&PatchesError::Database(busy()).into()), Exit::LOCKED);
        assert_eq!(Exit::of(&CheckError::Database(busy()).into()), Exit::LOCKED);
        assert_eq!(Exit::of(&Failure::Database(busy()).into()), Exit::LOCKED);
        assert_eq!(Exit::of(&busy().into()), Exit::LOCKED);
    }

    fn journal_error() -> JournalError {
        crate::format::journal::parse_head(b"rubbish").unwrap_err()
    }
}
