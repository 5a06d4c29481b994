//! `patchadm stage`: copies of parts of a root in which software is built; one file for each action.

mod drop;
mod ends;
mod enter;
mod list;
mod new;
mod refresh;
mod status;

pub(super) use ends::stage_failed;

use crate::verbs::options::RootlessOptions;
use patchadm_cli::arguments::{RootOption, one_of, parse};
use patchadm_cli::call::{Invocation, RunCommand};
use patchadm_cli::reply::{Reply, Stop};

const USAGE: &str = "patchadm [-R root] stage new|enter|list|status|refresh|drop [ARGUMENT...]";

/// What is done with a stage: the word for it, and the work.
const ACTIONS: [(&str, RunCommand); 6] = [
    ("new", new::run),
    ("enter", enter::run),
    ("list", list::run),
    ("status", status::run),
    ("refresh", refresh::run),
    ("drop", drop::run),
];

/// Build software in a copy of parts of a root: what it can be asked is told by `patchadm stage ACTION --help`
#[derive(clap::Parser)]
struct StageArgs {
    #[command(flatten)]
    _root: RootOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// What to do: new, enter, list, status, refresh or drop
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE")]
    _stage: Option<std::path::PathBuf>,
}

/// Runs the verb: each action has arguments of its own.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    let _: StageArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "it is not said what to do with the stage".to_owned(), usage: USAGE }.into())
}
