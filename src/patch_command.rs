//! The sequence of patchadd, patchrm, `add`, `update`, `remove`, `undo` and `plan`: performs a request on a root, and
//! prints the report in each command's words.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::as_owner::options::OwnerOptions;
use crate::trial_waiter::wait_for_end;
use patchadm_changeset::transaction::ExchangeRequest;
use patchadm_cli::arguments::fetching::{DepotOption, FetchOptions};
use patchadm_cli::arguments::{RootOption, SELECTING, inside, named_text};
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::patches::{EndCodes, PatchFace, PatchesReport, as_applied};
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::reply::{CommandReport, Reply, Stop};
use patchadm_cli::surroundings::bar::CommandBar;
use patchadm_cli::surroundings::fetch_bar::FetchBar;
use patchadm_cli::surroundings::{Output, Surroundings};
use patchadm_core::operation::depots::{DepotProgress, FetchSession, FetchedFiles};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{ApplyReport, ApplyRequest, DepotOperands, PatchOperands};
use patchadm_core::operation::patches::back_out::{BackOutRequest, back_out_patches};
use patchadm_core::operation::patches::offered::apply_patches;
use patchadm_core::operation::patches::spool::{SpooledPatch, spooled_patch};
use patchadm_core::operation::patches::undo::{UndoneRun, undo_application, undo_backout};
use patchadm_core::operation::session::{Caller, RootAndPolicy};
use patchadm_core::operation::trial::{TrialOutcome, TrialRequest, guard_run};
use patchadm_inputs::format::plan_file::PlanOptions;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::resolve::SetRequest;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;
use serde::Serialize;

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

    pub(crate) fn must_name_patches(&self, usage: &'static str) -> Result<(), Stop> {
        let names_none = match self {
            Self::Apply(command) => command.apply.depot.is_none() && command.apply.patches.is_empty(),
            Self::UndoApplication(..) | Self::UndoBackout(..) => false,
            Self::BackOut(request) => request.ids.is_empty() && request.down_to.is_none(),
        };
        if names_none { Err(Stop::Usage { message: "no patch is named".to_owned(), usage }) } else { Ok(()) }
    }

    /// Takes missing ids from the spool directory of this machine, and says so.
    pub(crate) fn look_into_spool(&mut self, output: &mut Output) -> anyhow::Result<()> {
        let Self::Apply(command) = self else { return Ok(()) };
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
                    "{path} was not used, because {stranger}; if it is the right patch, name its path."
                ))?,
            }
        }
        Ok(())
    }

    /// Returns what a request for missing patches does not show: the trial that the root is on, and a depot of its policy that is
    /// not used. What cannot be read is reported when the request is performed.
    pub(crate) fn reminders(&self, root: &Root) -> (Option<String>, Option<String>) {
        let Self::Apply(command) = self else { return (None, None) };
        let Some(DepotOperands { depot, patches: PatchOperands::Missing(_) }) = &command.apply.depot else {
            return (None, None);
        };
        let trial = TrialStanding::of(root, &command.fetching.surroundings).ok().flatten();
        let trial = trial.filter(|trial| !trial.is_over()).map(|trial| trial.reminder(root));
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
        let calling = &caller.noting(note).exchanging(&exchanges_inside(root, exchanges));
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

pub(crate) fn exchanges_inside(root: &Root, requests: &[ExchangeRequest]) -> Vec<ExchangeRequest> {
    let paths: Vec<ObjectPath> = requests.iter().map(|request| request.directory.clone()).collect();
    let inside = inside(root, &paths).into_iter().zip(requests);
    inside.map(|(directory, request)| ExchangeRequest { directory, ..request.clone() }).collect()
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

pub(crate) type PrintPatches = fn(&Root, &PatchesReport, &mut Output) -> anyhow::Result<()>;

#[derive(Serialize)]
#[serde(transparent)]
struct WordedReport {
    report: PatchesReport,
    #[serde(skip)]
    root: Root,
    #[serde(skip)]
    print: PrintPatches,
}

impl CommandReport for WordedReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        (self.print)(&self.root, &self.report, output)
    }
}

/// Performs a request on the command line's root. `A` are the arguments of the command.
pub(crate) fn on_root<A: clap::CommandFactory>(
    call: &mut Invocation,
    (root, owner): (&RootOption, OwnerOptions),
    request: &PatchRequest,
    wait: Option<u64>,
    print: PrintPatches,
) -> anyhow::Result<Reply> {
    let root = owner.open::<A>(call, root, request.command())?;
    on_opened_root(call, root, request, wait, print)
}

pub(crate) fn on_opened_root(
    call: &mut Invocation,
    root: Root,
    request: &PatchRequest,
    wait: Option<u64>,
    print: PrintPatches,
) -> anyhow::Result<Reply> {
    let report = report_on(call, &root, request, wait)?;
    Ok(reply_of(root, report, print))
}

pub(crate) fn report_on(
    call: &mut Invocation,
    root: &Root,
    request: &PatchRequest,
    wait: Option<u64>,
) -> anyhow::Result<PatchesReport> {
    let command = request.command();
    if !request.is_dry_run() {
        call.output.heedless();
    }
    let (trial, ignored_depot) = request.reminders(root);
    let result = call.change(root, command.name(), wait, |caller| request.perform(root, caller))?;
    let face = if call.program == PROGRAM { PatchFace::Verb } else { PatchFace::Classic };
    let report = PatchesReport::of(root, command, result, face, call.surroundings.began)
        .with_reminders(trial, ignored_depot);
    Ok(report.of_plan(request.is_dry_run()).ending_with(request.codes()))
}

pub(crate) fn reply_of(root: Root, report: PatchesReport, print: PrintPatches) -> Reply {
    Reply::about(&root.clone(), report.exit, WordedReport { report, root, print })
}

/// Options that name a depot and say which of its patches are applied.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SetOptions {
    #[command(flatten)]
    depot: DepotOption,
    #[command(flatten)]
    choices: ChoiceOptions,
    #[command(flatten)]
    fetching: FetchOptions,
}

/// Options that say which patches of a depot are applied.
#[derive(Clone, Debug, Default, clap::Args)]
struct ChoiceOptions {
    /// Apply all patches in one transaction, or change nothing
    #[arg(long)]
    all_or_nothing: bool,
    /// Apply withdrawn patches that are named with their revision
    #[arg(long)]
    allow_withdrawn: bool,
    /// Do not add required patches
    #[arg(long)]
    no_requires: bool,
    /// Leave out this patch; repeatable
    #[arg(long, value_name = "ID", action = clap::ArgAction::Append, help_heading = SELECTING)]
    exclude: Vec<String>,
}

impl ChoiceOptions {
    fn request(self) -> SetRequest {
        let Self { all_or_nothing, allow_withdrawn: withdrawn, no_requires, exclude } = self;
        SetRequest { all_or_nothing, withdrawn, no_requires, exclude, ..SetRequest::default() }
    }
}

impl SetOptions {
    /// Writes sources to a plan file, without the way of fetching.
    pub(crate) fn write(&self, options: &mut PlanOptions) -> Result<(), String> {
        let ChoiceOptions { all_or_nothing, allow_withdrawn, no_requires, exclude } = self.choices.clone();
        options.depot = self.depot.depot.as_ref().map(named_text).transpose()?;
        (options.all_or_nothing, options.withdrawn) = (all_or_nothing, allow_withdrawn);
        (options.no_requires, options.exclude) = (no_requires, exclude);
        Ok(())
    }

    pub(crate) fn read(&mut self, options: &PlanOptions) {
        self.depot.depot = options.depot.as_ref().map(OsString::from);
        self.choices = ChoiceOptions {
            all_or_nothing: options.all_or_nothing,
            allow_withdrawn: options.withdrawn,
            no_requires: options.no_requires,
            exclude: options.exclude.clone(),
        };
    }

    /// Applies these options to a request: with a depot, the operands are the depot's.
    pub(crate) fn command(
        self,
        call: &Invocation,
        mut apply: ApplyRequest,
        wait: Option<u64>,
    ) -> ApplyCommand {
        apply.choices = self.choices.request();
        if let Some(depot) = self.depot.depot {
            let ids = std::mem::take(&mut apply.patches).into_iter().map(PathBuf::into_os_string);
            let patches = PatchOperands::Words(ids.collect());
            apply.depot = Some(DepotOperands { depot: Some(depot), patches });
        }
        ApplyCommand { apply, fetching: fetching(call, self.fetching, wait), codes: EndCodes::default() }
    }
}

pub(crate) fn fetching(call: &Invocation, options: FetchOptions, wait: Option<u64>) -> Fetching {
    let surroundings = &call.surroundings;
    let is_shown = call.program == PROGRAM && surroundings.stderr_is_terminal;
    let has_bar = is_shown && !surroundings.is_quiet && !call.in_json;
    let (surroundings, bar) = (surroundings.clone(), call.bar.clone());
    Fetching { options, wait, has_bar, surroundings, bar, files: None }
}
