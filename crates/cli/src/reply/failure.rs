//! Exit codes and texts of failed operations; next steps are in `advice`. The codes here are those of the classic
//! commands (patchadd(1M), patchrm(1M), pkgadd(1M), pkgrm(1M), installf(1M), removef(1M)). Codes above 63 are ours; a
//! signal is 128 and its number, but 3 for the package commands.

use std::path::Path;

use super::advice::{errno_of, hint, is_damaged, is_of_process};
use super::depot_end::{begins_with_place, depot_exit};
use super::result_word::ResultWord;
use crate::reply::cause::ExitCause;
use crate::reply::cause_of::{cause_of, is_refusal, of_io, of_problem};
use crate::reply::exit::{Exit, Stop};
use crate::surroundings::output::{HINT, is_of_verbs, without_numbers};
use patchadm_changeset::transaction::{Cause, Phase, RootCondition, TransactionError};
use patchadm_core::operation::depots::DepotError;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::undo_file::UndoFileFault;
use patchadm_core::operation::plan_file::PlanFault;
use patchadm_core::operation::session::must_have_database;
use patchadm_core::operation::trial::ConfirmRefusal;
use patchadm_core::script::ScriptError;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{DatabaseError, ViewError};
use patchadm_inputs::sign::KeyDirectoryError;
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{LockError, Root};

pub fn code(command: Command, failure: &Failure) -> Exit {
    let is_about_archives = matches!(command, Command::Repack | Command::UndoExport | Command::UndoImport);
    let of_archive = if is_about_archives { archives_number(failure) } else { None };
    let exit = Exit::new(of_archive.unwrap_or_else(|| number(command, failure)), cause_of(failure));
    if is_refusal(failure) { exit.as_refusal() } else { exit }
}

/// Chooses the number of the command's family.
fn of_family(command: Command, patchadd: u8, patchrm: u8, package: u8) -> u8 {
    use Command::{Adopt, AdoptRefresh, Forget, Patchadd, Patchrm, Promote, Refresh};
    match command {
        Patchadd | Adopt | AdoptRefresh | Forget | Promote | Refresh => patchadd,
        Patchrm
        | Command::Commit
        | Command::Repack
        | Command::UndoExport
        | Command::UndoImport
        | Command::Undo
        | Command::Confirm => patchrm,
        Command::Pkgadd | Command::Pkgrm | Command::Installf | Command::Removef => package,
    }
}

fn number(command: Command, failure: &Failure) -> u8 {
    let by = |patchadd, patchrm, package| of_family(command, patchadd, patchrm, package);
    if failure.untrusted().is_some() {
        return untrusted_number(command);
    }
    if failure.damage().is_some() {
        return damaged_code(command.name()).code();
    }
    match failure {
        Failure::Refused(refusal) => refusal.code(),
        Failure::Source(error) => source_number(command, &error.path, &error.problem),
        Failure::NotPrivileged(_) => by(3, 3, 1),
        Failure::ReadOnly(_) => by(7, 7, 1),
        Failure::NotTried(_) | Failure::NotWithout(_) => 0,
        Failure::NotInDepot { .. } => by(27, 13, 1),
        Failure::NoDatabase(_) => by(7, 2, 1),
        Failure::Lock(LockError::Held { .. }) => by(LOCKED, 19, LOCKED),
        Failure::Lock(LockError::Root(_)) => by(7, 19, 1),
        Failure::Unrecovered { .. } | Failure::Identity { .. } | Failure::DuringRun(_) => UNFINISHED,
        Failure::Transaction(error) => transaction_number(command, error),
        Failure::Database(error) => database_number(command, error),
        Failure::Archive(ArchiveError::Missing { remote: true, .. } | ArchiveError::Outside { .. }) => {
            by(26, 12, 1)
        }
        Failure::Archive(ArchiveError::Root(error) | ArchiveError::View(ViewError::Root(error)))
            if is_of_process(error.errno()) =>
        {
            by(5, 5, 1)
        }
        Failure::Archive(_) => by(26, 4, 1),
        Failure::UndoFile(fault) => undo_file_number(fault),
        Failure::Plan(fault) if fault.is_difference() => 10,
        Failure::Plan(_)
        | Failure::Policy(_)
        | Failure::OwnedByRoot(_)
        | Failure::NoDepot { .. }
        | Failure::ExchangeDirectory { .. }
        | Failure::BadResponseFile(_) => 1,
        Failure::Root(_) if is_about_objects(command) => INTERNAL_OF_OBJECTS,
        Failure::Root(_) | Failure::Keys(KeyDirectoryError::Root(_)) => by(5, 5, 1),
        Failure::Keys(_) | Failure::StaleIndex(_) | Failure::Unvouched(_) | Failure::PatchPackage(_) => {
            by(SIGNATURE, 5, 1)
        }
        Failure::DepotMemory { .. } => by(28, 5, 1),
        Failure::Depot(error) => depot_number(command, error),
        Failure::BadId(_) | Failure::UnknownPoint(_) => by(29, 8, 1),
        Failure::BackoutDirectory { .. } => by(37, 12, 1),
        Failure::BadFile(_) | Failure::Native(_) => by(1, 1, 99),
        Failure::Script(failure) => by(failure.patchadd_code(), failure.patchrm_code(), failure.code()),
        Failure::Scripts(ScriptError::Locked { .. }) => LOCKED,
        Failure::Scripts(_) | Failure::Response(_) => by(5, 7, 1),
        Failure::Declined => 3,
        Failure::OnTrial { .. } => by(10, 10, 1),
        Failure::TrialOver { .. }
        | Failure::StuckTrial { .. }
        | Failure::NotConfirmed(_)
        | Failure::Trial(_) => trial_number(command, failure),
    }
}

/// The file of exported undo data cannot be written or read, has no room, or is not the root's.
fn undo_file_number(fault: &UndoFileFault) -> u8 {
    match fault {
        UndoFileFault::Unwritable { error, .. } if of_io(error) == ExitCause::Space => 7,
        UndoFileFault::Unwritable { .. }
        | UndoFileFault::Unreadable { .. }
        | UndoFileFault::Exists(_)
        | UndoFileFault::Inside(_)
        | UndoFileFault::NotInFile { .. } => 1,
        _ => 4,
    }
}

fn depot_number(command: Command, error: &DepotError) -> u8 {
    match error {
        DepotError::NotThere(path) | DepotError::NoDepot(path) if command == Command::Patchadd => {
            if path.is_relative() { 27 } else { 34 }
        }
        DepotError::NoPatches { .. } if command == Command::Patchadd => 34,
        error => depot_exit(error).code(),
    }
}

/// Returns the exit code of a command for a trial that has ended, or should have.
fn trial_number(command: Command, failure: &Failure) -> u8 {
    match failure {
        Failure::StuckTrial { failure, .. } => stuck_number(command, failure),
        Failure::NotConfirmed(ConfirmRefusal::Ended { .. } | ConfirmRefusal::EndedNow(_)) => 11,
        Failure::NotConfirmed(_) => 1,
        Failure::Trial(_) => damaged_code(command.name()).code(),
        _ => UNFINISHED,
    }
}

/// A trial cannot be ended: the code of undo data, or the command's own for space.
fn stuck_number(command: Command, failure: &Failure) -> u8 {
    match cause_of(failure) {
        _ if is_about_packages(command) => 1,
        ExitCause::Space if matches!(command, Command::Patchrm | Command::Commit | Command::Undo) => 20,
        ExitCause::Space => 18,
        _ => 4,
    }
}

/// Returns the exit codes about archives that are written again or moved: missing, damaged, and without space for them.
fn archives_number(failure: &Failure) -> Option<u8> {
    match failure {
        Failure::Archive(
            ArchiveError::Missing { .. } | ArchiveError::Lost { .. } | ArchiveError::Exported { .. },
        ) => Some(1),
        Failure::Source(_) => Some(4),
        Failure::Transaction(error)
            if matches!(error.left, RootCondition::Unchanged | RootCondition::RolledBack) =>
        {
            match &error.cause {
                cause if cause.is_no_space() => Some(7),
                Cause::Corrupt { .. } | Cause::Missing { .. } | Cause::Source(_) => Some(4),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The same for every command.
const LOCKED: u8 = Exit::LOCKED.code();
const UNFINISHED: u8 = Exit::UNFINISHED.code();
const SIGNATURE: u8 = Exit::SIGNATURE.code();

/// Returns the exit code of a command for a root that a user other than the superuser may change.
fn untrusted_number(command: Command) -> u8 {
    if is_about_packages(command) { 1 } else { 3 }
}

/// Verbs use it in place of a command's name.
const VERBS: &str = "patchadm";

/// Returns the exit code of a command, by its name, for a damaged record. Queries have only one code for everything.
pub fn damaged_code(program: &str) -> Exit {
    let code = match program {
        "patchadd" => 28,
        program if is_of_verbs(program) => 28,
        "patchrm" => 5,
        "pkgchk" | "pkgadd" | "pkgrm" | "installf" | "removef" => 99,
        _ => 1,
    };
    Exit::new(code, ExitCause::DamagedRecord)
}

/// installf(1M) and removef(1M) could not change the database.
const INTERNAL_OF_OBJECTS: u8 = 99;

fn is_about_packages(command: Command) -> bool {
    matches!(command, Command::Pkgadd | Command::Pkgrm) || is_about_objects(command)
}

fn is_about_objects(command: Command) -> bool {
    matches!(command, Command::Installf | Command::Removef)
}

/// Returns the code of the classic command, but a held lock is the same for all verbs.
pub fn verb_code(command: Command, failure: &Failure) -> Exit {
    match failure {
        Failure::Lock(LockError::Held { .. }) => Exit::LOCKED,
        _ if failure.damage().is_some() => damaged_code(VERBS),
        Failure::Trial(_) => damaged_code(VERBS),
        Failure::NoDatabase(_) | Failure::Lock(LockError::Root(_)) => code(Command::Patchadd, failure),
        _ => code(command, failure),
    }
}

pub fn source_code(command: Command, error: &SourceError) -> Exit {
    problem_code(command, &error.path, &error.problem)
}

pub fn problem_code(command: Command, path: &Path, problem: &SourceProblem) -> Exit {
    Exit::new(source_number(command, path, problem), of_problem(problem))
}

fn source_number(command: Command, path: &Path, problem: &SourceProblem) -> u8 {
    if is_of_process(errno_of(problem)) {
        return if matches!(command, Command::Patchadd | Command::Patchrm) { 5 } else { 1 };
    }
    if !matches!(command, Command::Patchadd | Command::Patchrm) {
        let unusable = matches!(
            problem,
            SourceProblem::NotFound
                | SourceProblem::BadForm(_)
                | SourceProblem::Foreign(_)
                | SourceProblem::HoldsPatches(_)
                | SourceProblem::Unsupported(_)
        );
        return if unusable { 99 } else { 1 };
    }
    if command == Command::Patchrm {
        return 4;
    }
    match problem {
        SourceProblem::NotFound if path.is_relative() => 27,
        SourceProblem::NotFound
        | SourceProblem::Io { .. }
        | SourceProblem::Unsupported(_)
        | SourceProblem::BadForm(_)
        | SourceProblem::Foreign(_)
        | SourceProblem::NoPackage
        | SourceProblem::HoldsPatches(_)
        | SourceProblem::Unsafe { .. } => 33,
        SourceProblem::NotDecompressed(_) => 39,
        SourceProblem::NoSpool { .. } => 18,
        SourceProblem::Spool(_) => 36,
        SourceProblem::CorruptPackageFile { .. } => 28,
        SourceProblem::Corrupt { .. } => 10,
        SourceProblem::Symlink { .. } => 13,
        SourceProblem::Signature(_) | SourceProblem::Changed(_) => SIGNATURE,
        SourceProblem::Interrupted(signal) => Exit::by_signal(*signal).code(),
    }
}

fn database_number(command: Command, error: &DatabaseError) -> u8 {
    match error {
        DatabaseError::View(ViewError::Journal { .. }) => UNFINISHED,
        DatabaseError::View(ViewError::Busy(_)) => LOCKED,
        _ if !is_about_packages(command) => 5,
        _ if is_about_objects(command) => INTERNAL_OF_OBJECTS,
        _ => 1,
    }
}

fn transaction_number(command: Command, error: &TransactionError) -> u8 {
    use Command::{Adopt, AdoptRefresh, Forget, Patchadd, Patchrm, Promote, Refresh};
    match (&error.left, &error.cause) {
        (RootCondition::InDoubt | RootCondition::Unfinished(_), _) => return UNFINISHED,
        (_, Cause::Internal(_)) => return Exit::INTERNAL.code(),
        (_, Cause::Interrupted(signal)) if !matches!(command, Command::Pkgadd | Command::Pkgrm) => {
            return Exit::by_signal(*signal).code();
        }
        (_, Cause::Interrupted(_)) => return 3,
        _ => {}
    }
    let (patchadd, patchrm) = match (error.phase, &error.cause) {
        (_, Cause::Changed(_) | Cause::Appeared(_) | Cause::Corrupt { .. } | Cause::Missing { .. }) => {
            (10, 7)
        }
        (_, Cause::Unsupported { .. } | Cause::Apart { .. } | Cause::LinkAcross { .. }) => (10, 5),
        (_, Cause::NoExchange(_)) => (10, 10),
        (_, Cause::StoredFile(_)) => (26, 4),
        (_, Cause::Ledger(fault)) if is_damaged(fault.as_ref()) => (28, 4),
        (_, Cause::Source(source)) => match source.downcast_ref::<SourceError>() {
            Some(source) => return source_number(command, &source.path, &source.problem),
            None => (5, 7),
        },
        (Phase::Prepare | Phase::Stage, cause) if cause.is_no_space() => (18, 20),
        (Phase::Snapshot, _) => (4, 7),
        _ => (5, 5),
    };
    match command {
        Patchadd | Adopt | AdoptRefresh | Forget | Promote | Refresh => patchadd,
        Patchrm
        | Command::Commit
        | Command::Repack
        | Command::UndoExport
        | Command::UndoImport
        | Command::Undo
        | Command::Confirm => patchrm,
        Command::Pkgadd | Command::Pkgrm => 1,
        Command::Installf | Command::Removef => INTERNAL_OF_OBJECTS,
    }
}

/// Returns the end of a verb that only asks, and could not: the error, and the next step.
pub fn query_refused(root: &Root, failure: &Failure) -> Stop {
    let wording = Wording::of_verbs(root.prefix());
    let message = hinted(&failure.to_string(), &hint(&wording, Command::Patchadd, failure));
    Stop::Refused { exit: verb_code(Command::Patchadd, failure), message }
}

pub fn plan_file_refused(fault: PlanFault) -> Stop {
    let failure = Failure::from(fault);
    let exit = verb_code(Command::Patchadd, &failure);
    let wording = Wording::of_verbs(Path::new("/"));
    Stop::Refused { exit, message: described(&wording, Command::Patchadd, &failure) }
}

pub fn change_failed(root: &Root, command: Command, failure: &Failure) -> Stop {
    change_or_plan_failed(root, command, failure, false)
}

/// Returns the end of a verb that changes the root, or plans a change (`is_plan`), and could not.
pub fn change_or_plan_failed(root: &Root, command: Command, failure: &Failure, is_plan: bool) -> Stop {
    let describe = if is_plan { described_plan } else { described };
    Stop::Ran {
        exit: verb_code(command, failure),
        result: ResultWord::of_failure(failure),
        message: describe(&Wording::of_verbs(root.prefix()), command, failure),
    }
}

/// Refuses a root without package database, with the code that the command has for it.
pub fn must_have_records(root: &Root, code: u8) -> anyhow::Result<()> {
    match must_have_database(root) {
        Err(failed @ Failure::NoDatabase(_)) => {
            let exit = Exit::new(code, ExitCause::NoDatabase);
            Err(Stop::Refused { exit, message: failed.to_string() }.into())
        }
        answer => Ok(answer?),
    }
}

/// Without `ERROR: ` and the line that ends a refusal.
pub fn classic(root: &Path, command: Command, patch: Option<&str>, failure: &Failure) -> String {
    if let Failure::Refused(refusal) = failure {
        return refusal.classic();
    }
    let hint = hint(&Wording::of_classic(root), command, failure);
    let hint = if hint.is_empty() { hint } else { format!("\n{}", sentence(&hint)) };
    format!("{}\n{}{hint}", said(patch, failure), state(failure))
}

/// Returns the failure as a sentence; a name that the user typed keeps its small letter.
fn said(patch: Option<&str>, failure: &Failure) -> String {
    let text = without_numbers(&failure.to_string());
    match failure {
        Failure::Script(failure) if failure.context.message.is_some() => text,
        Failure::Transaction(_) | Failure::Script(_) => {
            let subject = patch.map(|patch| format!("patch {patch}: ")).unwrap_or_default();
            sentence(&format!("{subject}{text}"))
        }
        Failure::Source(_)
        | Failure::BackoutDirectory { .. }
        | Failure::ExchangeDirectory { .. }
        | Failure::BadFile(_)
        | Failure::BadResponseFile(_)
        | Failure::Native(_)
        | Failure::NotInDepot { .. }
        | Failure::NoDatabase(_) => closed(text),
        Failure::Depot(error) if begins_with_place(error) => closed(text),
        _ => sentence(&text),
    }
}

pub fn state(failure: &Failure) -> String {
    match failure.left() {
        RootCondition::Unchanged => "Nothing was changed.".to_owned(),
        RootCondition::RolledBack => {
            "The changes that had begun were undone: everything is as before.".to_owned()
        }
        RootCondition::Unfinished(what) => {
            let lines = what.iter().map(|line| format!("\n  {line}"));
            format!("Not everything could be restored:{}", lines.collect::<String>())
        }
        left @ RootCondition::InDoubt => sentence(&left.to_string()),
    }
}

pub fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => refusal.why(),
        other => other.to_string(),
    }
}

/// Returns the failure, the condition of the root and the next step: one line each.
pub fn described(wording: &Wording, command: Command, failure: &Failure) -> String {
    described_as(failure.to_string(), wording, command, failure)
}

/// Returns the same of a plan, which tried nothing.
pub fn described_plan(wording: &Wording, command: Command, failure: &Failure) -> String {
    described_as(text_of_plan(failure), wording, command, failure)
}

/// Returns the failure of a plan: what would not happen, and why.
pub fn text_of_plan(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => format!("{}: {}", refusal.what_of_plan(), refusal.why()),
        other => other.to_string(),
    }
}

fn described_as(text: String, wording: &Wording, command: Command, failure: &Failure) -> String {
    let left = match failure.left() {
        left @ (RootCondition::Unchanged | RootCondition::RolledBack) => left.to_string(),
        _ => state(failure),
    };
    hinted(&joined([text, left]), &hint(wording, command, failure))
}

/// Returns a message with the next step as a hint; the message alone if there is no next step.
pub fn hinted(message: &str, hint: &str) -> String {
    if hint.is_empty() {
        return message.to_owned();
    }
    // A hint that is only a command is shown as typed.
    let command =
        hint.strip_prefix("run ").unwrap_or(hint).strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    let hint = command.filter(|command| !command.contains('`')).unwrap_or(hint);
    joined([message.to_owned(), format!("{HINT}{hint}")])
}

pub fn joined<const N: usize>(lines: [String; N]) -> String {
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The message of a verb about a failed change.
pub struct Undone {
    /// Without a full stop: `patch 100-01 was not applied`.
    pub what: String,
    /// Details have lines of their own.
    pub why: String,
    /// The condition of the root: `nothing was changed`.
    pub left: String,
    /// Empty if there is no next step.
    pub hint: String,
}

impl Undone {
    /// Describes a failed change of `subject`; a refusal names its subject itself.
    pub fn of(root: &Path, command: Command, subject: &str, failure: &Failure) -> Self {
        let wording = Wording::of_verbs(root);
        if let Failure::Refused(refusal) = failure {
            let left = "nothing was changed".to_owned();
            return Self {
                what: refusal.what(),
                why: refusal.why_in_lines(),
                left,
                hint: refusal.hint(&wording),
            };
        }
        Self {
            what: format!("{subject} was not {}", command.participle()),
            why: joined([without_numbers(&failure.to_string()), last_lines(failure)]),
            left: failure.left().to_string(),
            hint: hint(&wording, command, failure),
        }
    }

    /// Describes the same of a plan, which tried nothing.
    pub fn of_plan(root: &Path, command: Command, subject: &str, failure: &Failure) -> Self {
        let what = match failure {
            Failure::Refused(refusal) => refusal.what_of_plan(),
            _ => format!("{subject} would not be {}", command.participle()),
        };
        Self { what, ..Self::of(root, command, subject, failure) }
    }

    /// Returns the sentence with its reason, details, the condition of the root, the hint.
    pub fn text(&self) -> String {
        let Self { what, why, left, hint } = self;
        hinted(&joined([format!("{what}: {why}"), left.clone()]), hint)
    }
}

/// Returns what the scripts of a patch wrote last, if one of them failed.
fn last_lines(failure: &Failure) -> String {
    match failure {
        Failure::Script(failure) if !failure.context.last_lines.is_empty() => {
            format!("last output of the script:\n  {}", failure.context.last_lines.join("\n  "))
        }
        _ => String::new(),
    }
}

/// Returns a text as a sentence: a capital at its beginning, a full stop at its end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first =
        letters.next().map(|first| if text.starts_with('/') { first } else { first.to_ascii_uppercase() });
    closed(first.into_iter().chain(letters).collect())
}

fn closed(mut text: String) -> String {
    if !text.ends_with(['.', '?', '!']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustix::io::Errno;

    use super::*;
    use patchadm_inputs::depot::StaleIndex;
    use patchadm_rootfs::{Distrust, LockHolder, RootError, TreeWay, Untrusted};

    fn no_space() -> Cause {
        Cause::Root(RootError::Call {
            action: "reserve space for",
            path: "/a".to_owned(),
            errno: Errno::NOSPC,
        })
    }

    fn link_of_user() -> Cause {
        Cause::Root(RootError::Untrusted(Box::new(Untrusted {
            root: "/".to_owned(),
            owner: 0,
            path: "/opt/app/share".to_owned(),
            uid: 1004,
            record: None,
            way: TreeWay::Named,
            why: Distrust::LinkInside,
            has_account: true,
        })))
    }

    #[test]
    fn a_link_of_a_user_that_keeps_a_recovery_from_its_end_is_named_with_what_to_do() {
        let left = RootCondition::Unfinished(vec!["/opt/app/share/tool is the new one".to_owned()]);
        let error = TransactionError { phase: Phase::Recover, cause: link_of_user(), left };
        let failure = Failure::Unrecovered { error };
        let told = described(&Wording::default(), Command::Patchadd, &failure);
        assert!(told.contains("id 1004 can replace the symbolic link /opt/app/share,"), "{told}");
        assert_eq!(told.matches("/opt/app/share/tool is the new one").count(), 1, "{told}");
        assert!(
            told.contains("remove the link, or use `--trust-root`") && told.contains("; then run `"),
            "{told}"
        );
        assert!(!told.to_lowercase().contains("nothing was changed"), "{told}");
        assert_eq!(code(Command::Patchadd, &failure).code(), UNFINISHED);
    }

    #[test]
    fn a_recovery_that_fails_tells_the_condition_of_the_root_once() {
        for (left, words) in [
            (RootCondition::Unchanged, "nothing was changed"),
            (RootCondition::RolledBack, "everything is as before"),
            (RootCondition::InDoubt, "it is unknown whether"),
        ] {
            let failure = Failure::Unrecovered {
                error: TransactionError { phase: Phase::Recover, cause: no_space(), left },
            };
            for told in [
                described(&Wording::default(), Command::Patchadd, &failure),
                classic(Path::new("/"), Command::Patchadd, None, &failure),
            ] {
                assert_eq!(told.to_lowercase().matches(words).count(), 1, "{told}");
            }
        }
    }

    fn failed(phase: Phase, cause: Cause) -> Failure {
        TransactionError { phase, cause, left: RootCondition::RolledBack }.into()
    }

    fn source(problem: SourceProblem, path: &str) -> Failure {
        Failure::Source(SourceError { path: PathBuf::from(path), problem })
    }

    fn stale() -> StaleIndex {
        StaleIndex::Forked { location: "/srv/depot".to_owned(), version: 7 }
    }

    /// Code of patchadd, patchrm, pkgadd, pkgrm and installf for each failure.
    #[test]
    fn every_failure_has_its_code_for_every_command() {
        let held = || LockError::Held { path: "/.lockfile".to_owned(), holder: LockHolder::default() };
        let doubt =
            TransactionError { phase: Phase::Commit, cause: no_space(), left: RootCondition::InDoubt };
        let table: Vec<(Failure, [u8; 5])> = vec![
            (source(SourceProblem::NotFound, "/x"), [33, 4, 99, 99, 99]),
            (source(SourceProblem::NotFound, "x"), [27, 4, 99, 99, 99]),
            (source(SourceProblem::BadForm(String::new()), "/x"), [33, 4, 99, 99, 99]),
            (source(SourceProblem::NoPackage, "/x"), [33, 4, 1, 1, 1]),
            (source(SourceProblem::NotDecompressed(String::new()), "/x"), [39, 4, 1, 1, 1]),
            (
                source(SourceProblem::NoSpool { needed: 2, free: 1, place: "/tmp".to_owned() }, "/x"),
                [18, 4, 1, 1, 1],
            ),
            (Failure::NotPrivileged(String::new()), [3, 3, 1, 1, 1]),
            (Failure::NoDatabase(String::new()), [7, 2, 1, 1, 1]),
            (Failure::DuringRun(String::new()), [65, 65, 65, 65, 65]),
            (Failure::Lock(held()), [64, 19, 64, 64, 64]),
            (doubt.into(), [65, 65, 65, 65, 65]),
            (failed(Phase::Stage, no_space()), [18, 20, 1, 1, 99]),
            (failed(Phase::Snapshot, no_space()), [4, 7, 1, 1, 99]),
            (failed(Phase::Records, no_space()), [5, 5, 1, 1, 99]),
            (failed(Phase::Switch, Cause::Changed("/a".to_owned())), [10, 7, 1, 1, 99]),
            (failed(Phase::Prepare, link_of_user()), [3, 3, 1, 1, 1]),
            (failed(Phase::Switch, Cause::Interrupted(15)), [143, 143, 3, 3, 143]),
            (failed(Phase::Stage, Cause::Internal(String::new())), [70, 70, 70, 70, 70]),
            (Failure::StaleIndex(stale()), [41, 5, 1, 1, 1]),
            (Failure::BadId(String::new()), [29, 8, 1, 1, 1]),
            (Failure::BackoutDirectory { path: PathBuf::new(), reason: "" }, [37, 12, 1, 1, 1]),
            (Failure::ExchangeDirectory { path: String::new(), reason: String::new() }, [1; 5]),
            (Failure::BadFile(String::new()), [1, 1, 99, 99, 99]),
            (Failure::BadResponseFile(String::new()), [1; 5]),
            (Failure::Scripts(ScriptError::NoUser), [5, 7, 1, 1, 1]),
            (Failure::Declined, [3, 3, 3, 3, 3]),
        ];
        let commands =
            [Command::Patchadd, Command::Patchrm, Command::Pkgadd, Command::Pkgrm, Command::Installf];
        for (failure, expected) in table {
            let codes = commands.map(|command| code(command, &failure).code());
            assert_eq!(codes, expected, "{failure:?}");
        }
    }

    #[test]
    fn a_missing_patch_that_is_named_by_its_id_may_be_in_a_depot() {
        let hint = |path: &str| {
            let failure = source(SourceProblem::NotFound, path);
            Undone::of(Path::new("/"), Command::Patchadd, "the patch", &failure).hint
        };
        assert_eq!(hint("100002-01"), "to take it from a depot, add `-M DEPOT`");
        assert_eq!(hint("patches/100002-01"), "");
        assert_eq!(hint("100002-01.zip"), "");
    }

    #[test]
    fn a_failure_says_what_the_root_is_like_and_what_to_do() {
        let failure = failed(Phase::Stage, no_space());
        let text = classic(Path::new("/"), Command::Patchadd, Some("1-01"), &failure);
        assert_eq!(
            text,
            "Patch 1-01: cannot reserve space for /a: No space left on device.\n\
             The changes that had begun were undone: everything is as before.\n\
             Free space on the file system and try again."
        );
        let undone = Undone::of(Path::new("/"), Command::Patchadd, "patch 1-01", &failure);
        assert_eq!(
            undone.text(),
            "patch 1-01 was not applied: cannot reserve space for /a: No space left on device\n\
             everything is as before\n\
             hint: free space on the file system and try again"
        );
    }
}
