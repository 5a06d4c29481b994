//! `promote`: what a stage has goes live as a patch of the root.
//!
//! ```text
//!   stage ─► base in force, both trees ─► differing paths ─► lines, decisions, guards ─► survey ─► plan
//!                                                            ─► one run, which writes the next base
//! ```
//! Until the journal is published nothing of the root is changed; the base of the promotion is durable by then. The base of
//! a promotion that was rolled back, or backed out, counts for nothing and goes with the next promotion.

mod plan;
mod report;
mod rights;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::thread;

use super::compared::remove_old_bases;
use super::error::StageError;
use super::own_files::{Stage, StageRecord, put_base};
use super::records::promotion_base;
use super::refresh::{complete_refresh, is_interrupted};
use super::transfer::databases::lock_records;
use crate::operation::changed_texts::{ChangedTexts, TextReader};
use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::new_database::NewDatabase;
use crate::operation::patches::after_run::{AfterRun, after_run};
use crate::operation::patches::in_use::in_use;
use crate::operation::patches::undo_directory;
use crate::operation::promotion_hooks::{HookDirection, HookRun, HookSubject, perform_with_hooks};
use crate::operation::run::{BatchEnd, Execution, RunPlanner, run_all};
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, patch_record, shown_to_anybody, without_lock,
};
use crate::operation::trial::begin::{begin_change, must_be_off_trial};
use crate::operation::trial::request::TrialChange;
use patchadm_changeset::transaction::Cause;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::stage::{Base, BaseHeader, BaseObjects, LOCK, base_name};
use patchadm_planning::plan::Plan;
use patchadm_rootfs::{Digest, Lock, Root};
use patchadm_svr4::patch::PatchId;
use plan::{MadePlan, PromotedTree, StageContent, make_plan, settle_plan_file};

pub use super::compared::KeptPath;
pub use report::{PackageReport, PathReport, PromoteReport, PromoteRequest, SwitchWay};
pub use rights::{WithheldAttribute, WithheldObject};

/// Promotes a stage, or says what that would do.
pub fn promote_stage(
    root: &Root,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<PromoteReport, StageError> {
    if request.dry_run {
        let plan = || Ok(rehearse(root, request, caller));
        let but = |report: Result<PromoteReport, StageError>, refused: Failure| {
            report.map(|report| PromoteReport { refused: Some(refused), ..report })
        };
        return shown_to_anybody(root, plan, but)?;
    }
    let tree = PromotedTree::open(root, request)?;
    let wait = |holder: &_| (caller.wait)(holder);
    let own = tree.stage.as_ref().map(|stage| &stage.own);
    let lock = own.map(|own| Lock::take_file(own, LOCK, caller.program, wait)).transpose();
    let _held = lock.map_err(Failure::from)?;
    let tree = tree.on_record(root)?;
    may_change(root)?;
    let Some(stage) = &tree.stage else { return promote_locked(root, &tree, request, caller) };
    if let Some(refused) = refused_before_refresh(root, stage, request, caller)? {
        return Ok(refused);
    }
    let Some(refreshed) = complete_refresh(root, stage, caller)? else {
        return promote_locked(root, &tree, request, caller);
    };
    let promoted = tree.on_record(root).and_then(|tree| promote_locked(root, &tree, request, caller));
    match promoted {
        Ok(report) if report.recovered.is_nothing() => {
            let recovered = refreshed.recovered.clone();
            Ok(PromoteReport { recovered, refreshed: Some(refreshed), ..report })
        }
        Ok(report) => Ok(PromoteReport { refreshed: Some(refreshed), ..report }),
        Err(error) => Err(StageError::AfterRefresh { refreshed, error: Box::new(error) }),
    }
}

/// Plans a promotion of a stage whose interrupted refresh it would complete first: what is wrong with it is found while
/// nothing is changed yet. `None` where it can begin, and where the root itself has to be recovered first.
fn refused_before_refresh(
    root: &Root,
    stage: &Stage,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<Option<PromoteReport>, StageError> {
    if !is_interrupted(stage)? {
        return Ok(None);
    }
    if let Some(directory) = request.undo_dir.as_deref() {
        undo_directory::must_be_usable(&ground(root, request)?.host, directory)?;
    }
    match rehearse(root, request, caller) {
        Ok(report) if report.result.is_err() => Ok(Some(PromoteReport { refreshed: None, ..report })),
        Ok(_) | Err(StageError::Failure(Failure::DuringRun(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Promotes a tree whose lock, if it is a stage, the caller holds.
fn promote_locked(
    root: &Root,
    tree: &PromotedTree,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<PromoteReport, StageError> {
    let _records = lock_records(tree.stage.as_ref(), caller)?;
    let ground = ground(root, request)?;
    let new = NewDatabase::make(root)?;
    let session = begin_change(ground, caller).inspect_err(|_| new.remove_empty(root))?;
    let session = match request.trial.wanted(&session.ground.policy, request.no_undo) {
        Some(wanted) => session.changing_trial(TrialChange::beginning(wanted)),
        None => session,
    };
    let promoted = carry_out(&session, tree, request, caller);
    if promoted.as_ref().map_or(true, |report| !report.has_changed()) {
        new.remove(root);
    }
    Ok(PromoteReport { recovered: session.recovered, ..promoted? })
}

fn ground(root: &Root, request: &PromoteRequest) -> Result<RootAndPolicy, Failure> {
    let ground = RootAndPolicy::of(root)?;
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    Ok(ground.naming(undo_dir.as_deref()))
}

/// What a promotion would do.
fn rehearse(root: &Root, request: &PromoteRequest, caller: &Caller<'_>) -> Result<PromoteReport, StageError> {
    let tree = PromotedTree::open(root, request)?.foreseen()?;
    let ground = ground(root, request)?.for_who_may()?;
    must_be_directories(root, &caller.exchanges)?;
    let execution = Execution::Foresee;
    let planner = PromotionPlanner { ground: &ground, tree: &tree, request, caller, execution };
    without_lock(root, || {
        must_be_off_trial(root, caller, None)?;
        Ok(planner.promote())
    })?
}

fn carry_out(
    session: &Session<'_>,
    tree: &PromotedTree,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<PromoteReport, StageError> {
    must_agree(&session.ground.root, caller.interrupt, |_| false)?;
    if let Some(directory) = request.undo_dir.as_deref() {
        undo_directory::must_be_usable(&session.ground.host, directory)?;
    }
    let (ground, execution) = (&session.ground, Execution::Perform(session));
    PromotionPlanner { ground, tree, request, caller, execution }.promote()
}

/// A promotion: a run of one patch, and of those that come from the stage with it.
#[derive(Clone, Copy)]
struct PromotionPlanner<'a> {
    ground: &'a RootAndPolicy,
    tree: &'a PromotedTree,
    request: &'a PromoteRequest,
    caller: &'a Caller<'a>,
    execution: Execution<'a>,
}

impl PromotionPlanner<'_> {
    fn promote(mut self) -> Result<PromoteReport, StageError> {
        let nothing = || Err(Failure::NotTried(String::new()).into());
        run_all(&mut self).pop().unwrap_or_else(nothing)
    }

    fn foreseen(&self, mut made: MadePlan) -> Result<PromoteReport, StageError> {
        let plan = made.plan.as_ref().ok().and_then(Option::as_ref);
        let plans = plan.into_iter().map(|plan| (plan, false));
        let exchanges = foreseen(&self.ground.root, &self.caller.exchanges, plans)?;
        let texts = plan.filter(|_| self.request.texts).map(|plan| self.texts(plan)).unwrap_or_default();
        let outcome = made.refused_or_planned();
        Ok(PromoteReport { texts, ..made.report(outcome, exchanges) })
    }

    /// The texts of the files that change.
    fn texts(&self, plan: &Plan) -> ChangedTexts {
        let mut content = StageContent::of(&self.tree.root, plan);
        TextReader::new(&self.ground.root).read((plan, &BTreeMap::new()), &BTreeSet::new(), &mut content)
    }

    fn performed(&self, session: &Session<'_>, mut made: MadePlan) -> Result<PromoteReport, StageError> {
        if !matches!(made.plan, Ok(Some(_))) {
            return Ok(without_run(made, self.tree));
        }
        match run_before(session, self.tree, self.request, &mut made)? {
            Ok(hooks) => Ok(promoted(session, self.tree, made, hooks.as_ref())),
            Err(failure) => Ok(made.report(Err(failure), Vec::new())),
        }
    }
}

impl RunPlanner for PromotionPlanner<'_> {
    type Batch = Result<MadePlan, StageError>;
    type Outcome = Result<PromoteReport, StageError>;

    fn count(&self) -> usize {
        1
    }

    /// Makes the plan, and holds it to a plan file.
    fn plan(&mut self, _: usize) -> Self::Batch {
        let mut made = make_plan(self.ground, self.tree, self.request, self.caller)?;
        settle_plan_file(self.ground, self.tree, self.request, &mut made);
        Ok(made)
    }

    fn carry_out(&mut self, _: usize, made: Self::Batch) -> BatchEnd<Self::Outcome> {
        let report = made.and_then(|made| match self.execution {
            Execution::Foresee => self.foreseen(made),
            Execution::Perform(session) => self.performed(session, made),
        });
        BatchEnd::Last(vec![report])
    }
}

/// The report where there is nothing to do, or where it was refused.
fn without_run(mut made: MadePlan, tree: &PromotedTree) -> PromoteReport {
    let outcome = made.refused_or_planned();
    if outcome.is_ok() {
        tree.keep_cache(made.cache().as_deref());
    }
    made.report(outcome, Vec::new())
}

/// Lets the run of a promotion record the base that it leaves, if the root records the bases of the stage.
fn record_base(session: &Session<'_>, tree: &PromotedTree, made: &mut MadePlan) -> Result<(), Failure> {
    let Some(stage) = &tree.stage else { return Ok(()) };
    if !matches!(stage.record, StageRecord::Rights(_)) {
        return Ok(());
    }
    let Some(seal) = BaseAfter::of(tree, made).seal() else { return Ok(()) };
    let root = &session.ground.root;
    let applied = made.applied.iter().cloned().collect();
    let change = promotion_base(root, stage, (&made.id, seal), &applied);
    let change = change.map_err(StageError::into_failure)?;
    if let (Ok(Some(plan)), Some(change)) = (&mut made.plan, change) {
        plan.records.push(change);
    }
    Ok(())
}

/// Carries out what was planned.
fn promoted(
    session: &Session<'_>,
    tree: &PromotedTree,
    mut made: MadePlan,
    hooks: Option<&RefCell<HookRun<'_>>>,
) -> PromoteReport {
    if let Err(failure) = record_base(session, tree, &mut made) {
        return made.report(Err(failure), Vec::new());
    }
    let Ok(Some(plan)) = &made.plan else { return without_run(made, tree) };
    let in_use = in_use(&session.ground.root, plan);
    let after = BaseAfter::of(tree, &made);
    let cache = OnceLock::new();
    let announce = |run: &str| {
        after.put(run).map_err(|error| match error {
            StageError::Root(error) => Cause::Root(error),
            other => Cause::Source(Box::new(other)),
        })
    };
    let mut content = StageContent::of(&tree.root, plan);
    let portions = if made.portions.is_empty() { std::slice::from_ref(plan) } else { &made.portions[..] };
    let told = portions.iter().map(|one| patch_record(one, log::of_patch(one), log::of_installation(one)));
    let done = thread::scope(|scope| {
        if session.ground.root.workers() > 1 {
            scope.spawn(|| {
                after.prepare();
                cache.get_or_init(|| made.cache());
            });
        }
        perform_with_hooks(session, hooks, (plan, &mut content), told.collect(), &announce)
    });
    made.hook_ends = hooks.map(|hooks| hooks.borrow().ends()).unwrap_or_default();
    if let (Ok(_), Some(stage)) = (&done, &tree.stage) {
        remove_old_bases(stage, &RecordView::live(&session.ground.root));
        tree.keep_cache(cache.get_or_init(|| made.cache()).as_deref());
    }
    let exchanged = session.exchanged();
    // What a trial needs to go back stays until it is confirmed.
    let is_settled = done.is_ok() && !session.is_beginning_trial();
    let after = if is_settled { after_run(session) } else { AfterRun::default() };
    let mut report =
        PromoteReport { in_use: in_use.processes, after, ..made.report(done.map(Some), exchanged) };
    if let Some(plan) = &mut report.plan {
        plan.notes.extend(in_use.note.map(str::to_owned));
    }
    report
}

/// Runs the hook that comes before a planned promotion, and makes the plan again, because the hook may have changed it.
/// Returns the hooks for the rest of the run, or why there are none.
fn run_before<'a>(
    session: &'a Session<'a>,
    tree: &PromotedTree,
    request: &'a PromoteRequest,
    made: &mut MadePlan,
) -> Result<Result<Option<RefCell<HookRun<'a>>>, Failure>, StageError> {
    let subject = HookSubject { id: made.id.clone(), stage: tree.name.clone() };
    let opened = HookRun::open(session, &request.scripts, &made.hooks, (HookDirection::Promote, &[subject]));
    let hooks = match opened {
        Ok(Some(hooks)) => hooks,
        other => return Ok(other),
    };
    let ran = hooks.borrow_mut().before();
    match ran {
        Ok(false) => {}
        Ok(true) => {
            tree.keep_cache(made.cache().as_deref());
            let fingerprint = made.fingerprint.take();
            *made = make_plan(&session.ground, tree, request, session.caller)?;
            (made.hook_ends, made.fingerprint) = (hooks.borrow().ends(), fingerprint);
        }
        Err(failure) => {
            made.hook_ends = hooks.borrow().ends();
            return Ok(Err(failure));
        }
    }
    Ok(Ok(Some(hooks)))
}

/// The base that a promotion leaves: the stage as it was read, and for all else the contents of the base in force.
struct BaseAfter<'a> {
    tree: &'a PromotedTree,
    made: &'a MadePlan,
    objects: OnceLock<BaseObjects>,
}

impl<'a> BaseAfter<'a> {
    /// Begins with the plan.
    fn of(tree: &'a PromotedTree, made: &'a MadePlan) -> Self {
        Self { tree, made, objects: OnceLock::new() }
    }

    /// Computes all objects. A thread may do that while the run is staged; those who need them wait for it.
    fn prepare(&self) -> &BaseObjects {
        self.objects.get_or_init(|| {
            let objects = self.made.base.as_ref().map(|force| self.made.base_after(&force.base));
            BaseObjects::new(objects.unwrap_or_default())
        })
    }

    /// Returns the seal of the base; `None` if the tree has no bases.
    fn seal(&self) -> Option<Digest> {
        let force = self.made.base.as_ref()?;
        Some(self.prepare().seal(&self.header(&force.base, None)))
    }

    fn header(&self, before: &Base, promotion: Option<(PatchId, String)>) -> BaseHeader {
        BaseHeader { promotion, packages: self.made.base_packages(before), ..before.header.clone() }
    }

    /// Writes the base for the run of this name. Afterwards, no power cut loses it.
    fn put(&self, run: &str) -> Result<(), StageError> {
        let (Some(stage), Some(force)) = (&self.tree.stage, &self.made.base) else { return Ok(()) };
        let header = self.header(&force.base, Some((self.made.id.clone(), run.to_owned())));
        put_base(&stage.own, &base_name(&self.made.id), &header, self.prepare())
    }
}
