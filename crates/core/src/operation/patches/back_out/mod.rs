//! `patchrm`: patches are taken back from their verified undo archives.
//!
//! ```text
//!   session ─► order ─► planner: one run of all, or patch by patch, all foreseen first ─► commit
//! ```

mod brought;
pub(in crate::operation) mod by_pkgadd;
pub(in crate::operation::patches) mod heir;
mod hooks;
pub(in crate::operation::patches) mod input;
mod known;
mod later;
pub(in crate::operation) mod locked;
mod one_run;
mod order;
mod perform;
mod planner;
mod planning;
mod preview;
mod promotion_hooks;
mod request;
mod rules;
mod selection;
pub(in crate::operation::patches) mod undo;
mod way_out;
mod what_first;
mod with_scripts;

pub(in crate::operation) use input::KnownArchives;
pub(in crate::operation) use planning::rehearse;
pub use preview::{BackoutPreview, ContentPair, LARGEST_COMPARED, PreviewedObject, preview_backout};
pub use request::{BackOutOutcome, BackOutReport, BackOutRequest};

use input::KnownRecords;
use locked::{back_out_named, named};
use order::dependents_first;
use planner::back_out_all;
use selection::selected;

use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::foreseen_root::plan_on_foreseen_root;
use crate::operation::patches::preparation;
use crate::operation::patches::prepared::PreparationRequest;
use crate::operation::run::Execution;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use crate::operation::trial::begin::{begin_change, must_be_off_trial};
use crate::operation::trial::change::TrialChange;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::trial;
use patchadm_rootfs::Root;

/// Backs patches out. An error is one of the root as a whole; what is wrong with one patch is in its part of the report.
/// Of several patches all are planned first: where one cannot go, nothing is changed. The first that fails while it is
/// backed out ends the command.
pub fn back_out_patches(
    root: &Root,
    request: &BackOutRequest,
    caller: &Caller<'_>,
) -> Result<BackOutReport, Failure> {
    if request.dry_run {
        let plan = || {
            let (report, recovered) =
                plan_on_foreseen_root(root, |root| plan_backouts(root, request, caller))?;
            Ok(BackOutReport { recovered, ..report })
        };
        return shown_to_anybody(root, plan, BackOutReport::but);
    }
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?;
    let ids = named(request, &ground.policy)?;
    must_have_database(root)?;
    let session = begin(ground.naming(request.moved_to.as_deref()), request, caller)?.going_back();
    must_agree(root, caller.interrupt, |_| false)?;
    let preparation = preparation::carry_out(&session, &of_refresh(request), &Vec::new)?;
    let Some(ids) = preparation.staying(ids) else {
        return Ok(BackOutReport { recovered: session.recovered, preparation, ..BackOutReport::default() });
    };
    let patches = back_out_named(&session, request, ids)?;
    let exchanges = session.exchanged();
    Ok(BackOutReport { recovered: session.recovered, preparation, patches, exchanges, refused: None })
}

/// Locks the root. The run on trial may be undone at any time, also after its time is up; nothing else is backed out
/// beside it.
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
    // It may have ended while the lock was waited for.
    let record = trial(&RecordView::live(&session.ground.root))?.filter(|record| record.run == undone.name);
    Ok(match record {
        Some(record) => session.changing_trial(TrialChange::ending(&record, "undone", &record.patches)),
        None => session,
    })
}

/// What [`back_out_patches`] would do.
fn plan_backouts(
    root: &Root,
    request: &BackOutRequest,
    caller: &Caller<'_>,
) -> Result<BackOutReport, Failure> {
    let ground = RootAndPolicy::of(root)?;
    let ids = named(request, &ground.policy)?;
    must_have_database(root)?;
    let ground = ground.naming(request.moved_to.as_deref()).for_who_may()?;
    let plan_all = || {
        must_be_off_trial(root, caller, request.undone.as_ref().map(|run| run.name.as_str()))?;
        must_agree(root, caller.interrupt, |_| false)?;
        let preparation = preparation::foresee(&ground, &of_refresh(request), &Vec::new, caller)?;
        let Some(ids) = preparation.foreseeable(ids.clone()) else { return Ok((preparation, Vec::new())) };
        let read = KnownRecords::of(&ground)?;
        let ids = selected(&ground, request, &read.applied, ids)?;
        let ids = dependents_first(&ground, &read.applied, ids);
        let patches = back_out_all((&ground, request, caller), &ids, read, Execution::Foresee)?;
        Ok((preparation, patches))
    };
    must_be_directories(root, &caller.exchanges)?;
    let (preparation, patches) = without_lock(root, plan_all)?;
    let plans = patches.iter().filter_map(|one| Some((one.plan.as_ref()?, !one.scripts.is_empty())));
    let exchanges = foreseen(root, &caller.exchanges, plans)?;
    Ok(BackOutReport { preparation, patches, exchanges, ..BackOutReport::default() })
}

fn of_refresh(request: &BackOutRequest) -> PreparationRequest {
    PreparationRequest { refresh: request.refresh, ..PreparationRequest::default() }
}
