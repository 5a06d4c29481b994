//! `patchadm stage`: changes prepared in a copy of a root.

mod drop;
mod ends;
mod enter;
mod list;
mod new;
mod promote;
mod refresh;

use crate::verbs::options::RootlessOptions;
use patchadm_cli::arguments::{RootOption, one_of, parse};
use patchadm_cli::call::{Invocation, RunCommand};
use patchadm_cli::reply::{Reply, Stop};

const USAGE: &str = "patchadm [-R root] stage [list|new|enter|status|refresh|promote|drop] [ARGUMENT...]";

const ACTIONS: [(&str, RunCommand); 7] = [
    ("new", new::run),
    ("enter", enter::run),
    ("list", list::run),
    ("status", promote::print_status),
    ("refresh", refresh::run),
    ("promote", promote::run),
    ("drop", drop::run),
];

/// Prepare changes in a copy of a root, then promote them; `patchadm stage ACTION --help` lists the options of an action
#[derive(clap::Parser)]
struct StageArgs {
    #[command(flatten)]
    _root: RootOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// Action: list, new, enter, status, refresh, promote or drop [default: list]
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE")]
    _stage: Option<std::path::PathBuf>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    if call.has_only_options() {
        return list::run(call);
    }
    let _: StageArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "no action specified".to_owned(), usage: USAGE }.into())
}
