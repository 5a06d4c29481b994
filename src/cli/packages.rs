//! What pkgadd(1M) and pkgrm(1M) say in common: how packages ended, the exit code of several together, JSON.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use super::exit::Exit;
use super::output::Output;
use super::{Invocation, failure, json, words};
use crate::operation::failure::Failure;
use crate::operation::packages::report::PackagesReport;
use crate::operation::scripts::{Ending, RebootRequest};
use crate::plan::Plan;
use crate::plan::refusal::{Command, Reason};
use crate::root::Root;
use crate::source::{Problem, SourceError};
use crate::transaction::{Receipt, RootCondition};

/// What became of one package.
pub(super) struct Package<'a> {
    pub(super) name: &'a str,
    pub(super) plan: Option<&'a Plan>,
    pub(super) result: &'a Result<Receipt, Failure>,
    /// What its scripts have to say.
    pub(super) ending: Ending,
}

impl Package<'_> {
    /// The code that it alone would have, without the tens that stand for a reboot.
    fn exit(&self, command: Command) -> Exit {
        match self.result {
            Ok(_) if self.ending.warned => Exit::new(2),
            Ok(_) => Exit::OK,
            Err(failed) => failure::code(command, failed),
        }
    }

    /// Whether the machine should be started again because of it; for what was undone it need not.
    fn reboot(&self) -> RebootRequest {
        if self.result.is_ok() { self.ending.reboot } else { RebootRequest::None }
    }
}

/// A command about packages that has ended.
pub(super) struct Ended<'a, T> {
    pub(super) command: Command,
    pub(super) outcome: &'a Result<PackagesReport<T>, Failure>,
    /// What became of one package.
    pub(super) package: fn(&T) -> Package<'_>,
}

impl<T> Ended<'_, T> {
    /// Says what is not about one package, or prints the document; the code of the command.
    pub(super) fn report(&self, call: &mut Invocation, root: &Root, in_json: bool) -> anyhow::Result<Exit> {
        let exit = self.exit();
        if in_json {
            let document = json::document(self.command.name(), Some(root), exit, self.body())?;
            call.output.print(document)?;
            return Ok(exit);
        }
        match self.outcome {
            Err(failed) => {
                call.output.error(&words(self.command, failed))?;
                if matches!(failed.left(), RootCondition::Unchanged) && !matches!(failed, Failure::Source(_))
                {
                    call.output.complain("No changes were made to the system.\n")?;
                }
            }
            Ok(report) => {
                words::recovered(&mut call.output, &report.recovered)?;
                for name in &report.unknown_answers {
                    let text = format!("{}: WARNING: unknown admin parameter <{name}>\n", call.program);
                    call.output.complain(text)?;
                }
                for name in &report.missing {
                    call.output.error(&format!("no package associated with <{name}>"))?;
                }
                if self.wants_reboot() {
                    call.output.complain(REBOOT)?;
                }
            }
        }
        Ok(exit)
    }

    fn exit(&self) -> Exit {
        match self.outcome {
            Err(failed) => failure::code(self.command, failed),
            Ok(report) if !report.missing.is_empty() => Exit::FAILED,
            Ok(report) => {
                let packages = || report.packages.iter().map(self.package);
                let exit = together(packages().map(|package| package.exit(self.command)));
                after_reboot(exit, packages().map(|package| package.reboot()).max().unwrap_or_default())
            }
        }
    }

    /// Whether the machine should be started again after all.
    fn wants_reboot(&self) -> bool {
        let packages = self.outcome.iter().flat_map(|report| &report.packages);
        packages.map(self.package).any(|package| package.reboot() != RebootRequest::None)
    }

    fn body(&self) -> Body {
        match self.outcome {
            Err(failed) => Body { error: Some(failed.to_string()), ..Body::default() },
            Ok(report) => Body {
                error: None,
                missing: report.missing.clone(),
                packages: report
                    .packages
                    .iter()
                    .map(|one| Entry::of(self.command, &(self.package)(one)))
                    .collect(),
            },
        }
    }
}

/// Scripts look for the first line.
const REBOOT: &str = "\n*** IMPORTANT NOTICE ***\n\
    \tStart this machine again now: what was installed or removed\n\
    \tis not completely in effect before that.\n";

/// The code of a command after which the machine should be started again: ten more for later, twenty more for now.
fn after_reboot(exit: Exit, reboot: RebootRequest) -> Exit {
    let tens = match reboot {
        RebootRequest::None => 0,
        RebootRequest::AfterAll => 10,
        RebootRequest::Immediate => 20,
    };
    match exit.code() {
        code @ 0..=5 => Exit::new(code + tens),
        _ => exit,
    }
}

/// Says how one package ended: what went wrong or what to know, and the closing lines. `what` is `Installation of` or
/// `Removal of`.
pub(super) fn close(output: &mut Output, command: Command, what: &str, package: &Package<'_>) {
    let mut text = String::new();
    match package.result {
        Ok(receipt) => {
            let notes = package.plan.iter().flat_map(|plan| &plan.notes).chain(&receipt.notes);
            text.extend(notes.map(|note| format!("NOTE: {note}\n")));
        }
        Err(Failure::Declined) => {}
        Err(Failure::Script(failure)) if !failure.is_told => {}
        // Where standard error cannot be written to, nobody can be told.
        Err(failed) => drop(explain(output, command, failed)),
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

/// Says why something failed: objects in use as the classic list that scripts read, everything else as an error.
fn explain(output: &mut Output, command: Command, failed: &Failure) -> io::Result<()> {
    match failed {
        Failure::Refused(refusal) if matches!(*refusal.reason, Reason::InUse { .. }) => {
            output.complain(format!("\n{}\n", refusal.classic()))?;
            let hint = refusal.hint();
            if hint.is_empty() { Ok(()) } else { output.error(&hint) }
        }
        _ => output.error(&words(command, failed)),
    }
}

/// Why something failed, with what it left half done and what to do about it on lines of their own.
pub(super) fn words(command: Command, failed: &Failure) -> String {
    let why = match failed {
        Failure::Refused(refusal) if matches!(*refusal.reason, Reason::NothingToAsk) => refusal.why(),
        Failure::Refused(refusal) => match (format!("package {}", refusal.subject), refusal.why()) {
            (package, why) if why.starts_with(&package) => why,
            (package, why) => format!("{package}: {why}"),
        },
        Failure::Source(SourceError {
            path,
            problem: problem @ (Problem::NotFound | Problem::BadForm(_) | Problem::Unsupported(_)),
        }) => format!("could not process datastream from <{}>: {problem}", path.display()),
        other => other.to_string(),
    };
    // That nothing was changed, or is again, is said at the end.
    let left = match failed.left() {
        RootCondition::Unchanged | RootCondition::RolledBack => String::new(),
        RootCondition::InDoubt | RootCondition::Unfinished(_) => failure::state(failed),
    };
    let lines = [why, left, failure::hint(command, failed)];
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// How a package ended: `Installation of <X>` and this, by exit code (pkgadd(1M), pkgrm(1M)).
pub(super) fn ending(exit: Exit) -> &'static str {
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

/// The exit code of several packages together: what needs the operator most. Codes that hold for every command come
/// first, then those of pkgadd(1M) from 1 on; 0 is the last.
fn together(exits: impl Iterator<Item = Exit>) -> Exit {
    let weight = |exit: &Exit| match exit.code() {
        0 => 0,
        code @ 1..64 => 100 - code,
        code => code.saturating_add(100),
    };
    exits.max_by_key(weight).unwrap_or(Exit::OK)
}

#[derive(Default, Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    missing: Vec<String>,
    packages: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    instance: String,
    code: u8,
    reason: String,
    changed: usize,
    notes: Vec<String>,
}

impl Entry {
    fn of(command: Command, package: &Package<'_>) -> Self {
        let done = package.plan.filter(|_| package.result.is_ok());
        Self {
            instance: package.name.to_owned(),
            code: after_reboot(package.exit(command), package.reboot()).code(),
            reason: package.result.as_ref().err().map(ToString::to_string).unwrap_or_default(),
            changed: done.map_or(0, |plan| plan.changes.len()),
            notes: package.plan.map(|plan| plan.notes.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_codes_the_gravest_counts() {
        let code = |codes: &[u8]| together(codes.iter().map(|code| Exit::new(*code))).code();
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[0, 5, 4, 0]), 4);
        assert_eq!(code(&[4, 1, 2]), 1);
        assert_eq!(code(&[1, 65, 3]), 65);
        assert_eq!(code(&[99, 65]), 99);
    }

    #[test]
    fn a_reboot_is_told_in_the_tens() {
        let code = |code, reboot| after_reboot(Exit::new(code), reboot).code();
        assert_eq!([0, 2].map(|of| code(of, RebootRequest::AfterAll)), [10, 12]);
        assert_eq!([0, 1].map(|of| code(of, RebootRequest::Immediate)), [20, 21]);
        assert_eq!((code(4, RebootRequest::None), code(65, RebootRequest::Immediate)), (4, 65));
    }

    #[test]
    fn every_code_has_its_ending() {
        let endings = [0, 1, 2, 3, 4, 5, 99].map(|code| ending(Exit::new(code)));
        assert_eq!(endings.iter().collect::<std::collections::BTreeSet<_>>().len(), 7);
        assert_eq!(ending(Exit::LOCKED), "failed.");
    }
}
