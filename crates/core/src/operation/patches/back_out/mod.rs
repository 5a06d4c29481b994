//! `patchrm`: patches are taken back, each a run of its own, from their verified undo archives.
//!
//! ```text
//!   session ─► order ─► every archive usable ─► patch by patch: planning ─► single ─► commit
//! ```

pub(in crate::operation) mod by_pkgadd;
mod hooks;
mod input;
mod later;
mod order;
mod planning;
mod request;
mod rules;
mod single;
mod undo;
mod usable;
mod way_out;
mod with_scripts;

pub(in crate::operation) use input::KnownArchives;
pub(in crate::operation) use planning::rehearse;
pub use request::{BackOutOutcome, BackOutReport, BackOutRequest};
pub(in crate::operation) use undo::records_in;

use input::BackOutInput;
use order::dependents_first;
use planning::plan;
use single::back_out_one;
use usable::first_unusable;

use crate::operation::failure::Failure;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, without_lock,
};
use patchadm_changeset::transaction::Recovered;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// Backs patches out. An error is one of the root as a whole; what is wrong with one patch is in its part of the
/// report, and the patches behind it are not tried.
pub fn back_out_patches(
    root: &Root,
    request: &BackOutRequest,
    caller: &Caller<'_>,
) -> Result<BackOutReport, Failure> {
    if !request.dry_run {
        may_change(root)?;
    }
    let ground = RootAndPolicy::of(root)?;
    let ids = request.ids.iter().map(|id| {
        PatchId::parse(id, &ground.policy.separator).map_err(|error| Failure::BadId(error.to_string()))
    });
    let ids: Vec<PatchId> = ids.collect::<Result<_, _>>()?;
    must_have_database(root)?;
    if request.dry_run {
        let input = BackOutInput::of(&ground, request, &caller.now)?;
        let planned = |id| match plan(&input, id) {
            Ok(planned) => BackOutOutcome::of(id, planned.scripted, Ok(None)),
            Err(failure) => BackOutOutcome::refused(id, failure).with_way_out(&input),
        };
        let patches = without_lock(root, || {
            must_agree(root, |_| false)?;
            Ok(ids.iter().map(planned).collect())
        })?;
        return Ok(BackOutReport { recovered: Recovered::Nothing, patches });
    }
    let session = Session::begin(ground.naming(request.moved_to.as_deref()), caller)?;
    must_agree(root, |_| false)?;
    let ids = dependents_first(&session.ground, ids)?;
    if let Some(unusable) = first_unusable(&BackOutInput::of(&session.ground, request, &caller.now)?, &ids)? {
        return Ok(BackOutReport { recovered: session.recovered, patches: vec![unusable] });
    }
    let mut patches = Vec::new();
    for id in &ids {
        // What was read of the root holds until the root is changed.
        let input = BackOutInput::of(&session.ground, request, &caller.now)?;
        let backed_out = back_out_one(&session, &input, &request.scripts, id).with_way_out(&input);
        let failed = backed_out.result.is_err();
        patches.push(backed_out);
        if failed {
            break;
        }
    }
    Ok(BackOutReport { recovered: session.recovered, patches })
}
