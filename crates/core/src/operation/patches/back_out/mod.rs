//! `patchadm remove` and patchrm(1M): backs patches out from verified undo archives.
//!
//! ```text
//!   session ─► order ─► planner: one run of all, or patch by patch, all foreseen first ─► commit
//! ```

pub(in crate::operation) mod by_pkgadd;
pub(in crate::operation::patches) mod input;
pub(in crate::operation) mod locked;
mod planning;
mod request;
pub(in crate::operation::patches) mod undo;

pub(in crate::operation) use input::KnownArchives;
pub(in crate::operation) use planning::rehearse;
pub use request::{BackOutOutcome, BackOutReport, BackOutRequest};

use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::plan_file::{add_changes, found, left_out};
use crate::operation::patches::preparation::{PreparedRoot, prepare};
use crate::operation::patches::prepared::PreparationRequest;
use crate::operation::plan_file::PlanFileRequest;
use crate::operation::root_and_policy::plan_on_foreseen_root;
use crate::operation::run::Execution;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database, shown_to_anybody,
    without_lock,
};
use crate::operation::trial::request::TrialChange;
use crate::operation::trial::{begin_change, must_be_off_trial};
use locked::{back_out_named, named};
use patchadm_inputs::database::history::trial;
use patchadm_inputs::database::{RecordView, marker};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_planning::plan::Plan;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// Errors concern the whole root; a patch's error is in its report. All patches are planned first: if one cannot go,
/// nothing is changed. The first failure during a backout ends the command.
pub fn back_out_patches(
    root: &Root,
    request: &BackOutRequest,
    caller: &Caller<'_>,
) -> Result<BackOutReport, Failure> {
    let undo_dir = request.moved_to.as_deref();
    if request.dry_run {
        let shown = |root: &Root| {
            let ground = RootAndPolicy::of(root)?;
            let ids = named(request, &ground.policy)?;
            must_have_database(root)?;
            let ground = ground.naming(undo_dir).for_who_may()?;
            must_be_directories(root, &caller.exchanges)?;
            without_lock(root, || {
                must_be_off_trial(root, caller, request.undone.as_ref().map(|run| run.name.as_str()))?;
                back_out_of(&ground, request, ids.clone(), caller, Execution::Foresee)
            })
        };
        let plan = || {
            let (report, recovered) = plan_on_foreseen_root(root, shown)?;
            Ok(BackOutReport { recovered, ..report })
        };
        return shown_to_anybody(root, plan, |report, refused| BackOutReport {
            refused: Some(refused),
            ..report
        });
    }
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?;
    let ids = named(request, &ground.policy)?;
    must_have_database(root)?;
    let session = begin(ground.naming(undo_dir), request, caller)?.reversing_exchanges();
    if request.plan_file.expected.is_some() {
        // Refuses a plan that differs.
        back_out_of(&session.ground, request, ids.clone(), caller, Execution::Foresee)?;
    }
    let report = back_out_of(&session.ground, request, ids, caller, Execution::Perform(&session))?;
    Ok(BackOutReport { recovered: session.recovered, ..report })
}

/// A run on trial may be undone at any time, even after its deadline; nothing else is backed out beside it.
fn begin<'a>(
    ground: RootAndPolicy,
    request: &BackOutRequest,
    caller: &'a Caller<'a>,
) -> Result<Session<'a>, Failure> {
    let Some(undone) = &request.undone else { return begin_change(ground, caller) };
    let record = trial(&RecordView::live(&ground.root))?.filter(|record| record.run == undone.name);
    if record.is_none() {
        return begin_change(ground, caller);
    }
    let session = Session::begin(ground, caller)?;
    // The trial may have ended while this waited for the lock.
    let record = trial(&RecordView::live(&session.ground.root))?.filter(|record| record.run == undone.name);
    Ok(match record {
        Some(record) => session.changing_trial(TrialChange::ending(&record, "undone", &record.patches)),
        None => session,
    })
}

/// The root is either locked or only shown.
fn back_out_of(
    ground: &RootAndPolicy,
    request: &BackOutRequest,
    ids: Vec<PatchId>,
    caller: &Caller<'_>,
    execution: Execution<'_>,
) -> Result<BackOutReport, Failure> {
    let root = &ground.root;
    must_agree(root, caller.interrupt, |_| false)?;
    let refresh = PreparationRequest { refresh: request.refresh, ..PreparationRequest::default() };
    let PreparedRoot { report: preparation, after } = prepare(ground, execution, &refresh, &[], caller)?;
    let staying = match execution {
        Execution::Foresee => preparation.foreseeable(ids),
        Execution::Perform(_) => preparation.staying(ids),
    };
    let Some(ids) = staying else { return Ok(BackOutReport { preparation, ..BackOutReport::default() }) };
    let ground = after.as_ref().unwrap_or(ground);
    let patches = back_out_named((ground, request, caller), ids, execution)?;
    let mut report = BackOutReport { preparation, patches, ..BackOutReport::default() };
    match execution {
        Execution::Foresee => {
            let plans = report.patches.iter();
            let plans = plans.filter_map(|one| Some((one.plan.as_ref()?, !one.scripts.is_empty())));
            report.exchanges = foreseen(root, &caller.exchanges, plans)?;
            if request.plan_file.is_made() {
                let plan = made_plan(ground, &request.plan_file, &report.patches)?;
                request.plan_file.must_hold(&plan)?;
                report.plan_file = request.plan_file.in_report.then(|| Box::new(plan));
            }
        }
        Execution::Perform(session) => report.exchanges = session.exchanged(),
    }
    Ok(report)
}

fn made_plan(
    ground: &RootAndPolicy,
    request: &PlanFileRequest,
    outcomes: &[BackOutOutcome],
) -> Result<PlanFile, Failure> {
    let mut plan = PlanFile::new(request.command.to_owned(), request.options.clone());
    plan.root = marker(&ground.root)?;
    let applied = ground.recorded(&ground.packages()?)?;
    plan.applied = applied.iter().map(|patch| patch.id.to_string()).collect();
    let mut plans: Vec<&Plan> = Vec::new();
    for outcome in outcomes {
        plan.patches.push(left_out(&outcome.id, outcome.result.as_ref().err()));
        if let (Some(made), Ok(_)) = (&outcome.plan, &outcome.result) {
            let with = (outcome.scripts.as_slice(), outcome.libraries.as_ref());
            add_changes(&mut plan, &outcome.id, made, with);
            plans.push(made);
        }
    }
    let expected = request.expected.as_ref().map(|expected| &expected.plan);
    plan.found = found(&ground.root, &plans, expected)?;
    Ok(plan)
}

pub(in crate::operation) fn back_out_locked(
    session: &Session<'_>,
    request: &BackOutRequest,
) -> Result<Vec<BackOutOutcome>, Failure> {
    let ids = named(request, &session.ground.policy)?;
    back_out_named((&session.ground, request, session.caller), ids, Execution::Perform(session))
}

/// Backs out the named patches and their dependents: in one run if possible, otherwise one by one, after a projection
/// of all.
fn back_out_named(
    (ground, request, caller): (&RootAndPolicy, &BackOutRequest, &Caller<'_>),
    ids: Vec<PatchId>,
    execution: Execution<'_>,
) -> Result<Vec<BackOutOutcome>, Failure> {
    let read = KnownRecords::of(ground)?;
    let ids = selected(ground, request, &read.applied, ids)?;
    let ids = dependents_first(ground, &read.applied, ids);
    let mut each = EachBackout::of((ground, request, caller), &ids, execution)?;
    each.input = each.input.knowing(read);
    if ids.len() < 2 {
        return Ok(run_all(&mut each));
    }
    let mut one_run = OneRunBackout::new((each.input.anew(), &request.scripts), &ids, execution);
    let outcomes = run_all(&mut one_run);
    if !outcomes.is_empty() {
        return Ok(outcomes);
    }
    if one_run.has_run_hooks {
        // The hooks may have changed the root.
        each.input = each.input.afresh();
    }
    Ok(each.take_all(one_run.refusal))
}

fn named(request: &BackOutRequest, policy: &Policy) -> Result<Vec<PatchId>, Failure> {
    let mut named: Vec<PatchId> = Vec::new();
    for id in &request.ids {
        let id = PatchId::parse(id, &policy.separator);
        let id = id.map_err(|error| Failure::BadId(error.to_string()))?;
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

    fn plan_one(&mut self, place: usize) -> Result<BackoutWithLibraries, Failure> {
        let planned = plan(&self.input, self.id(place)?)?;
        let settled = if self.is_performed() {
            planned.settle(&mut self.input.keeper(), true)?
        } else {
            planned.settle(&mut self.keeper, false)?
        };
        Ok((planned, settled))
    }

    /// Adds the plan to the projected root.
    fn foreseen(&mut self, id: &PatchId, (planned, settled): BackoutWithLibraries) -> BackOutOutcome {
        let texts = self.texts.as_mut().map(|texts| planned.texts(texts)).unwrap_or_default();
        let PlannedBackout { mut patch_plan, promotion_hooks, .. } = planned;
        patch_plan.plan.notes.extend(promotion_hooks.notes());
        if let Err(failure) = self.may_run(id, &patch_plan) {
            return BackOutOutcome::refused(id, failure);
        }
        if self.ids.len() > 1 {
            self.input.before.add(patch_plan.plan.clone(), BTreeMap::new());
        }
        if let Some(settled) = settled {
            settled.apply(&mut patch_plan);
        }
        BackOutOutcome { texts, ..BackOutOutcome::of(id, patch_plan, Ok(None)) }
    }

    /// Refuses unsafe scripts, and hooks that cannot run.
    fn may_run(&self, id: &PatchId, patch_plan: &PatchPlan) -> Result<(), Failure> {
        let ground = self.input.ground;
        must_be_safe(ground, Command::Patchrm, id.as_str(), patch_plan)?;
        let hooks = patch_plan.hooks.iter().map(|hook| hook.name.as_str());
        hook_directory(ground, id).must_be_executable(hooks).map_err(Failure::Script)
    }
}

impl RunPlanner for EachBackout<'_> {
    type Batch = Result<BackoutWithLibraries, Failure>;
    type Outcome = BackOutOutcome;

    fn count(&self) -> usize {
        self.ids.len()
    }

    fn plan(&mut self, taken: usize) -> Result<BackoutWithLibraries, Failure> {
        if self.is_performed() && taken > 0 {
            // The root has changed.
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

/// Completes outcomes of patches that were planned one by one: a refusal without a patch goes to the last one. If they
/// must be one run, all are refused.
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

/// Refuses patches that must be one run and cannot: the first with scripts, or else the last; the others stay because
/// of it.
fn must_be_one_run(outcomes: Vec<BackOutOutcome>) -> Vec<BackOutOutcome> {
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
        BackOutOutcome::refused(&outcome.id, failure)
    });
    refused.collect()
}

struct OneRunBackout<'a> {
    input: BackOutInput<'a>,
    scripts: &'a PatchScriptRequest,
    ids: &'a [PatchId],
    execution: Execution<'a>,
    /// Set if a patch may not go; there are no outcomes then.
    refusal: Option<Failure>,
    /// Hooks may have changed the root.
    has_run_hooks: bool,
}

impl<'a> OneRunBackout<'a> {
    fn new(
        (input, scripts): (BackOutInput<'a>, &'a PatchScriptRequest),
        ids: &'a [PatchId],
        execution: Execution<'a>,
    ) -> Self {
        Self { input, scripts, ids, execution, refusal: None, has_run_hooks: false }
    }

    /// The last applied patch first. `None` if one run is not possible. Fails if one of them may not go.
    fn planned(&self) -> Result<Option<PlannedBackout>, Failure> {
        plan_together(&self.input, self.ids)?.map(|planned| planned.settled(&self.input)).transpose()
    }

    fn foreseen(&self, mut planned: PlannedBackout) -> Vec<BackOutOutcome> {
        planned.patch_plan.plan.notes.extend(planned.promotion_hooks.notes());
        let mut all = self.input.text_reader().map(|mut texts| planned.texts(&mut texts)).unwrap_or_default();
        let outcome = |(id, plan)| {
            let texts = texts_of_plan(&plan, &mut all);
            BackOutOutcome { texts, ..BackOutOutcome::of(&id, portion(&planned, &id, plan), Ok(None)) }
        };
        portions(&planned, self.ids).into_iter().map(outcome).collect()
    }

    /// One commit. `None` if a hook made that impossible.
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
        let plan = &planned.patch_plan.plan;
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
    let is_own = |path: &&ObjectPath| plan.changes.iter().any(|change| change.path == **path);
    let own = missing.filter(is_own).cloned().collect();
    let replaced_edits = planned.patch_plan.replaced_edits.iter().filter(is_own).cloned().collect();
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
) -> BackOutOutcome {
    let planned = planned.with(settled);
    if planned.patch_plan.has_scripts() {
        let PlannedBackout { mut patch_plan, undo, later, inventory, .. } = planned;
        let undo = (undo.as_slice(), later);
        let result = back_out_with_scripts(session, input, request, id, undo, &mut patch_plan, inventory);
        return BackOutOutcome::of(id, patch_plan, result.map(Some));
    }
    let hooks = match planned.promotion_hooks.open(session, &request.settings) {
        Ok(hooks) => hooks,
        Err(failure) => return BackOutOutcome::refused(id, failure),
    };
    let planned = match hooks.as_ref().map_or(Ok(false), |hooks| hooks.borrow_mut().before()) {
        Ok(false) => planned,
        // The hook may have changed the surveyed objects.
        Ok(true) => match plan(input, id).and_then(|planned| planned.settled(input)) {
            Ok(planned) => planned,
            Err(failure) => return BackOutOutcome::refused(id, failure),
        },
        Err(failure) => return BackOutOutcome::of(id, planned.patch_plan, Err(failure)),
    };
    let result = perform(session, &planned, hooks.as_ref());
    BackOutOutcome::of(id, planned.patch_plan, result.map(Some))
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
