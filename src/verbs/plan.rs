//! `patchadm plan`: show what `add` would do.

use std::path::PathBuf;

use super::change::apply;
use super::options::{
    ApplicationOptions, BriefVerbOptions, ChangeOptions, DryRunOption, NoteOption, WaitOption, YesOption,
};
use crate::as_owner::options::OwnerOptions;
use crate::many_roots::list::ManyRoots;
use patchadm_cli::arguments::options::ROOT_LISTS;
use patchadm_cli::arguments::{LibraryOptions, ScriptOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_core::operation::trial::TrialRequest;

const USAGE: &str = "patchadm [-R root] plan [option...] patch...\npatchadm [-R root] plan [option...] -M depot [id|listfile...]\n\
     patchadm plan [option...] --roots file patch...";

/// Show what `add` would do, without doing it
#[derive(clap::Parser)]
struct PlanArgs {
    /// Show the changed lines of text files
    #[arg(long, conflicts_with = ROOT_LISTS)]
    diff: bool,
    /// Save the plan to FILE, for `--plan`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan_file", "refresh", "adopt"])]
    save_plan: Option<PathBuf>,
    #[command(flatten)]
    options: ApplicationOptions,
    /// Check whether the plan saved in FILE is still valid, and show it
    #[arg(long = "plan", id = "plan_file", value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The patches to apply
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PlanArgs = parse(call, USAGE)?;
    let changing = ChangeOptions {
        dry_run: DryRunOption { dry_run: true },
        yes: YesOption::default(),
        diff: args.diff,
        wait: WaitOption::default(),
        note: NoteOption::default(),
        scripts: args.scripts,
        libraries: args.libraries,
        many: args.many,
        owner: args.owner,
    };
    let (of, files) = ((changing, args.options, args.patches), (args.plan, args.save_plan));
    apply::<PlanArgs>(call, USAGE, &args.common.root, of, files, (Vec::new(), TrialRequest::default()))
}
