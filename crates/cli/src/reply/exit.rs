//! Exit codes, and their assignment to errors.
//!
//! Commands return an [`Exit`] of their own, or an error. `Exit::of` is the one place that gives an error its code: a
//! `Stop` carries its own, a few errors of the library have a code that holds for every command, all others are 1.

use std::process::ExitCode;

use serde::{Serialize, Serializer};

use super::cause::ExitCause;
use super::cause_of::{cause_of, of_database, of_io, of_root, of_source, of_view};
use super::result_word::ResultWord;
use crate::surroundings::SurroundingsError;
use patchadm_core::operation::check::CheckError;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::queries::applied_patches::PatchesError;
use patchadm_core::operation::queries::packages::QueryError;
use patchadm_inputs::database::policy::PolicyError;
use patchadm_inputs::database::{DatabaseError, RecordDamage, ViewError};
use patchadm_svr4::package::PathError;

/// The end of a command: its exit code, and the cause. Serialized it is the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    code: u8,
    cause: ExitCause,
}

impl Exit {
    /// Done, or nothing to do.
    pub const OK: Self = Self::new(0, ExitCause::Ok);
    /// A signature, a manifest or a key cannot be believed.
    pub const SIGNATURE: Self = Self::new(41, ExitCause::Signature);
    /// Another process holds the lock of the root (patchrm(1M) has a code of its own for it).
    pub const LOCKED: Self = Self::new(64, ExitCause::Locked);
    /// An interrupted run needs recovery.
    pub const UNFINISHED: Self = Self::new(65, ExitCause::Unfinished);
    /// A patch is missing, where that was asked for.
    pub const MISSING: Self = Self::new(66, ExitCause::Missing);
    /// A defect of this program.
    pub const INTERNAL: Self = Self::new(70, ExitCause::Internal);
    /// The output is no longer read: what a shell shows for SIGPIPE.
    pub const PIPE: Self = Self::new(141, ExitCause::Signal);

    /// The code of a command that has its own table (patchadd(1M), pkgadd(1M)).
    pub const fn new(code: u8, cause: ExitCause) -> Self {
        Self { code, cause }
    }

    /// The general failure of the classic commands, 1.
    pub const fn failed(cause: ExitCause) -> Self {
        Self::new(1, cause)
    }

    /// The end by a signal, as shells show it: 128 and its number.
    pub fn by_signal(signal: i32) -> Self {
        Self::new(u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX), ExitCause::Signal)
    }

    /// Returns the number.
    pub const fn code(self) -> u8 {
        self.code
    }

    /// Returns the cause.
    pub fn cause(self) -> ExitCause {
        self.cause
    }

    /// The code for an error that ended a command.
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(Stop::Refused { exit, .. } | Stop::Ran { exit, .. } | Stop::Ended(exit)) =
            error.downcast_ref()
        {
            return *exit;
        }
        match error.chain().find_map(view_error) {
            Some(view @ (ViewError::Journal { .. } | ViewError::Lost { .. })) => Self::new(65, of_view(view)),
            Some(ViewError::Busy(_)) => Self::LOCKED,
            _ => Self::failed(error.chain().find_map(known_cause).unwrap_or(ExitCause::Internal)),
        }
    }
}

/// Returns the damage of a record, if that is what an error is about.
pub fn record_damage(error: &anyhow::Error) -> Option<&RecordDamage> {
    error.chain().find_map(|error| match error.downcast_ref::<Failure>() {
        Some(failure) => failure.damage(),
        None => database_error(error)?.damage(),
    })
}

impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code)
    }
}

/// Returns the cause of an error, or of one in its chain, if its type tells.
fn known_cause<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<ExitCause> {
    let of_query = |error: &'e QueryError| match error {
        QueryError::Database(error) => of_database(error),
        QueryError::Source(error) => of_source(error),
        QueryError::File { reason, .. } => of_io(reason),
        QueryError::Params { .. } => ExitCause::DamagedInput,
    };
    let of_check = |error: &'e CheckError| match error {
        CheckError::Database(error) => of_database(error),
        CheckError::Damaged(_) => ExitCause::DamagedRecord,
        CheckError::Unfinished(_) => ExitCause::Unfinished,
        CheckError::Map { .. } => ExitCause::DamagedInput,
        CheckError::NoCategory(_) => ExitCause::NotFound,
        CheckError::Parameters(error) => of_query(error),
        CheckError::Operation(failed) => cause_of(failed),
    };
    let of_patches = |error: &'e PatchesError| match error {
        PatchesError::Database(error) => of_database(error),
        PatchesError::Policy(PolicyError::Root(error)) => of_root(error),
        PatchesError::Policy(_) => ExitCause::Usage,
    };
    let is_misread = error.is::<Stop>() || error.is::<SurroundingsError>() || error.is::<PathError>();
    None.or_else(|| error.downcast_ref().map(cause_of))
        .or_else(|| error.downcast_ref().map(of_query))
        .or_else(|| error.downcast_ref().map(of_check))
        .or_else(|| error.downcast_ref().map(of_patches))
        .or_else(|| error.downcast_ref().map(of_database))
        .or_else(|| error.downcast_ref().map(of_view))
        .or_else(|| error.downcast_ref().map(of_source))
        .or_else(|| error.downcast_ref().map(of_root))
        .or_else(|| error.downcast_ref().map(of_io))
        .or_else(|| is_misread.then_some(ExitCause::Usage))
}

/// Finds the trouble with the view of the records, if that is what an error is about. Errors that only pass it on are
/// not links of the chain of causes: they have to be opened.
fn view_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e ViewError> {
    match database_error(error) {
        Some(DatabaseError::View(inner)) => Some(inner),
        _ => error.downcast_ref(),
    }
}

fn database_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e DatabaseError> {
    match (
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
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code)
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
    /// It was begun, or its plan was, and ended as the word says.
    #[error("{message}")]
    Ran {
        /// The code.
        exit: Exit,
        /// The word for the end.
        result: ResultWord,
        /// The refusal or failure, and its reason.
        message: String,
    },
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
        let wrong = Stop::Usage { message: String::new(), usage: "" };
        assert_eq!(Exit::of(&wrong.into()), Exit::failed(ExitCause::Usage));
        assert_eq!(Exit::of(&ViewError::Raced.into()), Exit::failed(ExitCause::Locked));
        let missing: anyhow::Error = std::io::Error::from_raw_os_error(2).into();
        assert_eq!(Exit::of(&missing.context("reading")), Exit::failed(ExitCause::NotFound));
        let in_doubt = Exit::new(65, ExitCause::InDoubt);
        let journal = || ViewError::Journal { path: "/j".to_owned(), reason: journal_error() };
        assert_eq!(Exit::of(&anyhow::Error::from(journal()).context("reading")), in_doubt);
        let database = || DatabaseError::from(journal());
        let passed_on: [anyhow::Error; 5] = [
            database().into(),
            PatchesError::from(database()).into(),
            QueryError::from(database()).into(),
            CheckError::from(database()).into(),
            Failure::from(database()).into(),
        ];
        assert!(passed_on.iter().all(|error| Exit::of(error) == in_doubt));
        assert_eq!(Exit::of(&ViewError::Busy("/".to_owned()).into()), Exit::LOCKED);
    }

    fn journal_error() -> JournalError {
        patchadm_changeset::format::journal::parse_head(b"rubbish").unwrap_err()
    }
}
