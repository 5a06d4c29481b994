//! patchadd(1M): applies patches, in the words of the classic command.

use std::path::PathBuf;

use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::failure;
use super::options::{Extensions, RootOption, parse};
use super::report::{self, PatchEntry};
use super::script_options::ScriptOptions;
use super::text::patch;
use super::verb::{inside, object_path};
use super::whose_root::OwnerOptions;
use super::words;
use super::{Invocation, json};
use crate::operation::patches::apply::{Applied, ApplyReport, ApplyRequest, apply_patches};
use crate::operation::queries::applied_patches::applied_patches;
use crate::package::ObjectPath;
use crate::plan::refusal::Command;
use crate::root::Root;

const USAGE: &str = "patchadd [-adntuG] [-B backout_dir] [-R root] [--override path] [--engine engine]\n    [--script-timeout seconds] patch...\npatchadd -p [-R root]";

/// Apply patches to the packages of a root
#[derive(clap::Parser)]
struct Args {
    /// Validate only: print what would be done, change nothing
    #[arg(short = 'a')]
    validate: bool,
    /// Keep undo data below this directory instead of the package database
    #[arg(short = 'B', value_name = "DIR", conflicts_with = "no_undo")]
    backout_dir: Option<PathBuf>,
    /// Keep no undo data: the patch cannot be backed out
    #[arg(short = 'd')]
    no_undo: bool,
    /// Patch the current zone only; there is one
    #[arg(short = 'G')]
    global: bool,
    /// Verify no signatures
    #[arg(short = 'n')]
    no_signature: bool,
    /// Print the patches that are applied
    #[arg(short = 'p', conflicts_with_all = ["patches", "validate"])]
    print: bool,
    /// Keep the exit codes of releases before Solaris 10, as is always done
    #[arg(short = 't')]
    traditional: bool,
    /// Apply although files were edited, and patches again that are applied
    #[arg(short = 'u')]
    unconditional: bool,
    /// Replace this edited file or symbolic link to a directory in any case; may be repeated
    #[arg(long = "override", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    overridden: Vec<ObjectPath>,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    extensions: Extensions,
    /// The patches: directories, datastreams, tar or zip archives
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    if args.print {
        return print(call, &args.root.open(call)?, args.extensions.json);
    }
    if args.patches.is_empty() {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    }
    let root = args.owner.open::<Args>(call, &args.root, Command::Patchadd)?;
    let request = ApplyRequest {
        patches: args.patches,
        no_undo: args.no_undo,
        undo_dir: args.backout_dir,
        unconditional: args.unconditional,
        overridden: inside(&root, &args.overridden),
        dry_run: args.validate,
        scripts: args.scripts.request(call, false),
        ..ApplyRequest::default()
    };
    let wait = patience(&root, None);
    if !request.dry_run {
        call.output.heedless();
    }
    let report = with_caller(call, "patchadd", wait, |caller| apply_patches(&root, &request, caller))?;
    if args.extensions.json {
        return report::json(
            call,
            "patchadd",
            &root,
            Command::Patchadd,
            report.as_ref().map(report::applied),
        );
    }
    match report {
        Ok(report) => tell(call, &root, &request, &report),
        Err(failed) => refuse(call, None, &failed),
    }
}

fn print(call: &mut Invocation, root: &Root, json: bool) -> anyhow::Result<Exit> {
    let patches = applied_patches(call.surroundings.reader(root))?;
    if json {
        let entries: Vec<super::showrev::PatchEntry> = patches.iter().map(Into::into).collect();
        let body = serde_json::json!({ "patches": entries });
        call.output.print(json::document("patchadd", Some(root), Exit::OK, body)?)?;
    } else {
        call.output.print(patch::listing(&patches, "No patches installed"))?;
    }
    Ok(Exit::OK)
}

/// The lines that end a refusal of the whole command.
fn refuse(
    call: &mut Invocation,
    patch: Option<&str>,
    failed: &crate::operation::failure::Failure,
) -> anyhow::Result<Exit> {
    let text = failure::classic(Command::Patchadd, patch, failed);
    call.output.complain(format!("ERROR: {text}\nPatchadd is terminating.\n"))?;
    Ok(failure::code(Command::Patchadd, failed))
}

fn tell(
    call: &mut Invocation,
    root: &Root,
    request: &ApplyRequest,
    report: &ApplyReport,
) -> anyhow::Result<Exit> {
    words::recovered(&mut call.output, &report.recovered)?;
    let phases = [
        "Validating patches...\n",
        "Loading patches installed on the system...\n\nDone!\n",
        "Loading patches requested to install.\n\nDone!\n",
        "Checking patches that you specified for installation.\n\nDone!\n\n",
    ];
    let approved = report.patches.iter().filter(|one| one.plan.is_some()).map(|one| one.id.as_str());
    let ids: Vec<&str> = approved.collect();
    words::opening(&mut call.output, &phases, "Approved patches will be installed in this order:", &ids)?;
    let entries: Vec<PatchEntry> = report.patches.iter().map(report::applied_entry).collect();
    for (one, entry) in report.patches.iter().zip(&entries) {
        tell_one(call, root, request, one)?;
        call.output.print(words::in_use_lines(&entry.in_use))?;
    }
    Ok(report::exit(&entries))
}

fn tell_one(call: &mut Invocation, root: &Root, request: &ApplyRequest, one: &Applied) -> anyhow::Result<()> {
    call.output.line("Checking installed patches...")?;
    if let Err(failed) = &one.result {
        refuse(call, Some(&one.id), failed)?;
        return Ok(());
    }
    let Some(plan) = &one.plan else { return Ok(()) };
    let has = |name: &str| one.scripts.iter().any(|script| script.package.is_none() && script.name == name);
    if has("prepatch") && !request.dry_run {
        call.output.line("Executing prepatch script...")?;
    }
    call.output.line("Verifying sufficient filesystem capacity (dry run method)...")?;
    if request.dry_run {
        call.output.print(words::plan_text(root, plan, &one.scripts))?;
        return call
            .output
            .line(format!("Patch {} can be installed; nothing was changed.", one.id))
            .map_err(Into::into);
    }
    let log = ObjectPath::new(format!("/var/sadm/patch/{}/log", one.id).as_bytes())?;
    call.output.line("Installing patch packages...\n")?;
    call.output.line(format!("Patch {} has been successfully installed.", one.id))?;
    call.output.line(format!("See {} for details", root.show(&log)))?;
    if has("postpatch") {
        call.output.line("Executing postpatch script...")?;
    }
    call.output.line("")?;
    words::notes(&mut call.output, plan, &one.result)?;
    if let Some(reboot) = words::reboot_sentence(one.reboot) {
        call.output.line(reboot)?;
    }
    call.output.line("Patch packages installed:")?;
    for package in &plan.packages {
        call.output.line(format!("  {package}"))?;
    }
    call.output.line("")?;
    Ok(())
}
