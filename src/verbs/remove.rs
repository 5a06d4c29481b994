//! `patchadm remove`: back patches out.

use std::path::PathBuf;

use super::change::{backout, change};
use super::options::{ChangeOptions, VerbOptions};
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::Reply;

const USAGE: &str =
    "patchadm [-R root] remove [option...] id...\npatchadm remove [option...] --roots file id...";

/// Back applied patches out
#[derive(clap::Parser)]
struct RemoveArgs {
    #[command(flatten)]
    changing: ChangeOptions,
    /// The directory that holds the undo data, when it was moved
    #[arg(long, value_name = "DIR")]
    undo_dir: Option<PathBuf>,
    #[command(flatten)]
    common: VerbOptions,
    /// The ids of the patches
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let RemoveArgs { changing, undo_dir, common, ids } = parse(call, USAGE)?;
    let request = backout(call, &changing, undo_dir, ids);
    change::<RemoveArgs>(call, USAGE, &common, &changing, request)
}
