//! Several patches without scripts as one run: of each path only the oldest saved version is switched.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::input::BackOutInput;
use super::planning::{PlannedBackout, plan_together};
use super::request::BackOutOutcome;
use crate::operation::changed_texts::texts_of_plan;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::patches::new_bytes::new_bytes;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::promotion_hooks::perform_with_hooks;
use crate::operation::run::{BatchEnd, Execution, RunPlanner};
use crate::operation::session::{Session, patch_record};
use patchadm_changeset::transaction::Receipt;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::{Change, Plan};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The backout of several patches as one run.
pub(super) struct OneRunBackout<'a> {
    input: BackOutInput<'a>,
    scripts: &'a PatchScriptRequest,
    ids: &'a [PatchId],
    execution: Execution<'a>,
    /// Why one of them may not go, where that is why they are no run, which has no outcomes then.
    pub(super) refusal: Option<Failure>,
    /// Whether hooks have run, which may have changed the root.
    pub(super) has_run_hooks: bool,
}

impl<'a> OneRunBackout<'a> {
    pub(super) fn new(
        (input, scripts): (BackOutInput<'a>, &'a PatchScriptRequest),
        ids: &'a [PatchId],
        execution: Execution<'a>,
    ) -> Self {
        Self { input, scripts, ids, execution, refusal: None, has_run_hooks: false }
    }

    /// Plans the patches as one run, the last applied first, with what becomes of libraries. None where they cannot go as
    /// one; an error where one of them may not go.
    fn planned(&self) -> Result<Option<PlannedBackout>, Failure> {
        plan_together(&self.input, self.ids)?.map(|planned| planned.settled(&self.input)).transpose()
    }

    /// What would become of the patches.
    fn foreseen(&self, mut planned: PlannedBackout) -> Vec<BackOutOutcome> {
        planned.scripted.plan.notes.extend(planned.promotion_hooks.notes());
        let mut all = self.input.text_reader().map(|mut texts| planned.texts(&mut texts)).unwrap_or_default();
        let outcome = |(id, plan)| {
            let texts = texts_of_plan(&plan, &mut all);
            BackOutOutcome { texts, ..BackOutOutcome::of(&id, portion(&planned, &id, plan), Ok(None)) }
        };
        portions(&planned, self.ids).into_iter().map(outcome).collect()
    }

    /// Backs the patches out with one commit. None where they cannot go as one any more, after a hook.
    fn perform(
        &mut self,
        session: &Session<'_>,
        mut planned: PlannedBackout,
    ) -> Result<Option<Vec<BackOutOutcome>>, Failure> {
        let hooks = planned.promotion_hooks.open(session, &self.scripts.settings)?;
        let has_run = hooks.as_ref().map_or(Ok(false), |hooks| hooks.borrow_mut().before());
        self.has_run_hooks = !matches!(has_run, Ok(false));
        if has_run? {
            let Some(again) = self.planned()? else { return Ok(None) };
            planned = again;
        }
        let portions = portions(&planned, self.ids);
        let told = portions.iter().map(|(_, plan)| patch_record(plan, None, log::of_backout(plan)));
        let plan = &planned.scripted.plan;
        let content = &mut planned.content();
        let done = perform_with_hooks(session, hooks.as_ref(), (plan, content), told.collect(), &|_| Ok(()));
        let mut results = of_each(done, &portions).into_iter();
        let outcome = |(id, plan)| {
            let result = results.next().unwrap_or_else(|| Err(Failure::NotTried(String::new())));
            BackOutOutcome::of(&id, portion(&planned, &id, plan), result.map(Some))
        };
        Ok(Some(portions.into_iter().map(outcome).collect()))
    }
}

impl RunPlanner for OneRunBackout<'_> {
    type Batch = Result<Option<PlannedBackout>, Failure>;
    type Outcome = BackOutOutcome;

    fn count(&self) -> usize {
        self.ids.len()
    }

    fn plan(&mut self, _: usize) -> Self::Batch {
        self.planned()
    }

    fn carry_out(&mut self, _: usize, planned: Self::Batch) -> BatchEnd<BackOutOutcome> {
        let done = planned.and_then(|planned| match (planned, self.execution) {
            (None, _) => Ok(None),
            (Some(planned), Execution::Foresee) => Ok(Some(self.foreseen(planned))),
            (Some(planned), Execution::Perform(session)) => self.perform(session, planned),
        });
        BatchEnd::Last(match done {
            Ok(Some(outcomes)) => outcomes,
            other => {
                self.refusal = other.err();
                Vec::new()
            }
        })
    }
}

/// The result of the run, for each of its patches.
fn of_each(done: Result<Receipt, Failure>, portions: &[(PatchId, Plan)]) -> Vec<Result<Receipt, Failure>> {
    let count = portions.len();
    match done {
        Ok(receipt) => {
            let last = count.saturating_sub(1);
            let own = |(at, (_, plan)): (usize, &(PatchId, Plan))| {
                // What is said of the run is said once.
                let notes = if at == last { receipt.notes.clone() } else { Vec::new() };
                let (run, bytes) = (receipt.run.clone(), new_bytes(plan));
                Ok(Receipt { run, bytes, undo: BTreeMap::new(), exchanges: Vec::new(), notes })
            };
            portions.iter().enumerate().map(own).collect()
        }
        Err(Failure::Transaction(error)) => {
            (0..count).map(|_| Err(Failure::Transaction(Arc::clone(&error)))).collect()
        }
        Err(failure) => {
            let why = failure.to_string();
            let rest = (1..count).map(|_| Err(Failure::NotTried(why.clone())));
            std::iter::once(Err(failure)).chain(rest).collect()
        }
    }
}

/// What the run does for each patch: the objects that its archives have, each with the first patch that has it.
fn portions(planned: &PlannedBackout, ids: &[PatchId]) -> Vec<(PatchId, Plan)> {
    let all = &planned.scripted.plan;
    let mut owners: BTreeMap<&ObjectPath, &PatchId> = BTreeMap::new();
    for part in &planned.scripted.parts {
        let Some(undo) = planned.undo.get(part.index) else { continue };
        let paths = part.mapped.iter().map(|mapped| &mapped.path).chain(&part.deletes);
        for path in paths {
            owners.entry(path).or_insert(&undo.patch);
        }
    }
    let mut changes: BTreeMap<&PatchId, Vec<Box<Change>>> = BTreeMap::new();
    for change in &all.changes {
        if let Some(owner) = owners.get(&change.path).copied().or(ids.last()) {
            changes.entry(owner).or_default().push(change.clone());
        }
    }
    let mut packages: BTreeMap<&PatchId, Vec<PkgInst>> = BTreeMap::new();
    for undo in &planned.undo {
        packages.entry(&undo.patch).or_default().push(undo.package.clone());
    }
    let portion = |id: &PatchId| {
        let is_last = ids.last() == Some(id);
        let plan = Plan {
            patches: vec![id.to_string()],
            packages: packages.remove(id).unwrap_or_default(),
            changes: changes.remove(id).unwrap_or_default(),
            space: if is_last { all.space.clone() } else { Vec::new() },
            notes: if is_last { all.notes.clone() } else { Vec::new() },
            command: all.command,
            trailer: all.trailer.clone(),
            signature: all.signature.clone(),
            merges: Vec::new(),
            direction: patchadm_planning::plan::Direction::Back,
            records: Vec::new(),
            contents: BTreeMap::new(),
            undo: Vec::new(),
            versions: Vec::new(),
            discard: Vec::new(),
        };
        (id.clone(), plan)
    };
    ids.iter().map(portion).collect()
}

/// A plan of one patch of the run.
fn portion(planned: &PlannedBackout, id: &PatchId, plan: Plan) -> PatchPlan {
    let missing = planned.scripted.missing.iter();
    // What is said of the run is said once.
    let is_last = planned.scripted.plan.patches.last().is_some_and(|last| last == id.as_str());
    let own =
        missing.filter(|path| plan.changes.iter().any(|change| change.path == **path)).cloned().collect();
    PatchPlan {
        plan,
        parts: Vec::new(),
        hooks: Vec::new(),
        no_undo: false,
        again: false,
        missing: own,
        moved: planned.scripted.moved.iter().filter(|object| object.from == *id).cloned().collect(),
        lists: planned.scripted.lists.iter().filter(|change| change.patch == *id).cloned().collect(),
        staying: BTreeMap::new(),
        libraries: planned.scripted.libraries.clone().filter(|_| is_last),
    }
}
