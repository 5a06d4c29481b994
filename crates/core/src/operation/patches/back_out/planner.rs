//! The patches of one patchrm(1M): one run of all of them, where that can be, or each by itself.
//!
//! Several that go each by itself are foreseen first: where one cannot go, nothing is changed.

use std::collections::BTreeMap;

use super::hooks::hook_directory;
use super::input::{BackOutInput, KnownRecords};
use super::one_run::OneRunBackout;
use super::perform::perform_one;
use super::planning::{PlannedBackout, PlannedPatch, plan};
use super::request::{BackOutOutcome, BackOutRequest};
use crate::operation::changed_texts::TextReader;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryKeeper;
use crate::operation::patches::scripts::must_be_safe;
use crate::operation::run::{BatchEnd, Execution, RunPlanner, all_or_none, run_all};
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};
use patchadm_svr4::patch::PatchId;

/// Backs patches out, in their order, or tells what would become of them. `read` is what was read of the root before.
pub(super) fn back_out_all(
    (ground, request, caller): (&RootAndPolicy, &BackOutRequest, &Caller<'_>),
    ids: &[PatchId],
    read: KnownRecords,
    execution: Execution<'_>,
) -> Result<Vec<BackOutOutcome>, Failure> {
    let mut each = EachBackout::of((ground, request, caller), ids, execution)?;
    each.input = each.input.knowing(read);
    if ids.len() < 2 {
        return Ok(run_all(&mut each));
    }
    let mut one_run = OneRunBackout::new((each.input.anew(), &request.scripts), ids, execution);
    let outcomes = run_all(&mut one_run);
    if !outcomes.is_empty() {
        return Ok(outcomes);
    }
    if one_run.has_run_hooks {
        // The root may be another one by now.
        each.input = each.input.afresh();
    }
    Ok(each.take_all(one_run.refusal))
}

/// Patches that are backed out each by itself.
struct EachBackout<'a> {
    input: BackOutInput<'a>,
    request: &'a BackOutRequest,
    ids: &'a [PatchId],
    /// What is known of libraries before the next one, where nothing is done.
    keeper: LibraryKeeper<'a>,
    /// Reads the texts of files, where they are wanted.
    texts: Option<TextReader<'a>>,
    execution: Execution<'a>,
}

impl<'a> EachBackout<'a> {
    fn of(
        (ground, request, caller): (&'a RootAndPolicy, &'a BackOutRequest, &'a Caller<'_>),
        ids: &'a [PatchId],
        execution: Execution<'a>,
    ) -> Result<Self, Failure> {
        let input = BackOutInput::of(ground, request, &caller.now)?.ended_by(caller.interrupt);
        let keeper =
            LibraryKeeper::new(ground, request.shlibs, &caller.now, false).ended_by(caller.interrupt);
        let texts = input.text_reader();
        Ok(Self { input, request, ids, keeper, texts, execution })
    }

    /// The same, of which nothing is carried out.
    fn foreseeing(&self) -> Self {
        let (input, keeper) = (self.input.anew().steady(), self.keeper.clone());
        let texts = input.text_reader();
        Self { input, keeper, texts, execution: Execution::Foresee, ..*self }
    }

    /// Takes each by itself, since there is no run of all of them; `refusal` is why, where one of them may not go.
    fn take_all(mut self, refusal: Option<Failure>) -> Vec<BackOutOutcome> {
        let failed = |outcome: &BackOutOutcome| outcome.result.is_err().then(|| outcome.id.clone());
        let outcomes = all_or_none(run_all(&mut self.foreseeing()), failed, |_, outcome, in_the_way| {
            BackOutOutcome::refused(&outcome.id, Failure::NotTried(in_the_way.to_owned()))
        });
        let outcomes = without_one_run(outcomes, self.request, refusal);
        let may_go = outcomes.iter().all(|outcome| outcome.result.is_ok());
        if self.is_performed() && may_go { run_all(&mut self) } else { outcomes }
    }

    fn is_performed(&self) -> bool {
        matches!(self.execution, Execution::Perform(_))
    }

    fn id(&self, place: usize) -> Result<&'a PatchId, Failure> {
        let ids: &'a [PatchId] = self.ids;
        ids.get(place).ok_or_else(|| Failure::NotTried(String::new()))
    }

    fn plan_one(&mut self, place: usize) -> Result<PlannedPatch, Failure> {
        let planned = plan(&self.input, self.id(place)?)?;
        let settled = if self.is_performed() {
            planned.settle(&mut self.input.keeper(), true)?
        } else {
            planned.settle(&mut self.keeper, false)?
        };
        Ok((planned, settled))
    }

    /// Tells what would become of a patch, and adds it to the root as it will be.
    fn foreseen(&mut self, id: &PatchId, (planned, settled): PlannedPatch) -> BackOutOutcome {
        let texts = self.texts.as_mut().map(|texts| planned.texts(texts)).unwrap_or_default();
        let PlannedBackout { mut scripted, promotion_hooks, .. } = planned;
        scripted.plan.notes.extend(promotion_hooks.notes());
        if let Err(failure) = self.may_run(id, &scripted) {
            return BackOutOutcome::refused(id, failure);
        }
        if self.ids.len() > 1 {
            self.input.before.add(scripted.plan.clone(), BTreeMap::new());
        }
        if let Some(settled) = settled {
            settled.apply(&mut scripted);
        }
        BackOutOutcome { texts, ..BackOutOutcome::of(id, scripted, Ok(None)) }
    }

    /// Refuses scripts that could not run safely, and hooks that could not run at all.
    fn may_run(&self, id: &PatchId, scripted: &PatchPlan) -> Result<(), Failure> {
        let ground = self.input.ground;
        must_be_safe(ground, Command::Patchrm, id.as_str(), scripted)?;
        let hooks = scripted.hooks.iter().map(|hook| hook.name.as_str());
        hook_directory(ground, id).must_be_executable(hooks).map_err(Failure::Script)
    }
}

impl RunPlanner for EachBackout<'_> {
    type Batch = Result<PlannedPatch, Failure>;
    type Outcome = BackOutOutcome;

    fn count(&self) -> usize {
        self.ids.len()
    }

    fn plan(&mut self, taken: usize) -> Result<PlannedPatch, Failure> {
        if self.is_performed() && taken > 0 {
            // The root is another one by now.
            self.input = self.input.afresh();
        }
        self.plan_one(taken)
    }

    fn carry_out(&mut self, taken: usize, planned: Self::Batch) -> BatchEnd<BackOutOutcome> {
        let Some(id) = self.ids.get(taken) else { return BatchEnd::Last(Vec::new()) };
        let outcome = match (planned, self.execution) {
            (Err(failure), _) => BackOutOutcome::refused(id, failure),
            (Ok(planned), Execution::Foresee) => self.foreseen(id, planned),
            (Ok(planned), Execution::Perform(session)) => {
                perform_one(session, &self.input, &self.request.scripts, id, planned)
            }
        };
        let outcome = outcome.with_way_out(&self.input);
        let goes_on = outcome.result.is_ok() || !self.is_performed();
        BatchEnd::of_one(outcome, goes_on)
    }

    fn not_tried(&self, taken: &[BackOutOutcome]) -> Vec<BackOutOutcome> {
        let failed = taken.last().map(|last| last.id.clone()).unwrap_or_default();
        let rest = self.ids.iter().skip(taken.len());
        rest.map(|id| BackOutOutcome::refused(id, Failure::NotTried(failed.clone()))).collect()
    }
}

/// The outcomes of patches that could each go by itself, because there is no run of all of them: where that was refused and
/// none of them says why, the last one says it. Where they must be one run, none of them goes.
fn without_one_run(
    mut outcomes: Vec<BackOutOutcome>,
    request: &BackOutRequest,
    refusal: Option<Failure>,
) -> Vec<BackOutOutcome> {
    if outcomes.iter().any(|outcome| outcome.result.is_err()) {
        return outcomes;
    }
    if let Some(refusal) = refusal {
        if let Some(last) = outcomes.last_mut() {
            (last.result, last.plan) = (Err(refusal), None);
        }
        return outcomes;
    }
    if request.all_or_nothing && outcomes.len() > 1 { must_be_one_run(outcomes) } else { outcomes }
}

/// The outcomes of patches that must be one run and cannot: the first with scripts is refused for them, or else the last
/// one, and the others stay because of it.
fn must_be_one_run(outcomes: Vec<BackOutOutcome>) -> Vec<BackOutOutcome> {
    let scripted = outcomes.iter().position(|outcome| !outcome.scripts.is_empty());
    let reason = if scripted.is_some() { SetReason::OwnRun } else { SetReason::NotTogether };
    let culprit = outcomes.get(scripted.unwrap_or(outcomes.len().saturating_sub(1)));
    let Some(culprit) = culprit.map(|culprit| culprit.id.clone()) else { return outcomes };
    let refused = outcomes.into_iter().map(|outcome| {
        let failure = if outcome.id == culprit {
            Reason::InSet(reason.clone()).of(Command::Patchrm, &culprit).into()
        } else {
            Failure::NotTried(culprit.clone())
        };
        BackOutOutcome::refused(&outcome.id, failure)
    });
    refused.collect()
}
