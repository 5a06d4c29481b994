//! The answer of pkgadd(1M) and pkgrm(1M): outcomes of packages, and one exit code.

use std::fmt::Write as _;
use std::io;

use serde::{Serialize, Serializer};

use super::advice::hint;
use super::cause::ExitCause;
use super::exit::Exit;
use super::result_word::ResultWord;
use super::words::{print_recovery, recovery_sentence};
use super::{CommandReport, Reply, failure};
use crate::surroundings::Output;
use patchadm_changeset::transaction::{Receipt, RootCondition};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::packages::report::PackagesReport;
use patchadm_core::operation::scripts::{LastingResults, RebootRequest};
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::refusal::{Command, Reason, Wording};
use patchadm_rootfs::Root;

pub struct EndedPackage<'a> {
    pub name: &'a str,
    pub plan: Option<&'a Plan>,
    pub result: &'a Result<Receipt, Failure>,
    /// Requests and warnings of its scripts.
    pub ending: LastingResults,
    /// Only if libraries were examined.
    pub libraries: Option<&'a LibraryReport>,
}

impl EndedPackage<'_> {
    /// Returns the code that it alone would have, without the tens that stand for a reboot.
    fn exit(&self, command: Command) -> Exit {
        match self.result {
            Ok(_) if self.ending.warned => Exit::new(2, ExitCause::Script),
            Ok(_) => Exit::OK,
            Err(failed) => failure::code(command, failed),
        }
    }

    /// Returns the reboot that the package asks for; one that was undone asks for none.
    fn reboot(&self) -> RebootRequest {
        if self.result.is_ok() { self.ending.reboot } else { RebootRequest::None }
    }
}

/// `T` is the outcome of one package.
pub struct EndedPackages<T> {
    pub command: Command,
    pub wording: Wording,
    pub outcome: Result<PackagesReport<T>, Failure>,
    pub package: fn(&T) -> EndedPackage<'_>,
}

impl<T: 'static> EndedPackages<T> {
    pub fn reply(self, root: &Root) -> Reply {
        Reply::about(root, self.exit(), self)
    }

    fn exit(&self) -> Exit {
        match &self.outcome {
            Err(failed) => failure::code(self.command, failed),
            Ok(report) if !report.missing.is_empty() => Exit::failed(ExitCause::NotFound),
            Ok(_) => after_reboot(together(self.packages().map(|one| one.exit(self.command))), self.reboot()),
        }
    }

    /// Returns the word of the package that determines the exit code.
    fn result(&self) -> ResultWord {
        let report = match &self.outcome {
            Err(failed) => return ResultWord::of_failure(failed),
            Ok(report) => report,
        };
        if !report.missing.is_empty() {
            return ResultWord::Failed;
        }
        let gravest = together(self.packages().map(|one| one.exit(self.command)));
        let decisive = self.packages().find(|one| one.exit(self.command) == gravest);
        match decisive.map(|package| package.result) {
            None => ResultWord::NothingToDo,
            Some(Ok(_)) => ResultWord::Done,
            Some(Err(failed)) => ResultWord::of_failure(failed),
        }
    }

    /// Returns true if the root is neither as before nor as after.
    fn is_half_done(&self) -> bool {
        let failures = self.packages().filter_map(|package| package.result.as_ref().err());
        let mut left = failures.chain(self.outcome.as_ref().err()).map(Failure::left);
        left.any(|left| !matches!(left, RootCondition::Unchanged | RootCondition::RolledBack))
    }

    /// Returns `None` if there are several packages.
    fn shlibs_of_one(&self) -> Option<&LibraryReport> {
        let mut packages = self.packages();
        let only = packages.next().filter(|_| packages.next().is_none())?;
        only.libraries
    }

    fn packages(&self) -> impl Iterator<Item = EndedPackage<'_>> {
        self.outcome.iter().flat_map(|report| &report.packages).map(self.package)
    }

    /// Returns the most urgent reboot that any of the packages asks for.
    fn reboot(&self) -> RebootRequest {
        self.packages().map(|package| package.reboot()).max().unwrap_or_default()
    }
}

impl<T: 'static> CommandReport for EndedPackages<T> {
    /// Prints the lines about all packages.
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let report = match &self.outcome {
            Ok(report) => report,
            Err(failed) => {
                output.error(&explanation(&self.wording, self.command, failed))?;
                if matches!(failed.left(), RootCondition::Unchanged) && !matches!(failed, Failure::Source(_))
                {
                    output.complain("No changes were made to the system.\n")?;
                }
                return Ok(());
            }
        };
        let found = &report.recovered;
        print_recovery(output, recovery_sentence(found).as_deref(), found.notes())?;
        for name in &report.unknown_answers {
            output.warning(&format!("unknown admin parameter <{name}>"))?;
        }
        for name in &report.missing {
            output.error(&format!("no package associated with <{name}>"))?;
        }
        if self.reboot() != RebootRequest::None {
            output.complain(REBOOT)?;
        }
        Ok(())
    }
}

impl<T: 'static> Serialize for EndedPackages<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = PackagesDocument {
            result: self.result(),
            changed: self.packages().any(|package| package.result.is_ok()) || self.is_half_done(),
            error: self.outcome.as_ref().err().map(ToString::to_string),
            missing: self.outcome.iter().flat_map(|report| &report.missing).collect(),
            shlibs: self.shlibs_of_one(),
            packages: self
                .packages()
                .map(|package| PackageOutcomeEntry::of(self.command, &package))
                .collect(),
        };
        document.serialize(serializer)
    }
}

/// Scripts look for the first line.
const REBOOT: &str = "\n*** IMPORTANT NOTICE ***\n\
    \tReboot this machine now. Until then, the changes\n\
    \tare not fully in effect.\n";

/// Ten more for a reboot later, twenty more for one now.
fn after_reboot(exit: Exit, reboot: RebootRequest) -> Exit {
    let tens = match reboot {
        RebootRequest::None => 0,
        RebootRequest::AfterAll => 10,
        RebootRequest::Immediate => 20,
    };
    match exit.code() {
        code @ 0..=5 => Exit::new(code + tens, exit.cause()),
        _ => exit,
    }
}

/// Prints the reason or notes, and the closing lines. `what` is `Installation of` or `Removal of`.
pub fn print_ending(
    output: &mut Output,
    (wording, command): (&Wording, Command),
    what: &str,
    package: &EndedPackage<'_>,
) {
    let mut text = String::new();
    match package.result {
        Ok(receipt) => {
            let notes = package.plan.iter().flat_map(|plan| &plan.notes).chain(&receipt.notes);
            text.extend(notes.map(|note| format!("NOTE: {note}\n")));
        }
        Err(Failure::Declined) => {}
        Err(Failure::Script(failure)) if !failure.is_told => {}
        // If standard error cannot be written to, there is no one to tell.
        Err(failed) => drop(print_reason(output, wording, command, failed)),
    }
    let ending = ending(package.exit(command));
    let _ = writeln!(text, "\n{what} <{}> {ending}", package.name);
    let unchanged =
        |failed: &Failure| matches!(failed.left(), RootCondition::Unchanged | RootCondition::RolledBack);
    if package.result.as_ref().err().is_some_and(unchanged) {
        text.push_str("No changes were made to the system.\n");
    }
    drop(output.complain(text));
}

/// Prints why something failed: objects in use as the classic list that scripts read, everything else as an error.
fn print_reason(
    output: &mut Output,
    wording: &Wording,
    command: Command,
    failed: &Failure,
) -> io::Result<()> {
    match failed {
        Failure::Refused(refusal) if matches!(*refusal.reason, Reason::InUse { .. }) => {
            output.complain(format!("\n{}\n", refusal.classic()))?;
            let hint = refusal.hint(wording);
            if hint.is_empty() { Ok(()) } else { output.error(&hint) }
        }
        _ => output.error(&explanation(wording, command, failed)),
    }
}

/// Half-done work and the next step have lines of their own.
pub fn explanation(wording: &Wording, command: Command, failed: &Failure) -> String {
    let why = match failed {
        Failure::Refused(refusal) if matches!(*refusal.reason, Reason::NothingToAsk) => refusal.why(),
        Failure::Refused(refusal) => match (format!("package {}", refusal.subject), refusal.why()) {
            (package, why) if why.starts_with(&package) => why,
            (package, why) => format!("{package}: {why}"),
        },
        Failure::Source(SourceError {
            path,
            problem:
                problem @ (SourceProblem::NotFound
                | SourceProblem::BadForm(_)
                | SourceProblem::Foreign(_)
                | SourceProblem::NoPackage
                | SourceProblem::Unsupported(_)),
        }) => format!("could not process datastream from <{}>: {problem}", path.display()),
        other => other.to_string(),
    };
    // The end of the report says that nothing was changed, or that everything was restored.
    let left = match failed.left() {
        RootCondition::Unchanged | RootCondition::RolledBack => String::new(),
        RootCondition::InDoubt | RootCondition::Unfinished(_) => failure::state(failed),
    };
    failure::joined([why, left, hint(wording, command, failed)])
}

/// Returns the end of the sentence that begins with `Installation of <X>`, by exit code (pkgadd(1M), pkgrm(1M)).
pub fn ending(exit: Exit) -> &'static str {
    match exit.code() {
        0 => "was successful.",
        2 => "partially failed.",
        3 => "was terminated due to user request.",
        4 => "was suspended (administration).",
        5 => "was suspended (interaction required).",
        99 => "failed (internal error).",
        _ => "failed.",
    }
}

/// Returns the code that needs the operator most: first those that hold for every command, then those of pkgadd(1M)
/// from 1 on, then 0.
fn together(exits: impl Iterator<Item = Exit>) -> Exit {
    let weight = |exit: &Exit| match exit.code() {
        0 => 0,
        code @ 1..64 => 100 - code,
        code => code.saturating_add(100),
    };
    exits.max_by_key(weight).unwrap_or(Exit::OK)
}

#[derive(Serialize)]
struct PackagesDocument<'a> {
    result: ResultWord,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    missing: Vec<&'a String>,
    /// Of one package; each of several has it in its own entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    shlibs: Option<&'a LibraryReport>,
    packages: Vec<PackageOutcomeEntry<'a>>,
}

#[derive(Serialize)]
struct PackageOutcomeEntry<'a> {
    instance: String,
    code: u8,
    reason: String,
    changed: usize,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shlibs: Option<&'a LibraryReport>,
}

impl<'a> PackageOutcomeEntry<'a> {
    fn of(command: Command, package: &EndedPackage<'a>) -> Self {
        let done = package.plan.filter(|_| package.result.is_ok());
        Self {
            instance: package.name.to_owned(),
            code: after_reboot(package.exit(command), package.reboot()).code(),
            reason: package.result.as_ref().err().map(ToString::to_string).unwrap_or_default(),
            changed: done.map_or(0, |plan| plan.changes.len()),
            notes: package.plan.map(|plan| plan.notes.clone()).unwrap_or_default(),
            shlibs: package.libraries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_codes_the_gravest_counts() {
        let code =
            |codes: &[u8]| together(codes.iter().map(|code| Exit::new(*code, ExitCause::Internal))).code();
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[0, 5, 4, 0]), 4);
        assert_eq!(code(&[4, 1, 2]), 1);
        assert_eq!(code(&[1, 65, 3]), 65);
        assert_eq!(code(&[99, 65]), 99);
    }

    #[test]
    fn a_reboot_is_told_in_the_tens() {
        let code = |code, reboot| after_reboot(Exit::new(code, ExitCause::Ok), reboot).code();
        assert_eq!([0, 2].map(|of| code(of, RebootRequest::AfterAll)), [10, 12]);
        assert_eq!([0, 1].map(|of| code(of, RebootRequest::Immediate)), [20, 21]);
        assert_eq!((code(4, RebootRequest::None), code(65, RebootRequest::Immediate)), (4, 65));
    }

    #[test]
    fn every_code_has_its_ending() {
        let endings = [0, 1, 2, 3, 4, 5, 99].map(|code| ending(Exit::new(code, ExitCause::Ok)));
        assert_eq!(endings.iter().collect::<std::collections::BTreeSet<_>>().len(), 7);
        assert_eq!(ending(Exit::LOCKED), "failed.");
    }
}
