//! The patches of one patchadd(1M), batch by batch: as many as can be one run, or one that is a run of its own.
//!
//! Patches that are all to be one run, or none of them, are one batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::batch::{ApplyBatch, PlannedOperand, PlannedPatch, carry_out};
use super::gather::gather;
use super::input::ApplyInput;
use super::libraries::{Position, settle};
use super::one_run::{as_one_run, refuse_all};
use super::operands::ApplyOperand;
use super::planning::plan;
use super::request::ApplyOutcome;
use super::source_check::usable;
use super::with_scripts::apply_with_scripts;
use crate::operation::changed_texts::TextReader;
use crate::operation::failure::{Failure, is_of_source};
use crate::operation::libraries::LibraryKeeper;
use crate::operation::patches::in_use::in_use;
use crate::operation::patches::preparation::carry_out_alone;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::run::{BatchEnd, Execution, RunPlanner, all_or_none, run_all};
use crate::operation::session::Session;
use patchadm_changeset::transaction::Receipt;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::Reason;
use patchadm_rootfs::Digest;
use patchadm_svr4::package::ObjectPath;

/// Applies patches, or tells what would become of them. Those of a run that is `together` are one commit, or none of them
/// goes in.
pub(super) fn apply_all(
    input: ApplyInput<'_>,
    scripts: &PatchScriptRequest,
    (operands, together): (&[&ApplyOperand], bool),
    execution: Execution<'_>,
) -> Result<Vec<ApplyOutcome>, Failure> {
    let last_touched = match execution {
        Execution::Foresee => last_touched(&input, operands)?,
        Execution::Perform(_) => HashMap::new(),
    };
    let keeper = input.keeper();
    let is_one_run = together && operands.len() > 1;
    let alone = BTreeSet::new();
    let texts = input.texts.then(|| TextReader::new(&input.ground.root));
    let mut planner =
        ApplyPlanner { input, scripts, operands, execution, is_one_run, alone, keeper, last_touched, texts };
    Ok(run_all(&mut planner))
}

struct ApplyPlanner<'a> {
    input: ApplyInput<'a>,
    scripts: &'a PatchScriptRequest,
    operands: &'a [&'a ApplyOperand],
    execution: Execution<'a>,
    /// Whether all operands are one run, or none of them goes in.
    is_one_run: bool,
    /// The places of the operands that are runs of their own, because their sources are not what they say they are.
    alone: BTreeSet<usize>,
    /// What is known of libraries before the next batch.
    keeper: LibraryKeeper<'a>,
    /// The last operand that touches each path, where nothing is done.
    last_touched: HashMap<ObjectPath, usize>,
    /// Reads the texts of files, where they are wanted.
    texts: Option<TextReader<'a>>,
}

impl<'a> RunPlanner for ApplyPlanner<'a> {
    type Batch = ApplyBatch<'a>;
    type Outcome = ApplyOutcome;

    fn count(&self) -> usize {
        self.operands.len()
    }

    fn plan(&mut self, taken: usize) -> ApplyBatch<'a> {
        let mut keeper = self.keeper.clone();
        let mut patches = gather(&self.input, self.operands, (taken, &self.alone), &mut keeper);
        if self.is_one_run {
            patches = as_one_run(&self.input, self.operands, patches);
        } else if patches.is_empty() {
            patches.extend(self.plan_alone(taken, &mut keeper));
        }
        // What was planned until a signal came is not begun.
        if let (Some(signal), Some(operand)) = ((self.input.interrupt)(), self.operands.get(taken)) {
            patches = vec![PlannedOperand { operand, planned: Err(Failure::interrupted(signal)) }];
        }
        ApplyBatch { patches, keeper }
    }

    fn carry_out(&mut self, taken: usize, batch: ApplyBatch<'a>) -> BatchEnd<ApplyOutcome> {
        match self.execution {
            Execution::Foresee => self.foresee(taken, batch),
            Execution::Perform(session) => self.perform(session, taken, batch),
        }
    }

    fn not_tried(&self, taken: &[ApplyOutcome]) -> Vec<ApplyOutcome> {
        let failed = taken.iter().rev().find(|applied| ends_all(&applied.result));
        let failed = failed.map(|failed| failed.id.clone()).unwrap_or_default();
        let rest = self.operands.iter().skip(taken.len());
        rest.map(|operand| operand.refused(Failure::NotTried(failed.clone()))).collect()
    }
}

impl<'a> ApplyPlanner<'a> {
    /// Plans a patch that is a run of its own.
    fn plan_alone(&self, place: usize, keeper: &mut LibraryKeeper<'a>) -> Option<PlannedOperand<'a>> {
        let operand: &'a ApplyOperand = self.operands.get(place)?;
        let is_followed = self.input.options.is_rehearsal && place + 1 < self.operands.len();
        let position = if is_followed { Position::Among } else { Position::Alone };
        let planned = plan(&self.input, operand, BTreeMap::new()).and_then(|(scripted, inventory)| {
            let settled = settle(keeper, operand, (&scripted.plan, &inventory), position)?;
            Ok(PlannedPatch::alone(scripted, inventory, settled))
        });
        Some(PlannedOperand { operand, planned })
    }

    /// Tells what would become of a batch, and goes on to the root after it.
    fn foresee(&mut self, taken: usize, batch: ApplyBatch<'a>) -> BatchEnd<ApplyOutcome> {
        let ApplyBatch { patches, keeper } = batch;
        let interrupt = self.input.interrupt;
        let digests: Vec<_> = patches.iter().map(|one| one.delivered_digests(interrupt)).collect();
        let is_damaged =
            |(one, digests): (&PlannedOperand<'_>, &Option<_>)| one.planned.is_ok() && digests.is_none();
        let damaged = patches.iter().zip(&digests).enumerate().filter(|(_, one)| is_damaged(*one));
        let damaged: Vec<usize> = damaged.map(|(place, _)| place).collect();
        if patches.len() > 1 && !damaged.is_empty() && !self.is_one_run {
            self.leave_out(taken, damaged);
            return BatchEnd::PlanAgain;
        }
        self.keeper = keeper;
        let read = patches.into_iter().zip(digests).enumerate();
        let outcomes = read.map(|(place, (one, digests))| self.foreseen(taken + place, one, digests));
        let outcomes: Vec<ApplyOutcome> = outcomes.collect();
        let is_interrupted = outcomes.iter().any(|one| ends_all(&one.result));
        match (is_interrupted, self.is_one_run) {
            (true, _) => BatchEnd::Last(outcomes),
            (false, true) => BatchEnd::Done(self.all_or_none(outcomes)),
            (false, false) => BatchEnd::Done(outcomes),
        }
    }

    /// Carries a batch out on a locked root.
    fn perform(
        &mut self,
        session: &Session<'_>,
        taken: usize,
        batch: ApplyBatch<'a>,
    ) -> BatchEnd<ApplyOutcome> {
        let mut patches = batch.patches;
        if patches.iter().any(PlannedOperand::has_scripts) {
            match carry_out_alone(session) {
                Ok(true) => return BatchEnd::PlanAgain,
                Ok(false) => {}
                Err(failure) => {
                    let refused = patches.into_iter().next().map(|one| one.operand.refused(failure));
                    return BatchEnd::Last(refused.into_iter().collect());
                }
            }
        }
        let outcomes = match patches.pop_if(|one| one.has_scripts()) {
            Some(one) => vec![apply_with_scripts(session, &self.input, self.scripts, one)],
            None => match carry_out(session, patches) {
                Ok(outcomes) => outcomes,
                Err(damaged) if self.is_one_run => return BatchEnd::Done(self.refuse_sources(&damaged)),
                Err(damaged) => {
                    self.leave_out(taken, damaged);
                    return BatchEnd::PlanAgain;
                }
            },
        };
        let stops = outcomes.iter().any(|applied| ends_all(&applied.result));
        if stops { BatchEnd::Last(outcomes) } else { BatchEnd::Done(outcomes) }
    }

    /// Plans no run of several any more with these operands of the batch behind the first `taken`.
    fn leave_out(&mut self, taken: usize, places: Vec<usize>) {
        self.alone.extend(places.into_iter().map(|place| taken + place));
    }

    /// Tells what would become of a patch, and adds it to the root as it will be. The sums of files are compared as a run
    /// compares them.
    fn foreseen(
        &mut self,
        place: usize,
        one: PlannedOperand<'a>,
        digests: Option<BTreeMap<ObjectPath, Digest>>,
    ) -> ApplyOutcome {
        let PlannedOperand { operand, planned } = one;
        let lists = planned.as_ref().map(|planned| planned.scripted.lists.clone()).unwrap_or_default();
        let usable = planned.and_then(|planned| {
            usable(&self.input, operand, &planned.scripted, digests.is_some()).map(|()| planned)
        });
        let planned = match usable {
            Ok(planned) => planned,
            Err(failure) => {
                let plan_over_edits = self.plan_over_edits(operand, &failure);
                return ApplyOutcome { plan_over_edits, lists, ..operand.refused(failure) };
            }
        };
        let delivered = digests.unwrap_or_default();
        if place + 1 < self.operands.len() {
            let mut digests = delivered.clone();
            digests.retain(|path, _| self.last_touched.get(path).is_some_and(|last| *last > place));
            self.input.before.add(planned.scripted.plan.clone(), digests);
        }
        let scripted = planned.finished().scripted;
        let in_use = in_use(&self.input.ground.root, &scripted.plan);
        let texts = self.texts.as_mut().map(|texts| {
            let read = (&scripted.plan, &delivered);
            texts.read(read, &scripted.known_to_scripts(), &mut operand.device.content())
        });
        let texts = texts.unwrap_or_default();
        ApplyOutcome { delivered, texts, ..operand.applied(scripted, in_use, Ok(None)) }
    }

    /// Plans a patch that is refused because of edited objects as if these were to be replaced; `None` if another reason
    /// against it remains.
    fn plan_over_edits(&mut self, operand: &ApplyOperand, failure: &Failure) -> Option<Plan> {
        let Failure::Refused(refusal) = failure else { return None };
        if !matches!(*refusal.reason, Reason::Edited { .. }) {
            return None;
        }
        self.input.options.edits.replaces_stops = true;
        let planned = plan(&self.input, operand, BTreeMap::new());
        self.input.options.edits.replaces_stops = false;
        planned.ok().map(|(scripted, _)| scripted.plan)
    }

    /// The outcomes of patches of which none goes in without the others.
    fn all_or_none(&self, outcomes: Vec<ApplyOutcome>) -> Vec<ApplyOutcome> {
        let failed = |outcome: &ApplyOutcome| outcome.result.is_err().then(|| outcome.id.clone());
        all_or_none(outcomes, failed, |place, outcome, stopper| {
            self.operands.get(place).map_or(outcome, |operand| operand.not_without(stopper))
        })
    }

    /// The outcomes where some sources of the one run turned out not to be what they say they are.
    fn refuse_sources(&self, damaged: &[usize]) -> Vec<ApplyOutcome> {
        let failure = |place: usize, operand: &ApplyOperand| {
            damaged
                .contains(&place)
                .then(|| operand.device.source.verify(&operand.device.image).err())
                .flatten()
        };
        let all = self.operands.iter().enumerate();
        let failures = all.map(|(place, one)| failure(place, one).map(Failure::from)).collect();
        let refused = refuse_all(self.operands, failures).into_iter();
        refused.zip(self.operands).map(|(failure, operand)| operand.refused(failure)).collect()
    }
}

/// Whether nothing more is tried: the root or the machine is at fault, not a source.
fn ends_all(result: &Result<Option<Receipt>, Failure>) -> bool {
    matches!(result, Err(Failure::Transaction(error)) if !is_of_source(error))
}

/// The last operand that touches each path; none where there is one only.
fn last_touched(
    input: &ApplyInput<'_>,
    operands: &[&ApplyOperand],
) -> Result<HashMap<ObjectPath, usize>, Failure> {
    let mut last = HashMap::new();
    if operands.len() > 1 {
        let installed = input.packages()?;
        for (place, operand) in operands.iter().enumerate() {
            last.extend(operand.touched(&installed).paths.into_iter().map(|path| (path, place)));
        }
    }
    Ok(last)
}
