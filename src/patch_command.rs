//! The course that patchadd, patchrm and the verbs `add`, `remove` and `plan` share: a request, carried out on a root,
//! becomes a report that each of them prints in its own words.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::as_owner::options::OwnerOptions;
use crate::trial_waiter::wait_for_end;
use patchadm_changeset::transaction::ExchangeRequest;
use patchadm_cli::arguments::fetching::FetchOptions;
use patchadm_cli::arguments::{RootOption, inside};
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::patches::{EndCodes, PatchFace, PatchesReport, as_applied};
use patchadm_cli::reply::{CommandReport, Reply, Stop};
use patchadm_cli::surroundings::fetch_bar::FetchBar;
use patchadm_cli::surroundings::{Output, Surroundings};
use patchadm_core::operation::depots::{
    DepotError, DepotProgress, FetchSession, fetch_operand, is_address, is_on_network,
};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{ApplyReport, ApplyRequest, demands, must_be_vouched_for};
use patchadm_core::operation::patches::back_out::{BackOutRequest, back_out_patches};
use patchadm_core::operation::patches::prepared::PreparationRequest;
use patchadm_core::operation::patches::sets::{SetApplication, apply_operands, apply_set};
use patchadm_core::operation::patches::spool::{SpooledPatch, spooled_patch};
use patchadm_core::operation::patches::undo::{UndoneRun, undo_application, undo_backout};
use patchadm_core::operation::session::{Caller, RootAndPolicy};
use patchadm_core::operation::trial::{TrialOutcome, TrialRequest, guard_run};
use patchadm_inputs::http::Address;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::resolve::SetRequest;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

/// The request to a command about patches.
#[derive(Clone, Debug)]
pub(crate) enum PatchRequest {
    /// Patches that are named by their paths or addresses.
    Apply(Box<OperandCommand>),
    Set(Box<SetCommand>),
    BackOut(BackOutRequest),
    /// A run that applied patches is undone.
    UndoApplication(UndoneRun, BackOutRequest),
    /// A run that backed patches out is undone.
    UndoBackout(UndoneRun, Box<SetCommand>),
}

impl PatchRequest {
    /// Returns the classic command that does this.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Apply(_) | Self::Set(_) | Self::UndoBackout(..) => Command::Patchadd,
            Self::BackOut(_) | Self::UndoApplication(..) => Command::Patchrm,
        }
    }

    /// Returns the exit codes that were asked for beside those of every command.
    pub(crate) fn codes(&self) -> EndCodes {
        match self {
            Self::Set(set) | Self::UndoBackout(_, set) => set.codes,
            Self::Apply(_) | Self::BackOut(_) | Self::UndoApplication(..) => EndCodes::default(),
        }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        match self {
            Self::Apply(operands) => operands.apply.dry_run,
            Self::Set(set) | Self::UndoBackout(_, set) => set.application.apply.dry_run,
            Self::BackOut(request) | Self::UndoApplication(_, request) => request.dry_run,
        }
    }

    /// Returns the note for the history.
    fn note(&self) -> Option<&str> {
        match self {
            Self::Apply(operands) => operands.apply.note.as_deref(),
            Self::Set(set) | Self::UndoBackout(_, set) => set.application.apply.note.as_deref(),
            Self::BackOut(request) | Self::UndoApplication(_, request) => request.note.as_deref(),
        }
    }

    /// Returns the directories whose changes should become visible at once.
    fn exchanges(&self) -> &[ExchangeRequest] {
        match self {
            Self::Apply(operands) => &operands.apply.exchanges,
            Self::Set(set) | Self::UndoBackout(_, set) => &set.application.apply.exchanges,
            Self::BackOut(request) | Self::UndoApplication(_, request) => &request.exchanges,
        }
    }

    /// Returns the same request, with changes below these directories becoming visible at once.
    pub(crate) fn exchanging(mut self, exchanges: Vec<ExchangeRequest>) -> Self {
        match &mut self {
            Self::Apply(operands) => operands.apply.exchanges = exchanges,
            Self::Set(set) | Self::UndoBackout(_, set) => set.application.apply.exchanges = exchanges,
            Self::BackOut(request) | Self::UndoApplication(_, request) => request.exchanges = exchanges,
        }
        self
    }

    /// Returns the same request, with what comes before the patches.
    pub(crate) fn preparing(mut self, preparation: PreparationRequest) -> Self {
        match &mut self {
            Self::Apply(operands) => operands.apply.preparation = preparation,
            Self::Set(set) | Self::UndoBackout(_, set) => set.application.apply.preparation = preparation,
            Self::BackOut(request) | Self::UndoApplication(_, request) => {
                request.refresh = preparation.refresh;
            }
        }
        self
    }

    /// Returns the same request, with its patches on trial.
    pub(crate) fn on_trial(mut self, trial: TrialRequest) -> Self {
        match &mut self {
            Self::Apply(operands) => operands.apply.trial = trial,
            Self::Set(set) | Self::UndoBackout(_, set) => set.application.apply.trial = trial,
            Self::BackOut(_) | Self::UndoApplication(..) => {}
        }
        self
    }

    /// Returns what is asked for of a trial, and the surroundings of the command, if it applies patches.
    fn trial(&self) -> Option<(&TrialRequest, &Surroundings)> {
        match self {
            Self::Apply(operands) => Some((&operands.apply.trial, &operands.fetching.surroundings)),
            Self::Set(set) | Self::UndoBackout(_, set) => {
                Some((&set.application.apply.trial, &set.fetching.surroundings))
            }
            Self::BackOut(_) | Self::UndoApplication(..) => None,
        }
    }

    /// Refuses a request that names no patch.
    pub(crate) fn must_name_patches(&self, usage: &'static str) -> Result<(), Stop> {
        let names_none = match self {
            Self::Apply(operands) => operands.apply.patches.is_empty(),
            Self::Set(_) | Self::UndoApplication(..) | Self::UndoBackout(..) => false,
            Self::BackOut(request) => request.ids.is_empty() && request.down_to.is_none(),
        };
        if names_none { Err(Stop::Usage { message: "no patch is named".to_owned(), usage }) } else { Ok(()) }
    }

    /// Takes from the spool directory of this machine what is named by an id alone and is not in the working directory, and
    /// says so.
    pub(crate) fn look_into_spool(&mut self, output: &mut Output) -> anyhow::Result<()> {
        let Self::Apply(operands) = self else { return Ok(()) };
        for patch in &mut operands.apply.patches {
            let id = patch.to_str().and_then(|word| PatchId::new(word).ok());
            let Some(id) = id.filter(|_| patch.symlink_metadata().is_err()) else { continue };
            // Without access to the directory there is nothing for this caller in it.
            let found = Root::open(Path::new("/")).and_then(|host| spooled_patch(&host, &id));
            match found.unwrap_or(SpooledPatch::Missing) {
                SpooledPatch::Missing => {}
                SpooledPatch::Found(path) => {
                    output.complain(format!("NOTE: {id} is taken from {}.\n", path.display()))?;
                    *patch = path;
                }
                SpooledPatch::Distrusted(path, stranger) => output.complain(format!(
                    "NOTE: {path} is not taken, because {stranger}. Name its path if it is the right one.\n"
                ))?,
            }
        }
        Ok(())
    }

    /// Hides the bar if there is no place for one.
    pub(crate) fn hide_bar_if(&mut self, is_hidden: bool) {
        let fetching = match self {
            Self::Set(set) | Self::UndoBackout(_, set) => &mut set.fetching,
            Self::Apply(operands) => &mut operands.fetching,
            Self::BackOut(_) | Self::UndoApplication(..) => return,
        };
        fetching.has_bar &= !is_hidden;
    }

    /// Carries the request out on a root, and follows the trial that it began.
    pub(crate) fn carry_out(&self, root: &Root, caller: &Caller<'_>) -> Result<ApplyReport, Failure> {
        let report = self.carry_out_alone(root, caller)?;
        let receipt = report.patches.iter().find_map(|one| one.result.as_ref().ok()?.as_ref());
        let run = receipt.map(|receipt| receipt.run.clone());
        let (Some((request, surroundings)), Some(run)) = (self.trial(), run) else { return Ok(report) };
        let trial = guarded_trial(root, &run, request, (caller, surroundings))?;
        Ok(ApplyReport { trial, ..report })
    }

    fn carry_out_alone(&self, root: &Root, caller: &Caller<'_>) -> Result<ApplyReport, Failure> {
        let caller = &caller.noting(self.note()).exchanging(&exchanges_inside(root, self.exchanges()));
        match self {
            Self::Apply(operands) => operands.carry_out(root, caller),
            Self::Set(set) => set.carry_out(root, caller, apply_set),
            Self::BackOut(request) => back_out_patches(root, request, caller).map(as_applied),
            Self::UndoApplication(run, request) => {
                undo_application(root, run, request, caller).map(as_applied)
            }
            Self::UndoBackout(run, set) => set.carry_out(root, caller, |root, set, session, caller| {
                undo_backout(root, run, set, session, caller)
            }),
        }
    }
}

/// Follows a run on trial, if it is on one: somebody waits for its end, and its check is run.
pub(crate) fn guarded_trial(
    root: &Root,
    run: &str,
    request: &TrialRequest,
    (caller, surroundings): (&Caller<'_>, &Surroundings),
) -> Result<Option<TrialOutcome>, Failure> {
    guard_run(root, run, request, caller, &|record| wait_for_end(surroundings, root, record))
}

/// Returns the same request about paths inside a root.
fn inside_root(root: &Root, request: &ApplyRequest) -> ApplyRequest {
    ApplyRequest {
        overridden: inside(root, &request.overridden),
        preserved: inside(root, &request.preserved),
        ..request.clone()
    }
}

/// Returns the same directories inside a root.
pub(crate) fn exchanges_inside(root: &Root, requests: &[ExchangeRequest]) -> Vec<ExchangeRequest> {
    let paths: Vec<ObjectPath> = requests.iter().map(|request| request.directory.clone()).collect();
    let inside = inside(root, &paths).into_iter().zip(requests);
    inside.map(|(directory, request)| ExchangeRequest { directory, ..request.clone() }).collect()
}

/// How a command fetches what it needs.
#[derive(Clone, Debug)]
pub(crate) struct Fetching {
    pub(crate) options: FetchOptions,
    /// The time that another command may hold up a download, if one was named.
    pub(crate) wait: Option<u64>,
    pub(crate) surroundings: Surroundings,
    /// Whether a bar shows how far fetching is.
    pub(crate) has_bar: bool,
}

impl Fetching {
    /// Does work that fetches; what was fetched is there until the work is done.
    fn with_session<T>(
        &self,
        root: &Root,
        caller: &Caller<'_>,
        work: impl FnOnce(&FetchSession<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // An error in it is reported when the root is looked at.
        let policy = RootAndPolicy::of(root).map(|ground| ground.policy).unwrap_or_default();
        let bar = FetchBar::new(Instant::now(), self.has_bar);
        let progress = |progress: DepotProgress<'_>| bar.show(progress);
        let access = self.options.access(&self.surroundings, &policy, self.wait, caller.interrupt, &progress);
        work(&FetchSession::new(access))
    }
}

/// A request to apply patches that are named by their paths or addresses, with how the latter are reached.
#[derive(Clone, Debug)]
pub(crate) struct OperandCommand {
    pub(crate) apply: ApplyRequest,
    /// The choices for a set of patches; the defaults if no set is asked for.
    pub(crate) choices: SetRequest,
    pub(crate) fetching: Fetching,
}

impl OperandCommand {
    /// Applies the patches, what is named by an address fetched before.
    fn carry_out(&self, root: &Root, caller: &Caller<'_>) -> Result<ApplyReport, Failure> {
        let mut apply = inside_root(root, &self.apply);
        self.fetching.with_session(root, caller, |session| {
            vouched_for(root, &apply)?;
            for patch in apply.patches.iter_mut().filter(|patch| is_address(patch.as_os_str())) {
                *patch = fetch_operand(patch.as_os_str(), session)?;
            }
            apply_operands(root, &apply, &self.choices, Some(session), caller)
        })
    }
}

/// Refuses patches that are named by their addresses on a network, if nothing vouches for what comes from there. A policy
/// that cannot be read is reported when the patches are applied.
fn vouched_for(root: &Root, apply: &ApplyRequest) -> Result<(), Failure> {
    let Some(address) = apply.patches.iter().find(|patch| is_on_network(patch.as_os_str())) else {
        return Ok(());
    };
    // It is shown without the password that it must not have.
    let address = Address::parse(&address.to_string_lossy()).map_err(DepotError::from)?;
    let Ok(ground) = RootAndPolicy::of(root) else { return Ok(()) };
    let demands = demands(&ground, &apply.signature)?;
    must_be_vouched_for(&ground, &demands, &apply.signature, &address.to_string())
}

/// A request to apply patches of a depot, with how that is reached.
#[derive(Clone, Debug)]
pub(crate) struct SetCommand {
    pub(crate) application: SetApplication,
    pub(crate) fetching: Fetching,
    pub(crate) codes: EndCodes,
}

impl SetCommand {
    fn carry_out(
        &self,
        root: &Root,
        caller: &Caller<'_>,
        work: impl FnOnce(&Root, &SetApplication, &FetchSession<'_>, &Caller<'_>) -> Result<ApplyReport, Failure>,
    ) -> Result<ApplyReport, Failure> {
        self.fetching.with_session(root, caller, |session| {
            let apply = inside_root(root, &self.application.apply);
            let application = SetApplication { apply, ..self.application.clone() };
            work(root, &application, session, caller)
        })
    }
}

/// Prints the report of a command in that command's words.
pub(crate) type PrintPatches = fn(&Root, &PatchesReport, &mut Output) -> anyhow::Result<()>;

/// The report about a root, with the words for it.
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

/// Carries a request out on the root that the command line names. `A` are the arguments of the command.
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

/// Runs the same on a root that is open.
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

/// Carries a request out on a root that is open.
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
    let result = call.change(root, command.name(), wait, |caller| request.carry_out(root, caller))?;
    let face = if call.program == PROGRAM { PatchFace::Verb } else { PatchFace::Classic };
    let report = PatchesReport::of(root, command, result, face, call.surroundings.began);
    Ok(report.of_plan(request.is_dry_run()).ending_with(request.codes()))
}

/// Returns the answer with a report.
pub(crate) fn reply_of(root: Root, report: PatchesReport, print: PrintPatches) -> Reply {
    Reply::about(&root.clone(), report.exit, WordedReport { report, root, print })
}
