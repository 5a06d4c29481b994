//! `patchadd`: one patch after another, planned against what the one before left.
//!
//! ```text
//!   operands ─► session ─► runs: as many patches as can be one run ─┬─► gather ─► combined ─┐
//!                           └─◄─────────────────────────────────────┴─► single ─────────────┴─► commit
//! ```
//! Patches without scripts of their own that follow one another are one run; one with scripts is a run of its own.

mod chosen;
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
mod together;
mod with_scripts;

pub use chosen::{ChosenPatch, ChosenPatches};
pub use request::{ApplyOutcome, ApplyReport, ApplyRequest, SetMembership};
pub use signatures::{SignatureRequest, demands};

use input::ApplyInput;
pub(super) use operands::is_set;
use operands::{ApplyOperand, read_chosen, read_operands};
use rehearse::rehearse_all;
use runs::apply_all;
use together::{apply_together, rehearse_together};

use crate::operation::failure::Failure;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use patchadm_rootfs::Root;

/// Applies patches. An error is one of the root as a whole, or that an operand is no patch but a set of them; what is wrong with one patch is in its part of the report.
pub fn apply_patches(
    root: &Root,
    request: &ApplyRequest,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    apply_operands(root, request, None, caller, &|_| Ok(()))
}

/// The same for patches that were chosen before. `locked` is called as soon as the root is locked.
pub(super) fn apply_chosen(
    root: &Root,
    request: &ApplyRequest,
    chosen: &ChosenPatches,
    caller: &Caller<'_>,
    locked: &dyn Fn(&Session<'_>) -> Result<(), Failure>,
) -> Result<ApplyReport, Failure> {
    apply_operands(root, request, Some(chosen), caller, locked)
}

fn apply_operands(
    root: &Root,
    request: &ApplyRequest,
    chosen: Option<&ChosenPatches>,
    caller: &Caller<'_>,
    locked: &dyn Fn(&Session<'_>) -> Result<(), Failure>,
) -> Result<ApplyReport, Failure> {
    if request.dry_run {
        return shown_to_anybody(root, || plan_patches(root, request, chosen, caller), ApplyReport::but);
    }
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?;
    let (operands, mut patches) = read(&ground, request, chosen)?;
    if operands.is_empty() {
        return Ok(ApplyReport { patches, ..ApplyReport::default() });
    }
    must_have_database(root)?;
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    let session = Session::begin(ground.naming(undo_dir.as_deref()), caller)?;
    locked(&session)?;
    must_agree(root, |_| false)?;
    let input = ApplyInput::of(&session.ground, request, chosen, caller, &operands)?;
    let apply = if is_together(chosen) { apply_together } else { apply_all };
    patches.extend(apply(&session, &input, &request.scripts, &operands));
    Ok(ApplyReport { recovered: session.recovered, patches, refused: None })
}

/// Reads the operands; of those that are one transaction or nothing none where one cannot be read.
fn read(
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    chosen: Option<&ChosenPatches>,
) -> Result<(Vec<ApplyOperand>, Vec<ApplyOutcome>), Failure> {
    let demands = demands(ground, &request.signature)?;
    let separator = &ground.policy.separator;
    let Some(patches) = chosen else { return read_operands(request, separator, &demands) };
    let (operands, mut unread) = read_chosen(request, patches, separator, &demands);
    match unread.first().map(|first| first.id.clone()) {
        Some(first) if is_together(chosen) => {
            let failure = || Failure::NotWithout(first.clone());
            unread.extend(operands.iter().map(|operand| operand.refused(failure())));
            Ok((Vec::new(), unread))
        }
        _ => Ok((operands, unread)),
    }
}

fn is_together(chosen: Option<&ChosenPatches>) -> bool {
    chosen.is_some_and(|chosen| chosen.all_or_nothing)
}

/// What [`apply_patches`] would do.
fn plan_patches(
    root: &Root,
    request: &ApplyRequest,
    chosen: Option<&ChosenPatches>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let ground = RootAndPolicy::of(root)?;
    let (operands, mut patches) = read(&ground, request, chosen)?;
    if !operands.is_empty() {
        must_have_database(root)?;
        let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
        let ground = ground.naming(undo_dir.as_deref()).for_who_may()?;
        let rehearse = if is_together(chosen) { rehearse_together } else { rehearse_all };
        let plan_all = || {
            must_agree(root, |_| false)?;
            rehearse(ApplyInput::of(&ground, request, chosen, caller, &operands)?, &operands)
        };
        patches.extend(without_lock(root, plan_all)?);
    }
    Ok(ApplyReport { patches, ..ApplyReport::default() })
}
