//! `patchadm remove`: back patches out.

use std::path::PathBuf;

use super::change::{backout, change};
use super::options::{ChangeOptions, ExchangeOptions, VerbOptions};
use crate::patch_command::PatchRequest;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_core::operation::patches::back_out::BackOutRequest;

const USAGE: &str = "patchadm [-R root] remove [option...] id...\npatchadm [-R root] remove --down-to point [option...]\n\
     patchadm remove [option...] --roots file id...";

/// Back applied patches out
#[derive(clap::Parser)]
struct RemoveArgs {
    #[command(flatten)]
    changing: ChangeOptions,
    /// The directory that holds the undo data, when it was moved
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    /// Back out what requires the patches as well
    #[arg(long)]
    with_dependents: bool,
    /// Back out all patches that were applied after this patch, date or run
    #[arg(long, value_name = "POINT")]
    down_to: Option<String>,
    /// Back out all patches in one transaction, or none
    #[arg(long)]
    all_or_nothing: bool,
    /// Back out although a patch is superseded or obsoleted
    #[arg(long)]
    force: bool,
    /// First let registrations follow what dpkg or rpm did to their packages, as adopt --refresh does
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    exchange: ExchangeOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The ids of the patches
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let RemoveArgs {
        changing,
        undo_dir,
        with_dependents,
        down_to,
        all_or_nothing,
        force,
        refresh,
        exchange,
        common,
        ids,
    } = parse(call, USAGE)?;
    let request = BackOutRequest {
        with_dependents,
        down_to,
        all_or_nothing,
        force,
        refresh,
        exchanges: exchange.requests(),
        ..backout(call, &changing, undo_dir, ids)
    };
    change::<RemoveArgs>(call, USAGE, &common.root, &changing, PatchRequest::BackOut(request))
}
