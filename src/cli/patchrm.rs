//! patchrm(1M): backs patches out, in the words of the classic command.

use std::path::PathBuf;

use super::Invocation;
use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::failure;
use super::options::{Extensions, RootOption, parse};
use super::report::{self, PatchEntry};
use super::script_options::ScriptOptions;
use super::whose_root::OwnerOptions;
use super::words;
use crate::operation::failure::Failure;
use crate::operation::patches::back_out::{BackOutReport, BackOutRequest, BackedOut, back_out_patches};
use crate::plan::refusal::Command;
use crate::root::Root;

const USAGE: &str =
    "patchrm [-aftG] [-B backout_dir] [-R root] [--engine engine] [--script-timeout seconds] patch_id...";

/// Back patches out of the packages of a root
#[derive(clap::Parser)]
struct Args {
    /// Validate only: print what would be done, change nothing
    #[arg(short = 'a')]
    validate: bool,
    /// The directory that holds the undo data, when it was moved
    #[arg(short = 'B', value_name = "DIR")]
    backout_dir: Option<PathBuf>,
    /// Back out although the patch is superseded or obsoleted
    #[arg(short = 'f')]
    force: bool,
    /// Patch the current zone only; there is one
    #[arg(short = 'G')]
    global: bool,
    /// Keep the exit codes of releases before Solaris 10, as is always done
    #[arg(short = 't')]
    traditional: bool,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    extensions: Extensions,
    /// The ids of the patches
    #[arg(value_name = "PATCH_ID")]
    ids: Vec<String>,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    if args.ids.is_empty() {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    }
    let root = args.owner.open::<Args>(call, &args.root, Command::Patchrm)?;
    let request = BackOutRequest {
        ids: args.ids,
        force: args.force,
        moved_to: args.backout_dir,
        dry_run: args.validate,
        scripts: args.scripts.request(call, false),
    };
    let wait = patience(&root, None);
    if !request.dry_run {
        call.output.heedless();
    }
    let report = with_caller(call, "patchrm", wait, |caller| back_out_patches(&root, &request, caller))?;
    if args.extensions.json {
        return report::json(
            call,
            "patchrm",
            &root,
            Command::Patchrm,
            report.as_ref().map(report::backed_out),
        );
    }
    match report {
        Ok(report) => tell(call, &root, &request, &report),
        Err(failed) => refuse(call, None, &failed),
    }
}

fn refuse(call: &mut Invocation, patch: Option<&str>, failed: &Failure) -> anyhow::Result<Exit> {
    let text = failure::classic(Command::Patchrm, patch, failed);
    call.output.complain(format!("ERROR: {text}\nPatchrm is terminating.\n"))?;
    Ok(failure::code(Command::Patchrm, failed))
}

fn tell(
    call: &mut Invocation,
    root: &Root,
    request: &BackOutRequest,
    report: &BackOutReport,
) -> anyhow::Result<Exit> {
    words::recovered(&mut call.output, &report.recovered)?;
    let phases = [
        "Validating patches...\n",
        "Loading patches installed on the system...\n\nDone!\n",
        "Checking patches that you specified for removal.\n\nDone!\n",
    ];
    let approved = report.patches.iter().filter(|one| one.plan.is_some()).map(|one| one.id.as_str());
    let ids: Vec<&str> = approved.collect();
    words::opening(&mut call.output, &phases, "Approved patches will be removed in this order:", &ids)?;
    for one in &report.patches {
        tell_one(call, root, request, one)?;
    }
    let entries: Vec<PatchEntry> = report.patches.iter().map(report::backed_out_entry).collect();
    let exit = report::exit(&entries);
    if exit == Exit::OK {
        call.output.line("Done!")?;
    }
    Ok(exit)
}

fn tell_one(
    call: &mut Invocation,
    root: &Root,
    request: &BackOutRequest,
    one: &BackedOut,
) -> anyhow::Result<()> {
    call.output.line("Checking installed patches...\n")?;
    if let Err(failed) = &one.result {
        refuse(call, Some(&one.id), failed)?;
        return Ok(());
    }
    let Some(plan) = &one.plan else { return Ok(()) };
    if request.dry_run {
        call.output.print(words::plan_text(root, plan, &one.scripts))?;
        return call
            .output
            .line(format!("Patch {} can be backed out; nothing was changed.", one.id))
            .map_err(Into::into);
    }
    let has = |name: &str| one.scripts.iter().any(|script| script.package.is_none() && script.name == name);
    if has("prebackout") {
        call.output.line("Executing prebackout script...")?;
    }
    call.output.line(format!("Backing out patch {}...\n", one.id))?;
    words::notes(&mut call.output, plan, &one.result)?;
    if has("postbackout") {
        call.output.line("Executing postbackout script...")?;
    }
    call.output.line(format!("Patch {} has been backed out.\n", one.id))?;
    Ok(())
}
