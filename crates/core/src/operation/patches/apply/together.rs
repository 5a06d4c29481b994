//! All of several patches as one run, or none.

use super::combined::carry_out;
use super::gather::{GatheredOperand, gather};
use super::input::ApplyInput;
use super::operands::ApplyOperand;
use super::rehearse::rehearse_all;
use super::request::ApplyOutcome;
use super::runs::apply_all;
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::session::Session;
use patchadm_planning::plan::concern::brings_scripts;
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};
use std::collections::BTreeSet;

/// Applies all operands with one commit; where one cannot be part of that, nothing is changed.
pub(super) fn apply_together(
    session: &Session<'_>,
    input: &ApplyInput<'_>,
    request: &PatchScriptRequest,
    operands: &[&ApplyOperand],
) -> Vec<ApplyOutcome> {
    if operands.len() < 2 {
        return apply_all(session, input, request, operands);
    }
    match one_run(input, operands) {
        Err(refused) => refused,
        Ok(gathered) => carry_out(session, gathered).unwrap_or_else(|bad| refuse_sources(operands, &bad)),
    }
}

/// The outcomes that [`apply_together`] would have.
pub(super) fn rehearse_together(
    input: ApplyInput<'_>,
    operands: &[&ApplyOperand],
) -> Result<Vec<ApplyOutcome>, Failure> {
    if operands.len() > 1
        && let Err(refused) = one_run(&input, operands)
    {
        return Ok(refused);
    }
    let planned = rehearse_all(input, operands)?;
    match planned.iter().find(|outcome| outcome.result.is_err()).map(|outcome| outcome.id.clone()) {
        None => Ok(planned),
        Some(stopper) => {
            let outcome = |(outcome, operand): (ApplyOutcome, &&ApplyOperand)| match outcome.result {
                Err(_) => outcome,
                Ok(_) => operand.not_without(&stopper),
            };
            Ok(planned.into_iter().zip(operands).map(outcome).collect())
        }
    }
}

/// The plans of all operands as one run; the outcomes of all where they cannot be one.
fn one_run<'o>(
    input: &ApplyInput<'o>,
    operands: &'o [&'o ApplyOperand],
) -> Result<Vec<GatheredOperand<'o>>, Vec<ApplyOutcome>> {
    let gathered = gather(input, operands, (0, &BTreeSet::new()), &mut input.keeper());
    let is_whole = gathered.len() == operands.len();
    if is_whole && gathered.iter().all(|one| one.planned.is_ok()) {
        return Ok(gathered);
    }
    let mut failures: Vec<Option<Failure>> = gathered.into_iter().map(|one| one.planned.err()).collect();
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
    Err(refuse_all(operands, failures))
}

/// The first operand whose scripts have to run.
fn first_with_scripts(input: &ApplyInput<'_>, operands: &[&ApplyOperand]) -> Option<usize> {
    let installed = input.packages().ok()?;
    operands
        .iter()
        .position(|operand| brings_scripts(&operand.device.image, &installed, &input.options.scripts))
}

/// Operands of which some turned out not to be what they say they are.
fn refuse_sources(operands: &[&ApplyOperand], bad: &[usize]) -> Vec<ApplyOutcome> {
    let failure = |place: usize, operand: &ApplyOperand| {
        bad.contains(&place).then(|| operand.device.source.verify(&operand.device.image).err()).flatten()
    };
    let failures = operands.iter().enumerate().map(|(place, one)| failure(place, one).map(Failure::from));
    refuse_all(operands, failures.collect())
}

/// Each with its own failure, the others not tried because of the first.
fn refuse_all(operands: &[&ApplyOperand], failures: Vec<Option<Failure>>) -> Vec<ApplyOutcome> {
    let first = failures.iter().position(Option::is_some).and_then(|place| operands.get(place));
    let first = first.map(|operand| operand.shown_id()).unwrap_or_default();
    let failures =
        failures.into_iter().map(|failure| failure.unwrap_or_else(|| Failure::NotWithout(first.clone())));
    operands.iter().zip(failures).map(|(operand, failure)| operand.refused(failure)).collect()
}
