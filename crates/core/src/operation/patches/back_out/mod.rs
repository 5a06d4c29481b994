//! `patchadm remove` and patchrm(1M): backs patches out from verified undo archives.
//!
//! ```text
//!   session ─► order ─► planner: one run of all, or patch by patch, all foreseen first ─► commit
//! ```

pub(in crate::operation) mod by_pkgadd;
pub(in crate::operation) mod locked;
pub(in crate::operation::patches) mod planning;
mod selection;
pub(in crate::operation::patches) mod undo;

use std::path::PathBuf;

use crate::operation::changed_texts::ChangedTexts;
use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::apply::plan_file::{add_changes, found, left_out};
use crate::operation::patches::preparation::{PreparationReport, PreparationRequest, PreparedRoot, prepare};
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::patches::undo::UndoneRun;
use crate::operation::plan_file::PlanFileRequest;
use crate::operation::root_and_policy::plan_on_foreseen_root;
use crate::operation::run::Execution;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use crate::operation::trial::{TrialChange, begin_change, must_be_off_trial};
use locked::{back_out_named, named};
use patchadm_changeset::transaction::{ExchangeReport, ExchangeRequest, Receipt, Recovered};
use patchadm_inputs::database::history::trial;
use patchadm_inputs::database::{RecordView, marker};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::{MovedObject, PatchListChange, PatchPlan};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

pub(in crate::operation) use planning::{KnownArchives, rehearse};

#[derive(Clone, Debug, Default)]
pub struct BackOutRequest {
    /// As typed.
    pub ids: Vec<String>,
    /// Even if superseded or obsoleted (`-f`).
    pub force: bool,
    /// Include patches that require them.
    pub with_dependents: bool,
    /// Back out all patches applied after this patch, date or run.
    pub down_to: Option<String>,
    /// One run, or nothing.
    pub all_or_nothing: bool,
    /// `ids` are the patches of this run.
    pub undone: Option<UndoneRun>,
    /// Directory of moved undo archives.
    pub moved_to: Option<PathBuf>,
    pub dry_run: bool,
    /// Report texts of changed files.
    pub texts: bool,
    /// For the history.
    pub note: Option<String>,
    /// Their changes should become visible at once.
    pub exchanges: Vec<ExchangeRequest>,
    pub scripts: PatchScriptRequest,
    pub shlibs: LibraryRequest,
    /// Refresh stale registrations first.
    pub refresh: bool,
    /// There is no file of it.
    pub plan_file: PlanFileRequest,
}

#[derive(Debug)]
pub struct BackOutOutcome {
    pub id: String,
    /// `None` if refused.
    pub plan: Option<Plan>,
    pub scripts: Vec<PlannedScript>,
    /// Edited objects that it replaces or deletes.
    pub replaced_edits: Vec<ObjectPath>,
    /// Recorded objects that were missing and are recreated.
    pub missing: Vec<ObjectPath>,
    /// Objects whose undo data moves to a patch that stays.
    pub moved: Vec<MovedObject>,
    pub lists: Vec<PatchListChange>,
    /// Dry run only, on request.
    pub texts: ChangedTexts,
    /// `None` if not examined.
    pub libraries: Option<LibraryReport>,
    /// A dry run succeeds without a receipt.
    pub result: Result<Option<Receipt>, Failure>,
}

/// In order of removal.
#[derive(Debug, Default)]
pub struct BackOutReport {
    pub recovered: Recovered,
    pub preparation: PreparationReport,
    pub patches: Vec<BackOutOutcome>,
    /// Per directory, actual or projected.
    pub exchanges: Vec<ExchangeReport>,
    /// Dry run only, on request.
    pub plan_file: Option<Box<PlanFile>>,
    /// Why the caller could not perform the plan of a dry run: the root is read-only, or belongs to somebody else.
    pub refused: Option<Failure>,
}

impl BackOutOutcome {
    fn of(id: &PatchId, patch_plan: PatchPlan, result: Result<Option<Receipt>, Failure>) -> Self {
        let scripts = patch_plan.scripts();
        let PatchPlan { plan, replaced_edits, missing, moved, lists, libraries, .. } = patch_plan;
        let texts = ChangedTexts::new();
        Self {
            id: id.to_string(),
            plan: Some(plan),
            scripts,
            replaced_edits,
            missing,
            moved,
            lists,
            texts,
            libraries,
            result,
        }
    }

    fn refused(id: &impl ToString, failure: Failure) -> Self {
        Self {
            id: id.to_string(),
            plan: None,
            scripts: Vec::new(),
            replaced_edits: Vec::new(),
            missing: Vec::new(),
            moved: Vec::new(),
            lists: Vec::new(),
            texts: ChangedTexts::new(),
            libraries: None,
            result: Err(failure),
        }
    }
}

/// Errors concern the whole root; a patch's error is in its report. All patches are planned first: if one cannot go,
/// nothing is changed. The first failure during a backout ends the command.
pub fn back_out_patches(
    root: &Root,
    request: &BackOutRequest,
    caller: &Caller<'_>,
) -> Result<BackOutReport, Failure> {
    let undo_dir = request.moved_to.as_deref();
    if request.dry_run {
        let shown = |root: &Root| {
            let ground = RootAndPolicy::of(root)?;
            let ids = named(request, &ground.policy)?;
            must_have_database(root)?;
            let ground = ground.naming(undo_dir).for_who_may()?;
            must_be_directories(root, &caller.exchanges)?;
            without_lock(root, || {
                must_be_off_trial(root, caller, request.undone.as_ref().map(|run| run.name.as_str()))?;
                back_out_of(&ground, request, ids.clone(), caller, Execution::Foresee)
            })
        };
        let plan = || {
            let (report, recovered) = plan_on_foreseen_root(root, shown)?;
            Ok(BackOutReport { recovered, ..report })
        };
        return shown_to_anybody(root, plan, |report, refused| BackOutReport {
            refused: Some(refused),
            ..report
        });
    }
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?;
    let ids = named(request, &ground.policy)?;
    must_have_database(root)?;
    let session = begin(ground.naming(undo_dir), request, caller)?.reversing_exchanges();
    if request.plan_file.expected.is_some() {
        // Refuses a plan that differs.
        back_out_of(&session.ground, request, ids.clone(), caller, Execution::Foresee)?;
    }
    let report = back_out_of(&session.ground, request, ids, caller, Execution::Perform(&session))?;
    Ok(BackOutReport { recovered: session.recovered, ..report })
}

/// A run on trial may be undone at any time, even after its deadline; nothing else is backed out beside it.
fn begin<'a>(
    ground: RootAndPolicy,
    request: &BackOutRequest,
    caller: &'a Caller<'a>,
) -> Result<Session<'a>, Failure> {
    let Some(undone) = &request.undone else { return begin_change(ground, caller) };
    let record = trial(&RecordView::live(&ground.root))?.filter(|record| record.run == undone.name);
    if record.is_none() {
        return begin_change(ground, caller);
    }
    let session = Session::begin(ground, caller)?;
    // The trial may have ended while this waited for the lock.
    let record = trial(&RecordView::live(&session.ground.root))?.filter(|record| record.run == undone.name);
    Ok(match record {
        Some(record) => session.changing_trial(TrialChange::ending(&record, "undone", &record.patches)),
        None => session,
    })
}

/// The root is either locked or only shown.
fn back_out_of(
    ground: &RootAndPolicy,
    request: &BackOutRequest,
    ids: Vec<PatchId>,
    caller: &Caller<'_>,
    execution: Execution<'_>,
) -> Result<BackOutReport, Failure> {
    let root = &ground.root;
    must_agree(root, caller.interrupt, |_| false)?;
    let refresh = PreparationRequest { refresh: request.refresh, ..PreparationRequest::default() };
    let PreparedRoot { report: preparation, after } = prepare(ground, execution, &refresh, &[], caller)?;
    let staying = match execution {
        Execution::Foresee => preparation.foreseeable(ids),
        Execution::Perform(_) => preparation.staying(ids),
    };
    let Some(ids) = staying else { return Ok(BackOutReport { preparation, ..BackOutReport::default() }) };
    let ground = after.as_ref().unwrap_or(ground);
    let patches = back_out_named((ground, request, caller), ids, execution)?;
    let mut report = BackOutReport { preparation, patches, ..BackOutReport::default() };
    match execution {
        Execution::Foresee => {
            let plans = report.patches.iter();
            let plans = plans.filter_map(|one| Some((one.plan.as_ref()?, !one.scripts.is_empty())));
            report.exchanges = foreseen(root, &caller.exchanges, plans)?;
            if request.plan_file.is_made() {
                let plan = made_plan(ground, &request.plan_file, &report.patches)?;
                request.plan_file.must_hold(&plan)?;
                report.plan_file = request.plan_file.in_report.then(|| Box::new(plan));
            }
        }
        Execution::Perform(session) => report.exchanges = session.exchanged(),
    }
    Ok(report)
}

fn made_plan(
    ground: &RootAndPolicy,
    request: &PlanFileRequest,
    outcomes: &[BackOutOutcome],
) -> Result<PlanFile, Failure> {
    let mut plan = PlanFile::new(request.command.to_owned(), request.options.clone());
    plan.root = marker(&ground.root)?;
    let applied = ground.recorded(&ground.packages()?)?;
    plan.applied = applied.iter().map(|patch| patch.id.to_string()).collect();
    let mut plans: Vec<&Plan> = Vec::new();
    for outcome in outcomes {
        plan.patches.push(left_out(&outcome.id, outcome.result.as_ref().err()));
        if let (Some(made), Ok(_)) = (&outcome.plan, &outcome.result) {
            let with = (outcome.scripts.as_slice(), outcome.libraries.as_ref());
            add_changes(&mut plan, &outcome.id, made, with);
            plans.push(made);
        }
    }
    let expected = request.expected.as_ref().map(|expected| &expected.plan);
    plan.found = found(&ground.root, &plans, expected)?;
    Ok(plan)
}
