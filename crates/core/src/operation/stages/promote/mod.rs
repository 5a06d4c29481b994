//! `stage promote`: a stage's contents go live as a patch of the root.
//!
//! ```text
//!   stage ─► base in force, both trees ─► differing paths ─► lines, decisions, guards ─► survey ─► plan
//!                                                            ─► one run, which writes the next base
//! ```
//! The next base is durable before the journal is published. Bases of promotions that were undone are ignored, and
//! later removed.

mod plan;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::thread;

use super::StageError;
use super::compared::remove_old_bases;
use super::own_files::{StageRecord, put_base};
use super::records::promotion_base;
use super::refresh::{complete_refresh, is_interrupted};
use super::transfer::databases::lock_records;
use crate::operation::changed_texts::TextReader;
use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::new_database::NewDatabase;
use crate::operation::patches::after_run::{AfterRun, after_run};
use crate::operation::patches::undo_directory;
use crate::operation::promotion_hooks::{HookDirection, HookRun, HookSubject, perform_with_hooks};
use crate::operation::running::in_use;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, patch_record, shown_to_anybody, without_lock,
};
use crate::operation::trial::request::TrialChange;
use crate::operation::trial::{begin_change, must_be_off_trial};
use patchadm_changeset::transaction::Cause;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::stage::{Base, BaseHeader, BaseObjects, LOCK, base_name};
use patchadm_rootfs::{Digest, Lock, Root};
use patchadm_svr4::patch::PatchId;
use plan::{MadePlan, PromotedTree, StageContent, make_plan, settle_plan_file};

pub use super::compared::KeptPath;
pub use plan::{PackageReport, PathReport, PromoteReport, PromoteRequest};
pub use rights::{WithheldAttribute, WithheldObject};

/// Completes an interrupted refresh first.
pub fn promote_stage(
    root: &Root,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<PromoteReport, StageError> {
    if request.dry_run {
        let plan = || Ok(plan_promotion(root, request, caller));
        let with_refusal = |report: Result<PromoteReport, StageError>, refused: Failure| {
            report.map(|report| PromoteReport { refused: Some(refused), ..report })
        };
        return shown_to_anybody(root, plan, with_refusal)?;
    }
    let tree = PromotedTree::open(root, request)?;
    let wait = |holder: &_| (caller.wait)(holder);
    let own = tree.stage.as_ref().map(|stage| &stage.own);
    let lock = own.map(|own| Lock::take_file(own, LOCK, caller.program, wait)).transpose();
    let _stage_lock = lock.map_err(Failure::from)?;
    let tree = tree.on_record(root)?;
    may_change(root)?;
    let Some(stage) = &tree.stage else { return promote_locked(root, &tree, request, caller) };

    if is_interrupted(stage)? {
        // Check this before any change of the stage.
        if let Some(directory) = request.undo_dir.as_deref() {
            undo_directory::must_be_usable(&ground_of(root, request)?.host, directory)?;
        }
        match plan_promotion(root, request, caller) {
            Ok(report) if report.result.is_err() => return Ok(PromoteReport { refreshed: None, ..report }),
            // The root must be recovered before planning.
            Ok(_) | Err(StageError::Failure(Failure::DuringRun(_))) => {}
            Err(error) => return Err(error),
        }
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

fn ground_of(root: &Root, request: &PromoteRequest) -> Result<RootAndPolicy, Failure> {
    let ground = RootAndPolicy::of(root)?;
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    Ok(ground.naming(undo_dir.as_deref()))
}

/// Uses no lock.
fn plan_promotion(
    root: &Root,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<PromoteReport, StageError> {
    let tree = PromotedTree::open(root, request)?.foreseen()?;
    let ground = ground_of(root, request)?.for_who_may()?;
    must_be_directories(root, &caller.exchanges)?;
    let plan = || -> Result<PromoteReport, StageError> {
        let mut made = make_plan(&ground, &tree, request, caller)?;
        settle_plan_file(&ground, &tree, request, &mut made);
        let plan = made.plan.as_ref().ok().and_then(Option::as_ref);
        let plans = plan.into_iter().map(|plan| (plan, false));
        let exchanges = foreseen(&ground.root, &caller.exchanges, plans)?;
        let texts = plan.filter(|_| request.texts).map(|plan| {
            let mut content = StageContent::of(&tree.root, plan);
            TextReader::new(&ground.root, caller.interrupt).read(
                (plan, &BTreeMap::new()),
                &BTreeSet::new(),
                &mut content,
            )
        });
        let outcome = made.refused_or_planned();
        Ok(PromoteReport { texts: texts.unwrap_or_default(), ..made.report(outcome, exchanges) })
    };
    without_lock(root, || {
        must_be_off_trial(root, caller, None)?;
        Ok(plan())
    })?
}

/// The caller holds a stage's lock.
fn promote_locked(
    root: &Root,
    tree: &PromotedTree,
    request: &PromoteRequest,
    caller: &Caller<'_>,
) -> Result<PromoteReport, StageError> {
    let _records_lock = lock_records(tree.stage.as_ref(), caller)?;
    let ground = ground_of(root, request)?;
    let new = NewDatabase::make(root)?;
    let session = begin_change(ground, caller).inspect_err(|_| new.remove_empty(root))?;
    let session = match request.trial.wanted(&session.ground.policy, request.no_undo) {
        Some(trial) => session.changing_trial(TrialChange::beginning(trial)),
        None => session,
    };
    let promoted = promote_in_session(&session, tree, request);
    if promoted.as_ref().map_or(true, |report| !report.has_changed()) {
        new.remove(root);
    }
    Ok(PromoteReport { recovered: session.recovered, ..promoted? })
}

fn promote_in_session(
    session: &Session<'_>,
    tree: &PromotedTree,
    request: &PromoteRequest,
) -> Result<PromoteReport, StageError> {
    let (ground, caller) = (&session.ground, session.caller);
    must_agree(&ground.root, caller.interrupt, |_| false)?;
    if let Some(directory) = request.undo_dir.as_deref() {
        undo_directory::must_be_usable(&ground.host, directory)?;
    }
    let mut made = make_plan(ground, tree, request, caller)?;
    settle_plan_file(ground, tree, request, &mut made);
    if !matches!(made.plan, Ok(Some(_))) {
        return Ok(report_without_run(made, tree));
    }

    // The hook may change both trees, so plan again.
    let subject = HookSubject { id: made.id.clone(), stage: tree.name.clone() };
    let opened = HookRun::open(session, &request.scripts, &made.hooks, (HookDirection::Promote, &[subject]));
    let hooks = match opened {
        Ok(hooks) => hooks,
        Err(failure) => return Ok(made.report(Err(failure), Vec::new())),
    };
    if let Some(hooks) = &hooks {
        let ran = hooks.borrow_mut().before();
        match ran {
            Ok(false) => {}
            Ok(true) => {
                tree.keep_cache(made.cache().as_deref());
                let fingerprint = made.fingerprint.take();
                made = make_plan(ground, tree, request, caller)?;
                (made.hook_ends, made.fingerprint) = (hooks.borrow().ends(), fingerprint);
            }
            Err(failure) => {
                made.hook_ends = hooks.borrow().ends();
                return Ok(made.report(Err(failure), Vec::new()));
            }
        }
    }

    // The run records the base if the root records bases of the stage.
    let recorded = tree.stage.as_ref().filter(|stage| matches!(stage.record, StageRecord::Rights(_)));
    let seal = recorded.and_then(|_| BaseAfter::of(tree, &made).seal());
    if let (Some(stage), Some(seal)) = (recorded, seal) {
        let applied = made.applied.iter().cloned().collect();
        match promotion_base(&ground.root, stage, (&made.id, seal), &applied) {
            Ok(change) => {
                if let (Ok(Some(plan)), Some(change)) = (&mut made.plan, change) {
                    plan.records.push(change);
                }
            }
            Err(error) => return Ok(made.report(Err(error.into_failure()), Vec::new())),
        }
    }
    let Ok(Some(plan)) = &made.plan else { return Ok(report_without_run(made, tree)) };
    let in_use = in_use(&ground.root, plan);
    let next_base = BaseAfter::of(tree, &made);
    let cache = OnceLock::new();
    let before_publishing = |run: &str| {
        next_base.put(run).map_err(|error| match error {
            StageError::Root(error) => Cause::Root(error),
            other => Cause::Source(Box::new(other)),
        })
    };
    let mut content = StageContent::of(&tree.root, plan);
    let portions = if made.portions.is_empty() { std::slice::from_ref(plan) } else { &made.portions[..] };
    let records = portions.iter().map(|one| patch_record(one, log::of_patch(one), log::of_installation(one)));
    let done = thread::scope(|scope| {
        if ground.root.workers() > 1 {
            scope.spawn(|| {
                next_base.prepare();
                cache.get_or_init(|| made.cache());
            });
        }
        perform_with_hooks(
            session,
            hooks.as_ref(),
            (plan, &mut content),
            records.collect(),
            &before_publishing,
        )
    });
    made.hook_ends = hooks.as_ref().map(|hooks| hooks.borrow().ends()).unwrap_or_default();
    if let (Ok(_), Some(stage)) = (&done, &tree.stage) {
        remove_old_bases(stage, &RecordView::live(&ground.root));
        tree.keep_cache(cache.get_or_init(|| made.cache()).as_deref());
    }
    let exchanged = session.exchanged();
    // A trial needs old undo data and libraries until it is confirmed.
    let is_final = done.is_ok() && !session.is_beginning_trial();
    let after = if is_final { after_run(session) } else { AfterRun::default() };
    let report = made.report(done.map(Some), exchanged);
    let mut report = PromoteReport { in_use: in_use.processes, after, ..report };
    if let Some(plan) = &mut report.plan {
        plan.notes.extend(in_use.note);
    }
    Ok(report)
}

fn report_without_run(mut made: MadePlan, tree: &PromotedTree) -> PromoteReport {
    let outcome = made.refused_or_planned();
    if outcome.is_ok() {
        tree.keep_cache(made.cache().as_deref());
    }
    made.report(outcome, Vec::new())
}

/// The stage as read, and the base in force for all else.
struct BaseAfter<'a> {
    tree: &'a PromotedTree,
    made: &'a MadePlan,
    objects: OnceLock<BaseObjects>,
}

impl<'a> BaseAfter<'a> {
    fn of(tree: &'a PromotedTree, made: &'a MadePlan) -> Self {
        Self { tree, made, objects: OnceLock::new() }
    }

    /// A thread may compute them during staging; readers wait for it.
    fn prepare(&self) -> &BaseObjects {
        self.objects.get_or_init(|| {
            let objects = self.made.base.as_ref().map(|force| self.made.base_after(&force.base));
            BaseObjects::new(objects.unwrap_or_default())
        })
    }

    /// `None` if the tree has no bases.
    fn seal(&self) -> Option<Digest> {
        let force = self.made.base.as_ref()?;
        Some(self.prepare().seal(&self.header(&force.base, None)))
    }

    fn header(&self, before: &Base, promotion: Option<(PatchId, String)>) -> BaseHeader {
        BaseHeader { promotion, packages: self.made.base_packages(before), ..before.header.clone() }
    }

    /// The change is durable on return.
    fn put(&self, run: &str) -> Result<(), StageError> {
        let (Some(stage), Some(force)) = (&self.tree.stage, &self.made.base) else { return Ok(()) };
        let header = self.header(&force.base, Some((self.made.id.clone(), run.to_owned())));
        put_base(&stage.own, &base_name(&self.made.id), &header, self.prepare())
    }
}
