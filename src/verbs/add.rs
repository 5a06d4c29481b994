//! `patchadm add`: apply patches.

use std::path::PathBuf;

use super::change::{application, change};
use super::options::{ApplyingOptions, ChangeOptions, VerbOptions};
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::Reply;

const USAGE: &str =
    "patchadm [-R root] add [option...] patch...\npatchadm add [option...] --roots file patch...";

/// Apply patches: directories, datastreams, tar or zip archives
#[derive(clap::Parser)]
struct AddArgs {
    #[command(flatten)]
    changing: ChangeOptions,
    #[command(flatten)]
    choices: ApplyingOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The patches
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let AddArgs { changing, choices, common, patches } = parse(call, USAGE)?;
    let request = application(call, &changing, choices, patches);
    change::<AddArgs>(call, USAGE, &common, &changing, request)
}
