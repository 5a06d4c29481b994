//! The one command: its actions, a file for each.

use crate::{
    diff, enter, history, init, log, patches, prune, release, report, run, scan, status, upload, why,
};
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::{Invocation, RunCommand};
use patchadm_cli::reply::{Reply, Stop};

pub(crate) const USAGE: &str = "patchadm-bulk init|run|scan|status|why|log|history|diff|report|enter|release|patches|upload|prune WORK \
     [ARGUMENT...]";

/// What is done: the word for it, and the work.
const ACTIONS: [(&str, RunCommand); 14] = [
    ("init", init::run),
    ("run", run::run),
    ("scan", scan::run),
    ("status", status::run),
    ("why", why::run),
    ("history", history::run),
    ("log", log::run),
    ("diff", diff::run),
    ("report", report::run),
    ("enter", enter::run),
    ("release", release::run),
    ("patches", patches::run),
    ("upload", upload::run),
    ("prune", prune::run),
];

/// Build all packages of a tree from their sources: what it can be asked is told by `patchadm-bulk ACTION --help`
#[derive(clap::Parser)]
struct BulkArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// What to do: init, run, scan, status, why, log, history, diff, report, enter, release, patches, upload or prune
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    _work: Option<std::path::PathBuf>,
}

/// Runs the verb: each action has arguments of its own.
pub(crate) fn bulk(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    let _: BulkArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "it is not said what to do".to_owned(), usage: USAGE }.into())
}
