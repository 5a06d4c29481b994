//! `patchadm remove` and patchrm(1M): backs patches out from verified undo archives.
//!
//! ```text
//!   session ─► order ─► planner: one run of all, or patch by patch, all foreseen first ─► commit
//! ```

pub(in crate::operation) mod by_pkgadd;
pub(in crate::operation::patches) mod input;
pub(in crate::operation) mod locked;
mod planning;
mod request;
pub(in crate::operation::patches) mod undo;

pub(in crate::operation) use input::KnownArchives;
pub(in crate::operation) use planning::rehearse;
pub use request::{BackOutReport, BackOutRequest};

use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::plan_file::{add_changes, found, left_out};
use crate::operation::patches::outcome::PatchOutcome;
use crate::operation::patches::preparation::{PreparedRoot, prepare};
use crate::operation::patches::prepared::PreparationRequest;
use crate::operation::plan_file::PlanFileRequest;
use crate::operation::root_and_policy::plan_on_foreseen_root;
use crate::operation::session::{
    Caller, Execution, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use crate::operation::trial::request::TrialChange;
use crate::operation::trial::{begin_change, must_be_off_trial};
use locked::{back_out_named, named};
use patchadm_inputs::database::history::trial;
use patchadm_inputs::database::{RecordView, marker};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_planning::plan::Plan;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

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
            let ids = named(request, &ground)?;
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
    let ids = named(request, &ground)?;
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
    outcomes: &[PatchOutcome],
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
