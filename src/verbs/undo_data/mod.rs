//! `patchadm undo-data`: the saved undo data of patches.

mod drop;
mod list;
mod repack;
mod transfer;

use super::options::RootlessOptions;
use patchadm_cli::arguments::{RootOption, one_of, parse};
use patchadm_cli::call::{Invocation, RunCommand};
use patchadm_cli::reply::{Reply, Stop};

const USAGE: &str = "patchadm [-R root] undo-data [list|drop|repack|export|import] [ARGUMENT...]";

const ACTIONS: [(&str, RunCommand); 5] = [
    ("list", list::run),
    ("drop", drop::run),
    ("repack", repack::run),
    ("export", transfer::export),
    ("import", transfer::import),
];

/// Manage saved undo data and the disk space used; `patchadm undo-data ACTION --help` lists the options of an action
#[derive(clap::Parser)]
struct UndoDataArgs {
    #[command(flatten)]
    _root: RootOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// Action: list, drop, repack, export or import [default: list]
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    if call.has_only_options() {
        return list::run(call);
    }
    let _: UndoDataArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "no action specified".to_owned(), usage: USAGE }.into())
}
