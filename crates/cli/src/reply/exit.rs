//! Ends of commands. Commands return an [`Exit`], or an error; `Exit::of` alone turns errors into exits, and
//! [`Exit::number`] into exit codes. A [`Stop`] carries its own exit, a few library errors have a code for every
//! classic command, all others are 1.

use super::cause::ExitCause;
use super::cause_of::{
    cause_of, is_refusal, of_database, of_io, of_root, of_source, of_surroundings, of_view,
};
use super::result_word::ResultWord;
use super::verb_codes::{self, ExitKind};
use crate::surroundings::output::is_of_verbs;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::object_check::ObjectCheckError;
use patchadm_core::operation::queries::applied_patches::PatchesError;
use patchadm_core::operation::queries::packages::QueryError;
use patchadm_inputs::database::policy::PolicyError;
use patchadm_inputs::database::{DatabaseError, RecordDamage, ViewError};
use patchadm_svr4::package::PathError;

/// A cause, and the code of a classic command. The cause determines the code of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// `None` if no classic command ends like this.
    classic: Option<u8>,
    cause: ExitCause,
    kind: ExitKind,
}

/// Selects the codes of classic commands or of verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitTable {
    Classic,
    Verbs,
}

impl ExitTable {
    /// Returns the table of a command, by the name before its diagnostics.
    pub fn of(program: &str) -> Self {
        if is_of_verbs(program) { Self::Verbs } else { Self::Classic }
    }
}

impl Exit {
    /// Done, or nothing to do.
    pub const OK: Self = Self::new(0, ExitCause::Ok);
    /// A signature, manifest or key is not trusted.
    pub const SIGNATURE: Self = Self::new(41, ExitCause::Signature);
    /// Another process holds the lock of the root (patchrm(1M) has its own code for it).
    pub const LOCKED: Self = Self::new(64, ExitCause::Locked);
    /// An interrupted run needs recovery.
    pub const UNFINISHED: Self = Self::new(65, ExitCause::Unfinished);
    /// A requested patch is missing.
    pub const MISSING: Self = Self::finding(ExitCause::Missing);
    /// Some succeeded, others did not.
    pub const PARTLY: Self = Self::of_verb(ExitCause::Partly);
    /// A defect of this program.
    pub const INTERNAL: Self = Self::new(70, ExitCause::Internal);
    /// The output is no longer read: the code of SIGPIPE in a shell.
    pub const PIPE: Self = Self::new(141, ExitCause::Signal);

    /// Each classic command has its own table (patchadd(1M), pkgadd(1M)).
    pub const fn new(classic: u8, cause: ExitCause) -> Self {
        Self { classic: Some(classic), cause, kind: ExitKind::Plain }
    }

    /// Returns the general failure of classic commands, 1.
    pub const fn failed(cause: ExitCause) -> Self {
        Self::new(1, cause)
    }

    /// No classic command ends like this.
    pub const fn of_verb(cause: ExitCause) -> Self {
        Self { classic: None, cause, kind: ExitKind::Plain }
    }

    /// The verb did its work, and found something.
    pub const fn finding(cause: ExitCause) -> Self {
        Self { classic: None, cause, kind: ExitKind::Finding }
    }

    pub const fn passed_on(code: u8, cause: ExitCause) -> Self {
        Self { classic: Some(code), cause, kind: ExitKind::PassedOn(code) }
    }

    #[must_use]
    pub const fn with_classic(self, classic: Option<u8>) -> Self {
        Self { classic, ..self }
    }

    /// The planner or a check of trust refuses it.
    #[must_use]
    pub const fn as_refusal(self) -> Self {
        Self { kind: ExitKind::Refusal, ..self }
    }

    /// A command that looks for it found it.
    #[must_use]
    pub const fn as_finding(self) -> Self {
        Self { kind: ExitKind::Finding, ..self }
    }

    /// As shells show it: 128 and the number.
    pub fn by_signal(signal: i32) -> Self {
        Self::new(u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX), ExitCause::Signal)
    }

    /// Returns the code of a classic command; the one of a verb if no classic command ends like this.
    pub const fn code(self) -> u8 {
        match self.classic {
            Some(code) => code,
            None => self.verb_code(),
        }
    }

    pub const fn verb_code(self) -> u8 {
        verb_codes::code(self.cause, self.kind, self.classic)
    }

    pub const fn number(self, table: ExitTable) -> u8 {
        match table {
            ExitTable::Classic => self.code(),
            ExitTable::Verbs => self.verb_code(),
        }
    }

    /// Returns the code that a classic command would have used, if there is one.
    pub fn classic_code(self) -> Option<u8> {
        self.classic
    }

    pub fn cause(self) -> ExitCause {
        self.cause
    }

    /// Returns true if a verb ends with the code of a refusal.
    pub const fn is_refusal(self) -> bool {
        self.verb_code() == verb_codes::REFUSED
    }

    /// Returns the word of a document, if nothing but the exit is known.
    pub fn result(self) -> ResultWord {
        match self.cause {
            ExitCause::Ok => ResultWord::Done,
            ExitCause::Usage
            | ExitCause::Settings
            | ExitCause::AlreadyApplied
            | ExitCause::Superseded
            | ExitCause::TrialOver => ResultWord::Refused,
            _ if self.is_refusal() => ResultWord::Refused,
            _ => ResultWord::Failed,
        }
    }

    /// A finding, or a needed reboot, is no failure.
    pub fn is_failure(self) -> bool {
        let is_news = match self.kind {
            ExitKind::Finding => true,
            // Only code and cause of the other process's check are known.
            ExitKind::PassedOn(code) => {
                code == verb_codes::REBOOT || code == verb_codes::FOUND && self.cause != ExitCause::Unknown
            }
            ExitKind::Plain | ExitKind::Refusal => {
                matches!(self.cause, ExitCause::Reboot | ExitCause::Missing | ExitCause::Attention)
            }
        };
        !is_news && self.verb_code() != 0
    }

    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(Stop::Refused { exit, .. } | Stop::Ran { exit, .. } | Stop::Ended(exit)) =
            error.downcast_ref()
        {
            return *exit;
        }
        match error.chain().find_map(view_error) {
            Some(view @ (ViewError::Journal { .. } | ViewError::Lost { .. })) => Self::new(65, of_view(view)),
            Some(ViewError::Busy(_)) => Self::LOCKED,
            _ => {
                let exit = Self::failed(error.chain().find_map(known_cause).unwrap_or(ExitCause::Internal));
                let is_refused =
                    |error: &(dyn std::error::Error + 'static)| error.downcast_ref().is_some_and(is_refusal);
                if error.chain().any(is_refused) { exit.as_refusal() } else { exit }
            }
        }
    }
}

pub fn record_damage(error: &anyhow::Error) -> Option<&RecordDamage> {
    error.chain().find_map(|error| match error.downcast_ref::<Failure>() {
        Some(failure) => failure.damage(),
        None => database_error(error)?.damage(),
    })
}

/// Returns `None` unless the type of an error in the chain determines it.
fn known_cause<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<ExitCause> {
    let of_query = |error: &'e QueryError| match error {
        QueryError::Database(error) => of_database(error),
        QueryError::Source(error) => of_source(error),
        QueryError::File { reason, .. } => of_io(reason),
        QueryError::Params { .. } => ExitCause::DamagedInput,
    };
    let of_check = |error: &'e ObjectCheckError| match error {
        ObjectCheckError::Database(error) => of_database(error),
        ObjectCheckError::Damaged(_) => ExitCause::DamagedRecord,
        ObjectCheckError::Unfinished(_) => ExitCause::Unfinished,
        ObjectCheckError::Map { .. } => ExitCause::DamagedInput,
        ObjectCheckError::NoCategory(_) => ExitCause::NotFound,
        ObjectCheckError::Parameters(error) => of_query(error),
        ObjectCheckError::Operation(failed) => cause_of(failed),
    };
    let of_patches = |error: &'e PatchesError| match error {
        PatchesError::Database(error) => of_database(error),
        PatchesError::Policy(PolicyError::Root(error)) => of_root(error),
        PatchesError::Policy(_) => ExitCause::Settings,
    };
    let is_misread = error.is::<Stop>() || error.is::<PathError>();
    None.or_else(|| error.downcast_ref().map(cause_of))
        .or_else(|| error.downcast_ref().map(of_query))
        .or_else(|| error.downcast_ref().map(of_check))
        .or_else(|| error.downcast_ref().map(of_patches))
        .or_else(|| error.downcast_ref().map(of_database))
        .or_else(|| error.downcast_ref().map(of_view))
        .or_else(|| error.downcast_ref().map(of_source))
        .or_else(|| error.downcast_ref().map(of_root))
        .or_else(|| error.downcast_ref().map(of_io))
        .or_else(|| error.downcast_ref().map(of_surroundings))
        .or_else(|| is_misread.then_some(ExitCause::Usage))
}

/// Finds a view error. Errors that only pass it on are not links of the chain of causes: they have to be opened.
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
        error.downcast_ref::<ObjectCheckError>(),
        error.downcast_ref::<Failure>(),
    ) {
        (Some(PatchesError::Database(inner)), ..)
        | (_, Some(QueryError::Database(inner)), ..)
        | (_, _, Some(ObjectCheckError::Database(inner)), _)
        | (.., Some(Failure::Database(inner))) => Some(inner),
        _ => error.downcast_ref::<DatabaseError>(),
    }
}

/// An end that a command chooses itself, instead of a report.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Help or version for standard output, exit 0.
    #[error("{0}")]
    Help(String),
    #[error("{message}")]
    Usage {
        message: String,
        /// Lines without `usage:`.
        usage: &'static str,
    },
    /// The description of the options was wanted.
    #[error("the options of the command")]
    Described(Box<clap::Command>),
    /// Another process did the work, and reported.
    #[error("another process has done it")]
    Ended(Exit),
    /// Begun or planned, and ended as `result` says.
    #[error("{message}")]
    Ran { exit: Exit, result: ResultWord, message: String },
    /// The command cannot or must not go on.
    #[error("{message}")]
    Refused { exit: Exit, message: String },
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
            ObjectCheckError::from(database()).into(),
            Failure::from(database()).into(),
        ];
        assert!(passed_on.iter().all(|error| Exit::of(error) == in_doubt));
        assert_eq!(Exit::of(&ViewError::Busy("/".to_owned()).into()), Exit::LOCKED);
    }

    fn journal_error() -> JournalError {
        patchadm_changeset::format::journal::parse_head(b"rubbish").unwrap_err()
    }
}
