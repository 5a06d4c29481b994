//! `patchadm update`: apply the patches that a machine lacks.

use std::path::PathBuf;

use super::analyze::choice::{AnalysisChoice, AnalysisOptions};
use super::change::{change, update, with_plan_file};
use super::options::{ApplyingOptions, ChangeOptions, PreparationOptions, VerbOptions};
use super::plan_file::{AskedPlan, PlanFileOptions};
use crate::set_options::SetOptions;
use patchadm_cli::arguments::{TrialOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::patches::EndCodes;
use patchadm_cli::reply::{Reply, Stop};
use patchadm_planning::analyze::AnalysisRequest;

const USAGE: &str = "patchadm [-R root] update [-M depot] [option...] [group|id...]\n\
    patchadm update [-M depot] [option...] --roots file [group|id...]";

/// Apply the patches of a depot that a machine lacks
#[derive(clap::Parser)]
struct UpdateArgs {
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
    /// Change nothing, and end with 66 if a patch is missing
    #[arg(long)]
    check: bool,
    /// End with 67 if a patch that was applied asks for a reboot
    #[arg(long)]
    reboot_code: bool,
    #[command(flatten)]
    common: VerbOptions,
    /// What is applied of what is missing: missing (where nothing is said), with r, s or rs behind it only what is
    /// recommended or about security, or any other group of analyze; or patches
    #[arg(value_name = "GROUP|ID")]
    words: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: UpdateArgs = parse(call, USAGE)?;
    let UpdateArgs {
        changing,
        choices,
        set,
        plan_file,
        preparation,
        trial,
        check,
        reboot_code,
        common,
        words,
    } = args;
    let operands = words.into_iter().map(PathBuf::from).collect();
    let asked = AskedPlan { changing, choices, set, operands };
    let (asked, plan_file) = plan_file.settle(asked, "update", USAGE)?;
    let AskedPlan { mut changing, choices, set, operands } = asked;
    let words: Vec<String> = operands.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let missing = missing(call, &words)?;
    changing.dry_run |= check;
    let codes = EndCodes { is_check: check, tells_reboot: reboot_code };
    let request = update(call, &changing, (choices, set), missing, codes);
    let request =
        with_plan_file(request, plan_file).preparing(preparation.request(call)).on_trial(trial.request());
    change::<UpdateArgs>(call, USAGE, &common.root, &changing, request)
}

/// Returns the analysis that the words ask for.
fn missing(call: &Invocation, words: &[String]) -> Result<AnalysisRequest, Stop> {
    let today = call.surroundings.now.date_naive();
    let choice = AnalysisChoice::of(&AnalysisOptions::default(), words, today);
    choice.map(|choice| choice.request).map_err(|message| Stop::Usage { message, usage: USAGE })
}
