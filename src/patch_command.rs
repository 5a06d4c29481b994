//! The sequence of patchadd, patchrm, `add`, `update`, `remove`, `undo` and `plan`: performs a request on a root, and
//! prints the report in each command's words.

use std::sync::Arc;

use crate::as_owner::options::OwnerOptions;
use crate::trial_waiter::wait_for_end;
use patchadm_cli::arguments::fetching::FetchOptions;
use patchadm_cli::arguments::{RootOption, inside};
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::Reply;
use patchadm_cli::reply::patches::{EndCodes, PatchFace, PatchesReport, as_applied};
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::surroundings::Surroundings;
use patchadm_cli::surroundings::bar::CommandBar;
use patchadm_cli::surroundings::fetch_bar::FetchBar;
use patchadm_core::operation::depots::{DepotProgress, FetchSession, FetchedFiles};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{ApplyReport, ApplyRequest, DepotOperands, PatchOperands};
use patchadm_core::operation::patches::back_out::{BackOutRequest, back_out_patches};
use patchadm_core::operation::patches::offered::apply_patches;
use patchadm_core::operation::patches::undo::{UndoneRun, undo_application, undo_backout};
use patchadm_core::operation::session::{Caller, RootAndPolicy};
use patchadm_core::operation::trial::{TrialOutcome, TrialRequest, guard_run};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

#[derive(Clone, Debug)]
pub(crate) enum PatchRequest {
    Apply(Box<ApplyCommand>),
    BackOut(BackOutRequest),
    UndoApplication(UndoneRun, BackOutRequest),
    UndoBackout(UndoneRun, Box<ApplyCommand>),
}

#[derive(Clone, Debug)]
pub(crate) struct ApplyCommand {
    pub(crate) apply: ApplyRequest,
    pub(crate) fetching: Fetching,
    pub(crate) codes: EndCodes,
}

/// Makes the answer of a command, in its own words.
pub(crate) type MakeReply = fn(&Root, PatchesReport) -> Reply;

/// Performs a request on the command line's root. `A` are the arguments of the command.
pub(crate) fn on_root<A: clap::CommandFactory>(
    call: &mut Invocation,
    (root, owner): (&RootOption, OwnerOptions),
    request: &PatchRequest,
    reply: MakeReply,
) -> anyhow::Result<Reply> {
    let root = owner.open::<A>(call, root, request.command())?;
    on_opened_root(call, &root, request, None, reply)
}

pub(crate) fn on_opened_root(
    call: &mut Invocation,
    root: &Root,
    request: &PatchRequest,
    wait: Option<u64>,
    reply: MakeReply,
) -> anyhow::Result<Reply> {
    let command = request.command();
    if !request.is_dry_run() {
        call.output.heedless();
    }
    let (trial, ignored_depot) = request.reminders(root);
    let result = call.change(root, command.name(), wait, |caller| request.perform(root, caller))?;
    let face = if call.program == PROGRAM { PatchFace::Verb } else { PatchFace::Classic };
    let report = PatchesReport::of(root, command, result, face, call.surroundings.began);
    let report = report.with_reminders(trial, ignored_depot).of_plan(request.is_dry_run());
    Ok(reply(root, report.ending_with(request.codes())))
}

impl PatchRequest {
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Apply(_) | Self::UndoBackout(..) => Command::Patchadd,
            Self::BackOut(_) | Self::UndoApplication(..) => Command::Patchrm,
        }
    }

    /// Requested exit codes besides those of every command.
    pub(crate) fn codes(&self) -> EndCodes {
        match self {
            Self::Apply(command) | Self::UndoBackout(_, command) => command.codes,
            Self::BackOut(_) | Self::UndoApplication(..) => EndCodes::default(),
        }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        match self {
            Self::Apply(command) | Self::UndoBackout(_, command) => command.apply.dry_run,
            Self::BackOut(request) | Self::UndoApplication(_, request) => request.dry_run,
        }
    }

    /// Returns reminders that a request for missing patches does not show: the trial that the root is on, and a depot
    /// of its policy that is not used. Problems of reading are reported when the request is performed.
    pub(crate) fn reminders(&self, root: &Root) -> (Option<String>, Option<String>) {
        let Self::Apply(command) = self else { return (None, None) };
        let Some(DepotOperands { depot, patches: PatchOperands::Missing(_) }) = &command.apply.depot else {
            return (None, None);
        };
        let trial = TrialStanding::of(root, &command.fetching.surroundings).ok().flatten();
        // A change waits for the end of a probe.
        let holds = |trial: &TrialStanding| !trial.is_over() && (self.is_dry_run() || !trial.is_probed());
        let trial = trial.filter(holds).map(|trial| trial.reminder(root));
        let ground = if depot.is_none() { RootAndPolicy::of(root).ok() } else { None };
        (trial, ground.and_then(|ground| ground.ignored_depot).map(|ignored| ignored.to_string()))
    }

    /// Performs the request on a root, and follows a trial that it began.
    pub(crate) fn perform(&self, root: &Root, caller: &Caller<'_>) -> Result<ApplyReport, Failure> {
        let (note, exchanges) = match self {
            Self::Apply(command) | Self::UndoBackout(_, command) => {
                (command.apply.note.as_deref(), &command.apply.exchanges)
            }
            Self::BackOut(request) | Self::UndoApplication(_, request) => {
                (request.note.as_deref(), &request.exchanges)
            }
        };
        let calling = &caller.noting(note).exchanging(&inside(root, exchanges));
        let (command, report) = match self {
            Self::Apply(command) => {
                let report = command.with_session(root, calling, |request, session| {
                    apply_patches(root, request, Some(session), calling)
                })?;
                (command, report)
            }
            Self::UndoBackout(run, command) => {
                let report = command.with_session(root, calling, |request, session| {
                    undo_backout(root, run, request, session, calling)
                })?;
                (command, report)
            }
            Self::BackOut(request) => return back_out_patches(root, request, calling).map(as_applied),
            Self::UndoApplication(run, request) => {
                return undo_application(root, run, request, calling).map(as_applied);
            }
        };
        let receipt = report.patches.iter().find_map(|one| one.result.as_ref().ok()?.as_ref());
        let Some(run) = receipt.map(|receipt| receipt.run.clone()) else { return Ok(report) };
        let surroundings = &command.fetching.surroundings;
        let trial = guarded_trial(root, &run, &command.apply.trial, (caller, surroundings))?;
        Ok(ApplyReport { trial, ..report })
    }
}

/// Has the end of a trial awaited, and runs its check.
pub(crate) fn guarded_trial(
    root: &Root,
    run: &str,
    request: &TrialRequest,
    (caller, surroundings): (&Caller<'_>, &Surroundings),
) -> Result<Option<TrialOutcome>, Failure> {
    guard_run(root, run, request, caller, &|record| wait_for_end(surroundings, root, record))
}

#[derive(Clone, Debug)]
pub(crate) struct Fetching {
    pub(crate) options: FetchOptions,
    /// Seconds that another command may hold up a download, if given.
    pub(crate) wait: Option<u64>,
    pub(crate) surroundings: Surroundings,
    pub(crate) bar: CommandBar,
    pub(crate) has_bar: bool,
    /// Shared with the plan that is shown first; `None` if nothing shares them.
    pub(crate) files: Option<Arc<FetchedFiles>>,
}

impl ApplyCommand {
    /// Works with a session that fetches; fetched files exist until the work is done.
    fn with_session(
        &self,
        root: &Root,
        caller: &Caller<'_>,
        work: impl FnOnce(&ApplyRequest, &FetchSession<'_>) -> Result<ApplyReport, Failure>,
    ) -> Result<ApplyReport, Failure> {
        let Self { apply, fetching: Fetching { options, wait, surroundings, bar, has_bar, files }, .. } =
            self;
        // An unreadable policy is reported when the root is examined.
        let policy = RootAndPolicy::of(root).map(|ground| ground.policy).unwrap_or_default();
        let bar = FetchBar::new(bar, *has_bar);
        let progress = |progress: DepotProgress<'_>| bar.show(progress);
        let access = options.access(surroundings, &policy, *wait, caller.interrupt, &progress);
        let request = ApplyRequest {
            overridden: inside(root, &apply.overridden),
            preserved: inside(root, &apply.preserved),
            ..apply.clone()
        };
        work(&request, &FetchSession::sharing(access, files.clone().unwrap_or_default()))
    }
}

pub(crate) fn fetching(call: &Invocation, options: FetchOptions, wait: Option<u64>) -> Fetching {
    let surroundings = &call.surroundings;
    let is_shown = call.program == PROGRAM && surroundings.stderr_is_terminal;
    let has_bar = is_shown && !surroundings.is_quiet && !call.in_json;
    let (surroundings, bar) = (surroundings.clone(), call.bar.clone());
    Fetching { options, wait, has_bar, surroundings, bar, files: None }
}
