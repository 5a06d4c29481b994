//! `patchadm recover`: finishes or rolls back an interrupted run, of one root or of many.
//!
//! `--domain` and `--without` are words of the grammar for roots over several file systems one of which is older than
//! the others, or lost. What they mean is not done yet: they are refused, with what can be done instead.

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
use crate::operation::adopt::{Adoption, adopt_undo};
use crate::operation::failure::Failure;
use crate::operation::recover::recover_root;
use crate::plan::refusal::Command;
use crate::root::Root;
use crate::transaction::{Left, Recovered};

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
    fn of(result: &Result<Recovered, Failure>) -> Self {
        let (word, notes, error) = match result {
            Ok(Recovered::Nothing) => ("nothing-to-do", Vec::new(), None),
            Ok(Recovered::PassedOver { notes }) => ("nothing-to-do", notes.clone(), None),
            Ok(Recovered::RolledBack { notes, .. }) => ("rolled-back", notes.clone(), None),
            Ok(Recovered::Finished { notes, .. }) => ("finished", notes.clone(), None),
            Err(failed) => ("failed", Vec::new(), Some(failed.to_string())),
        };
        let changed = match result {
            Ok(found) => !found.is_nothing(),
            Err(failed) => !matches!(failed.left(), Left::Unchanged | Left::RolledBack),
        };
        Self { result: word, changed, notes, error }
    }
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    refuse_parts(&args)?;
    let json = args.common.extensions.json;
    if args.many.are_named() {
        if args.adopt_undo {
            let message = "--adopt-undo is about one root".to_owned();
            return Err(Stop::Usage { message, usage: USAGE }.into());
        }
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
        return on_many::<Args, _>(call, which, verb, &|root, caller| {
            of_root(root, &recover_root(root, args.undo_dir.as_deref(), caller))
        });
    }
    let root = args.owner.open::<Args>(call, &args.common.root, Command::Patchadd)?;
    if args.adopt_undo {
        return adopt(call, &root, &args);
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
            call.output.line(sentence(found))?;
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

/// Undo data that does not fit: the code of patchrm(1M).
const UNFIT: Exit = Exit::new(4);

/// The fields of a document about undo archives.
#[derive(Clone, Debug, Serialize)]
struct Adopted {
    adopted: Vec<AdoptedArchive>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct AdoptedArchive {
    id: String,
    package: String,
    run: Option<String>,
    recorded: String,
    adopted: bool,
    differs: Option<String>,
}

impl AdoptedArchive {
    fn of(one: &Adoption) -> Self {
        Self {
            id: one.patch.clone(),
            package: one.package.to_string(),
            run: one.run.clone(),
            recorded: one.recorded.clone(),
            adopted: one.is_adopted,
            differs: one.differs.clone(),
        }
    }
}

/// Binds undo archives that the ledger does not know.
fn adopt(call: &mut Invocation, root: &Root, args: &Args) -> anyhow::Result<Exit> {
    let wait = patience(root, args.wait);
    call.output.heedless();
    let undo_dir = args.undo_dir.as_deref();
    let result = with_caller(call, "recover", wait, |caller| adopt_undo(root, &args.ids, undo_dir, caller))?;
    let exit = match &result {
        Ok(all) if all.iter().all(|one| one.is_adopted) => Exit::OK,
        Ok(_) => UNFIT,
        Err(failed) => failure::code(Command::Patchrm, failed),
    };
    if args.common.extensions.json {
        let all = result.as_ref().map(Vec::as_slice).unwrap_or_default();
        let error = result.as_ref().err().map(ToString::to_string);
        let body = Adopted { adopted: all.iter().map(AdoptedArchive::of).collect(), error };
        call.output.print(json::document("recover", Some(root), exit, body)?)?;
        return Ok(exit);
    }
    match &result {
        Ok(all) if all.is_empty() => call.output.line("There is no undo archive to be bound.")?,
        Ok(all) => all.iter().try_for_each(|one| call.output.line(adoption(one)))?,
        Err(failed) => {
            let lines = [failed.to_string(), failure::state(failed), failure::hint(Command::Patchrm, failed)];
            let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            call.output.error(&lines.join("\n"))?;
        }
    }
    Ok(exit)
}

/// What became of one archive, with what tells it from another one of the same patch.
fn adoption(one: &Adoption) -> String {
    let Adoption { patch, package, run, recorded, differs, is_adopted } = one;
    let run = run.as_ref().map_or("an unknown run".to_owned(), |run| format!("run {run}"));
    let from = format!("{patch}, package {package}: an undo archive of {run}, for `{}`", recorded.trim());
    match (is_adopted, differs) {
        (true, None) => format!("{from}, is bound"),
        (true, Some(differs)) => format!("{from}, is bound although it differs: {differs}"),
        (false, differs) => {
            let differs = differs.as_deref().unwrap_or_default();
            format!("{from}, differs: {differs}; it is bound only if {patch} is named")
        }
    }
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

fn code(result: &Result<Recovered, Failure>) -> Exit {
    result.as_ref().map_or_else(|failed| failure::code(Command::Patchadd, failed), |_| Exit::OK)
}

fn sentence(found: &Recovered) -> String {
    sentence_of(found).unwrap_or_else(|| "No run was interrupted.".to_owned())
}

/// What is told of a root among others.
fn of_root(root: &Root, result: &Result<Recovered, Failure>) -> OfRoot<Body> {
    let (exit, body) = (code(result), Body::of(result));
    let (class, line) = match result {
        Ok(found) if found.is_nothing() => (Class::Idle, sentence(found)),
        Ok(found) => (Class::Done, sentence(found)),
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
