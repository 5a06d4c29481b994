//! All of several patches as one run, or none of them.

use super::batch::PlannedOperand;
use super::input::ApplyInput;
use super::operands::ApplyOperand;
use crate::operation::failure::Failure;
use patchadm_planning::plan::concern::brings_scripts;
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};

/// The patches of a command as they were planned, or each refused, where they cannot all be one run.
pub(super) fn as_one_run<'o>(
    input: &ApplyInput<'_>,
    operands: &'o [&'o ApplyOperand],
    planned: Vec<PlannedOperand<'o>>,
) -> Vec<PlannedOperand<'o>> {
    let is_whole = planned.len() == operands.len();
    if is_whole && planned.iter().all(|one| one.planned.is_ok()) {
        return planned;
    }
    let mut failures: Vec<Option<Failure>> = planned.into_iter().map(|one| one.planned.err()).collect();
    if failures.iter().all(Option::is_none) {
        let scripted = first_with_scripts(input, operands);
        let reason = if scripted.is_some() { SetReason::OwnRun } else { SetReason::PlannedAfterwards };
        let place = scripted.unwrap_or(failures.len());
        failures.resize_with(operands.len(), || None);
        if let (Some(slot), Some(operand)) = (failures.get_mut(place), operands.get(place)) {
            let refusal = Reason::InSet(reason).of(Command::Patchadd, &operand.shown_id());
            *slot = Some(refusal.into());
        }
    }
    failures.resize_with(operands.len(), || None);
    let refused = refuse_all(operands, failures).into_iter();
    let all = operands.iter().zip(refused);
    all.map(|(operand, failure)| PlannedOperand { operand, planned: Err(failure) }).collect()
}

/// Each operand with its own failure, the others not tried because of the first.
pub(super) fn refuse_all(operands: &[&ApplyOperand], failures: Vec<Option<Failure>>) -> Vec<Failure> {
    let first = failures.iter().position(Option::is_some).and_then(|place| operands.get(place));
    let first = first.map(|operand| operand.shown_id()).unwrap_or_default();
    let failure = |failure: Option<Failure>| failure.unwrap_or_else(|| Failure::NotWithout(first.clone()));
    failures.into_iter().map(failure).collect()
}

/// The first operand whose scripts have to run.
fn first_with_scripts(input: &ApplyInput<'_>, operands: &[&ApplyOperand]) -> Option<usize> {
    let installed = input.packages().ok()?;
    operands
        .iter()
        .position(|operand| brings_scripts(&operand.device.image, &installed, &input.options.scripts))
}
