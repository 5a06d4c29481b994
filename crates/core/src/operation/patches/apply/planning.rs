//! The plan of one patch: surveyed, compared with what is there, and decided by the planner.

use std::collections::BTreeMap;

use super::input::ApplyInput;
use super::operands::ApplyOperand;
use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use crate::operation::identical::mark_identical;
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::patches::undo_directory;
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::concern::delivered_files;
use patchadm_planning::plan::patch::apply::apply;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::patch::validate::ApplyOptions;
use patchadm_planning::plan::refusal::Reason;
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Plans a patch against the root as it is, or will be by then; with the inventory that it was planned with. `answers` are those of
/// checkinstall scripts, by the places of their packages.
pub(super) fn plan(
    input: &ApplyInput<'_>,
    operand: &ApplyOperand,
    answers: BTreeMap<usize, Params>,
) -> Result<(PatchPlan, Inventory), Failure> {
    let installed = input.packages()?;
    let touched = operand.touched(&installed);
    let mut inventory = input.survey(installed, &touched)?;
    let applied = input.ground.applied(&inventory);
    let scripted = plan_against(input, operand, answers, &mut inventory, &applied)?;
    Ok((scripted, inventory))
}

/// Plans a patch with an inventory that holds all that it touches, and the patch records of its packages.
pub(super) fn plan_against(
    input: &ApplyInput<'_>,
    operand: &ApplyOperand,
    answers: BTreeMap<usize, Params>,
    inventory: &mut Inventory,
    applied: &Result<AppliedPatches, Reason>,
) -> Result<PatchPlan, Failure> {
    let OpenDevice { source, image, .. } = &operand.device;
    let files = delivered_files(image, &inventory.packages, inventory);
    inventory.identical.clear();
    mark_identical(source, image, files, (inventory, input.interrupt))?;
    let options = ApplyOptions { answers, ..input.options.clone() };
    if let Some(directory) = &options.undo_dir {
        undo_directory::must_be_usable(&input.ground.host, directory)?;
        undo_directory::must_be_inside_stage(&input.ground.root, directory)?;
    }
    let applied = applied.as_ref().map_err(Clone::clone);
    let (policy, interrupt) = (&input.ground.policy, input.interrupt);
    let mut planned = apply(image, inventory, applied, policy, &options, input.now, interrupt)?;
    planned.plan.notes.extend(made_good(input, &planned.plan.patches, &inventory.marker));
    Ok(planned)
}

/// Returns notes about lost fixes that patches, or patches of the same base, bring back.
fn made_good(input: &ApplyInput<'_>, ids: &[String], marker: &str) -> Vec<String> {
    let separator = &input.ground.policy.separator;
    let ids: Vec<PatchId> = ids.iter().filter_map(|id| PatchId::parse(id, separator).ok()).collect();
    let is_again = |lost: &OvertakenPatch| {
        let lost = PatchId::parse(&lost.patch, separator);
        lost.is_ok_and(|lost| ids.iter().any(|id| id.same_base(&lost) && *id >= lost))
    };
    // Where the list cannot be read, nothing is said of it.
    let list = overtaken_patches(&input.ground.root, marker).unwrap_or_default();
    let lost = list.patches.iter().filter(|one| one.state.is_lost() && is_again(one));
    lost.map(|one| format!("the fix of {} was {}; this brings it back", one.patch, one.told())).collect()
}
