//! The sequence of `add`, `update`, `remove` and `plan` on one or many roots.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::confirmation::on_confirmed_root;
use super::options::{ApplicationOptions, ApplyingOptions, ChangeOptions};
use crate::many_roots::list::must_be_read_often;
use crate::many_roots::root_report::{
    RootBody, RootClass, RootReport, failure_class, failure_line, in_one_line, locked_reason, without_root,
};
use crate::many_roots::{RootsTask, on_many};
use crate::patch_command::{ApplyCommand, PatchRequest};
use patchadm_cli::arguments::{LibraryOptions, NamedPath, RootOption, ScriptOptions, named_text};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::exchange_entry::exchange_lines;
use patchadm_cli::reply::failure::plan_file_refused;
use patchadm_cli::reply::patch_entry::{PatchEntry, done_lines, in_use_lines};
use patchadm_cli::reply::patches::{PatchFace, PatchesReport};
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::patches::apply::ApplyRequest;
use patchadm_core::operation::patches::back_out::BackOutRequest;
use patchadm_core::operation::patches::spool::{SpooledPatch, spooled_patch};
use patchadm_core::operation::plan_file::{ExpectedPlan, PlanFault, PlanFileRequest, read_plan};
use patchadm_core::operation::trial::TrialRequest;
use patchadm_inputs::format::plan_file::PlanOptions;
use patchadm_planning::plan::edits::EditableFiles;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

/// For `add` and `plan`. `files` are the plan file to follow, and the one to save.
pub(super) fn apply<A: clap::CommandFactory>(
    call: &mut Invocation,
    usage: &'static str,
    root: &RootOption,
    (mut changing, mut options, mut patches): (ChangeOptions, ApplicationOptions, Vec<PathBuf>),
    files: (Option<PathBuf>, Option<PathBuf>),
    (exchanges, trial): (Vec<ObjectPath>, TrialRequest),
) -> anyhow::Result<Reply> {
    changing.many.also(root);
    let plan_file = settle_plan_file(&mut options, &mut changing, &mut patches, files, usage)?;
    let mut command = application(call, &changing, options, patches, plan_file);
    (command.apply.exchanges, command.apply.trial) = (exchanges, trial);
    change::<A>(call, usage, root, &changing, PatchRequest::Apply(Box::new(command)))
}

/// Without trial and exchanges.
pub(super) fn application(
    call: &Invocation,
    changing: &ChangeOptions,
    options: ApplicationOptions,
    patches: Vec<PathBuf>,
    plan_file: PlanFileRequest,
) -> ApplyCommand {
    let ApplicationOptions { choices, set, preparation } = options;
    let mut signature = choices.signature();
    signature.is_of_plan = plan_file.expected.is_some();
    let ApplyingOptions { undo, edits, .. } = choices;
    let apply = ApplyRequest {
        patches,
        no_undo: undo.no_undo,
        undo_dir: undo.undo_dir,
        undo_format: undo.undo_format,
        edited: edits.edited,
        editable: if edits.edited.is_some() { EditableFiles::Stop } else { EditableFiles::Keep },
        overridden: NamedPath::all(&edits.overridden),
        preserved: NamedPath::all(&edits.preserved),
        signature,
        dry_run: changing.dry_run.dry_run,
        texts: changing.diff,
        note: changing.note.text.clone(),
        scripts: changing.scripts.request(call),
        shlibs: changing.libraries.request(),
        plan_file,
        preparation: preparation.request(call),
        ..ApplyRequest::default()
    };
    let mut command = set.command(call, apply, changing.wait.seconds);
    command.fetching.has_bar &= !changing.many.are_named();
    command
}

pub(super) fn backout(
    call: &Invocation,
    changing: &ChangeOptions,
    moved_to: Option<PathBuf>,
    ids: Vec<String>,
) -> BackOutRequest {
    BackOutRequest {
        ids,
        moved_to,
        dry_run: changing.dry_run.dry_run,
        texts: changing.diff,
        note: changing.note.text.clone(),
        scripts: changing.scripts.request(call),
        shlibs: changing.libraries.request(),
        ..BackOutRequest::default()
    }
}

pub(super) fn change<A: clap::CommandFactory>(
    call: &mut Invocation,
    usage: &'static str,
    root: &RootOption,
    changing: &ChangeOptions,
    mut request: PatchRequest,
) -> anyhow::Result<Reply> {
    must_name_patches(&request, usage)?;
    look_into_spool(&mut request, &mut call.output)?;
    if !changing.many.are_named() {
        let root = changing.owner.open::<A>(call, root, request.command())?;
        return on_confirmed_root(call, &root, &request, (changing.wait.seconds, changing.yes.yes));
    }
    let idle = match &request {
        PatchRequest::Apply(command) if command.apply.depot.is_none() => {
            must_be_read_often(&command.apply.patches, usage)?;
            "already applied"
        }
        _ => "with nothing to do",
    };
    let (command, is_dry_run, codes) = (request.command(), request.is_dry_run(), request.codes());
    let done = if is_dry_run { "planned" } else { "done" };
    let task = RootsTask {
        program: command.name(),
        usage,
        wait: changing.wait.seconds,
        is_plan: is_dry_run,
        done,
        idle,
    };
    let (is_verbose, zone) = (call.output.is_verbose(), call.surroundings.zone);
    if !is_dry_run {
        call.output.heedless();
    }
    on_many::<A, _>(call, (&changing.many, changing.owner), task, &|root, caller| {
        let began = Instant::now();
        let (trial, ignored_depot) = request.reminders(root);
        let result = request.perform(root, caller);
        let report = PatchesReport::of(root, command, result, PatchFace::VerbOnRoots, began)
            .with_reminders(trial, ignored_depot);
        of_patches(root, report.of_plan(is_dry_run).ending_with(codes), (is_verbose, zone))
    })
}

pub(crate) fn must_name_patches(request: &PatchRequest, usage: &'static str) -> Result<(), Stop> {
    let names_none = match request {
        PatchRequest::Apply(command) => command.apply.depot.is_none() && command.apply.patches.is_empty(),
        PatchRequest::UndoApplication(..) | PatchRequest::UndoBackout(..) => false,
        PatchRequest::BackOut(request) => request.ids.is_empty() && request.down_to.is_none(),
    };
    if names_none { Err(Stop::Usage { message: "no patch specified".to_owned(), usage }) } else { Ok(()) }
}

/// Takes missing ids from the spool directory of this machine, and says so.
pub(crate) fn look_into_spool(request: &mut PatchRequest, output: &mut Output) -> anyhow::Result<()> {
    let PatchRequest::Apply(command) = request else { return Ok(()) };
    for patch in &mut command.apply.patches {
        let id = patch.to_str().and_then(|word| PatchId::new(word).ok());
        let Some(id) = id.filter(|_| patch.symlink_metadata().is_err()) else { continue };
        // Without access to the directory there is nothing for this caller.
        let found = Root::open(Path::new("/")).and_then(|host| spooled_patch(&host, &id));
        match found.unwrap_or(SpooledPatch::Missing) {
            SpooledPatch::Missing => {}
            SpooledPatch::Found(path) => {
                output.note(&format!("{id} was found in {}.", path.display()))?;
                *patch = path;
            }
            SpooledPatch::Distrusted(path, stranger) => output.note(&format!(
                "{path} was not used, because {stranger}; if it is the right patch, specify its path."
            ))?,
        }
    }
    Ok(())
}

/// Completes the arguments of `add` or `plan` from a plan file. Returns the use of the file.
fn settle_plan_file(
    options: &mut ApplicationOptions,
    changing: &mut ChangeOptions,
    operands: &mut Vec<PathBuf>,
    (plan, save): (Option<PathBuf>, Option<PathBuf>),
    usage: &'static str,
) -> Result<PlanFileRequest, Stop> {
    let wrong = |message: String| Stop::Usage { message, usage };
    let none = PlanFileRequest { command: "add", ..PlanFileRequest::default() };
    if save.is_none() && plan.is_none() {
        return Ok(none);
    }
    if changing.many.are_named() {
        return Err(wrong("a plan file applies to one root".to_owned()));
    }
    let written = written(options, changing, operands).map_err(wrong)?;
    let Some(path) = plan else { return Ok(PlanFileRequest { options: written, save, ..none }) };
    if written != PlanOptions::default() || options.preparation.is_any() {
        return Err(wrong("--plan takes the patches and their options from the file".to_owned()));
    }
    let expected = expected_plan(&path, "add", usage)?;
    let read = expected.plan.options.clone();
    let bad = |error| plan_file_refused(PlanFault::Bad { path: path.clone(), error });
    changing.scripts = ScriptOptions::of_plan(&read).map_err(bad)?;
    changing.libraries = LibraryOptions::of_plan(&read).map_err(bad)?;
    let unsigned = options.choices.unsigned;
    options.choices = ApplyingOptions { unsigned, ..ApplyingOptions::of_plan(&read).map_err(bad)? };
    options.set.read(&read);
    *operands = read.operands.iter().map(PathBuf::from).collect();
    Ok(PlanFileRequest { options: read, expected: Some(expected), ..none })
}

fn written(
    options: &ApplicationOptions,
    changing: &ChangeOptions,
    operands: &[PathBuf],
) -> Result<PlanOptions, String> {
    let mut written = PlanOptions::default();
    options.choices.write(&mut written)?;
    options.set.write(&mut written)?;
    changing.scripts.write(&mut written);
    changing.libraries.write(&mut written);
    let is_word = |operand: &Path| written.depot.is_some() && operand.to_str().is_some_and(is_id);
    let operands = operands.iter().map(|operand| {
        let text = if is_word(operand) { operand.to_str().map(str::to_owned) } else { None };
        text.map_or_else(|| named_text(operand), Ok)
    });
    let operands = operands.collect::<Result<_, _>>()?;
    Ok(PlanOptions { operands, ..written })
}

/// The plan file must be one of this verb.
pub(super) fn expected_plan(path: &Path, verb: &str, usage: &'static str) -> Result<Arc<ExpectedPlan>, Stop> {
    let expected = read_plan(path).map_err(plan_file_refused)?;
    if expected.plan.command == verb {
        return Ok(Arc::new(expected));
    }
    let message = format!("plan file {} is one of `{}`", path.display(), verb_of(&expected.plan.command));
    Err(Stop::Usage { message, usage })
}

fn is_id(word: &str) -> bool {
    PatchId::new(word).is_ok() || word.bytes().all(|byte| byte.is_ascii_digit())
}

fn verb_of(command: &str) -> &str {
    if command == "promote" { "stage promote" } else { command }
}

/// Returns the report about a root from that of its patches, with a line for each path if it `is_verbose`. Moments are shown
/// in `zone`.
fn of_patches(
    root: &Root,
    report: PatchesReport,
    (is_verbose, zone): (bool, Zone),
) -> RootReport<PatchesReport> {
    let exit = report.exit;
    let line = match &report.error {
        Some(error) => failure_line(exit, error),
        None if report.patches.is_empty() => "there is no patch to apply".to_owned(),
        None => report.patches.iter().map(patch_line).collect::<Vec<_>>().join("; "),
    };
    let well = || report.patches.iter().filter(|patch| patch.exit == Exit::OK);
    // A caller who cannot change the root has seen the plan for it.
    let planned = report.patches.iter().filter(|_| report.error.is_some()).map(patch_line);
    let merges: Vec<String> = well().flat_map(PatchEntry::merge_sentences).collect();
    let notes = report.recovered.iter().chain(&merges);
    let notes = notes.chain(well().flat_map(|patch| &patch.notes)).chain(&report.notes);
    let exchanged = (report.paths.as_slice(), report.holders.as_slice());
    let exchanged = exchange_lines(exchanged, report.would_change.is_some());
    let trial = report.trial.iter().flat_map(|trial| trial.lines(zone)).collect::<Vec<_>>();
    let in_use: String = well().map(|patch| in_use_lines(&patch.in_use)).collect();
    let paths: String =
        report.patches.iter().filter(|_| is_verbose).map(|patch| done_lines(root, patch)).collect();
    let failed = report.patches.iter().find(|patch| patch.has_failed()).map(patch_line);
    let reason = || without_root(&failed.unwrap_or_else(|| line.clone()), root.prefix());
    RootReport {
        class: class(&report),
        advice: report.advice.clone(),
        result: report.result,
        exit,
        notes: planned
            .chain(notes.map(|note| format!("note: {note}")))
            .chain(trial)
            .chain(exchanged.iter().map(|line| format!("note: {line}")))
            .chain(in_use.lines().chain(paths.lines().map(str::trim_start)).map(str::to_owned))
            .collect(),
        reason: (exit != Exit::OK).then(|| locked_reason(exit).unwrap_or_else(reason)),
        line,
        reboots: well().filter_map(|patch| patch.reboot).collect(),
        changed: report.changed,
        would_change: report.would_change.unwrap_or_default(),
        body: RootBody::Worked(report),
    }
}

fn class(report: &PatchesReport) -> RootClass {
    let failed = report.patches.iter().filter(|patch| patch.has_failed());
    if report.error.is_some() {
        failure_class(report.exit)
    } else if failed.clone().any(|patch| patch.verdict != "refused") {
        RootClass::Failed
    } else if failed.count() > 0 {
        RootClass::Refused
    } else if report.patches.iter().any(|patch| patch.exit == Exit::OK) {
        RootClass::Done
    } else if !report.patches.is_empty()
        && report.patches.iter().all(|patch| patch.verdict == "not-applicable")
    {
        RootClass::NotApplicable
    } else {
        RootClass::Idle
    }
}

fn patch_line(patch: &PatchEntry) -> String {
    let PatchEntry { id, verdict, code, reason, files, .. } = patch;
    if patch.has_failed() {
        format!("{id} {verdict} ({code}): {}", in_one_line(reason))
    } else if patch.is_idle() || patch.is_untried() {
        format!("{id} {verdict}")
    } else {
        format!("{id} {verdict} ({files})")
    }
}
