//! `patchadm add`: apply patches.

use std::path::PathBuf;

use super::change::{application, change, settle_plan_file};
use super::options::{ApplicationOptions, ChangeOptions, ExchangeOptions, PlanOption, VerbOptions};
use crate::patch_command::PatchRequest;
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
    let AddArgs { mut changing, mut options, plan, trial, exchange, common, mut patches } =
        parse(call, USAGE)?;
    changing.many.also(&common.root);
    let plan_file = settle_plan_file(&mut options, &mut changing, &mut patches, (plan.plan, None), USAGE)?;
    let mut command = application(call, &changing, options, patches, plan_file);
    command.apply.exchanges = exchange.requests();
    command.apply.trial = trial.request();
    change::<AddArgs>(call, USAGE, &common.root, &changing, PatchRequest::Apply(Box::new(command)))
}
