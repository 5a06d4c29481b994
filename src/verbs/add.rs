//! `patchadm add`: apply patches.

use std::path::PathBuf;

use super::change::apply;
use super::options::{ApplicationOptions, ChangeOptions, ExchangeOptions, PlanOption, VerbOptions};
use patchadm_cli::arguments::{TrialOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;

const USAGE: &str = "patchadm [-R root] add [option...] patch...\npatchadm [-R root] add [option...] -M depot [id|listfile...]\n\
     patchadm [-R root] add [option...] --plan file\n\
     patchadm add [option...] --roots file patch...";

/// Apply patches from directories, datastreams, tar or zip archives, or a depot
#[derive(clap::Parser)]
struct AddArgs {
    #[command(flatten)]
    changing: ChangeOptions,
    #[command(flatten)]
    options: ApplicationOptions,
    #[command(flatten)]
    plan: PlanOption,
    #[command(flatten)]
    trial: TrialOptions,
    #[command(flatten)]
    exchange: ExchangeOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The patches; with -M, ids or files that list ids
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let AddArgs { changing, options, plan, trial, exchange, common, patches } = parse(call, USAGE)?;
    let with = (exchange.exchange, trial.request());
    apply::<AddArgs>(call, USAGE, &common.root, (changing, options, patches), (plan.plan, None), with)
}
