//! `patchadm add`: apply patches.

use std::path::PathBuf;

use super::change::{application, change, with_plan_file};
use super::options::{ApplyingOptions, ChangeOptions, ExchangeOptions, PreparationOptions, VerbOptions};
use super::plan_file::{AskedPlan, PlanFileOptions};
use crate::set_options::SetOptions;
use patchadm_cli::arguments::{TrialOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;

const USAGE: &str = "patchadm [-R root] add [option...] patch...\npatchadm [-R root] add [option...] -M depot [id|listfile...]\n\
     patchadm [-R root] add [option...] --plan file\n\
     patchadm add [option...] --roots file patch...";

/// Apply patches: directories, datastreams, tar or zip archives, or those of a depot
#[derive(clap::Parser)]
struct AddArgs {
    #[command(flatten)]
    changing: ChangeOptions,
    #[command(flatten)]
    choices: ApplyingOptions,
    #[command(flatten)]
    set: SetOptions,
    #[command(flatten)]
    plan_file: PlanFileOptions,
    #[command(flatten)]
    preparation: PreparationOptions,
    #[command(flatten)]
    trial: TrialOptions,
    #[command(flatten)]
    exchange: ExchangeOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The patches; with -M ids, or files that list ids
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let AddArgs { changing, choices, set, plan_file, preparation, trial, exchange, common, patches } =
        parse(call, USAGE)?;
    let asked = AskedPlan { changing, choices, set, operands: patches };
    let (asked, plan_file) = plan_file.settle(asked, "add", USAGE)?;
    let AskedPlan { changing, choices, set, operands } = asked;
    let preparation = preparation.request(call);
    let request = with_plan_file(application(call, &changing, (choices, set), operands), plan_file)
        .exchanging(exchange.requests())
        .preparing(preparation)
        .on_trial(trial.request());
    change::<AddArgs>(call, USAGE, &common.root, &changing, request)
}
