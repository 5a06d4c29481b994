//! `patchadm links`: makes links by which the program is called as each classic command.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::applets::{Invocation, classic_names};
use crate::arguments::options::{Extensions, parse};
use crate::operation::links::{LinksError, make_links};
use crate::reply::exit::{Exit, Stop};
use crate::reply::json;

const USAGE: &str = "patchadm links [--force] dir";

/// Make links named after every classic command
#[derive(clap::Parser)]
struct Args {
    /// Replace symbolic links of these names that lead elsewhere
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    extensions: Extensions,
    /// The directory for the links
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Serialize)]
struct Body {
    program: String,
    made: Vec<&'static str>,
    replaced: Vec<&'static str>,
    kept: Vec<&'static str>,
}

/// Runs it. Exit 1, and nothing is made, where something else has one of the names.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    let program = call.surroundings.binary.clone().context("the program cannot find its own file")?;
    let names: Vec<&'static str> = classic_names().collect();
    let report = make_links(&args.directory, &program, &names, args.force).map_err(refused)?;
    if args.extensions.json {
        let program = program.display().to_string();
        let body = Body { program, made: report.made, replaced: report.replaced, kept: report.kept };
        call.output.print(json::document("links", None, Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    for (what, names) in [("made", &report.made), ("replaced", &report.replaced), ("kept", &report.kept)] {
        if !names.is_empty() {
            call.output.line(format!("{what}: {}", names.join(" ")))?;
        }
    }
    Ok(Exit::OK)
}

/// A refusal in the three lines of the modern face: what did not happen, why, what to do.
fn refused(error: LinksError) -> anyhow::Error {
    let LinksError::Taken { only_links, .. } = &error else { return error.into() };
    let next = if *only_links {
        "Replace these links with --force, or choose another directory."
    } else {
        "Choose another directory; only symbolic links can be replaced, with --force."
    };
    let message = format!("no link was made\n{error}\n{next}");
    Stop::Refused { exit: Exit::FAILED, message }.into()
}
