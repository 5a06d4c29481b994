//! The plan of one patch: surveyed, compared with what is there, and decided by the planner.

use std::collections::BTreeMap;

use super::input::ApplyInput;
use super::operands::ApplyOperand;
use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use crate::operation::identical::mark_identical;
use crate::operation::patches::undo_directory;
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::concern::delivered_files;
use patchadm_planning::plan::patch::apply::apply;
use patchadm_planning::plan::patch::apply_options::ApplyOptions;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::Reason;
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::AppliedPatches;

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
    let files = delivered_files(image, &inventory.packages);
    inventory.identical.clear();
    mark_identical(source, image, files, inventory)?;
    let options = ApplyOptions { answers, ..input.options.clone() };
    if let Some(directory) = &options.undo_dir {
        undo_directory::must_be_usable(&input.ground.host, directory)?;
        undo_directory::must_be_inside_stage(&input.ground.root, directory)?;
    }
    let applied = applied.as_ref().map_err(Clone::clone);
    Ok(apply(image, inventory, applied, &input.ground.policy, &options, input.now)?)
}
