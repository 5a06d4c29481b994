//! `patchadm stage status`: the plan of a promotion.

use std::path::PathBuf;

use super::promote::{PromotionOptions, answer};
use crate::verbs::options::BriefVerbOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;

const USAGE: &str = "patchadm [-R root] stage status [--path path]... [option...] stage";

/// Show what promoting a stage would do
#[derive(clap::Parser)]
struct StatusArgs {
    #[command(flatten)]
    choices: PromotionOptions,
    /// Save the plan to FILE, for `--plan`
    #[arg(long, value_name = "FILE", conflicts_with = "plan_file")]
    save_plan: Option<PathBuf>,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The stage: its directory or its name
    #[arg(value_name = "STAGE", required_unless_present = "plan_file")]
    stage: Option<PathBuf>,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage status";
    let StatusArgs { choices, save_plan, common, stage } = parse(call, USAGE)?;
    let asked = choices.settle(stage, save_plan, USAGE)?;
    let root = common.root.open(call)?;
    let exchanges = asked.exchanges();
    let request = asked.request(call, true);
    answer(call, root, (&request, &exchanges), (None, None))
}
