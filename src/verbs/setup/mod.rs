//! `patchadm setup`: integration with the system; one file for each action.

mod completions;
mod hooks;
mod links;

use super::options::RootlessOptions;
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::{Invocation, RunCommand};
use patchadm_cli::reply::{Reply, Stop};

const USAGE: &str = "patchadm setup links [--force] dir\n\
    patchadm setup completions bash|zsh|fish\n\
    patchadm [-R root] setup hooks install|remove|show [option...]";

const ACTIONS: [(&str, RunCommand); 3] =
    [("links", links::run), ("completions", completions::run), ("hooks", hooks::run)];

/// Integrate with the system: links, completions, hooks; `patchadm setup ACTION --help` lists the options of an action
#[derive(clap::Parser)]
struct SetupArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// Action: links, completions or hooks
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    let _: SetupArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "no action is named: links, completions or hooks".to_owned(), usage: USAGE }
        .into())
}
