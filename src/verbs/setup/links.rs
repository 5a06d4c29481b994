//! `patchadm setup links`: links that call the program as each classic command.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::verbs::options::RootlessOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::{AppletKind, Invocation};
use patchadm_cli::reply::failure::hinted;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::links::{LinksError, make_links};

const USAGE: &str = "patchadm setup links [--force] dir";

/// Create links for the classic commands
#[derive(clap::Parser)]
struct LinksArgs {
    /// Replace existing symbolic links that lead elsewhere
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory for the links
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Serialize)]
struct LinksReport {
    result: ResultWord,
    program: String,
    made: Vec<&'static str>,
    replaced: Vec<&'static str>,
    kept: Vec<&'static str>,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "setup links";
    let args: LinksArgs = parse(call, USAGE)?;
    let program = call.surroundings.binary.clone().context("the program cannot find its own file")?;
    let classic = call.of.applets.iter().filter(|applet| applet.kind == AppletKind::Classic);
    let names: Vec<&'static str> = classic.map(|applet| applet.name).collect();
    let links = make_links(&args.directory, &program, &names, args.force).map_err(refused)?;
    let program = program.display().to_string();
    let is_idle = links.made.is_empty() && links.replaced.is_empty();
    let result = if is_idle { ResultWord::NothingToDo } else { ResultWord::Done };
    let report =
        LinksReport { result, program, made: links.made, replaced: links.replaced, kept: links.kept };
    Ok(Reply::new(Exit::OK, report))
}

impl CommandReport for LinksReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for (what, names) in [("made", &self.made), ("replaced", &self.replaced), ("kept", &self.kept)] {
            if !names.is_empty() {
                output.line(format!("{what}: {}", names.join(" ")))?;
            }
        }
        Ok(())
    }
}

fn refused(error: LinksError) -> anyhow::Error {
    let LinksError::Taken { only_links, .. } = &error else { return error.into() };
    let next = if *only_links {
        "replace these links with `--force`, or choose another directory"
    } else {
        "choose another directory; `--force` replaces symbolic links only"
    };
    let message = hinted(&format!("no link was made: {error}"), next);
    Stop::Refused { exit: Exit::failed(ExitCause::Edited), message }.into()
}
