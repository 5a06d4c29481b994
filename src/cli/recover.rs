//! `patchadm recover`: finishes or rolls back an interrupted run, of one root or of many.
//!
//! `--domain` and `--without` are words of the grammar for roots over several file systems one of which is older than
//! the others, or lost. What they mean is not done yet: they are refused, with what can be done instead.

mod adopt;

use std::path::PathBuf;

use serde::Serialize;

use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::many::{Class, ManyRoots, OfRoot, Verb, alike, in_one_line, on_many};
use super::options::parse;
use super::verb::Common;
use super::whose_root::OwnerOptions;
use super::words::sentence_of;
use super::{Invocation, failure, json};
use crate::operation::adopt::{Adopted, adopt_undo};
use crate::operation::failure::Failure;
use crate::operation::recover::{Recovery, recover_root};
use crate::operation::session::Caller;
use crate::plan::interrupted::Interrupted;
use crate::plan::refusal::Command;
use crate::root::Root;
use crate::transaction::{Recovered, RootCondition};

const USAGE: &str = "patchadm [-R root] recover [option...]\npatchadm recover [option...] --roots file";

/// Finish or roll back an interrupted run
#[derive(clap::Parser)]
struct Args {
    /// Wait this many seconds for another command to finish
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Roll one file system back from its own copy of the journal; not possible yet
    #[arg(long, value_name = "MOUNT")]
    domain: Option<PathBuf>,
    /// Recover without a file system that is lost; not possible yet
    #[arg(long, value_name = "MOUNT")]
    without: Option<PathBuf>,
    /// The directory outside the root in which the run may have left undo archives
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    /// Bind undo archives that the ledger does not know, those of the IDs or all that fit
    #[arg(long)]
    adopt_undo: bool,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: Common,
    /// The patches whose undo archives are bound even where they differ
    #[arg(value_name = "ID", requires = "adopt_undo")]
    ids: Vec<String>,
}

impl Args {
    /// Binds the undo archives of a root that the ledger does not know.
    fn adopted(&self, root: &Root, caller: &Caller<'_>) -> Result<Adopted, Failure> {
        adopt_undo(root, &self.ids, self.undo_dir.as_deref(), caller)
    }
}

/// The fields of a document.
#[derive(Clone, Debug, Serialize)]
struct Body {
    result: &'static str,
    changed: bool,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Body {
    fn of(result: &Result<Recovery, Failure>) -> Self {
        let run = result.as_ref().map(|found| &found.run);
        let (word, mut notes, error) = match run {
            Ok(Recovered::Nothing) => ("nothing-to-do", Vec::new(), None),
            Ok(Recovered::PassedOver { notes }) => ("nothing-to-do", notes.clone(), None),
            Ok(Recovered::RolledBack { notes, .. }) => ("rolled-back", notes.clone(), None),
            Ok(Recovered::Finished { notes, .. }) => ("finished", notes.clone(), None),
            Err(failed) => ("failed", Vec::new(), Some(failed.to_string())),
        };
        let changed = match run {
            Ok(found) => !found.is_nothing(),
            Err(failed) => !matches!(failed.left(), RootCondition::Unchanged | RootCondition::RolledBack),
        };
        let half = result.iter().flat_map(|found| &found.interrupted);
        notes.extend(half.map(Interrupted::told));
        Self { result: word, changed, notes, error }
    }
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    refuse_parts(&args)?;
    let json = args.common.extensions.json;
    if args.many.are_named() {
        let verb = Verb {
            name: "recover",
            program: "recover",
            usage: USAGE,
            json,
            wait: args.wait,
            done: "recovered",
            idle: "with nothing to do",
        };
        call.output.heedless();
        let which = (&args.many, args.owner);
        if args.adopt_undo {
            return on_many::<Args, _>(call, which, Verb { done: "bound", ..verb }, &|root, caller| {
                adopt::of_root(root, &args.adopted(root, caller))
            });
        }
        return on_many::<Args, _>(call, which, verb, &|root, caller| {
            of_root(root, &recover_root(root, args.undo_dir.as_deref(), caller))
        });
    }
    let root = args.owner.open::<Args>(call, &args.common.root, Command::Patchadd)?;
    if args.adopt_undo {
        return adopt::run(call, &root, &args);
    }
    let wait = patience(&root, args.wait);
    call.output.heedless();
    let result =
        with_caller(call, "recover", wait, |caller| recover_root(&root, args.undo_dir.as_deref(), caller))?;
    let exit = code(&result);
    if json {
        call.output.print(json::document("recover", Some(&root), exit, Body::of(&result))?)?;
        return Ok(exit);
    }
    match &result {
        Ok(found) => {
            call.output.line(sentence(&found.run))?;
            for note in Body::of(&result).notes {
                call.output.line(format!("  note: {note}"))?;
            }
        }
        Err(failed) => {
            let lines =
                [failed.to_string(), failure::state(failed), failure::hint(Command::Patchadd, failed)];
            let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            call.output.error(&lines.join("\n"))?;
        }
    }
    Ok(exit)
}

/// Refuses what would be about one file system of several.
fn refuse_parts(args: &Args) -> Result<(), Stop> {
    let refused = |option: &str, mount: &PathBuf, instead: &str| {
        let mount = mount.display();
        Err(Stop::Refused {
            exit: Exit::UNFINISHED,
            message: format!("recover {option} {mount} is not possible yet; nothing was changed\n{instead}"),
        })
    };
    match (&args.domain, &args.without) {
        (Some(mount), _) => refused(
            "--domain",
            mount,
            "mount the file systems of the root as they were when the run was interrupted and run \
             `patchadm recover`, or restore all of them from one backup",
        ),
        (None, Some(mount)) => refused(
            "--without",
            mount,
            "mount that file system again and run `patchadm recover`; if it is lost, restore it from a backup \
             first: what the run kept for it was on it",
        ),
        (None, None) => Ok(()),
    }
}

fn code(result: &Result<Recovery, Failure>) -> Exit {
    result.as_ref().map_or_else(|failed| failure::code(Command::Patchadd, failed), |_| Exit::OK)
}

fn sentence(found: &Recovered) -> String {
    sentence_of(found).unwrap_or_else(|| "No run was interrupted.".to_owned())
}

/// What is told of a root among others.
fn of_root(root: &Root, result: &Result<Recovery, Failure>) -> OfRoot<Body> {
    let (exit, body) = (code(result), Body::of(result));
    let (class, line) = match result {
        Ok(found) if found.run.is_nothing() => (Class::Idle, sentence(&found.run)),
        Ok(found) => (Class::Done, sentence(&found.run)),
        Err(failed) => {
            (Class::Failed, format!("failed ({}): {}", exit.code(), in_one_line(&failed.to_string())))
        }
    };
    let reason = match class {
        Class::Failed if exit == Exit::LOCKED => {
            Some(format!("failed ({}): locked by another command", exit.code()))
        }
        Class::Failed => Some(alike(&line, root.prefix())),
        _ => None,
    };
    let notes = body.notes.iter().map(|note| format!("note: {note}")).collect();
    OfRoot { class, exit, line, notes, reason, reboots: Vec::new(), changed: body.changed, body }
}
