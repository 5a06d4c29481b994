//! `patchadm recover --adopt-undo`: what is told of undo archives that are bound, of one root or of many.

use serde::Serialize;

use super::Args;
use crate::applets::Invocation;
use crate::many_roots::{Class, OfRoot, alike, in_one_line};
use crate::operation::adopt::{Adopted, Adoption};
use crate::operation::failure::Failure;
use crate::plan::refusal::Command;
use crate::reply::exit::Exit;
use crate::reply::{failure, json};
use crate::root::Root;
use crate::surroundings::caller::{patience, with_caller};

/// Undo data that does not fit: the code of patchrm(1M).
const UNFIT: Exit = Exit::new(4);

/// What is said where nothing is to be bound.
const NOTHING: &str = "There is no undo archive to be bound.";

/// The fields of a document about undo archives.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Body {
    result: &'static str,
    changed: bool,
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

impl Body {
    fn of(result: &Result<Adopted, Failure>) -> Self {
        let word = match result {
            Ok(adopted) if adopted.archives.iter().any(|one| !one.is_adopted) => "refused",
            Ok(Adopted { is_changed: true, .. }) => "done",
            Ok(_) => "nothing-to-do",
            Err(_) => "failed",
        };
        let all = result.as_ref().map(|adopted| adopted.archives.as_slice()).unwrap_or_default();
        Self {
            result: word,
            changed: result.as_ref().is_ok_and(|adopted| adopted.is_changed),
            adopted: all.iter().map(AdoptedArchive::of).collect(),
            error: result.as_ref().err().map(ToString::to_string),
        }
    }
}

/// Binds undo archives of one root that its ledger does not know.
pub(super) fn run(call: &mut Invocation, root: &Root, args: &Args) -> anyhow::Result<Exit> {
    let wait = patience(root, args.wait);
    call.output.heedless();
    let result = with_caller(call, "recover", wait, |caller| args.adopted(root, caller))?;
    let exit = code(&result);
    if args.common.extensions.json {
        call.output.print(json::document("recover", Some(root), exit, Body::of(&result))?)?;
        return Ok(exit);
    }
    match &result {
        Ok(adopted) if adopted.archives.is_empty() => call.output.line(NOTHING)?,
        Ok(adopted) => adopted.archives.iter().try_for_each(|one| call.output.line(adoption(one)))?,
        Err(failed) => {
            let lines = [failed.to_string(), failure::state(failed), failure::hint(Command::Patchrm, failed)];
            let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            call.output.error(&lines.join("\n"))?;
        }
    }
    Ok(exit)
}

/// What is told of a root among others.
pub(super) fn of_root(root: &Root, result: &Result<Adopted, Failure>) -> OfRoot<Body> {
    let (exit, body) = (code(result), Body::of(result));
    let mut notes = Vec::new();
    let (class, line) = match result {
        Ok(adopted) if adopted.archives.is_empty() => (Class::Idle, NOTHING.to_owned()),
        Ok(adopted) => {
            notes.extend(adopted.archives.iter().map(adoption));
            let bound = adopted.archives.iter().filter(|one| one.is_adopted).count();
            let class = if exit == Exit::OK { Class::Done } else { Class::Refused };
            (class, format!("{bound} of {} undo archives bound", adopted.archives.len()))
        }
        Err(failed) => {
            (Class::Failed, format!("failed ({}): {}", exit.code(), in_one_line(&failed.to_string())))
        }
    };
    let reason = matches!(class, Class::Failed | Class::Refused).then(|| alike(&line, root.prefix()));
    OfRoot { class, exit, line, notes, reason, reboots: Vec::new(), changed: body.changed, body }
}

fn code(result: &Result<Adopted, Failure>) -> Exit {
    match result {
        Ok(adopted) if adopted.archives.iter().all(|one| one.is_adopted) => Exit::OK,
        Ok(_) => UNFIT,
        Err(failed) => failure::code(Command::Patchrm, failed),
    }
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
