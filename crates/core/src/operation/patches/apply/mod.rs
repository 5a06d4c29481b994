//! `patchadm add` and patchadd(1M): applies patches, each planned on the root as the previous ones leave it.
//!
//! ```text
//!   open ─► lock, recover ─► prepare ─► order ─► per batch: plan, run ─► after the run ─► report
//!                                                  └─◄── next batch ──┘
//! ```
//! Consecutive patches without scripts are one batch and one commit; a patch with scripts is a batch of its own. A dry
//! run takes the same path and projects each batch.

mod operands;
mod plan;
pub(in crate::operation) mod plan_file;
mod signatures;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::operation::adopt::native_reason;
use crate::operation::changed_texts::{ChangedTexts, TextReader};
use crate::operation::content::{ManySources, OneSource, new_bytes};
use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::{Failure, is_of_source, is_undone_for_source};
use crate::operation::libraries::{LibraryKeeper, recorded_as_loaded};
use crate::operation::log;
use crate::operation::new_database::NewDatabase;
use crate::operation::patches::after_run::{AfterRun, after_run, reboot_advice};
use crate::operation::patches::outcome::PatchOutcome;
use crate::operation::patches::preparation::{PreparedRoot, perform_preparation, prepare};
use crate::operation::patches::scripts::run::{ApplyResponse, PatchInstall, PatchScripts, ScriptDirection};
use crate::operation::patches::undo_directory::is_stage;
use crate::operation::plan_file::save_plan;
use crate::operation::queries::reasons::{PatchAtHand, patch_reasons};
use crate::operation::root_and_policy::{ForeseenRoot, plan_on_foreseen_root};
use crate::operation::running::{InUse, in_use, in_use_of_each};
use crate::operation::session::{
    Caller, Execution, RootAndPolicy, RunOptions, Session, must_agree, must_have_database, patch_record,
    shown_to_anybody, without_lock,
};
use crate::operation::trial::request::TrialChange;
use crate::operation::trial::{begin_change_beside, must_be_off_trial};
use operands::OrderedPatches;
use patchadm_changeset::transaction::{Cause, Phase, Receipt, RootCondition, TransactionError};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::all::must_be_whole;
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::{Edited, ScriptPolicy};
use patchadm_inputs::sign::DemandWord;
use patchadm_inputs::source::SharedRoom;
use patchadm_planning::plan::edits::EditChoice;
use patchadm_planning::plan::package::install::OfPatch;
use patchadm_planning::plan::patch::combine::{Single, combine_plans};
use patchadm_planning::plan::patch::engine::{Bookkeeping, Engine, ScriptChoice};
use patchadm_planning::plan::patch::patch_plan::{PackagePlan, PatchPlan};
use patchadm_planning::plan::patch::projected_root::MadeObjects;
use patchadm_planning::plan::patch::validate::ApplyOptions;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{Action, Plan};
use patchadm_planning::resolve::{OfferedPackage, Resolution, SetOutcome};
use patchadm_rootfs::{Digest, Dir, Root};
use patchadm_svr4::format::response::UnwritableValue;
use patchadm_svr4::package::{ObjectPath, Params};
use patchadm_svr4::patch::{PatchId, PatchList, PatchMacros};
use plan::{
    ApplyBatch, ApplyInput, PlaceInRun, PlannedApplication, PlannedOperand, must_be_usable, plan, plan_alone,
    plan_batch, refuse_all,
};
use plan_file::made_plan;

pub(super) use operands::{ApplyOperand, OpenedPatches, PatchChoice, is_set, opens_as_set, resolved};
pub use operands::{ApplyReport, ApplyRequest, DepotOperands, PatchOperands};
pub use signatures::{SignatureRequest, demands, is_unverified, lacks_trust, must_be_vouched_for};

/// With the resolver's answer, if it was asked under the lock.
#[derive(Default)]
pub(super) struct AppliedPatchSet {
    pub(super) report: ApplyReport,
    pub(super) resolution: Option<Resolution>,
}

/// `locked` is called once the root is locked. Errors concern the whole root; a patch's error is in its report.
pub(super) fn apply_opened(
    root: &Root,
    ground: RootAndPolicy,
    request: &ApplyRequest,
    opened: &OpenedPatches,
    caller: &Caller<'_>,
    locked: &dyn Fn(&Session<'_>) -> Result<(), Failure>,
) -> Result<AppliedPatchSet, Failure> {
    let is_about_file = request.plan_file.is_made() && !request.plan_file.in_report;
    if opened.operands.is_empty() && !is_about_file {
        return Ok(AppliedPatchSet::default());
    }
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    let ground = ground.naming(undo_dir.as_deref());
    if request.dry_run {
        let shown = |root: &Root| {
            let ground = ground.of_shown(root).for_who_may()?;
            if !request.preparation.is_adopting(&ground.policy) {
                lacks_database(root, &ground, request, opened)?;
            }
            must_be_directories(root, &caller.exchanges)?;
            without_lock(root, || {
                must_be_off_trial(root, caller, None)?;
                apply_to(root, Target::Shown(&ground), request, opened, caller)
            })
        };
        let plan = || {
            let (set, recovered) = plan_on_foreseen_root(root, shown)?;
            Ok(AppliedPatchSet { report: ApplyReport { recovered, ..set.report }, ..set })
        };
        return shown_to_anybody(root, plan, |set, refused| AppliedPatchSet {
            report: ApplyReport { refused: Some(refused), ..set.report },
            ..set
        });
    }
    let new = new_database(root, &ground, request, opened)?;
    let managers = request.preparation.managers(&ground.policy);
    let session = match begin_change_beside(ground, caller, managers) {
        Ok(session) => session,
        Err(failure) => {
            new.inspect(|new| new.remove_empty(root));
            return Err(failure);
        }
    };
    let done = locked(&session)
        .and_then(|()| apply_to(root, Target::Locked(Box::new(session)), request, opened, caller));
    let is_applied = |set: &AppliedPatchSet| set.report.patches.iter().any(|one| one.result.is_ok());
    if let Some(new) = new
        && !done.as_ref().is_ok_and(is_applied)
    {
        new.remove(root);
    }
    done
}

/// Makes a database if a native package is adopted with its first patch; `None` if there is one.
fn new_database(
    root: &Root,
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    opened: &OpenedPatches,
) -> Result<Option<NewDatabase>, Failure> {
    let is_new = lacks_database(root, ground, request, opened)?;
    is_new.then(|| NewDatabase::make(root)).transpose()
}

/// True if the root has no database and a native package is to be adopted. Refuses other patches for such a root.
fn lacks_database(
    root: &Root,
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    opened: &OpenedPatches,
) -> Result<bool, Failure> {
    let Err(is_without) = must_have_database(root) else { return Ok(false) };
    match native_reason(ground, &opened.packages()) {
        None => Err(is_without),
        Some(Reason::Unregistered { .. }) if request.preparation.is_adopting(&ground.policy) => Ok(true),
        Some(reason) => {
            let id = opened.operands.first().map(ApplyOperand::shown_id).unwrap_or_default();
            Err(reason.of(Command::Patchadd, &id).into())
        }
    }
}

enum Target<'a> {
    Shown(&'a RootAndPolicy),
    Locked(Box<Session<'a>>),
}

impl Target<'_> {
    fn ground(&self) -> &RootAndPolicy {
        match self {
            Self::Shown(ground) => ground,
            Self::Locked(session) => &session.ground,
        }
    }

    fn execution(&self) -> Execution<'_> {
        match self {
            Self::Shown(_) => Execution::Foresee,
            Self::Locked(session) => Execution::Perform(session),
        }
    }
}

/// The root is either locked or only shown.
fn apply_to(
    root: &Root,
    mut target: Target<'_>,
    request: &ApplyRequest,
    opened: &OpenedPatches,
    caller: &Caller<'_>,
) -> Result<AppliedPatchSet, Failure> {
    must_agree(root, caller.interrupt, |_| false)?;
    let packages = opened.packages();
    must_be_whole(&RecordView::live(root), packages.iter().map(|package| package.pkg.as_str()))?;
    // A trial is undone as one run, so it must be one.
    let trial = request.trial.wanted(&target.ground().policy, request.no_undo);
    let is_trial = trial.is_some();

    // A plan file covers all patches, before anything is changed.
    let is_rehearsed = request.plan_file.is_made() && matches!(target, Target::Locked(_));
    let execution = if is_rehearsed { Execution::Foresee } else { target.execution() };
    let (mut prepared, mut ordered) =
        prepared_and_ordered(target.ground(), execution, request, opened, caller)?;
    if is_rehearsed {
        let ground = prepared.after.as_ref().unwrap_or(target.ground());
        let foreseen = ApplyBatches::of(ground, request, &ordered, is_trial, caller, Execution::Foresee);
        let patches = foreseen?.run();
        settle_plan_file(ground, request, (opened, &ordered), &patches)?;
        // Only a refresh is performed before the patches.
        if request.preparation.refresh {
            (prepared, ordered) =
                prepared_and_ordered(target.ground(), target.execution(), request, opened, caller)?;
        }
    }
    let mut preparation = prepared.report;
    if let Target::Locked(session) = target {
        let session = session.because_of(ordered.because.clone());
        target = Target::Locked(Box::new(match trial {
            Some(trial) => session.changing_trial(TrialChange::beginning(trial)),
            None => session,
        }));
    }

    let (ground, execution) = (prepared.after.as_ref().unwrap_or(target.ground()), target.execution());
    let mut batches = ApplyBatches::of(ground, request, &ordered, is_trial, caller, execution)?;
    let mut patches = batches.run();
    // If no patch was applied, the preparation is still to do.
    let ground = batches.input.ground;
    let left_out = match execution {
        Execution::Foresee => batches.left_out(opened, &ordered),
        Execution::Perform(_) => Vec::new(),
    };
    drop(batches);
    let packages_of = |id: &str| {
        let operand = opened.operands.iter().find(|operand| operand.shown_id() == id);
        operand.map(ApplyOperand::packages).unwrap_or_default()
    };
    name_natives(ground, &packages_of, &mut patches);
    let mut report = ApplyReport::default();
    match &target {
        Target::Shown(_) => {
            if patches.iter().all(|one| one.result.is_err()) {
                preparation.adopted.clear();
            }
            report.plan_file = settle_plan_file(ground, request, (opened, &ordered), &patches)?;
            let plans = patches.iter().filter_map(|one| Some((one.plan.as_ref()?, !one.scripts.is_empty())));
            report.exchanges = foreseen(root, &caller.exchanges, plans)?;
        }
        Target::Locked(session) => {
            if !ground.prepared().is_empty() {
                preparation.adopted.clear();
            }
            report.exchanges = session.exchanged();
            if patches.iter().any(|one| matches!(one.result, Ok(Some(_)))) {
                add_kept_libraries(&session.ground, &mut patches);
                // A trial needs its undo data until it is confirmed.
                let is_on_trial = session.is_beginning_trial();
                report.after = if is_on_trial { AfterRun::default() } else { after_run(session) };
            }
        }
    }
    if let Target::Locked(session) = target {
        report.recovered = session.recovered;
    }
    patches.extend(left_out);
    let report = ApplyReport { preparation, patches, ..report };
    Ok(AppliedPatchSet { report, resolution: ordered.resolution })
}

/// Prepares the root if the request or the policy asks for it, and orders the patches for the prepared root.
fn prepared_and_ordered<'w>(
    ground: &RootAndPolicy,
    execution: Execution<'_>,
    request: &ApplyRequest,
    opened: &'w OpenedPatches,
    caller: &Caller<'_>,
) -> Result<(PreparedRoot, OrderedPatches<'w>), Failure> {
    ground.forget_native_changes();
    let prepared = prepare(ground, execution, &request.preparation, &opened.packages(), caller)?;
    let ordered = match &opened.choice {
        PatchChoice::InOrder { void, because, all_or_nothing, .. } => OrderedPatches {
            operands: opened.operands.iter().collect(),
            void: void.clone(),
            because: because.clone(),
            is_together: *all_or_nothing,
            resolution: None,
        },
        PatchChoice::Resolve { offers, request } => {
            let resolution = resolved(prepared.after.as_ref().unwrap_or(ground), offers, request)?;
            let operands = resolution.planned().filter_map(|verdict| opened.operands.get(verdict.offer?));
            OrderedPatches {
                operands: operands.collect(),
                void: resolution.void(),
                because: resolution.because(),
                is_together: request.all_or_nothing,
                resolution: Some(resolution),
            }
        }
    };
    Ok((prepared, ordered))
}

/// Adds old libraries that running programs still use.
fn add_kept_libraries(ground: &RootAndPolicy, patches: &mut [PatchOutcome]) {
    // Optional: the patches are applied.
    let Ok(mut kept) = recorded_as_loaded(ground) else { return };
    for one in patches.iter_mut().filter(|one| matches!(one.result, Ok(Some(_)))) {
        let id = PatchId::parse(&one.id, &ground.policy.separator).ok();
        one.kept = id.and_then(|id| kept.remove(&id)).unwrap_or_default();
    }
}

/// Names the native package that is not adopted, or has another version, if that is why a patch does not apply.
pub(super) fn name_natives(
    ground: &RootAndPolicy,
    packages_of: &dyn Fn(&str) -> Vec<OfferedPackage>,
    patches: &mut [PatchOutcome],
) {
    for one in patches {
        let Err(Failure::Refused(refusal)) = &mut one.result else { continue };
        if !matches!(*refusal.reason, Reason::NotInstalled(_)) {
            continue;
        }
        if let Some(reason) = native_reason(ground, &packages_of(&one.id)) {
            *refusal.reason = reason;
        }
    }
}

/// Refuses a plan that differs from the expected one; saves it on request. Returns it if the report needs it.
fn settle_plan_file(
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    (opened, ordered): (&OpenedPatches, &OrderedPatches<'_>),
    patches: &[PatchOutcome],
) -> Result<Option<Box<PlanFile>>, Failure> {
    let use_of_file = &request.plan_file;
    if !use_of_file.is_made() {
        return Ok(None);
    }
    let plan = made_plan(ground, use_of_file, (opened, ordered), patches)?;
    use_of_file.must_hold(&plan)?;
    if let Some(path) = &use_of_file.save {
        save_plan(path, &plan)?;
    }
    Ok(use_of_file.in_report.then(|| Box::new(plan)))
}

/// The options of the request, completed by the policy. Requirements on patches in `void` count as met.
fn options_of(
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    void: &PatchList,
    is_rehearsal: bool,
) -> Result<ApplyOptions, Failure> {
    let policy = &ground.policy;
    let edited = if request.unconditional { Some(Edited::Replace) } else { request.edited };
    let why_archive = "a stage keeps archives, which a promotion can bring along";
    Ok(ApplyOptions {
        not_applicable: void.clone(),
        scripts: request.scripts.choice(ground)?,
        only_archives: is_stage(&ground.root)?.then_some(why_archive),
        no_undo: request.no_undo,
        undo_dir: ground.outside.named.clone().filter(|_| !request.no_undo),
        undo_format: request.trial.undo_format(request.undo_format, policy, request.no_undo),
        edits: EditChoice {
            general: edited.unwrap_or(policy.edited),
            editable: request.editable,
            overridden: request.overridden.iter().cloned().collect(),
            preserved: request.preserved.iter().cloned().collect(),
            replaces_stops: false,
        },
        unconditional: request.unconditional,
        conversation: request.conversation,
        is_rehearsal,
        ..ApplyOptions::default()
    })
}

/// Breaks if nothing more is tried. Without outcomes, the rest is planned again.
type BatchEnd = ControlFlow<Vec<PatchOutcome>, Vec<PatchOutcome>>;

struct ApplyBatches<'a> {
    input: ApplyInput<'a>,
    operands: &'a [&'a ApplyOperand],
    execution: Execution<'a>,
    /// All operands are one run, or none is applied.
    is_one_run: bool,
    /// Indexes of operands that need runs of their own because a source was damaged.
    alone: BTreeSet<usize>,
    keeper: LibraryKeeper<'a>,
    /// Only for a projection.
    last_touched: HashMap<ObjectPath, usize>,
    texts: Option<TextReader<'a>>,
}

impl<'a> ApplyBatches<'a> {
    fn of(
        ground: &'a RootAndPolicy,
        request: &'a ApplyRequest,
        ordered: &'a OrderedPatches<'a>,
        is_trial: bool,
        caller: &'a Caller<'a>,
        execution: Execution<'a>,
    ) -> Result<Self, Failure> {
        let is_rehearsal = matches!(execution, Execution::Foresee);
        let options = options_of(ground, request, &ordered.void, is_rehearsal)?;
        let before = ForeseenRoot::at(caller.now.timestamp());
        let input = ApplyInput { ground, request, caller, options, before };
        let operands = ordered.operands.as_slice();
        let mut last_touched = HashMap::new();
        if is_rehearsal && operands.len() > 1 {
            let installed = input.packages()?;
            for (place, operand) in operands.iter().enumerate() {
                last_touched.extend(operand.touched(&installed).paths.into_iter().map(|path| (path, place)));
            }
        }
        let is_one_run = (ordered.is_together || is_trial) && operands.len() > 1;
        let texts = request.texts.then(|| TextReader::new(&ground.root, input.caller.interrupt));
        let (alone, keeper) = (BTreeSet::new(), input.keeper());
        Ok(Self { input, operands, execution, is_one_run, alone, keeper, last_touched, texts })
    }

    /// Plans and performs, or projects, batch after batch, until one ends the run or no operand is left.
    fn run(&mut self) -> Vec<PatchOutcome> {
        let operands = self.operands;
        let mut done: Vec<PatchOutcome> = Vec::with_capacity(operands.len());
        while done.len() < operands.len() {
            let next = (done.len(), &self.alone);
            let batch = plan_batch(&self.input, operands, next, self.is_one_run, self.keeper.clone());
            let end = match self.execution {
                Execution::Foresee => self.foresee(done.len(), batch),
                Execution::Perform(session) => self.perform(session, done.len(), batch),
            };
            match end {
                ControlFlow::Continue(outcomes) => done.extend(outcomes),
                ControlFlow::Break(outcomes) => {
                    done.extend(outcomes);
                    break;
                }
            }
        }
        let failed = done.iter().rev().find(|applied| ends_all(&applied.result));
        let failed = failed.map(|failed| failed.id.clone()).unwrap_or_default();
        let rest = operands.iter().skip(done.len());
        done.extend(rest.map(|operand| operand.refused(Failure::NotTried(failed.clone()))));
        done
    }

    fn perform(&mut self, session: &'a Session<'a>, done: usize, batch: ApplyBatch<'a>) -> BatchEnd {
        let mut patches = batch.patches;
        let ground: &'a RootAndPolicy = self.input.ground;
        let prepared = ground.prepared();
        if !prepared.is_empty() && patches.iter().any(PlannedOperand::has_scripts) {
            // Scripts need a run of their own, and the preparation another one.
            if let Err(failure) = perform_preparation(session, prepared) {
                let refused = patches.into_iter().next().map(|one| one.operand.refused(failure));
                return ControlFlow::Break(refused.into_iter().collect());
            }
            self.prepared(session);
            return ControlFlow::Continue(Vec::new());
        }
        let outcomes = if let Some(one) = patches.pop_if(|one| one.has_scripts()) {
            session.ground.forget_native_changes();
            vec![apply_with_scripts(session, &self.input, one)]
        } else {
            match perform_batch(session, prepared, patches) {
                Ok(outcomes) => outcomes,
                Err(damaged) if self.is_one_run => {
                    return ControlFlow::Continue(self.refuse_sources(&damaged));
                }
                Err(damaged) => {
                    self.alone.extend(damaged.into_iter().map(|place| done + place));
                    return ControlFlow::Continue(Vec::new());
                }
            }
        };
        if !prepared.is_empty() && outcomes.iter().any(|one| matches!(one.result, Ok(Some(_)))) {
            self.prepared(session);
        }
        let stops = outcomes.iter().any(|applied| ends_all(&applied.result));
        if stops { ControlFlow::Break(outcomes) } else { ControlFlow::Continue(outcomes) }
    }

    /// Continues on the actual root: the preparation is done.
    fn prepared(&mut self, session: &'a Session<'a>) {
        session.ground.forget_native_changes();
        self.input.ground = &session.ground;
        self.keeper = self.input.keeper();
    }

    fn refuse_sources(&self, damaged: &[usize]) -> Vec<PatchOutcome> {
        let interrupt = self.input.caller.interrupt;
        let failure = |(place, operand): (usize, &&ApplyOperand)| {
            let verified = || operand.device.source.verify(&operand.device.image, interrupt).err();
            damaged.contains(&place).then(verified).flatten().map(Failure::or_interrupted(interrupt))
        };
        let failures = self.operands.iter().enumerate().map(failure).collect();
        let refused = refuse_all(self.operands, failures).into_iter();
        refused.zip(self.operands).map(|(failure, operand)| operand.refused(failure)).collect()
    }

    /// Reads the sources as a run would, and adds the plans to the projected root.
    fn foresee(&mut self, done: usize, batch: ApplyBatch<'a>) -> BatchEnd {
        let ApplyBatch { patches, keeper } = batch;
        let interrupt = self.input.caller.interrupt;
        let digests: Vec<_> = patches.iter().map(|one| one.delivered_digests(interrupt)).collect();
        let is_damaged =
            |(one, digests): (&PlannedOperand<'_>, &Option<_>)| one.planned.is_ok() && digests.is_none();
        let damaged = patches.iter().zip(&digests).enumerate().filter(|(_, one)| is_damaged(*one));
        let damaged: Vec<usize> = damaged.map(|(place, _)| done + place).collect();
        if patches.len() > 1 && !damaged.is_empty() && !self.is_one_run {
            self.alone.extend(damaged);
            return ControlFlow::Continue(Vec::new());
        }
        self.keeper = keeper;
        let read = patches.into_iter().zip(digests).enumerate();
        let outcomes = read.map(|(place, (one, digests))| self.foreseen(done + place, one, digests));
        let mut outcomes: Vec<PatchOutcome> = outcomes.collect();
        if outcomes.iter().any(|one| ends_all(&one.result)) {
            return ControlFlow::Break(outcomes);
        }
        let failed = outcomes.iter().find(|outcome| self.is_one_run && outcome.result.is_err());
        if let Some(failed) = failed.map(|outcome| outcome.id.clone()) {
            let all = outcomes.iter_mut().zip(self.operands);
            for (outcome, operand) in all.filter(|(outcome, _)| outcome.result.is_ok()) {
                *outcome = operand.not_without(&failed);
            }
        }
        ControlFlow::Continue(outcomes)
    }

    /// Checks a patch as a run does, and adds its plan to the projected root.
    fn foreseen(
        &mut self,
        place: usize,
        one: PlannedOperand<'a>,
        digests: Option<BTreeMap<ObjectPath, Digest>>,
    ) -> PatchOutcome {
        let PlannedOperand { operand, planned } = one;
        let lists = planned.as_ref().map(|planned| planned.patch_plan.lists.clone()).unwrap_or_default();
        let usable = planned.and_then(|planned| {
            must_be_usable(&self.input, operand, &planned.patch_plan, digests.is_some()).map(|()| planned)
        });
        let planned = match usable {
            Ok(planned) => planned,
            Err(failure) => {
                return PatchOutcome { lists, ..self.refused(operand, failure) };
            }
        };
        let delivered = digests.unwrap_or_default();
        if place + 1 < self.operands.len() {
            let mut digests = delivered.clone();
            digests.retain(|path, _| self.last_touched.get(path).is_some_and(|last| *last > place));
            self.input.before.add(planned.patch_plan.plan.clone(), digests);
        }
        let patch_plan = planned.finished().patch_plan;
        let in_use = in_use(&self.input.ground.root, &patch_plan.plan);
        let texts = self.texts.as_mut().map(|texts| {
            let read = (&patch_plan.plan, &delivered);
            texts.read(read, &patch_plan.known_to_scripts(), &mut operand.device.content())
        });
        let texts = texts.unwrap_or_default();
        PatchOutcome { delivered, texts, ..applied(operand, patch_plan, in_use, Ok(None)) }
    }

    /// The outcome has the changes that the patch would make, its requirements and packages.
    fn refused(&mut self, operand: &ApplyOperand, failure: Failure) -> PatchOutcome {
        let Failure::Refused(refusal) = &failure else { return operand.refused(failure) };
        let verdict = refusal.reason.verdict(Command::Patchadd);
        if ["already-applied", "superseded", "obsoleted"].contains(&verdict) {
            return operand.refused(failure);
        }
        let at_hand = PatchAtHand::Delivered(&operand.device.image);
        let reasons = patch_reasons(&self.input.ground.root, &operand.shown_id(), at_hand);
        let options = self.input.options.clone();
        self.input.options = without_rules(options.clone());
        let planned = plan(&self.input, operand, BTreeMap::new());
        self.input.options = options;
        let planned = planned.ok().map(|(patch_plan, _)| patch_plan);
        // A clone, because later patches find the files as they are.
        let texts = self.texts.clone().zip(planned.as_ref()).map(|(mut texts, patch_plan)| {
            let read = (&patch_plan.plan, &BTreeMap::new());
            texts.read(read, &patch_plan.known_to_scripts(), &mut operand.device.content())
        });
        PatchOutcome {
            refused_plan: planned.map(|patch_plan| patch_plan.plan),
            texts: texts.unwrap_or_default(),
            reasons: reasons.ok().flatten().map(Box::new),
            ..operand.refused(failure)
        }
    }

    fn left_out(&mut self, opened: &OpenedPatches, ordered: &OrderedPatches<'_>) -> Vec<PatchOutcome> {
        let verdicts = ordered.resolution.iter().flat_map(|resolution| &resolution.verdicts);
        let refused = verdicts.filter_map(|verdict| match &verdict.outcome {
            SetOutcome::LeftOut(reason) => Some((opened.operands.get(verdict.offer?)?, reason, &verdict.id)),
            _ => None,
        });
        let outcome = |(operand, reason, id): (&ApplyOperand, &Reason, &String)| {
            self.refused(operand, reason.clone().of(Command::Patchadd, id).into())
        };
        refused.map(outcome).collect()
    }
}

/// True if the root or the machine failed, not a source.
fn ends_all(result: &Result<Option<Receipt>, Failure>) -> bool {
    matches!(result, Err(Failure::Transaction(error)) if !is_of_source(error))
}

/// One commit, after the `prepared` plans. Returns the indexes of patches that need runs of their own because of
/// damaged sources.
fn perform_batch(
    session: &Session<'_>,
    prepared: &[Plan],
    patches: Vec<PlannedOperand<'_>>,
) -> Result<Vec<PatchOutcome>, Vec<usize>> {
    let patches: Vec<PlannedOperand<'_>> = patches
        .into_iter()
        .map(|one| PlannedOperand { planned: one.planned.map(PlannedApplication::finished), ..one })
        .collect();
    let planned: Vec<(&ApplyOperand, &PlannedApplication)> =
        patches.iter().filter_map(|one| Some((one.operand, one.planned.as_ref().ok()?))).collect();
    let plans: Vec<&Plan> = planned.iter().map(|(_, planned)| &planned.patch_plan.plan).collect();
    // After the switch, the old files have no paths.
    let in_use = in_use_of_each(&session.ground.root, &plans);
    let done = match (&*plans, prepared) {
        ([], _) => None,
        ([plan], []) => Some(perform(session, plan, &planned)),
        _ => combined(prepared, &planned).map(|plan| perform(session, &plan, &planned)),
    };
    if let Some(Err(Failure::Transaction(error))) = &done
        && planned.len() > 1
        && is_of_source(error)
    {
        let is_bad = |one: &PlannedOperand<'_>| {
            let device = &one.operand.device;
            one.planned.is_ok() && device.source.verify(&device.image, session.caller.interrupt).is_err()
        };
        let bad = patches.iter().enumerate().filter(|(_, one)| is_bad(one)).map(|(place, _)| place);
        let bad: Vec<usize> = bad.collect();
        return Err(if bad.is_empty() { (0..patches.len()).collect() } else { bad });
    }
    let results = done.map(|done| of_each(session, done, &plans)).unwrap_or_default();
    let mut results = results.into_iter().zip(in_use);
    let reported = patches.into_iter().map(|one| match one.planned {
        Err(failure) => one.operand.refused(failure),
        Ok(planned) => {
            let (result, in_use) = results.next().unwrap_or_else(|| {
                let cause = Cause::Internal("a patch of the run has no result".to_owned());
                let left = RootCondition::InDoubt;
                let error = TransactionError { phase: Phase::Commit, cause, left };
                (Err(error.into()), InUse::default())
            });
            performed(session, one.operand, (planned.patch_plan, in_use), result)
        }
    });
    Ok(reported.collect())
}

fn perform(
    session: &Session<'_>,
    plan: &Plan,
    planned: &[(&ApplyOperand, &PlannedApplication)],
) -> Result<Receipt, Failure> {
    let records = planned.iter().map(|(_, planned)| {
        let plan = &planned.patch_plan.plan;
        patch_record(plan, log::of_patch(plan), log::of_installation(plan))
    });
    let sources = planned
        .iter()
        .map(|(operand, _)| OneSource { source: &operand.device.source, image: &operand.device.image });
    session.perform_run(plan, &mut ManySources(sources.collect()), RunOptions::of(records.collect()))
}

fn combined(prepared: &[Plan], planned: &[(&ApplyOperand, &PlannedApplication)]) -> Option<Plan> {
    let nothing = MadeObjects::new();
    let mut packages = 0;
    let mut singles: Vec<Single<'_>> =
        prepared.iter().map(|plan| Single { plan, made: &nothing, packages: 0 }).collect();
    for (operand, planned) in planned {
        singles.push(Single { plan: &planned.patch_plan.plan, made: &planned.made, packages });
        packages += operand.device.image.packages.len();
    }
    combine_plans(&singles)
}

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

/// A damaged source is reported as before a run.
fn performed(
    session: &Session<'_>,
    operand: &ApplyOperand,
    (patch_plan, in_use): (PatchPlan, InUse),
    result: Result<Receipt, Failure>,
) -> PatchOutcome {
    let interrupt = session.caller.interrupt;
    if let Err(Failure::Transaction(error)) = &result
        && (is_of_source(error) || is_undone_for_source(error))
        && let Err(damage) = operand.device.source.verify(&operand.device.image, interrupt)
        // The reason of a run that had begun stays.
        && (is_of_source(error) || damage.is_exchange())
    {
        return operand.refused(Failure::or_interrupted(interrupt)(damage));
    }
    applied(operand, patch_plan, in_use, result.map(Some))
}

fn applied(
    operand: &ApplyOperand,
    mut patch_plan: PatchPlan,
    in_use: InUse,
    result: Result<Option<Receipt>, Failure>,
) -> PatchOutcome {
    patch_plan.plan.notes.extend(in_use.note);
    let image = &operand.device.image;
    PatchOutcome {
        signature: image.signature.record(),
        reboot: reboot_advice(image),
        in_use: in_use.processes,
        ..PatchOutcome::of(operand.shown_id(), patch_plan, result)
    }
}

/// A run of its own, from prepatch to postpatch.
fn apply_with_scripts(
    session: &Session<'_>,
    input: &ApplyInput<'_>,
    one: PlannedOperand<'_>,
) -> PatchOutcome {
    let operand = one.operand;
    let (mut patch_plan, inventory) = match one.planned.map(PlannedApplication::finished) {
        Ok(planned) => (planned.patch_plan, planned.inventory),
        Err(failure) => return operand.refused(failure),
    };
    // After the switch, the old files have no paths.
    let in_use = in_use(&session.ground.root, &patch_plan.plan);
    let is_saved = !patch_plan.no_undo && !patch_plan.again;
    let patch = OfPatch { id: operand.shown_id(), is_saved, is_applied: true };
    let installing = PatchInstall::new(&input.request.scripts, input.options.scripts.clone(), patch);
    let application = ScriptedApplication { session, input, operand };
    let new = application.new_archives(&patch_plan);
    let done = application.perform(&installing, &mut patch_plan, &mut inventory.unwrap_or_default());
    if let Err(failure) = &done
        && matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack)
    {
        for place in &new {
            remove_archive(place);
        }
    }
    performed(session, operand, (patch_plan, in_use), done)
}

struct ScriptedApplication<'a> {
    session: &'a Session<'a>,
    input: &'a ApplyInput<'a>,
    operand: &'a ApplyOperand,
}

/// Removes an archive that scripts made outside the root, and its directories if empty. Errors are ignored: the archive
/// is only in the way.
fn remove_archive(place: &Path) {
    let Ok(dir) = Dir::of_host(place) else { return };
    for name in ["undo", "undo.Z", "undo.gz"] {
        let _ = dir.remove(name.as_bytes());
    }
    for directory in [Some(place), place.parent()].into_iter().flatten() {
        let (Some(above), Some(name)) = (directory.parent(), directory.file_name()) else { return };
        let _ = Dir::of_host(above).and_then(|above| above.remove_dir(name.as_bytes()));
    }
}

impl ScriptedApplication<'_> {
    fn perform(
        &self,
        installing: &PatchInstall,
        patch_plan: &mut PatchPlan,
        inventory: &mut Inventory,
    ) -> Result<Receipt, Failure> {
        let (session, device) = (self.session, &self.operand.device);
        let interrupt = session.caller.interrupt;
        let verified = device.source.verify(&device.image, interrupt);
        verified.map_err(Failure::or_interrupted(interrupt))?;
        let packages = patch_plan.parts.iter().map(|part| device.delivered(part.index));
        let packages = packages.collect::<Result<Vec<_>, _>>()?;
        let add = installing.input(session);
        let mut scripts =
            PatchScripts::open(session, add, ScriptDirection::Apply, patch_plan, &packages, None)?;
        if scripts.before()? {
            (*patch_plan, *inventory) = self.planned(BTreeMap::new())?;
        }
        let build = scripts.build_directory()?;
        let mut ready = scripts.ready(&patch_plan.parts, &packages, |part, delivered| {
            self.response(patch_plan, part, &delivered.image.params, inventory, &build)
        })?;
        let by_program = ready.iter().filter(|one| one.part.chosen.bookkeeping == Bookkeeping::Program);
        let answers: BTreeMap<usize, Params> =
            by_program.map(|one| (one.part.index, one.answers.params.clone())).collect();
        if answers.values().any(|params| params.iter().next().is_some()) {
            (*patch_plan, *inventory) = self.planned(answers)?;
            for (package, part) in ready.iter_mut().zip(&patch_plan.parts) {
                package.part = part.clone();
            }
        }
        let log = log::of_patch(&patch_plan.plan);
        scripts.perform(patch_plan, &ready, inventory, &mut device.content(), log)
    }

    fn planned(&self, answers: BTreeMap<usize, Params>) -> Result<(PatchPlan, Inventory), Failure> {
        let one = (self.operand, PlaceInRun::Alone);
        let (mut patch_plan, inventory, libraries) =
            plan_alone(self.input, one, answers, &mut self.input.keeper())?;
        if let Some(libraries) = libraries {
            libraries.apply(&mut patch_plan);
        }
        Ok((patch_plan, inventory))
    }

    /// Skips places where something exists.
    fn new_archives(&self, patch_plan: &PatchPlan) -> Vec<PathBuf> {
        let Some(directory) = &self.input.options.undo_dir else { return Vec::new() };
        let id = patch_plan.plan.patches.first().map(String::as_str).unwrap_or_default();
        let by_scripts = |part: &&PackagePlan| part.chosen.bookkeeping == Bookkeeping::Scripts;
        let places = patch_plan.parts.iter().filter(by_scripts);
        let places = places.map(|part| directory.join(id).join(part.package.as_str()));
        places.filter(|place| place.symlink_metadata().is_err()).collect()
    }

    fn response(
        &self,
        patch_plan: &PatchPlan,
        part: &PackagePlan,
        delivered: &Params,
        inventory: &Inventory,
        build: &Path,
    ) -> Result<Vec<u8>, UnwritableValue> {
        let separator = &self.input.ground.policy.separator;
        let obsoletes = PatchMacros::from_params(delivered, separator).ok().flatten();
        let obsoletes = obsoletes.map(|delivered| delivered.obsoletes.to_string()).unwrap_or_default();
        let none = Params::new();
        let installed = inventory.packages.get(&part.package).map_or(&none, |installed| &installed.params);
        let applying = ApplyResponse {
            patch: patch_plan.plan.patches.first().map(String::as_str).unwrap_or_default(),
            obsoletes: &obsoletes,
            unconditional: self.input.options.unconditional,
            // The present state is no longer that before the patch.
            no_undo: patch_plan.no_undo || patch_plan.again,
            undo_dir: self.input.options.undo_dir.as_deref(),
            build_dir: build,
            delivered,
            installed,
        };
        applying.text()
    }
}

/// Changes by a patch, even if it may not be applied.
#[derive(Debug)]
pub struct DeliveredChanges {
    pub plan: Plan,
    /// Digests of delivered files, as far as needed.
    pub delivered: BTreeMap<ObjectPath, Digest>,
    /// On request.
    pub texts: ChangedTexts,
}

/// Fails if the changes cannot be computed, for example because no package is installed.
pub fn delivered_changes(
    root: &Root,
    patch: &Path,
    texts: bool,
    caller: &Caller<'_>,
) -> Result<DeliveredChanges, Failure> {
    must_have_database(root)?;
    let ground = RootAndPolicy::of(root)?.for_who_may()?;
    let signature = SignatureRequest { word: Some(DemandWord::Off), ..SignatureRequest::default() };
    let request = ApplyRequest { dry_run: true, signature, ..ApplyRequest::default() };
    let how = (&request, &SharedRoom::default(), caller.interrupt);
    let operand = ApplyOperand::read(patch, &ground.policy.separator, &[], how)?;
    without_lock(root, || {
        let options = without_rules(options_of(&ground, &request, &PatchList::new(), true)?);
        let before = ForeseenRoot::at(caller.now.timestamp());
        let input = ApplyInput { ground: &ground, request: &request, caller, options, before };
        let (patch_plan, inventory) = plan(&input, &operand, BTreeMap::new())?;
        let planned = PlannedApplication::alone(patch_plan, inventory, None);
        let one = PlannedOperand { operand: &operand, planned: Ok(planned) };
        let delivered = one.delivered_digests(caller.interrupt).unwrap_or_default();
        let patch_plan = one.planned?.patch_plan;
        let scripted = patch_plan.known_to_scripts();
        let texts = if texts {
            let of = (&patch_plan.plan, &delivered);
            TextReader::new(root, caller.interrupt).read(of, &scripted, &mut operand.device.content())
        } else {
            ChangedTexts::new()
        };
        Ok(DeliveredChanges { plan: patch_plan.plan, delivered, texts })
    })
}

/// Allows the changes of refused patches to be computed.
fn without_rules(options: ApplyOptions) -> ApplyOptions {
    let edits = EditChoice { replaces_stops: true, ..options.edits };
    let scripts = ScriptChoice { policy: ScriptPolicy::Run, engine: Engine::Auto, ..options.scripts };
    ApplyOptions { ignores_rules: true, undo_dir: None, edits, scripts, ..options }
}
