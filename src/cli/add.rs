//! `patchadm add` and `patchadm plan`: apply patches, or show what that would do.

use std::path::PathBuf;
use std::time::Instant;

use super::Invocation;
use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::many::{ManyRoots, Verb, must_be_read_often, of_patches, on_many};
use super::options::parse;
use super::report::{self, PatchEntry};
use super::script_options::ScriptOptions;
use super::verb::{Changing, Choices, Common, inside, refuse, tell};
use super::whose_root::OwnerOptions;
use super::words;
use crate::operation::patches::apply::{ApplyRequest, apply_patches};
use crate::plan::refusal::Command;
use crate::root::Root;

const USAGE: &str =
    "patchadm [-R root] add [option...] patch...\npatchadm add [option...] --roots file patch...";
const PLAN_USAGE: &str = "patchadm [-R root] plan [option...] patch...\npatchadm [-R root] plan --remove id...\n\
     patchadm plan [option...] --roots file patch...";

/// Apply patches: directories, datastreams, tar or zip archives
#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    changing: Changing,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    common: Common,
    /// The patches
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

/// Show what applying or removing patches would do, and change nothing
#[derive(clap::Parser)]
struct PlanArgs {
    /// Plan the removal of applied patches instead
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    scripts: ScriptOptions,
    /// Refuse what needs a procedure script to be run
    #[arg(long)]
    no_scripts: bool,
    #[command(flatten)]
    many: ManyRoots,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: Common,
    /// The patches to apply, or the ids of those to remove
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

/// Runs `add`.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    add::<Args>(call, "add", args, USAGE)
}

/// Runs `plan`.
pub(super) fn run_plan(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: PlanArgs = parse(call, PLAN_USAGE)?;
    let changing = Changing {
        dry_run: true,
        wait: None,
        scripts: args.scripts,
        no_scripts: args.no_scripts,
        many: args.many,
        owner: args.owner,
    };
    if args.remove {
        let ids = args.patches.iter().map(|id| id.to_string_lossy().into_owned()).collect();
        return super::remove::remove::<PlanArgs>(
            call,
            "plan",
            &args.common,
            changing,
            None,
            ids,
            PLAN_USAGE,
        );
    }
    let PlanArgs { choices, common, patches, .. } = args;
    add::<PlanArgs>(call, "plan", Args { changing, choices, common, patches }, PLAN_USAGE)
}

/// What is asked for, of one root.
fn on(root: &Root, request: &ApplyRequest) -> ApplyRequest {
    ApplyRequest {
        overridden: inside(root, &request.overridden),
        preserved: inside(root, &request.preserved),
        ..request.clone()
    }
}

fn add<A: clap::CommandFactory>(
    call: &mut Invocation,
    verb: &'static str,
    args: Args,
    usage: &'static str,
) -> anyhow::Result<Exit> {
    if args.patches.is_empty() {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage }.into());
    }
    let json = args.common.extensions.json;
    let request = ApplyRequest {
        patches: args.patches,
        no_undo: args.choices.no_undo,
        undo_dir: args.choices.undo_dir,
        undo_format: args.choices.undo_format,
        edited: args.choices.edited,
        overridden: args.choices.overridden,
        preserved: args.choices.preserved,
        dry_run: args.changing.dry_run,
        scripts: args.changing.scripts.request(call, args.changing.no_scripts),
        ..ApplyRequest::default()
    };
    if args.changing.many.are_named() {
        must_be_read_often(&request.patches, usage)?;
        let (wait, done) = (args.changing.wait, if request.dry_run { "planned" } else { "done" });
        let verb = Verb { name: verb, program: "patchadd", usage, json, wait, done, idle: "already applied" };
        if !request.dry_run {
            call.output.heedless();
        }
        let which = (&args.changing.many, args.changing.owner);
        return on_many::<A, _>(call, which, verb, &|root, caller| {
            let began = Instant::now();
            let result = apply_patches(root, &on(root, &request), caller);
            of_patches(Command::Patchadd, root, began, result.as_ref().map(report::applied))
        });
    }
    let root = args.changing.owner.open::<A>(call, &args.common.root, Command::Patchadd)?;
    let (wait, request) = (patience(&root, args.changing.wait), on(&root, &request));
    if !request.dry_run {
        call.output.heedless();
    }
    let result = with_caller(call, "patchadd", wait, |caller| apply_patches(&root, &request, caller))?;
    if json {
        return report::json(call, verb, &root, Command::Patchadd, result.as_ref().map(report::applied));
    }
    let report = match result {
        Ok(report) => report,
        Err(failed) => return refuse(call, Command::Patchadd, "the patch", &failed),
    };
    words::recovered(&mut call.output, &report.recovered)?;
    let entries: Vec<PatchEntry> = report.patches.iter().map(report::applied_entry).collect();
    for (one, entry) in report.patches.iter().zip(&entries) {
        let plan = one.plan.as_ref().map(|plan| (plan, one.scripts.as_slice()));
        tell(call, &root, Command::Patchadd, entry, plan, one.result.as_ref().err())?;
    }
    Ok(report::exit(&entries))
}
