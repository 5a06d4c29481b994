//! The plan of a command as a plan file has it, made of what a rehearsal says.

use super::operands::ApplyOperand;
use super::plan_parts::{found, planned_change, planned_libraries, planned_records};
use super::request::ApplyOutcome;
use super::wanted::{OrderedPatches, WantedPatches};
use crate::operation::depots::digest_of_patch;
use crate::operation::failure::Failure;
use crate::operation::plan_file::{PlanFault, PlanFileRequest};
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::marker;
use patchadm_inputs::format::plan_file::{PLANNED, PlanFile, PlannedPatch, PlannedScriptRun};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::resolve::{SetOutcome, SetVerdict};

/// Makes the plan of what was rehearsed.
pub(super) fn made_plan(
    ground: &RootAndPolicy,
    request: &PlanFileRequest,
    (wanted, ordered): (&WantedPatches, &OrderedPatches<'_>),
    outcomes: &[ApplyOutcome],
) -> Result<PlanFile, Failure> {
    let mut plan = PlanFile::new(request.command.to_owned(), request.options.clone());
    plan.root = marker(&ground.root)?;
    let applied = ground.recorded(&ground.packages()?)?;
    plan.applied = applied.iter().map(|patch| patch.id.to_string()).collect();
    for (operand, outcome) in ordered.operands.iter().zip(outcomes) {
        plan.patches.push(planned_patch(operand, outcome, ordered)?);
    }
    let unread = wanted.unread.iter().map(|outcome| left_out(&outcome.id, outcome.result.as_ref().err()));
    plan.patches.extend(unread);
    plan.patches.extend(wanted.left_out(ordered).map(of_verdict));
    for outcome in outcomes {
        take(&mut plan, outcome);
    }
    let expected = request.expected.as_ref().map(|expected| &expected.plan);
    let plans: Vec<&Plan> = outcomes.iter().filter_map(|outcome| outcome.plan.as_ref()).collect();
    plan.found = found(&ground.root, &plans, expected)?;
    Ok(plan)
}

/// A patch that was read.
fn planned_patch(
    operand: &ApplyOperand,
    outcome: &ApplyOutcome,
    ordered: &OrderedPatches<'_>,
) -> Result<PlannedPatch, Failure> {
    let path = operand.device.source.path();
    let sha256 = digest_of_patch(path).map_err(|error| PlanFault::Source { path: path.to_owned(), error })?;
    let source = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let because = ordered.because.get(&outcome.id).map(|by| format!("required by {by}"));
    let planned = match &outcome.result {
        Ok(_) => PlannedPatch {
            id: outcome.id.clone(),
            source: None,
            sha256: None,
            verdict: PLANNED.to_owned(),
            reason: because.unwrap_or_default(),
        },
        Err(failure) => left_out(&outcome.id, Some(failure)),
    };
    Ok(PlannedPatch { source: Some(source.display().to_string()), sha256: Some(sha256), ..planned })
}

/// A patch that does not go in.
fn left_out(id: &str, failure: Option<&Failure>) -> PlannedPatch {
    let (verdict, reason) = match failure {
        Some(Failure::Refused(refusal)) => (verdict_of(&refusal.reason), refusal.why()),
        Some(failure @ (Failure::NotTried(_) | Failure::NotWithout(_))) => ("not-tried", failure.to_string()),
        Some(failure) => ("failed", failure.to_string()),
        None => (PLANNED, String::new()),
    };
    PlannedPatch { id: id.to_owned(), source: None, sha256: None, verdict: verdict.to_owned(), reason }
}

/// A patch that the resolver left out.
fn of_verdict(verdict: &SetVerdict) -> PlannedPatch {
    let word = match &verdict.outcome {
        SetOutcome::Planned => PLANNED,
        SetOutcome::LeftOut(reason) => verdict_of(reason),
        SetOutcome::NotTried(_) => "not-tried",
    };
    PlannedPatch {
        id: verdict.id.clone(),
        source: None,
        sha256: None,
        verdict: word.to_owned(),
        reason: verdict.reason(),
    }
}

fn verdict_of(reason: &Reason) -> &'static str {
    reason.verdict(Command::Patchadd)
}

/// Takes what a patch changes, records and runs.
fn take(plan: &mut PlanFile, outcome: &ApplyOutcome) {
    let Some(made) = outcome.plan.as_ref().filter(|_| outcome.result.is_ok()) else { return };
    plan.changes.extend(made.changes.iter().map(|change| planned_change(&outcome.id, change)));
    plan.records.extend(made.records.iter().flat_map(planned_records));
    plan.libraries.extend(planned_libraries(&outcome.id, outcome.libraries.as_ref()));
    plan.scripts.extend(outcome.scripts.iter().map(|script| PlannedScriptRun {
        patch: outcome.id.clone(),
        package: script.package.as_ref().map(ToString::to_string),
        name: script.name.clone(),
    }));
}
