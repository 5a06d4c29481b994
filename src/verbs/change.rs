//! The course of the verbs `add`, `update`, `remove` and `plan`: on one root, or on many.

use std::path::PathBuf;
use std::time::Instant;

use super::options::{ApplyingOptions, ChangeOptions};
use super::patch_lines::print_report;
use crate::many_roots::list::must_be_read_often;
use crate::many_roots::of_patches::of_patches;
use crate::many_roots::{RootsTask, on_many};
use crate::patch_command::{PatchRequest, on_root};
use crate::set_options::SetOptions;
use patchadm_cli::arguments::RootOption;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_cli::reply::patches::{EndCodes, PatchFace, PatchesReport};
use patchadm_core::operation::patches::apply::ApplyRequest;
use patchadm_core::operation::patches::back_out::BackOutRequest;
use patchadm_core::operation::plan_file::PlanFileRequest;
use patchadm_planning::analyze::AnalysisRequest;
use patchadm_planning::plan::edits::EditableFiles;

/// Returns the request to apply patches.
pub(super) fn application(
    call: &Invocation,
    changing: &ChangeOptions,
    (choices, set): (ApplyingOptions, SetOptions),
    patches: Vec<PathBuf>,
) -> PatchRequest {
    let apply = ApplyRequest { patches, ..application_of_none(call, changing, choices) };
    let mut request = set.request(call, apply, changing.wait);
    request.hide_bar_if(changing.many.are_named());
    request
}

/// Returns the request to apply what an analysis lists as missing.
pub(super) fn update(
    call: &Invocation,
    changing: &ChangeOptions,
    (choices, set): (ApplyingOptions, SetOptions),
    missing: AnalysisRequest,
    codes: EndCodes,
) -> PatchRequest {
    let apply = application_of_none(call, changing, choices);
    let mut request = set.update(call, apply, missing, (changing.wait, codes));
    request.hide_bar_if(changing.many.are_named());
    request
}

/// Returns the same request with what is done with a plan file.
pub(super) fn with_plan_file(mut request: PatchRequest, plan_file: PlanFileRequest) -> PatchRequest {
    let apply = match &mut request {
        PatchRequest::Apply(operands) => &mut operands.apply,
        PatchRequest::Set(set) => &mut set.application.apply,
        PatchRequest::BackOut(_) | PatchRequest::UndoApplication(..) | PatchRequest::UndoBackout(..) => {
            return request;
        }
    };
    apply.signature.is_of_plan = plan_file.expected.is_some();
    apply.plan_file = plan_file;
    request
}

/// Returns how patches are applied that are not named yet.
fn application_of_none(
    call: &Invocation,
    changing: &ChangeOptions,
    choices: ApplyingOptions,
) -> ApplyRequest {
    let signature = choices.signature();
    ApplyRequest {
        no_undo: choices.undo.no_undo,
        undo_dir: choices.undo.undo_dir,
        undo_format: choices.undo.undo_format,
        edited: choices.edits.edited,
        editable: if choices.edits.edited.is_some() { EditableFiles::Stop } else { EditableFiles::Keep },
        overridden: choices.edits.overridden,
        preserved: choices.edits.preserved,
        signature,
        dry_run: changing.dry_run,
        texts: changing.diff,
        note: changing.note.text.clone(),
        scripts: changing.scripts.request(call, changing.no_scripts),
        shlibs: changing.shlibs.request(),
        ..ApplyRequest::default()
    }
}

/// Returns the request to back patches out.
pub(super) fn backout(
    call: &Invocation,
    changing: &ChangeOptions,
    moved_to: Option<PathBuf>,
    ids: Vec<String>,
) -> PatchRequest {
    let scripts = changing.scripts.request(call, changing.no_scripts);
    let dry_run = changing.dry_run;
    let note = changing.note.text.clone();
    PatchRequest::BackOut(BackOutRequest {
        ids,
        moved_to,
        dry_run,
        texts: changing.diff,
        note,
        scripts,
        shlibs: changing.shlibs.request(),
        ..BackOutRequest::default()
    })
}

/// Carries a request out. `A` are the arguments of the verb.
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
        PatchRequest::Apply(operands) => {
            must_be_read_often(&operands.apply.patches, usage)?;
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
        let result = request.carry_out(root, caller);
        let report = PatchesReport::of(root, command, result, PatchFace::VerbOnRoots, began);
        of_patches(root, report.of_plan(is_dry_run).ending_with(codes), is_verbose)
    })
}
