//! `patchadm recover`: finishes or rolls back an interrupted run.

use serde::Serialize;

use super::caller::with_caller;
use super::exit::Exit;
use super::options::parse;
use super::verb::Common;
use super::words::sentence_of;
use super::{Invocation, failure, json};
use crate::operation::recover::recover_root;
use crate::plan::refusal::Command;
use crate::transaction::Recovered;

const USAGE: &str = "patchadm [-R root] recover [--wait seconds]";

/// Finish or roll back an interrupted run
#[derive(clap::Parser)]
struct Args {
    /// Wait this many seconds for another command to finish
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Body {
    result: &'static str,
    changed: bool,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    let root = args.common.root.open(call)?;
    let result = with_caller(call, "recover", args.wait, |caller| recover_root(&root, caller))?;
    let found = match result {
        Ok(found) => found,
        Err(failed) if args.common.extensions.json => {
            let exit = failure::code(Command::Patchadd, &failed);
            let body =
                Body { result: "failed", changed: false, notes: Vec::new(), error: Some(failed.to_string()) };
            call.output.print(json::document("recover", Some(&root), exit, body)?)?;
            return Ok(exit);
        }
        Err(failed) => {
            let lines =
                [failed.to_string(), failure::state(&failed), failure::hint(Command::Patchadd, &failed)];
            let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            call.output.error(&lines.join("\n"))?;
            return Ok(failure::code(Command::Patchadd, &failed));
        }
    };
    let (result, notes) = match &found {
        Recovered::Nothing => ("nothing-to-do", Vec::new()),
        Recovered::RolledBack { notes, .. } => ("rolled-back", notes.clone()),
        Recovered::Finished { notes, .. } => ("finished", notes.clone()),
    };
    if args.common.extensions.json {
        let body = Body { result, changed: found != Recovered::Nothing, notes, error: None };
        call.output.print(json::document("recover", Some(&root), Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    call.output.line(sentence_of(&found).unwrap_or_else(|| "No run was interrupted.".to_owned()))?;
    for note in notes {
        call.output.line(format!("  note: {note}"))?;
    }
    Ok(Exit::OK)
}
