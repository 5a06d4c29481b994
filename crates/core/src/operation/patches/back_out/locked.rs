//! Backs patches out in order: as one run if possible, otherwise one by one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::DateTime;

use super::input::{BackOutInput, KnownRecords};
use super::planning::{BackoutWithLibraries, PlannedBackout, hook_directory, plan, plan_together};
use super::request::BackOutRequest;
use super::undo::{StayingUndo, VerifiedUndo, sources};
use crate::operation::changed_texts::{TextReader, texts_of_plan};
use crate::operation::content::new_bytes;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryKeeper;
use crate::operation::log;
use crate::operation::patches::later_patches::{latest_run_first, run_of};
use crate::operation::patches::outcome::PatchOutcome;
use crate::operation::patches::scripts::run::{PatchInstall, PatchScripts, ScriptDirection, of_backout};
use crate::operation::patches::scripts::{PatchScriptRequest, must_be_safe};
use crate::operation::patches::undo_change::bad_id;
use crate::operation::patches::undone_run::named_run;
use crate::operation::promotion_hooks::{HookRun, perform_with_hooks};
use crate::operation::promotion_records::{PromotionRecordFault, read_promotion};
use crate::operation::queries::applied_patches::OrderOnRoot;
use crate::operation::session::{Caller, Execution, RootAndPolicy, Session, patch_record};
use patchadm_changeset::format::run::Run;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::database::history::{TrialFault, readable_history};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::stage::PromotionRecord;
use patchadm_inputs::trial::TrialRecord;
use patchadm_planning::plan::package::install::OfPatch;
use patchadm_planning::plan::patch::patch_plan::{PackagePlan, PatchPlan};
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};
use patchadm_planning::plan::{Change, Plan};
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};
use patchadm_svr4::places;

pub(in crate::operation) fn back_out_locked(
    session: &Session<'_>,
    request: &BackOutRequest,
) -> Result<Vec<PatchOutcome>, Failure> {
    let ids = named(request, &session.ground)?;
    back_out_named((&session.ground, request, session.caller), ids, Execution::Perform(session))
}

/// Backs out the named patches and their dependents: in one run if possible, otherwise one by one, after a projection
/// of all.
pub(super) fn back_out_named(
    (ground, request, caller): (&RootAndPolicy, &BackOutRequest, &Caller<'_>),
    ids: Vec<PatchId>,
    execution: Execution<'_>,
) -> Result<Vec<PatchOutcome>, Failure> {
    let read = KnownRecords::of(ground)?;
    let ids = selected(ground, request, &read.applied, ids)?;
    let ids = dependents_first(ground, &read.applied, ids);
    let mut each = EachBackout::of((ground, request, caller), &ids, execution)?;
    each.input = each.input.knowing(read);
    if ids.len() < 2 {
        return Ok(each.run());
    }
    let (input, scripts) = (each.input.anew(), &request.scripts);
    let mut one_run = OneRunBackout { input, scripts, ids: &ids, execution, has_run_hooks: false };
    let refusal = match one_run.run() {
        Ok(Some(outcomes)) => return Ok(outcomes),
        Ok(None) => None,
        Err(refusal) => Some(refusal),
    };
    if one_run.has_run_hooks {
        // The hooks may have changed the root.
        each.input = each.input.afresh();
    }
    Ok(each.take_all(refusal))
}

pub(super) fn named(request: &BackOutRequest, ground: &RootAndPolicy) -> Result<Vec<PatchId>, Failure> {
    let mut named: Vec<PatchId> = Vec::new();
    for text in &request.ids {
        let id = match PatchId::parse(text, &ground.policy.separator) {
            Ok(id) => id,
            Err(error) => {
                let applied = ground.packages().and_then(|packages| ground.recorded(&packages));
                let applied = applied.iter().flat_map(AppliedPatches::iter);
                return Err(bad_id(&error, text, &ground.policy.separator, applied));
            }
        };
        if !named.contains(&id) {
            named.push(id);
        }
    }
    Ok(named)
}

/// Returns applied patches of a trial. A record that names patches of another run is not trusted.
pub(in crate::operation) fn still_applied(
    session: &Session<'_>,
    record: &TrialRecord,
) -> Result<Vec<String>, Failure> {
    let ground = &session.ground;
    let view = RecordView::live(&ground.root);
    let applied = KnownRecords::of(ground)?.applied;
    let number = Run::parse(&record.run).map(|run| run.number);
    let mut still = Vec::new();
    for patch in &record.patches {
        let Some(known) = applied.iter().find(|known| known.id.to_string() == *patch) else { continue };
        for package in &known.packages {
            let by = run_of(&ledger::counting(&view, package).map_err(ArchiveError::from)?, patch);
            if by.is_none() || by != number {
                let by = by.map_or("an unknown run".to_owned(), |by| format!("run {by}"));
                let path = ground.root.show(&places::trial_record());
                let (run, patch) = (record.run.clone(), patch.clone());
                return Err(TrialFault::OtherRun { path, run, patch, by }.into());
            }
        }
        still.push(patch.clone());
    }
    Ok(still)
}

struct EachBackout<'a> {
    input: BackOutInput<'a>,
    request: &'a BackOutRequest,
    ids: &'a [PatchId],
    /// Only for a projection.
    keeper: LibraryKeeper<'a>,
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

    fn foreseeing(&self) -> Self {
        let (input, keeper) = (self.input.anew().steady(), self.keeper.clone());
        let texts = input.text_reader();
        Self { input, keeper, texts, execution: Execution::Foresee, ..*self }
    }

    /// For patches that cannot be one run. `refusal` is set if one of them may not go.
    fn take_all(mut self, refusal: Option<Failure>) -> Vec<PatchOutcome> {
        let mut outcomes = self.foreseeing().run();
        let in_the_way = outcomes.iter().find(|outcome| outcome.result.is_err());
        if let Some(in_the_way) = in_the_way.map(|outcome| outcome.id.clone()) {
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.result.is_ok()) {
                *outcome =
                    PatchOutcome::refused(outcome.id.clone(), None, Failure::NotTried(in_the_way.clone()));
            }
        }
        let outcomes = without_one_run(outcomes, self.request, refusal);
        let may_go = outcomes.iter().all(|outcome| outcome.result.is_ok());
        if self.is_performed() && may_go { self.run() } else { outcomes }
    }

    fn is_performed(&self) -> bool {
        matches!(self.execution, Execution::Perform(_))
    }

    /// Plans each patch on the root as the previous ones left it, and takes it back. The first failure of a run is the
    /// last attempt.
    fn run(&mut self) -> Vec<PatchOutcome> {
        let ids: &'a [PatchId] = self.ids;
        let mut done = Vec::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            if self.is_performed() && place > 0 {
                // The root has changed.
                self.input = self.input.afresh();
            }
            let outcome = match (self.plan_one(id), self.execution) {
                (Err(failure), _) => PatchOutcome::refused(id.to_string(), None, failure),
                (Ok(planned), Execution::Foresee) => self.foreseen(id, planned),
                (Ok(planned), Execution::Perform(session)) => {
                    perform_one(session, &self.input, &self.request.scripts, id, planned)
                }
            };
            let before: &[PatchOutcome] = if self.is_performed() { &[] } else { done.as_slice() };
            let outcome = outcome.with_way_out(&self.input, before);
            let is_last = outcome.result.is_err() && self.is_performed();
            done.push(outcome);
            if is_last {
                let not_tried = |other: &PatchId| {
                    PatchOutcome::refused(other.to_string(), None, Failure::NotTried(id.to_string()))
                };
                done.extend(ids.iter().skip(place + 1).map(not_tried));
                break;
            }
        }
        done
    }

    fn plan_one(&mut self, id: &PatchId) -> Result<BackoutWithLibraries, Failure> {
        let planned = plan(&self.input, id)?;
        let settled = if self.is_performed() {
            planned.settle(&mut self.input.keeper(), true)?
        } else {
            planned.settle(&mut self.keeper, false)?
        };
        Ok((planned, settled))
    }

    /// Adds the plan to the projected root.
    fn foreseen(&mut self, id: &PatchId, (planned, settled): BackoutWithLibraries) -> PatchOutcome {
        let texts = self.texts.as_mut().map(|texts| planned.texts(texts)).unwrap_or_default();
        let PlannedBackout { mut patch_plan, promotion_hooks, .. } = planned;
        patch_plan.plan.notes.extend(promotion_hooks.notes());
        if let Err(failure) = self.may_run(id, &patch_plan) {
            return PatchOutcome::refused(id.to_string(), None, failure);
        }
        if self.ids.len() > 1 {
            self.input.before.add(patch_plan.plan.clone(), BTreeMap::new());
        }
        if let Some(settled) = settled {
            settled.apply(&mut patch_plan);
        }
        PatchOutcome { texts, ..PatchOutcome::of(id.to_string(), patch_plan, Ok(None)) }
    }

    /// Refuses unsafe scripts, and hooks that cannot run.
    fn may_run(&self, id: &PatchId, patch_plan: &PatchPlan) -> Result<(), Failure> {
        let ground = self.input.ground;
        must_be_safe(ground, Command::Patchrm, id.as_str(), patch_plan)?;
        let hooks = patch_plan.hooks.iter().map(|hook| hook.name.as_str());
        hook_directory(ground, id).must_be_executable(hooks).map_err(Failure::Script)
    }
}

/// Completes outcomes of patches that were planned one by one: a refusal without a patch goes to the last one. If they
/// must be one run, all are refused.
fn without_one_run(
    mut outcomes: Vec<PatchOutcome>,
    request: &BackOutRequest,
    refusal: Option<Failure>,
) -> Vec<PatchOutcome> {
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

/// Refuses patches that must be one run and cannot: the first with scripts, or else the last; the others stay because
/// of it.
fn must_be_one_run(outcomes: Vec<PatchOutcome>) -> Vec<PatchOutcome> {
    let with_scripts = outcomes.iter().position(|outcome| !outcome.scripts.is_empty());
    let reason = if with_scripts.is_some() { SetReason::OwnRun } else { SetReason::NotTogether };
    let culprit = outcomes.get(with_scripts.unwrap_or(outcomes.len().saturating_sub(1)));
    let Some(culprit) = culprit.map(|culprit| culprit.id.clone()) else { return outcomes };
    let refused = outcomes.into_iter().map(|outcome| {
        let failure = if outcome.id == culprit {
            Reason::InSet(reason.clone()).of(Command::Patchrm, &culprit).into()
        } else {
            Failure::NotTried(culprit.clone())
        };
        PatchOutcome::refused(outcome.id, None, failure)
    });
    refused.collect()
}

struct OneRunBackout<'a> {
    input: BackOutInput<'a>,
    scripts: &'a PatchScriptRequest,
    ids: &'a [PatchId],
    execution: Execution<'a>,
    /// Hooks may have changed the root.
    has_run_hooks: bool,
}

impl OneRunBackout<'_> {
    /// `None` if one run is not possible. Fails if a patch may not go.
    fn run(&mut self) -> Result<Option<Vec<PatchOutcome>>, Failure> {
        let Some(planned) = self.planned()? else { return Ok(None) };
        match self.execution {
            Execution::Foresee => Ok(Some(self.foreseen(planned))),
            Execution::Perform(session) => self.perform(session, planned),
        }
    }

    /// The last applied patch first. `None` if one run is not possible. Fails if one of them may not go.
    fn planned(&self) -> Result<Option<PlannedBackout>, Failure> {
        plan_together(&self.input, self.ids)?.map(|planned| planned.settled(&self.input)).transpose()
    }

    fn foreseen(&self, mut planned: PlannedBackout) -> Vec<PatchOutcome> {
        planned.patch_plan.plan.notes.extend(planned.promotion_hooks.notes());
        let mut all = self.input.text_reader().map(|mut texts| planned.texts(&mut texts)).unwrap_or_default();
        let outcome = |(id, plan): (PatchId, Plan)| {
            let texts = texts_of_plan(&plan, &mut all);
            PatchOutcome { texts, ..PatchOutcome::of(id.to_string(), portion(&planned, &id, plan), Ok(None)) }
        };
        portions(&planned, self.ids).into_iter().map(outcome).collect()
    }

    /// One commit. `None` if a hook made that impossible.
    fn perform(
        &mut self,
        session: &Session<'_>,
        mut planned: PlannedBackout,
    ) -> Result<Option<Vec<PatchOutcome>>, Failure> {
        let hooks = planned.promotion_hooks.open(session, &self.scripts.settings)?;
        let has_run = hooks.as_ref().map_or(Ok(false), |hooks| hooks.borrow_mut().before());
        self.has_run_hooks = !matches!(has_run, Ok(false));
        if has_run? {
            let Some(again) = self.planned()? else { return Ok(None) };
            planned = again;
        }
        let portions = portions(&planned, self.ids);
        let told = portions.iter().map(|(_, plan)| patch_record(plan, None, log::of_backout(plan)));
        let plan = &planned.patch_plan.plan;
        let content = &mut planned.content();
        let done = perform_with_hooks(session, hooks.as_ref(), (plan, content), told.collect(), &|_| Ok(()));
        let mut results = of_each(done, &portions).into_iter();
        let outcome = |(id, plan): (PatchId, Plan)| {
            let result = results.next().unwrap_or_else(|| Err(Failure::NotTried(String::new())));
            PatchOutcome::of(id.to_string(), portion(&planned, &id, plan), result.map(Some))
        };
        Ok(Some(portions.into_iter().map(outcome).collect()))
    }
}

fn of_each(done: Result<Receipt, Failure>, portions: &[(PatchId, Plan)]) -> Vec<Result<Receipt, Failure>> {
    let count = portions.len();
    match done {
        Ok(receipt) => {
            let last = count.saturating_sub(1);
            let own = |(at, (_, plan)): (usize, &(PatchId, Plan))| {
                // Notes of the run belong to one patch only.
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

/// Divides a run's plan among its patches: each object goes to the first patch whose archives have it.
fn portions(planned: &PlannedBackout, ids: &[PatchId]) -> Vec<(PatchId, Plan)> {
    let all = &planned.patch_plan.plan;
    let mut owners: BTreeMap<&ObjectPath, &PatchId> = BTreeMap::new();
    for part in &planned.patch_plan.parts {
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

fn portion(planned: &PlannedBackout, id: &PatchId, plan: Plan) -> PatchPlan {
    let missing = planned.patch_plan.missing.iter();
    // Notes of the run belong to one patch only.
    let is_last = planned.patch_plan.plan.patches.last().is_some_and(|last| last == id.as_str());
    let changed: HashSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let is_own = |path: &&ObjectPath| changed.contains(*path);
    let own = missing.filter(is_own).cloned().collect();
    let replaced_edits = planned.patch_plan.replaced_edits.iter().filter(is_own).cloned().collect();
    drop(changed);
    PatchPlan {
        plan,
        parts: Vec::new(),
        hooks: Vec::new(),
        no_undo: false,
        again: false,
        replaced_edits,
        missing: own,
        moved: planned.patch_plan.moved.iter().filter(|object| object.from == *id).cloned().collect(),
        lists: planned.patch_plan.lists.iter().filter(|change| change.patch == *id).cloned().collect(),
        staying: BTreeMap::new(),
        libraries: planned.patch_plan.libraries.clone().filter(|_| is_last),
    }
}

fn perform_one(
    session: &Session<'_>,
    input: &BackOutInput<'_>,
    request: &PatchScriptRequest,
    id: &PatchId,
    (planned, settled): BackoutWithLibraries,
) -> PatchOutcome {
    let planned = planned.with(settled);
    if planned.patch_plan.has_scripts() {
        let PlannedBackout { mut patch_plan, undo, later, inventory, .. } = planned;
        let undo = (undo.as_slice(), later);
        let result = back_out_with_scripts(session, input, request, id, undo, &mut patch_plan, inventory);
        return PatchOutcome::of(id.to_string(), patch_plan, result.map(Some));
    }
    let hooks = match planned.promotion_hooks.open(session, &request.settings) {
        Ok(hooks) => hooks,
        Err(failure) => return PatchOutcome::refused(id.to_string(), None, failure),
    };
    let planned = match hooks.as_ref().map_or(Ok(false), |hooks| hooks.borrow_mut().before()) {
        Ok(false) => planned,
        // The hook may have changed the surveyed objects.
        Ok(true) => match plan(input, id).and_then(|planned| planned.settled(input)) {
            Ok(planned) => planned,
            Err(failure) => return PatchOutcome::refused(id.to_string(), None, failure),
        },
        Err(failure) => return PatchOutcome::of(id.to_string(), planned.patch_plan, Err(failure)),
    };
    let result = perform(session, &planned, hooks.as_ref());
    PatchOutcome::of(id.to_string(), planned.patch_plan, result.map(Some))
}

fn perform(
    session: &Session<'_>,
    planned: &PlannedBackout,
    hooks: Option<&RefCell<HookRun<'_>>>,
) -> Result<Receipt, Failure> {
    let plan = &planned.patch_plan.plan;
    let records = vec![patch_record(plan, None, log::of_backout(plan))];
    perform_with_hooks(session, hooks, (plan, &mut planned.content()), records, &|_| Ok(()))
}

/// Backs a patch out; `patch_plan` is the plan that was finally performed. `undo` has its archives, then those of
/// staying patches, which are rewritten.
fn back_out_with_scripts(
    session: &Session<'_>,
    input: &BackOutInput<'_>,
    request: &PatchScriptRequest,
    id: &PatchId,
    (undo, mut later): (&[VerifiedUndo], Vec<StayingUndo>),
    patch_plan: &mut PatchPlan,
    mut inventory: Inventory,
) -> Result<Receipt, Failure> {
    let patch = OfPatch { id: id.to_string(), is_saved: false, is_applied: false };
    let installing = PatchInstall::new(request, input.choice.clone(), patch);
    let archive = |part: &PackagePlan| undo.get(part.index).map(|one| &one.device);
    let packages = patch_plan.parts.iter().filter_map(archive).map(|device| device.delivered(0));
    let packages = packages.collect::<Result<Vec<_>, _>>()?;
    let add = installing.input(session);
    let hooks = hook_directory(&session.ground, id);
    let mut scripts =
        PatchScripts::open(session, add, ScriptDirection::BackOut, patch_plan, &packages, Some(hooks))?;
    if scripts.before()? {
        let planned = plan(input, id)?.settled(input)?;
        (*patch_plan, inventory, later) = (planned.patch_plan, planned.inventory, planned.later);
    }
    let none = Params::new();
    let ready = scripts.ready(&patch_plan.parts, &packages, |part, _| {
        of_backout(inventory.packages.get(&part.package).map_or(&none, |installed| &installed.params))
    })?;
    scripts.perform(patch_plan, &ready, &inventory, &mut sources(undo.iter(), &later), None)
}

pub(super) fn selected(
    ground: &RootAndPolicy,
    request: &BackOutRequest,
    applied: &AppliedPatches,
    named: Vec<PatchId>,
) -> Result<Vec<PatchId>, Failure> {
    if let Some(run) = &request.undone {
        run.must_stand(&ground.root, applied)?;
    }
    let mut ids = with_promoted(ground, applied, named)?;
    if let Some(point) = &request.down_to {
        for id in with_promoted(ground, applied, after(ground, applied, point)?)? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    if request.with_dependents {
        ids = with_dependents(applied, ids);
    }
    Ok(ids)
}

/// Adds patches that could not stay without them.
fn with_dependents(applied: &AppliedPatches, mut ids: Vec<PatchId>) -> Vec<PatchId> {
    let mut at = 0;
    while let Some(id) = ids.get(at).cloned() {
        for unmet in applied.dependents_after_removal(&id) {
            if !ids.contains(&unmet.patch) {
                ids.push(unmet.patch);
            }
        }
        at += 1;
    }
    ids
}

fn after(ground: &RootAndPolicy, applied: &AppliedPatches, point: &str) -> Result<Vec<PatchId>, Failure> {
    let order = OrderOnRoot::of(applied);
    let view = RecordView::live(&ground.root);
    if let Some(run) = run_named(&view, point) {
        let is_later = |id: &PatchId| {
            let packages = applied.get(id).map(|patch| patch.packages.as_slice()).unwrap_or_default();
            let mut runs = packages
                .iter()
                .filter_map(|package| run_of(&ledger::counting(&view, package).ok()?, id.as_str()));
            runs.next().is_some_and(|number| number > run)
        };
        return Ok(order.all().filter(|id| is_later(id)).cloned().collect());
    }
    if let Ok(end) = DateTime::parse_from_rfc3339(point) {
        return Ok(order.all().filter(|id| order.date(id).is_some_and(|date| date > end)).cloned().collect());
    }
    let id = PatchId::parse(point, &ground.policy.separator).ok().filter(|id| applied.get(id).is_some());
    let Some(id) = id else {
        return Err(Failure::UnknownPoint(point.escape_debug().to_string()));
    };
    Ok(order.all().filter(|other| order.is_after(other, &id)).cloned().collect())
}

fn run_named(view: &RecordView<'_>, word: &str) -> Option<u64> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let known = || named_run(&readable_history(view), word).and_then(Run::parse);
    Run::parse(word).or_else(|| if is_number { known() } else { None }).map(|run| run.number)
}

/// Adds patches of promotions, if they are still applied by these.
fn with_promoted(
    ground: &RootAndPolicy,
    applied: &AppliedPatches,
    mut ids: Vec<PatchId>,
) -> Result<Vec<PatchId>, Failure> {
    let view = RecordView::live(&ground.root);
    for id in ids.clone() {
        let Some(record) = promotion(&view, &id)? else { continue };
        for brought in &record.brought {
            if !ids.contains(brought) && is_of_run(&view, applied, brought, &record.run)? {
                ids.push(brought.clone());
            }
        }
    }
    Ok(ids)
}

fn promotion(view: &RecordView<'_>, id: &PatchId) -> Result<Option<PromotionRecord>, Failure> {
    read_promotion(view, id).map_err(|fault| match fault {
        PromotionRecordFault::View(error) => error.into(),
        PromotionRecordFault::Damaged { error, .. } => {
            Failure::BadFile(format!("the record of promotion {id}: {error}"))
        }
    })
}

fn is_of_run(
    view: &RecordView<'_>,
    applied: &AppliedPatches,
    id: &PatchId,
    run: &str,
) -> Result<bool, Failure> {
    let number = Run::parse(run).map(|run| run.number);
    for package in applied.get(id).map(|patch| patch.packages.as_slice()).unwrap_or_default() {
        let ledger = ledger::counting(view, package).map_err(ArchiveError::from)?;
        let by = run_of(&ledger, id.as_str());
        if by.is_some() && by == number {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Dependents come first, then later applied patches.
pub(super) fn dependents_first(
    ground: &RootAndPolicy,
    applied: &AppliedPatches,
    mut ids: Vec<PatchId>,
) -> Vec<PatchId> {
    if ids.len() < 2 {
        return ids;
    }
    let mut places: BTreeMap<&PatchId, usize> = BTreeMap::new();
    let listed = applied.packages().iter().flat_map(|package| package.list.iter().enumerate());
    for (place, id) in listed {
        let last = places.entry(id).or_default();
        *last = place.max(*last);
    }
    ids.sort_by_key(|id| std::cmp::Reverse(places.get(id).copied()));
    ids = latest_run_first(&RecordView::live(&ground.root), applied, ids);
    in_order(ids, |id| needed_by(applied, id))
}

fn needed_by(applied: &AppliedPatches, id: &PatchId) -> Vec<PatchId> {
    applied.dependents_after_removal(id).into_iter().map(|unmet| unmet.patch).collect()
}

/// A stable order; what must go first comes first. Cycles keep their order: the rules of each patch report the
/// obstacle.
pub(super) fn in_order(ids: Vec<PatchId>, needs: impl Fn(&PatchId) -> Vec<PatchId>) -> Vec<PatchId> {
    let mut revisions: HashMap<&str, Vec<(usize, &PatchId)>> = HashMap::new();
    for (place, id) in ids.iter().enumerate() {
        revisions.entry(id.base()).or_default().push((place, id));
    }
    // For each patch: the number of predecessors, and its successors.
    let mut waits = vec![0_usize; ids.len()];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
    for (place, id) in ids.iter().enumerate() {
        let of_base = |needed: &PatchId| revisions.get(needed.base()).cloned().unwrap_or_default();
        let required = needs(id);
        let providers = required.iter().flat_map(|needed| {
            of_base(needed).into_iter().filter(|(_, id)| id.contains(needed)).map(|(other, _)| other)
        });
        let providers: BTreeSet<usize> = providers.filter(|other| *other != place).collect();
        waits[place] = providers.len();
        for other in providers {
            waiting[other].push(place);
        }
    }
    let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|place| waits[*place] == 0).collect();
    let mut rest: BTreeSet<usize> = (0..waits.len()).collect();
    let mut ids: Vec<Option<PatchId>> = ids.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(ids.len());
    while let Some(place) = ready.pop_first().or_else(|| rest.first().copied()) {
        rest.remove(&place);
        ordered.extend(ids[place].take());
        for later in &waiting[place] {
            waits[*later] -= 1;
            if waits[*later] == 0 && rest.contains(later) {
                ready.insert(*later);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(patches: &[(&str, &[&str])]) -> Vec<String> {
        let id = |text: &str| PatchId::new(text).unwrap();
        let required: HashMap<PatchId, Vec<PatchId>> = patches
            .iter()
            .map(|(own, required)| (id(own), required.iter().map(|r| id(r)).collect()))
            .collect();
        let ids = patches.iter().map(|(own, _)| id(own)).collect();
        let sorted = in_order(ids, |own| required[own].clone());
        sorted.into_iter().map(|own| own.to_string()).collect()
    }

    #[test]
    fn a_requirement_comes_first_and_everything_else_stays() {
        assert_eq!(ordered(&[("3-01", &[]), ("1-01", &["2-01"]), ("2-02", &[])]), ["3-01", "2-02", "1-01"]);
    }

    #[test]
    fn thousands_that_each_need_the_next_are_turned_round() {
        let names: Vec<String> = (0..3_000).map(|at| format!("{at}-01")).collect();
        let needs: Vec<[&str; 1]> = names.iter().skip(1).map(|name| [name.as_str()]).collect();
        let mut patches: Vec<(&str, &[&str])> =
            names.iter().zip(&needs).map(|(name, needs)| (name.as_str(), needs.as_slice())).collect();
        patches.push((names.last().unwrap(), &[]));
        let mut turned = names.clone();
        turned.reverse();
        assert_eq!(ordered(&patches), turned);
    }

    #[test]
    fn a_cycle_ends_and_loses_nobody() {
        assert_eq!(ordered(&[("1-01", &["2-01"]), ("2-01", &["1-01"])]), ["1-01", "2-01"]);
    }
}
