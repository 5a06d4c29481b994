//! `patchrm`: patches are taken back, each a run of its own, from their verified undo archives.
//!
//! ```text
//!   session ─► order ─► all planned ─► patch by patch: planning ─► single ─► commit
//! ```

mod all_or_nothing;
mod brought;
pub(in crate::operation) mod by_pkgadd;
mod heir;
mod hooks;
mod input;
mod known;
mod later;
mod order;
mod planning;
mod preview;
mod promotion_hooks;
mod request;
mod rules;
mod selection;
mod single;
mod together;
mod undo;
mod way_out;
mod what_first;
mod with_scripts;

pub(in crate::operation) use input::KnownArchives;
pub(in crate::operation) use planning::rehearse;
pub use preview::{BackoutPreview, ContentPair, LARGEST_COMPARED, PreviewedObject, preview_backout};
pub use request::{BackOutOutcome, BackOutReport, BackOutRequest};
pub(in crate::operation) use undo::records_in;

use input::{BackOutInput, KnownRecords};
use order::dependents_first;
use planning::rehearse_all;
use selection::selected;
use single::back_out_one;
use together::{back_out_together, rehearse_together};

use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::foreseen_root::plan_on_foreseen_root;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

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
    let session = Session::begin(ground.naming(request.moved_to.as_deref()), caller)?.going_back();
    must_agree(root, |_| false)?;
    let read = KnownRecords::of(&session.ground)?;
    let ids = selected(&session.ground, request, &read.applied, ids)?;
    let ids = dependents_first(&session.ground, &read.applied, ids);
    let mut read = Some(read);
    if ids.len() > 1 {
        let input = BackOutInput::of(&session.ground, request, &caller.now)?;
        let together = back_out_together(&session, (&input, &request.scripts.settings), &ids);
        if let Ok(Some(patches)) = together {
            return Ok(session_report(session, patches));
        }
        let patches = rehearse_all(&session.ground, request, &ids, &caller.now)?;
        let patches = one_by_one(patches, request, together.err());
        if patches.iter().any(|planned| planned.result.is_err()) {
            return Ok(session_report(session, patches));
        }
    }
    let mut patches = Vec::new();
    let mut failed = None;
    for id in &ids {
        if let Some(failed) = &failed {
            patches.push(BackOutOutcome::refused(id, Failure::NotTried(String::clone(failed))));
            continue;
        }
        // What was read of the root holds until the root is changed.
        let input = BackOutInput::of(&session.ground, request, &caller.now)?.knowing(read.take());
        let backed_out = back_out_one(&session, &input, &request.scripts, id).with_way_out(&input);
        if backed_out.result.is_err() {
            failed = Some(id.to_string());
        }
        patches.push(backed_out);
    }
    Ok(session_report(session, patches))
}

/// What was done on a locked root.
fn session_report(session: Session<'_>, patches: Vec<BackOutOutcome>) -> BackOutReport {
    let exchanges = session.exchanged();
    BackOutReport { recovered: session.recovered, patches, exchanges, refused: None }
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
        must_agree(root, |_| false)?;
        let read = KnownRecords::of(&ground)?;
        let ids = selected(&ground, request, &read.applied, ids.clone())?;
        let ids = dependents_first(&ground, &read.applied, ids);
        let input = BackOutInput::of(&ground, request, &caller.now)?;
        let together = if ids.len() > 1 { rehearse_together(&input, &ids) } else { Ok(None) };
        if let Ok(Some(patches)) = together {
            return Ok(patches);
        }
        let patches = rehearse_all(&ground, request, &ids, &caller.now)?;
        Ok(one_by_one(patches, request, together.err()))
    };
    must_be_directories(root, &caller.exchanges)?;
    let patches = without_lock(root, plan_all)?;
    let plans = patches.iter().filter_map(|one| Some((one.plan.as_ref()?, !one.scripts.is_empty())));
    let exchanges = foreseen(root, &caller.exchanges, plans)?;
    Ok(BackOutReport { patches, exchanges, ..BackOutReport::default() })
}

/// The outcomes of patches that are asked one by one, because there is no run of all of them: where that was refused and
/// none of them says why, the last one says it. Where they must be one run, none of them goes.
fn one_by_one(
    mut patches: Vec<BackOutOutcome>,
    request: &BackOutRequest,
    failure: Option<Failure>,
) -> Vec<BackOutOutcome> {
    let is_said = patches.iter().any(|patch| patch.result.is_err());
    if !is_said && failure.is_none() && request.all_or_nothing && patches.len() > 1 {
        return all_or_nothing::refused(patches);
    }
    if let (Some(failure), Some(last)) = (failure.filter(|_| !is_said), patches.last_mut()) {
        last.result = Err(failure);
        last.plan = None;
    }
    patches
}

/// The patches that are named, each once.
fn named(request: &BackOutRequest, policy: &Policy) -> Result<Vec<PatchId>, Failure> {
    let mut named: Vec<PatchId> = Vec::new();
    for id in &request.ids {
        let id = PatchId::parse(id, &policy.separator);
        let id = id.map_err(|error| Failure::BadId(error.to_string()))?;
        if !named.contains(&id) {
            named.push(id);
        }
    }
    Ok(named)
}
