//! Patches are applied: one after another, each planned against what the one before left.
//!
//! ```text
//!   patches ─► session ─► order ─► planner: a batch of as many as can be one run ─► commit
//!                                     └─◄─────────── the next batch ──────────────────┘
//! ```
//! Patches without scripts of their own that follow one another are one run; one with scripts is a run of its own.

mod batch;
mod chosen;
mod gather;
mod input;
mod libraries;
mod made_plan;
mod one_run;
mod operands;
pub(in crate::operation) mod plan_parts;
mod planner;
mod planning;
mod request;
mod signatures;
mod source_check;
mod wanted;
mod with_scripts;

pub use request::{ApplyOutcome, ApplyReport, ApplyRequest, SetMembership};
pub use signatures::{SignatureRequest, demands, lacks_trust, must_be_vouched_for};

pub(super) use chosen::{ChosenPatch, ChosenPatches, ChosenSource};
pub(super) use operands::{ApplyOperand, is_set, opens_as_set};
pub(super) use wanted::{PatchChoice, WantedPatches};

use crate::operation::trial::begin::{begin_change_beside, must_be_off_trial};
use crate::operation::trial::request::TrialChange;
use input::ApplyInput;
use made_plan::made_plan;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::all::must_be_whole;
use patchadm_inputs::format::plan_differences::PlanDifferences;
use planner::apply_all;
use wanted::OrderedPatches;

use crate::operation::adopt::unregistered_native;
use crate::operation::exchange::{foreseen, must_be_directories};
use crate::operation::failure::Failure;
use crate::operation::foreseen_root::plan_on_foreseen_root;
use crate::operation::libraries::recorded_as_loaded;
use crate::operation::new_database::NewDatabase;
use crate::operation::patches::after_run::{AfterRun, after_run};
use crate::operation::patches::preparation;
use crate::operation::plan_file::{PlanFault, save_plan};
use crate::operation::run::Execution;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, must_agree, must_have_database, shown_to_anybody, without_lock,
};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::resolve::Resolution;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// What became of patches that were read.
#[derive(Default)]
pub(super) struct AppliedPatchSet {
    pub(super) report: ApplyReport,
    /// What the resolver said, where it was asked under the lock.
    pub(super) resolution: Option<Resolution>,
}

/// Applies patches that were read. `locked` is called as soon as the root is locked. An error is one of the root as a whole;
/// what is wrong with one patch is in its part of the report.
pub(super) fn apply_read(
    root: &Root,
    ground: RootAndPolicy,
    request: &ApplyRequest,
    wanted: &WantedPatches,
    caller: &Caller<'_>,
    locked: &dyn Fn(&Session<'_>) -> Result<(), Failure>,
) -> Result<AppliedPatchSet, Failure> {
    if wanted.operands.is_empty() && !request.plan_file.is_made() {
        return Ok(AppliedPatchSet::default());
    }
    let undo_dir = request.undo_dir.clone().or_else(|| ground.policy.undo_dir.clone());
    let ground = ground.naming(undo_dir.as_deref());
    if request.dry_run {
        let plan = || {
            let plan = |root: &Root| plan_read(root, ground.of_shown(root), request, wanted, caller);
            let (set, recovered) = plan_on_foreseen_root(root, plan)?;
            Ok(AppliedPatchSet { report: ApplyReport { recovered, ..set.report }, ..set })
        };
        return shown_to_anybody(root, plan, |set, refused| AppliedPatchSet {
            report: set.report.but(refused),
            ..set
        });
    }
    let new = new_database(root, &ground, request, wanted)?;
    let managers = request.preparation.managers(&ground.policy);
    let session = match begin_change_beside(ground, caller, managers) {
        Ok(session) => session,
        Err(failure) => {
            new.inspect(|new| new.remove_empty(root));
            return Err(failure);
        }
    };
    let done = apply_locked(root, session, request, wanted, locked);
    let is_applied = |set: &AppliedPatchSet| set.report.patches.iter().any(|one| one.result.is_ok());
    if let Some(new) = new
        && !done.as_ref().is_ok_and(is_applied)
    {
        new.remove(root);
    }
    done
}

/// Returns the new database of a root that has none, where a native package is adopted with its first patch; `None` where it
/// has one.
fn new_database(
    root: &Root,
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    wanted: &WantedPatches,
) -> Result<Option<NewDatabase>, Failure> {
    let is_without = must_have_database(root).err();
    let Some(is_without) = is_without else { return Ok(None) };
    let Some(native) = unregistered_native(ground, &wanted.packages()) else { return Err(is_without) };
    if request.preparation.is_adopting(&ground.policy) {
        return NewDatabase::make(root).map(Some);
    }
    let operand = wanted.operands.first();
    let packages = operand.iter().flat_map(|operand| operand.packages()).map(|package| package.pkg);
    let reason = Reason::Unregistered { packages: packages.collect(), native };
    Err(reason.of(Command::Patchadd, &operand.map(ApplyOperand::shown_id).unwrap_or_default()).into())
}

/// Applies patches to a root that is locked.
fn apply_locked(
    root: &Root,
    session: Session<'_>,
    request: &ApplyRequest,
    wanted: &WantedPatches,
    locked: &dyn Fn(&Session<'_>) -> Result<(), Failure>,
) -> Result<AppliedPatchSet, Failure> {
    let caller = session.caller;
    locked(&session)?;
    must_agree(root, caller.interrupt, |_| false)?;
    must_be_known(root, wanted)?;
    let mut preparation = preparation::carry_out(&session, &request.preparation, &|| wanted.packages())?;
    let ordered = wanted.ordered(&session.ground)?;
    rehearse_for_plan(&session.ground, request, (wanted, &ordered), caller)?;
    let trial = request.trial.wanted(&session.ground.policy, request.no_undo);
    let session = session.taking_for(ordered.because);
    let session = match trial {
        Some(wanted) => session.changing_trial(TrialChange::beginning(wanted)),
        None => session,
    };
    let input = ApplyInput::of(&session.ground, request, &ordered.void, caller)?;
    // A trial is one run: it goes back as one.
    let operands = (&ordered.operands[..], ordered.is_together || trial.is_some());
    let mut patches = apply_all(input, &request.scripts, operands, Execution::Perform(&session))?;
    add_kept_libraries(&session.ground, &mut patches);
    // What was to come with the first patch did not come.
    if !session.ground.prepared().is_empty() {
        preparation.adopted.clear();
    }
    name_unregistered(&session.ground, wanted, &mut patches);
    let (resolution, exchanges) = (ordered.resolution, session.exchanged());
    let is_applied = patches.iter().any(|one| matches!(one.result, Ok(Some(_))));
    // What a trial needs to go back stays until it is confirmed.
    let after =
        if is_applied && !session.is_beginning_trial() { after_run(&session) } else { AfterRun::default() };
    let recovered = session.recovered;
    let report = ApplyReport { recovered, preparation, patches, exchanges, after, ..ApplyReport::default() };
    Ok(AppliedPatchSet { report, resolution })
}

/// Refuses patches for packages whose records lack something.
fn must_be_known(root: &Root, wanted: &WantedPatches) -> Result<(), Failure> {
    let packages = wanted.packages();
    Ok(must_be_whole(&RecordView::live(root), packages.iter().map(|package| package.pkg.as_str()))?)
}

/// Adds to patches that were applied which libraries from before them are still loaded.
fn add_kept_libraries(ground: &RootAndPolicy, patches: &mut [ApplyOutcome]) {
    let applied = || patches.iter().any(|one| matches!(one.result, Ok(Some(_))));
    // The patches are applied, whatever can be told of them.
    let Some(Ok(mut kept)) = applied().then(|| recorded_as_loaded(ground)) else { return };
    for one in patches.iter_mut().filter(|one| matches!(one.result, Ok(Some(_)))) {
        let id = PatchId::parse(&one.id, &ground.policy.separator).ok();
        one.kept = id.and_then(|id| kept.remove(&id)).unwrap_or_default();
    }
}

/// Names the package of the system for which a patch would have to be adopted, where that is why it does not apply.
fn name_unregistered(ground: &RootAndPolicy, wanted: &WantedPatches, patches: &mut [ApplyOutcome]) {
    for one in patches {
        let Err(Failure::Refused(refusal)) = &mut one.result else { continue };
        let Reason::NotInstalled(packages) = &*refusal.reason else { continue };
        let operand = wanted.operands.iter().find(|operand| operand.shown_id() == one.id);
        let native = operand.and_then(|operand| unregistered_native(ground, &operand.packages()));
        if let Some(native) = native {
            *refusal.reason = Reason::Unregistered { packages: packages.clone(), native };
        }
    }
}

/// What [`apply_read`] would do.
fn plan_read(
    root: &Root,
    ground: RootAndPolicy,
    request: &ApplyRequest,
    wanted: &WantedPatches,
    caller: &Caller<'_>,
) -> Result<AppliedPatchSet, Failure> {
    let ground = ground.for_who_may()?;
    if !request.preparation.is_adopting(&ground.policy) {
        must_have_database(root)?;
    }
    must_be_directories(root, &caller.exchanges)?;
    let plan_all = || {
        must_be_off_trial(root, caller, None)?;
        must_agree(root, caller.interrupt, |_| false)?;
        must_be_known(root, wanted)?;
        let mut preparation =
            preparation::foresee(&ground, &request.preparation, &|| wanted.packages(), caller)?;
        let ordered = wanted.ordered(&ground)?;
        let mut patches = rehearsed(&ground, request, &ordered, caller)?;
        name_unregistered(&ground, wanted, &mut patches);
        if patches.iter().all(|one| one.result.is_err()) {
            preparation.adopted.clear();
        }
        settle_plan_file(&ground, request, (wanted, &ordered), &patches)?;
        let plans = patches.iter().filter_map(|one| Some((one.plan.as_ref()?, !one.scripts.is_empty())));
        let exchanges = foreseen(root, &caller.exchanges, plans)?;
        let report = ApplyReport { preparation, patches, exchanges, ..ApplyReport::default() };
        Ok(AppliedPatchSet { report, resolution: ordered.resolution })
    };
    without_lock(root, plan_all)
}

/// What would become of the patches.
fn rehearsed(
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    ordered: &OrderedPatches<'_>,
    caller: &Caller<'_>,
) -> Result<Vec<ApplyOutcome>, Failure> {
    let input = ApplyInput::of(ground, request, &ordered.void, caller)?;
    let is_on_trial = request.trial.wanted(&ground.policy, request.no_undo).is_some();
    let is_together = ordered.is_together || is_on_trial;
    apply_all(input, &request.scripts, (&ordered.operands, is_together), Execution::Foresee)
}

/// Plans all patches before the first of them is applied, where a plan file is to be saved or held to.
fn rehearse_for_plan(
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    (wanted, ordered): (&WantedPatches, &OrderedPatches<'_>),
    caller: &Caller<'_>,
) -> Result<(), Failure> {
    if !request.plan_file.is_made() {
        return Ok(());
    }
    let rehearsal = ApplyRequest { dry_run: true, ..request.clone() };
    let patches = rehearsed(ground, &rehearsal, ordered, caller)?;
    settle_plan_file(ground, request, (wanted, ordered), &patches)
}

/// Refuses a plan that is not the one of the file it has to be, and saves it where that was asked for.
fn settle_plan_file(
    ground: &RootAndPolicy,
    request: &ApplyRequest,
    (wanted, ordered): (&WantedPatches, &OrderedPatches<'_>),
    patches: &[ApplyOutcome],
) -> Result<(), Failure> {
    let asked = &request.plan_file;
    if !asked.is_made() {
        return Ok(());
    }
    let plan = made_plan(ground, asked, (wanted, ordered), patches)?;
    if let Some(expected) = &asked.expected
        && let Some(differences) = PlanDifferences::between(&expected.plan, &plan)
    {
        return Err(PlanFault::Differs { path: expected.path.clone(), differences }.into());
    }
    if let Some(path) = &asked.save {
        save_plan(path, &plan)?;
    }
    Ok(())
}
