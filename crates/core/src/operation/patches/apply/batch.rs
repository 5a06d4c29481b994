//! Patches that are one run: their plans become one, which is carried out with one switch and one commit.

use std::borrow::Cow;
use std::sync::Arc;

use super::operands::ApplyOperand;
use super::request::ApplyOutcome;
use crate::operation::content::{ManySources, OneSource};
use crate::operation::failure::{Failure, is_of_source};
use crate::operation::libraries::{LibraryKeeper, SettledLibraries};
use crate::operation::log;
use crate::operation::patches::in_use::{InUse, in_use_of_each};
use crate::operation::patches::new_bytes::new_bytes;
use crate::operation::session::{Session, patch_record};
use patchadm_changeset::transaction::{Cause, Phase, Receipt, RootCondition, TransactionError};
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::patch::combine::{Single, combine_plans};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::patch::projected_root::MadeObjects;
use patchadm_planning::plan::{Action, Plan};

/// Patches that are one run, and what is known of libraries after them.
pub(super) struct ApplyBatch<'o> {
    pub(super) patches: Vec<PlannedOperand<'o>>,
    pub(super) keeper: LibraryKeeper<'o>,
}

/// An operand that takes part in a run, or is left out of it.
pub(super) struct PlannedOperand<'o> {
    pub(super) operand: &'o ApplyOperand,
    pub(super) planned: Result<PlannedPatch, Failure>,
}

/// A patch that takes part.
pub(super) struct PlannedPatch {
    pub(super) scripted: PatchPlan,
    pub(super) made: MadeObjects,
    /// What is done about libraries in the plan, which does not say it yet: the next patch is planned as if nothing were
    /// kept.
    pub(super) settled: Option<SettledLibraries>,
    /// What it was planned with, where scripts take part.
    pub(super) inventory: Option<Inventory>,
}

impl PlannedPatch {
    /// A patch that is a run of its own.
    pub(super) fn alone(
        scripted: PatchPlan,
        inventory: Inventory,
        settled: Option<SettledLibraries>,
    ) -> Self {
        // Without scripts the plan is all that is needed from here.
        let inventory = scripted.has_scripts().then_some(inventory);
        Self { scripted, made: MadeObjects::new(), settled, inventory }
    }

    /// The plan as it is carried out.
    pub(super) fn finished(mut self) -> Self {
        if let Some(settled) = self.settled.take() {
            settled.apply(&mut self.scripted);
        }
        self
    }
}

impl PlannedOperand<'_> {
    /// The patch as it is carried out.
    fn finished(self) -> Self {
        Self { planned: self.planned.map(PlannedPatch::finished), ..self }
    }

    /// Whether scripts take part.
    pub(super) fn has_scripts(&self) -> bool {
        self.planned.as_ref().is_ok_and(|planned| planned.scripted.has_scripts())
    }
}

/// Carries the patches out; the places of those that have to go alone, where it turns out that a source is not what it
/// says it is.
pub(super) fn carry_out(
    session: &Session<'_>,
    patches: Vec<PlannedOperand<'_>>,
) -> Result<Vec<ApplyOutcome>, Vec<usize>> {
    let patches: Vec<PlannedOperand<'_>> = patches.into_iter().map(PlannedOperand::finished).collect();
    let taken: Vec<(&ApplyOperand, &PlannedPatch)> =
        patches.iter().filter_map(|one| Some((one.operand, one.planned.as_ref().ok()?))).collect();
    let plans: Vec<&Plan> = taken.iter().map(|(_, taken)| &taken.scripted.plan).collect();
    // Before the switch: afterwards the old files have no path any more.
    let in_use = in_use_of_each(&session.ground.root, &plans);
    let done = perform(session, &taken);
    if let Some(Err(Failure::Transaction(error))) = &done
        && taken.len() > 1
        && is_of_source(error)
    {
        return Err(damaged(&patches));
    }
    let results = done.map(|done| of_each(session, done, &plans)).unwrap_or_default();
    let mut results = results.into_iter().zip(in_use);
    let reported = patches.into_iter().map(|one| match one.planned {
        Err(failure) => one.operand.refused(failure),
        Ok(taken) => {
            let (result, in_use) = results.next().unwrap_or_else(|| (Err(lost()), InUse::default()));
            one.operand.carried_out(taken.scripted, in_use, result)
        }
    });
    Ok(reported.collect())
}

/// The places of the patches whose sources are not what they say they are; of all, where none is found.
fn damaged(patches: &[PlannedOperand<'_>]) -> Vec<usize> {
    let is_bad = |one: &PlannedOperand<'_>| {
        let device = &one.operand.device;
        one.planned.is_ok() && device.source.verify(&device.image).is_err()
    };
    let bad = patches.iter().enumerate().filter(|(_, one)| is_bad(one)).map(|(place, _)| place);
    let bad: Vec<usize> = bad.collect();
    if bad.is_empty() { (0..patches.len()).collect() } else { bad }
}

/// There is a result for every patch of a run.
fn lost() -> Failure {
    let cause = Cause::Internal("a patch of the run has no result".to_owned());
    TransactionError { phase: Phase::Commit, cause, left: RootCondition::InDoubt }.into()
}

/// Carries out what all of them do; none where there is nobody to do it for.
fn perform(
    session: &Session<'_>,
    taken: &[(&ApplyOperand, &PlannedPatch)],
) -> Option<Result<Receipt, Failure>> {
    if taken.is_empty() {
        return None;
    }
    let patch_records = taken.iter().map(|(_, taken)| {
        let plan = &taken.scripted.plan;
        patch_record(plan, log::of_patch(plan), log::of_installation(plan))
    });
    let sources = taken
        .iter()
        .map(|(operand, _)| OneSource { source: &operand.device.source, image: &operand.device.image });
    let mut content = ManySources(sources.collect());
    let prepared = session.ground.prepared();
    let plan = match taken {
        [(_, one)] if prepared.is_empty() => Cow::Borrowed(&one.scripted.plan),
        _ => Cow::Owned(combined(&prepared, taken)?),
    };
    let done = session.perform_together(&plan, &mut content, patch_records.collect());
    if done.is_ok() && !prepared.is_empty() {
        session.ground.forget_preparation();
    }
    Some(done)
}

/// What several patches do together, after what comes before them.
fn combined(prepared: &[Plan], taken: &[(&ApplyOperand, &PlannedPatch)]) -> Option<Plan> {
    let nothing = MadeObjects::new();
    let mut packages = 0;
    let mut singles: Vec<Single<'_>> =
        prepared.iter().map(|plan| Single { plan, made: &nothing, packages: 0 }).collect();
    for (operand, taken) in taken {
        singles.push(Single { plan: &taken.scripted.plan, made: &taken.made, packages });
        packages += operand.device.image.packages.len();
    }
    combine_plans(&singles)
}

/// The result of the run, for each of its patches.
fn of_each(
    session: &Session<'_>,
    done: Result<Receipt, Failure>,
    plans: &[&Plan],
) -> Vec<Result<Receipt, Failure>> {
    if plans.len() == 1 {
        return vec![done];
    }
    let error = match done {
        Ok(receipt) => return receipts(session, receipt, plans).into_iter().map(Ok).collect(),
        Err(Failure::Transaction(error)) => error,
        Err(Failure::Root(error)) => unchanged(Cause::Root(error)),
        Err(other) => unchanged(Cause::Internal(other.to_string())),
    };
    plans.iter().map(|_| Err(Failure::Transaction(Arc::clone(&error)))).collect()
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
