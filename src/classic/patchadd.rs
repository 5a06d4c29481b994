//! patchadd(1M): applies patches.

use std::path::PathBuf;

use patchadm_svr4::places;

use super::patch_transcript::{print_opening, print_refusal, transcript};
use super::showrev::PatchListing;
use crate::as_owner::options::OwnerOptions;
use crate::patch_command::{PatchRequest, on_root};
use crate::verbs::change::{look_into_spool, must_name_patches};
use crate::verbs::options::SetOptions;
use patchadm_cli::arguments::{
    Extensions, LibraryOptions, RootOption, ScriptOptions, TrialOptions, object_path, parse,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{self, must_have_records};
use patchadm_cli::reply::patch_entry::{PatchEntry, in_use_lines, plan_text};
use patchadm_cli::reply::patches::PatchesReport;
use patchadm_cli::reply::words::{print_notes, reboot_sentence};
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::patches::apply::{ApplyRequest, SignatureRequest};
use patchadm_core::operation::queries::applied_patches::applied_patches;
use patchadm_inputs::sign::DemandWord;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

const USAGE: &str = "patchadd [-adntuG] [-B backout_dir] [-k dir] [-R root] [--replace-edited path] [--scripts word]\n    [--script-timeout duration] patch...\npatchadd [option...] -M depot [id|listfile...]\npatchadd -p [-R root]";

/// Apply patches to the packages of a root
#[derive(clap::Parser)]
struct PatchaddArgs {
    /// Show what would be done, but change nothing
    #[arg(short = 'a')]
    validate: bool,
    /// Use DIR for undo data instead of the package database
    #[arg(short = 'B', value_name = "DIR", conflicts_with = "no_undo")]
    backout_dir: Option<PathBuf>,
    /// Do not save undo data; the patches cannot be removed later
    #[arg(short = 'd')]
    no_undo: bool,
    /// Accepted for compatibility: there is only one zone
    #[arg(short = 'G')]
    global: bool,
    /// Trust the keys in DIR instead of the root's keys
    #[arg(short = 'k', value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Do not verify signatures
    #[arg(short = 'n')]
    no_signature: bool,
    /// Print the applied patches
    #[arg(short = 'p', conflicts_with_all = ["patches", "validate", "depot"])]
    print: bool,
    /// Accepted for compatibility: the exit codes from before Solaris 10 are always used
    #[arg(short = 't')]
    traditional: bool,
    /// Apply despite locally modified files, and reapply applied patches
    #[arg(short = 'u')]
    unconditional: bool,
    /// Replace this locally modified file, or symbolic link to a directory; repeatable
    #[arg(long = "replace-edited", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    overridden: Vec<ObjectPath>,
    #[command(flatten)]
    set: SetOptions,
    #[command(flatten)]
    scripts: ScriptOptions,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    trial: TrialOptions,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    _extensions: Extensions,
    /// The patches: directories, datastreams, or tar or zip archives; with -M, ids or files that list ids
    #[arg(value_name = "PATCH")]
    patches: Vec<PathBuf>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PatchaddArgs = parse(call, USAGE)?;
    if args.print {
        let root = args.root.open(call)?;
        must_have_records(&root, 7)?;
        let patches = applied_patches(call.surroundings.reader(&root))?;
        let listing = PatchListing { patches, none: "No patches installed" };
        return Ok(Reply::about(&root, Exit::OK, listing));
    }
    if let Some(keys) = args.keys.as_deref().filter(|keys| !keys.is_dir()) {
        let why = "is not a directory of keys; keystores of certificates (PEM, PKCS#12) are not used";
        let message =
            format!("{} {why}\nhint: specify a directory of public keys, or leave out `-k`", keys.display());
        return Err(Stop::Refused { exit: Exit::failed(ExitCause::Usage), message }.into());
    }
    let word = args.no_signature.then_some(DemandWord::Off);
    let apply = ApplyRequest {
        signature: SignatureRequest { word, keys: args.keys, ..SignatureRequest::default() },
        patches: args.patches,
        no_undo: args.no_undo,
        undo_dir: args.backout_dir,
        unconditional: args.unconditional,
        overridden: args.overridden,
        dry_run: args.validate,
        scripts: args.scripts.request(call),
        shlibs: args.libraries.request(),
        trial: args.trial.request(),
        ..ApplyRequest::default()
    };
    let mut request = PatchRequest::Apply(Box::new(args.set.command(call, apply, None)));
    must_name_patches(&request, USAGE)?;
    look_into_spool(&mut request, &mut call.output)?;
    on_root::<PatchaddArgs>(call, (&args.root, args.owner), &request, |root, report| {
        transcript(root, report, print_report)
    })
}

const PHASES: [&str; 4] = [
    "Validating patches...\n",
    "Loading patches installed on the system...\n\nDone!\n",
    "Loading patches requested to install.\n\nDone!\n",
    "Checking patches that you specified for installation.\n\nDone!\n\n",
];

fn print_report(root: &Root, report: &PatchesReport, output: &mut Output) -> anyhow::Result<()> {
    if let Some(failed) = report.failure.as_ref().filter(|_| report.patches.is_empty()) {
        return print_refusal(output, (root, report.command), None, failed);
    }
    print_opening(output, report, &PHASES, "Approved patches will be installed in this order:")?;
    for entry in report.patches.iter().filter(|entry| !entry.is_untried()) {
        output.line("Checking installed patches...")?;
        match &entry.failure {
            // Of several patches, one that is in force anyway refuses nothing: the command goes on, and may exit 0.
            Some(failed) if entry.is_idle() && report.patches.len() > 1 => {
                let text = failure::classic(root.prefix(), report.command, Some(&entry.id), failed);
                output.complain(format!("{text}\n"))?;
            }
            Some(failed) => print_refusal(output, (root, report.command), Some(&entry.id), failed)?,
            None if entry.has_plan => print_patch(root, entry, output)?,
            None => {}
        }
        output.print(in_use_lines(&entry.in_use))?;
    }
    print_notes(output, &report.notes)?;
    if let Some(trial) = &report.trial {
        for line in trial.lines(output.zone()) {
            output.line(line)?;
        }
    }
    match &report.failure {
        Some(failed) => print_refusal(output, (root, report.command), None, failed),
        None => Ok(()),
    }
}

fn print_patch(root: &Root, entry: &PatchEntry, output: &mut Output) -> anyhow::Result<()> {
    let is_planned = entry.verdict == "planned";
    if entry.runs_script("prepatch") && !is_planned {
        output.line("Executing prepatch script...")?;
    }
    output.line("Verifying sufficient filesystem capacity (dry run method)...")?;
    if is_planned {
        output.print(plan_text(root, entry))?;
        return Ok(output.line(format!("Patch {} can be installed; nothing was changed.", entry.id))?);
    }
    let log = places::patch_log(&entry.id)?;
    output.line("Installing patch packages...\n")?;
    output.line(format!("Patch {} has been successfully installed.", entry.id))?;
    output.line(format!("See {} for details", root.show(&log)))?;
    if entry.runs_script("postpatch") {
        output.line("Executing postpatch script...")?;
    }
    output.line("")?;
    for merge in &entry.merges {
        output.line(format!("NOTE: {}", merge.sentence()))?;
    }
    for note in &entry.notes {
        output.line(format!("NOTE: {note}"))?;
    }
    if let Some(reboot) = reboot_sentence(entry.reboot) {
        output.line(reboot)?;
    }
    output.line("Patch packages installed:")?;
    for package in &entry.packages {
        output.line(format!("  {package}"))?;
    }
    Ok(output.line("")?)
}
