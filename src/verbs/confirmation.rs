//! Asks before a verb changes more than one patch, or replaces locally modified files.
//!
//! The plan is made without the lock. After a yes, the command is held to it as by `--plan`.

use std::path::Path;
use std::sync::Arc;

use super::patch_lines::{print_summary, reply_of};
use crate::many_roots::list::read_once;
use crate::patch_command::{PatchRequest, on_opened_root};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_cli::reply::patches::{PatchFace, PatchesReport};
use patchadm_cli::reply::words::{counted_patches, print_recovery, recovery_sentence};
use patchadm_cli::surroundings::questions::Confirmation;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::plan_file::{ExpectedPlan, PlanFileRequest};
use patchadm_core::operation::recover::{Recovery, recover_root};
use patchadm_core::operation::session::Caller;
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::{Lock, Root};

/// The question of all verbs but those that delete.
pub(super) const PROCEED: Confirmation<'static> =
    Confirmation { question: "Proceed?", is_yes_by_default: true };

/// Asks before more than one patch, or before replacing locally modified files.
pub(super) fn on_confirmed_root(
    call: &mut Invocation,
    root: &Root,
    request: &PatchRequest,
    (wait, is_agreed): (Option<u64>, bool),
) -> anyhow::Result<Reply> {
    if !call.may_ask(is_agreed) || !may_be_planned_first(request) {
        return on_opened_root(call, root, request, wait, reply_of);
    }
    let command = request.command();
    let request = &sharing_files(request);
    let plan = as_plan(request);
    let perform = |caller: &Caller<'_>| plan.perform(root, caller);
    let planned = planned_first(call, root, (command, wait), undo_dir(request), &perform)?;
    let mut report = match planned {
        Ok(report) if report.refused.is_none() => report,
        // The command says why it may not change the root.
        Ok(_) => return on_opened_root(call, root, request, wait, reply_of),
        Err(failure) => {
            let began = call.surroundings.began;
            let report = PatchesReport::of(root, command, Err(failure), PatchFace::Verb, began);
            return Ok(reply_of(root, report.ending_with(request.codes())));
        }
    };
    let plan = report.plan_file.take();
    let began = call.surroundings.began;
    let report = PatchesReport::of(root, command, Ok(report), PatchFace::Verb, began).of_plan(true);
    let Some(plan) = plan.filter(|_| is_asked_about(&report)) else {
        return on_opened_root(call, root, request, wait, reply_of);
    };
    print_summary(root, &report, &mut call.output)?;
    call.must_be_agreed_to(PROCEED, &undone(command, &report))?;
    let held = held_to(request, *plan, call);
    on_opened_root(call, root, &held, wait, reply_of)
}

/// True if the request is no plan, is held to none, and reads nothing that can be read only once.
fn may_be_planned_first(request: &PatchRequest) -> bool {
    let PatchRequest::Apply(command) = request else { return !request.is_dry_run() };
    let apply = &command.apply;
    !apply.dry_run && apply.plan_file.expected.is_none() && read_once(&apply.patches).is_none()
}

fn plan_file(request: &mut PatchRequest) -> &mut PlanFileRequest {
    match request {
        PatchRequest::Apply(command) | PatchRequest::UndoBackout(_, command) => &mut command.apply.plan_file,
        PatchRequest::BackOut(request) | PatchRequest::UndoApplication(_, request) => &mut request.plan_file,
    }
}

/// The command uses the files that were fetched for its plan.
fn sharing_files(request: &PatchRequest) -> PatchRequest {
    let mut sharing = request.clone();
    if let PatchRequest::Apply(command) | PatchRequest::UndoBackout(_, command) = &mut sharing {
        command.fetching.files = Some(Arc::default());
    }
    sharing
}

fn as_plan(request: &PatchRequest) -> PatchRequest {
    let mut plan = request.clone();
    plan_file(&mut plan).in_report = true;
    match &mut plan {
        PatchRequest::Apply(command) | PatchRequest::UndoBackout(_, command) => command.apply.dry_run = true,
        PatchRequest::BackOut(request) | PatchRequest::UndoApplication(_, request) => request.dry_run = true,
    }
    plan
}

fn held_to(request: &PatchRequest, plan: PlanFile, call: &Invocation) -> PatchRequest {
    let mut held = request.clone();
    plan_file(&mut held).expected = Some(Arc::new(ExpectedPlan { path: None, plan }));
    if let PatchRequest::Apply(command) | PatchRequest::UndoBackout(_, command) = &mut held {
        command.fetching.surroundings = call.surroundings.clone();
    }
    held
}

fn undo_dir(request: &PatchRequest) -> Option<&Path> {
    match request {
        PatchRequest::Apply(command) | PatchRequest::UndoBackout(_, command) => {
            command.apply.undo_dir.as_deref()
        }
        PatchRequest::BackOut(request) | PatchRequest::UndoApplication(_, request) => {
            request.moved_to.as_deref()
        }
    }
}

/// Makes a plan for a question. If the root must be recovered before, that is done without a question, and printed.
pub(super) fn planned_first<T>(
    call: &mut Invocation,
    root: &Root,
    (command, wait): (Command, Option<u64>),
    undo_dir: Option<&Path>,
    plan: &dyn Fn(&Caller<'_>) -> Result<T, Failure>,
) -> anyhow::Result<Result<T, Failure>> {
    let planned = |call: &Invocation| {
        call.change(root, command.name(), wait, |caller| when_stable(root, caller, || plan(caller)))
    };
    let first = planned(call)?;
    if !first.as_ref().is_err_and(is_put_right_first) {
        return Ok(first);
    }
    let recovered = call.change(root, command.name(), wait, |caller| recover_root(root, undo_dir, caller))?;
    let Recovery { run, trial, .. } = match recovered {
        Ok(recovery) => recovery,
        Err(failure) => return Ok(Err(failure)),
    };
    let notes: Vec<String> = trial.into_iter().chain(run.notes().to_vec()).collect();
    print_recovery(&mut call.output, recovery_sentence(&run).as_deref(), &notes)?;
    planned(call)
}

/// Makes a plan. Waits for another command on the root, as the command itself would.
fn when_stable<T>(
    root: &Root,
    caller: &Caller<'_>,
    plan: impl Fn() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let planned = plan();
    if !matches!(planned, Err(Failure::DuringRun(_))) || !Lock::is_held(root)? {
        return planned;
    }
    drop(Lock::take(root, &caller.name_for_lock(), |holder| (caller.wait)(holder))?);
    plan()
}

/// True if the root has to be recovered before: an interrupted run whose recovery cannot be foreseen, or a trial that is
/// over.
pub(super) fn is_put_right_first(failure: &Failure) -> bool {
    matches!(failure, Failure::DuringRun(_) | Failure::TrialOver { .. })
}

fn is_asked_about(report: &PatchesReport) -> bool {
    let planned = || report.patches.iter().filter(|entry| entry.is_planned());
    planned().count() > 1 || planned().any(|entry| !entry.replaced_edits.is_empty())
}

/// The change that does not happen after a no.
fn undone(command: Command, report: &PatchesReport) -> String {
    let count = report.patches.iter().filter(|entry| entry.is_planned()).count();
    let were = if count == 1 { "was" } else { "were" };
    let done = if command == Command::Patchadd { "applied" } else { "removed" };
    format!("{} {were} not {done}", counted_patches(count))
}
