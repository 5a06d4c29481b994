//! `patchadd`: one patch after another, planned against what the one before left.
//!
//! ```text
//!   operands ─► session ─► runs: as many patches as can be one run ─┬─► gather ─► combined ─┐
//!                           └─◄─────────────────────────────────────┴─► single ─────────────┴─► commit
//! ```
//! Patches without scripts of their own that follow one another are one run; one with scripts is a run of its own.

mod combined;
mod gather;
mod input;
mod operands;
mod planning;
mod rehearse;
mod request;
mod runs;
mod signatures;
mod single;
mod with_scripts;

pub use request::{ApplyOutcome, ApplyReport, ApplyRequest};
pub use signatures::{SignatureRequest, demands};

use input::ApplyInput;
use operands::read_operands;
use rehearse::rehearse_all;
use runs::apply_all;

use crate::operation::failure::Failure;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use patchadm_rootfs::Root;

/// Applies patches. An error is one of the root as a whole; what is wrong with one patch is in its part of the report.
pub fn apply_patches(
    root: &Root,
    request: &ApplyRequest,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    if request.dry_run {
        return shown_to_anybody(root, || plan_patches(root, request, caller), ApplyReport::but);
    }
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?;
    let demands = demands(&ground, &request.signature)?;
    let (operands, mut patches) = read_operands(request, &ground.policy.separator, &demands);
    if operands.is_empty() {
        return Ok(ApplyReport { patches, ..ApplyReport::default() });
    }
    must_have_database(root)?;
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    let session = Session::begin(ground.naming(undo_dir.as_deref()), caller)?;
    must_agree(root, |_| false)?;
    let input = ApplyInput::of(&session.ground, request, &caller.now, &operands)?;
    patches.extend(apply_all(&session, &input, &request.scripts, &operands));
    Ok(ApplyReport { recovered: session.recovered, patches, refused: None })
}

/// What [`apply_patches`] would do.
fn plan_patches(root: &Root, request: &ApplyRequest, caller: &Caller<'_>) -> Result<ApplyReport, Failure> {
    let ground = RootAndPolicy::of(root)?;
    let demands = demands(&ground, &request.signature)?;
    let (operands, mut patches) = read_operands(request, &ground.policy.separator, &demands);
    if !operands.is_empty() {
        must_have_database(root)?;
        let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
        let ground = ground.naming(undo_dir.as_deref()).for_who_may()?;
        let plan_all = || {
            must_agree(root, |_| false)?;
            rehearse_all(ApplyInput::of(&ground, request, &caller.now, &operands)?, &operands)
        };
        patches.extend(without_lock(root, plan_all)?);
    }
    Ok(ApplyReport { patches, ..ApplyReport::default() })
}
