//! patchrm(1M): backs patches out.

use std::path::PathBuf;

use super::patch_transcript::{print_opening, print_refusal, transcript};
use crate::as_owner::options::OwnerOptions;
use crate::patch_command::{PatchRequest, on_root};
use crate::verbs::change::must_name_patches;
use patchadm_cli::arguments::{Extensions, LibraryOptions, RootOption, ScriptOptions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::patch_entry::{PatchEntry, plan_text};
use patchadm_cli::reply::patches::PatchesReport;
use patchadm_cli::reply::{Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::back_out::BackOutRequest;
use patchadm_rootfs::Root;

const USAGE: &str =
    "patchrm [-aftG] [-B backout_dir] [-R root] [--scripts word] [--script-timeout duration] patch_id...";

/// Back patches out of the packages of a root
#[derive(clap::Parser)]
struct PatchrmArgs {
    /// Show what would be done, but change nothing
    #[arg(short = 'a')]
    validate: bool,
    /// Use DIR for undo data instead of the package database
    #[arg(short = 'B', value_name = "DIR")]
    backout_dir: Option<PathBuf>,
    /// Also back out superseded and obsoleted patches
    #[arg(short = 'f')]
    force: bool,
    /// Accepted for compatibility: there is only one zone
    #[arg(short = 'G')]
    global: bool,
    /// Accepted for compatibility: the exit codes from before Solaris 10 are always used
    #[arg(short = 't')]
    traditional: bool,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    _extensions: Extensions,
    /// The ids of the patches
    #[arg(value_name = "PATCH_ID")]
    ids: Vec<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PatchrmArgs = parse(call, USAGE)?;
    let request = PatchRequest::BackOut(BackOutRequest {
        ids: args.ids,
        force: args.force,
        moved_to: args.backout_dir,
        dry_run: args.validate,
        scripts: args.scripts.request(call),
        shlibs: args.libraries.request(),
        ..BackOutRequest::default()
    });
    must_name_patches(&request, USAGE)?;
    on_root::<PatchrmArgs>(call, (&args.root, args.owner), &request, |root, report| {
        transcript(root, report, print_report)
    })
}

const PHASES: [&str; 3] = [
    "Validating patches...\n",
    "Loading patches installed on the system...\n\nDone!\n",
    "Checking patches that you specified for removal.\n\nDone!\n",
];

fn print_report(root: &Root, report: &PatchesReport, output: &mut Output) -> anyhow::Result<()> {
    if let Some(failed) = report.failure.as_ref().filter(|_| report.patches.is_empty()) {
        return print_refusal(output, (root, report.command), None, failed);
    }
    print_opening(output, report, &PHASES, "Approved patches will be removed in this order:")?;
    for entry in report.patches.iter().filter(|entry| !entry.is_untried()) {
        output.line("Checking installed patches...\n")?;
        match &entry.failure {
            Some(failed) => print_refusal(output, (root, report.command), Some(&entry.id), failed)?,
            None if entry.has_plan => print_patch(root, entry, output)?,
            None => {}
        }
    }
    match &report.failure {
        Some(failed) => print_refusal(output, (root, report.command), None, failed)?,
        None if report.exit == Exit::OK => output.line("Done!")?,
        None => {}
    }
    Ok(())
}

fn print_patch(root: &Root, entry: &PatchEntry, output: &mut Output) -> anyhow::Result<()> {
    if entry.verdict == "planned" {
        output.print(plan_text(root, entry))?;
        return Ok(output.line(format!("Patch {} can be backed out; nothing was changed.", entry.id))?);
    }
    if entry.runs_script("prebackout") {
        output.line("Executing prebackout script...")?;
    }
    output.line(format!("Backing out patch {}...\n", entry.id))?;
    for note in &entry.notes {
        output.line(format!("NOTE: {note}"))?;
    }
    if entry.runs_script("postbackout") {
        output.line("Executing postbackout script...")?;
    }
    Ok(output.line(format!("Patch {} has been backed out.\n", entry.id))?)
}
