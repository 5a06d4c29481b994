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
mod single;
mod with_scripts;

pub use request::{ApplyOutcome, ApplyReport, ApplyRequest};

use input::ApplyInput;
use operands::read_operands;
use rehearse::rehearse;
use runs::apply_all;

use crate::operation::failure::Failure;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, without_lock,
};
use patchadm_changeset::transaction::Recovered;
use patchadm_rootfs::Root;

/// Applies patches. An error is one of the root as a whole; what is wrong with one patch is in its part of the report.
pub fn apply_patches(
    root: &Root,
    request: &ApplyRequest,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    if !request.dry_run {
        may_change(root)?;
    }
    let ground = RootAndPolicy::of(root)?;
    let (operands, mut patches) = read_operands(&request.patches, &ground.policy.separator);
    if operands.is_empty() {
        return Ok(ApplyReport { recovered: Recovered::Nothing, patches });
    }
    must_have_database(root)?;
    if request.dry_run {
        let plan_all = || {
            must_agree(root, |_| false)?;
            let input = ApplyInput::of(&ground, request, &caller.now, &operands)?;
            Ok(operands.iter().map(|operand| rehearse(&input, operand)).collect::<Vec<_>>())
        };
        patches.extend(without_lock(root, plan_all)?);
        return Ok(ApplyReport { recovered: Recovered::Nothing, patches });
    }
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    let session = Session::begin(ground.naming(undo_dir.as_deref()), caller)?;
    must_agree(root, |_| false)?;
    let input = ApplyInput::of(&session.ground, request, &caller.now, &operands)?;
    patches.extend(apply_all(&session, &input, &request.scripts, &operands));
    Ok(ApplyReport { recovered: session.recovered, patches })
}
