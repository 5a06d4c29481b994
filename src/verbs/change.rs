//! The sequence of the verbs `add`, `update`, `remove` and `plan`: on one root, or on many.

use std::path::PathBuf;
use std::time::Instant;

use super::options::{ApplicationOptions, ApplyingOptions, ChangeOptions};
use super::patch_lines::print_report;
use crate::many_roots::list::must_be_read_often;
use crate::many_roots::of_patches::of_patches;
use crate::many_roots::{RootsTask, on_many};
use crate::patch_command::{ApplyCommand, PatchRequest, on_root};
use patchadm_cli::arguments::RootOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_cli::reply::patches::{PatchFace, PatchesReport};
use patchadm_core::operation::patches::apply::ApplyRequest;
use patchadm_core::operation::patches::back_out::BackOutRequest;
use patchadm_core::operation::plan_file::PlanFileRequest;
use patchadm_planning::plan::edits::EditableFiles;

/// Returns the request to apply patches, without trial and exchanges.
pub(super) fn application(
    call: &Invocation,
    changing: &ChangeOptions,
    options: ApplicationOptions,
    patches: Vec<PathBuf>,
    plan_file: PlanFileRequest,
) -> ApplyCommand {
    let ApplicationOptions { choices, set, preparation, .. } = options;
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
        overridden: edits.overridden,
        preserved: edits.preserved,
        signature,
        dry_run: changing.dry_run,
        texts: changing.diff,
        note: changing.note.text.clone(),
        scripts: changing.scripts.request(call, changing.no_scripts),
        shlibs: changing.shlibs.request(),
        plan_file,
        preparation: preparation.request(call),
        ..ApplyRequest::default()
    };
    let mut command = set.command(call, apply, changing.wait);
    command.fetching.has_bar &= !changing.many.are_named();
    command
}

/// Returns the request to back patches out.
pub(super) fn backout(
    call: &Invocation,
    changing: &ChangeOptions,
    moved_to: Option<PathBuf>,
    ids: Vec<String>,
) -> BackOutRequest {
    BackOutRequest {
        ids,
        moved_to,
        dry_run: changing.dry_run,
        texts: changing.diff,
        note: changing.note.text.clone(),
        scripts: changing.scripts.request(call, changing.no_scripts),
        shlibs: changing.shlibs.request(),
        ..BackOutRequest::default()
    }
}

/// Performs a request. `A` are the arguments of the verb.
pub(super) fn change<A: clap::CommandFactory>(
    call: &mut Invocation,
    usage: &'static str,
    root: &RootOption,
    changing: &ChangeOptions,
    mut request: PatchRequest,
) -> anyhow::Result<Reply> {
    request.must_name_patches(usage)?;
    request.look_into_spool(&mut call.output)?;
    if !changing.many.are_named() {
        let which = (root, changing.owner);
        return on_root::<A>(call, which, &request, changing.wait, print_report);
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
    let task =
        RootsTask { program: command.name(), usage, wait: changing.wait, is_plan: is_dry_run, done, idle };
    let is_verbose = call.output.is_verbose();
    if !is_dry_run {
        call.output.heedless();
    }
    on_many::<A, _>(call, (&changing.many, changing.owner), task, &|root, caller| {
        let began = Instant::now();
        let result = request.perform(root, caller);
        let report = PatchesReport::of(root, command, result, PatchFace::VerbOnRoots, began);
        of_patches(root, report.of_plan(is_dry_run).ending_with(codes), is_verbose)
    })
}
