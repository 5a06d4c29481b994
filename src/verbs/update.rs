//! `patchadm update`: apply the patches that a machine lacks.

use super::change::{application, change};
use super::missing::choice::{AnalysisChoice, AnalysisOptions};
use super::options::{ApplicationOptions, ChangeOptions, VerbOptions};
use crate::patch_command::PatchRequest;
use patchadm_cli::arguments::{TrialOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::patches::EndCodes;
use patchadm_cli::reply::{Reply, Stop};
use patchadm_core::operation::patches::apply::{DepotOperands, PatchOperands};
use patchadm_core::operation::plan_file::PlanFileRequest;
use patchadm_planning::analyze::AnalysisRequest;

const USAGE: &str = "patchadm [-R root] update [-M depot] [option...] [group|id...]\n\
    patchadm update [-M depot] [option...] --roots file [group|id...]";

/// Apply the patches of a depot that the root is missing
#[derive(clap::Parser)]
struct UpdateArgs {
    #[command(flatten)]
    changing: ChangeOptions,
    #[command(flatten)]
    options: ApplicationOptions,
    #[command(flatten)]
    trial: TrialOptions,
    /// Change nothing, and exit with 4 if a patch is missing
    #[arg(long)]
    check: bool,
    /// Exit with 8 if an applied patch requires a reboot
    #[arg(long)]
    reboot_code: bool,
    #[command(flatten)]
    common: VerbOptions,
    /// Patch ids, or groups as in `missing`; append r, s or rs to select only recommended or security patches
    /// [default: missing]
    #[arg(value_name = "GROUP|ID")]
    words: Vec<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let UpdateArgs { mut changing, options, trial, check, reboot_code, common, words } = parse(call, USAGE)?;
    changing.many.also(&common.root);
    let plan_file = PlanFileRequest { command: "update", ..PlanFileRequest::default() };
    let missing = missing(call, &words)?;
    changing.dry_run.dry_run |= check;
    let mut command = application(call, &changing, options, Vec::new(), plan_file);
    let depot = command.apply.depot.take().and_then(|of_depot| of_depot.depot);
    let patches = PatchOperands::Missing(Box::new(missing));
    command.apply.depot = Some(DepotOperands { depot, patches });
    command.apply.trial = trial.request();
    command.codes = EndCodes { is_check: check, tells_reboot: reboot_code };
    change::<UpdateArgs>(call, USAGE, &common.root, &changing, PatchRequest::Apply(Box::new(command)))
}

fn missing(call: &Invocation, words: &[String]) -> Result<AnalysisRequest, Stop> {
    let today = call.surroundings.now.date_naive();
    let choice = AnalysisChoice::of(&AnalysisOptions::default(), words, today);
    choice.map(|choice| choice.request).map_err(|message| Stop::Usage { message, usage: USAGE })
}
