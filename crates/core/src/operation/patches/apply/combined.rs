//! Several patches as one run: their plans become one, which is carried out with one switch and one commit.

use std::sync::Arc;

use super::gather::{GatheredOperand, TakenPatch};
use super::operands::ApplyOperand;
use super::request::ApplyOutcome;
use crate::operation::content::{ManySources, OneSource};
use crate::operation::failure::{Failure, is_of_source};
use crate::operation::log;
use crate::operation::patches::in_use::in_use_of_each;
use crate::operation::patches::new_bytes::new_bytes;
use crate::operation::session::{Session, patch_record};
use patchadm_changeset::transaction::{Cause, Phase, Receipt, RootCondition, TransactionError};
use patchadm_planning::plan::patch::combine::{Single, combine_plans};
use patchadm_planning::plan::{Action, Plan};

/// Carries out what was gathered, as one run; the places of operands that have to go alone, where it turns out that a
/// source is not what it says it is.
pub(super) fn carry_out<'o>(
    session: &Session<'_>,
    gathered: Vec<GatheredOperand<'o>>,
) -> Result<Vec<ApplyOutcome>, Vec<usize>> {
    let finished =
        |one: GatheredOperand<'o>| GatheredOperand { planned: one.planned.map(TakenPatch::finished), ..one };
    let gathered: Vec<GatheredOperand<'o>> = gathered.into_iter().map(finished).collect();
    let taken: Vec<(&ApplyOperand, &TakenPatch)> =
        gathered.iter().filter_map(|one| Some((one.operand, one.planned.as_ref().ok()?))).collect();
    let plans: Vec<&Plan> = taken.iter().map(|(_, taken)| &taken.scripted.plan).collect();
    // Before the switch: afterwards the old files have no path any more.
    let in_use = in_use_of_each(&session.ground.root, &plans);
    let done = perform(session, &taken);
    if let Some(Err(error)) = &done
        && taken.len() > 1
        && is_of_source(error)
    {
        let is_bad = |one: &GatheredOperand<'_>| {
            let device = &one.operand.device;
            one.planned.is_ok() && device.source.verify(&device.image).is_err()
        };
        let bad: Vec<usize> =
            gathered.iter().enumerate().filter(|(_, one)| is_bad(one)).map(|(place, _)| place).collect();
        return Err(if bad.is_empty() { (0..gathered.len()).collect() } else { bad });
    }
    let results: Vec<Result<Receipt, Arc<TransactionError>>> = match done {
        Some(Ok(receipt)) => receipts(session, receipt, &plans).into_iter().map(Ok).collect(),
        Some(Err(error)) => plans.iter().map(|_| Err(error.clone())).collect(),
        None => Vec::new(),
    };
    let mut results = results.into_iter().zip(in_use);
    let reported = gathered.into_iter().map(|one| match one.planned {
        Err(failure) => one.operand.refused(failure),
        Ok(taken) => {
            let (result, in_use) = results.next().unwrap_or_else(|| (Err(lost()), Vec::new()));
            one.operand.carried_out(taken.scripted, in_use, result.map_err(Failure::Transaction))
        }
    });
    Ok(reported.collect())
}

/// There is a result for every patch of a run.
fn lost() -> Arc<TransactionError> {
    let cause = Cause::Internal("a patch of the run has no result".to_owned());
    Arc::new(TransactionError { phase: Phase::Commit, cause, left: RootCondition::InDoubt })
}

/// Carries out what all of them do; none where there is nobody to do it for.
fn perform(
    session: &Session<'_>,
    taken: &[(&ApplyOperand, &TakenPatch)],
) -> Option<Result<Receipt, Arc<TransactionError>>> {
    let patch_records = taken.iter().map(|(_, taken)| {
        let plan = &taken.scripted.plan;
        patch_record(plan, log::of_patch(plan), log::of_installation(plan))
    });
    let sources = taken
        .iter()
        .map(|(operand, _)| OneSource { source: &operand.device.source, image: &operand.device.image });
    let mut content = ManySources(sources.collect());
    let mut packages = 0;
    let mut singles = Vec::new();
    for (operand, taken) in taken {
        singles.push(Single { plan: &taken.scripted.plan, made: &taken.made, packages });
        packages += operand.device.image.packages.len();
    }
    let plan = combine_plans(&singles)?;
    let done = session.perform_together(&plan, &mut content, patch_records.collect());
    Some(done.map_err(|failure| match failure {
        Failure::Transaction(error) => error,
        Failure::Root(error) => unchanged(Cause::Root(error)),
        other => unchanged(Cause::Internal(other.to_string())),
    }))
}

fn unchanged(cause: Cause) -> Arc<TransactionError> {
    Arc::new(TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged })
}

/// What the run did for each of its patches.
fn receipts(session: &Session<'_>, all: Receipt, plans: &[&Plan]) -> Vec<Receipt> {
    let mut archives = 0;
    let mut receipts: Vec<Receipt> = Vec::new();
    for plan in plans {
        let own = all.undo.range(archives..archives + plan.undo.len());
        let undo = own.map(|(place, size)| (place - archives, *size)).collect();
        archives += plan.undo.len();
        let (run, bytes, exchanges) = (all.run.clone(), new_bytes(plan), Vec::new());
        receipts.push(Receipt { run, bytes, undo, exchanges, notes: Vec::new() });
    }
    for note in all.notes {
        let is_about = |plan: &&Plan| {
            let mut gone =
                plan.changes.iter().filter(|change| matches!(change.action, Action::RemoveDirectory));
            gone.any(|change| {
                let shown = session.ground.root.show(&change.path);
                note.strip_prefix(&shown).is_some_and(|rest| rest.starts_with(' '))
            })
        };
        let place = plans.iter().rposition(is_about).unwrap_or(plans.len().saturating_sub(1));
        if let Some(receipt) = receipts.get_mut(place) {
            receipt.notes.push(note);
        }
    }
    receipts
}
