//! Plans a batch: patches for one run, each planned on the projected effects of the ones before ([`ProjectedRoot`])
//! after one survey. A refused patch is left out; one that needs the actual result of others ends the batch.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::operands::{ApplyOperand, ApplyRequest};
use crate::operation::device::{OpenDevice, mark_identical};
use crate::operation::failure::Failure;
use crate::operation::libraries::{LaterContent, LibraryKeeper, PlanToSettle, SettledLibraries};
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::patches::scripts::{must_be_executable, must_be_safe};
use crate::operation::patches::undo_directory;
use crate::operation::root_and_policy::ForeseenRoot;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_changeset::transaction::{ProgressEvent, RunActivity};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_inputs::native::NativeOrigin;
use patchadm_inputs::source::Image;
use patchadm_planning::plan::concern::{brings_scripts, delivered_files};
use patchadm_planning::plan::patch::apply::apply;
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::patch::projected_root::{MadeObjects, ProjectedRoot};
use patchadm_planning::plan::patch::validate::ApplyOptions;
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};
use patchadm_planning::plan::{Action, Body, Change, Member, NewObject, Plan, RecordChange};
use patchadm_rootfs::{Digest, Interrupt, Sums};
use patchadm_svr4::package::{ObjectPath, PackagePath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchInfo, PatchMacros};

pub(super) struct ApplyBatch<'o> {
    pub(super) patches: Vec<PlannedOperand<'o>>,
    pub(super) keeper: LibraryKeeper<'o>,
}

pub(super) struct PlannedOperand<'o> {
    pub(super) operand: &'o ApplyOperand,
    pub(super) planned: Result<PlannedApplication, Failure>,
}

pub(super) struct PlannedApplication {
    pub(super) patch_plan: PatchPlan,
    pub(super) made: MadeObjects,
    /// Not part of the plan yet: the next patch is planned as if nothing were kept.
    libraries: Option<SettledLibraries>,
    pub(super) inventory: Option<Inventory>,
}

impl PlannedApplication {
    pub(super) fn alone(
        patch_plan: PatchPlan,
        inventory: Inventory,
        libraries: Option<SettledLibraries>,
    ) -> Self {
        let inventory = patch_plan.has_scripts().then_some(inventory);
        Self { patch_plan, made: MadeObjects::new(), libraries, inventory }
    }

    /// Adds the libraries to keep.
    pub(super) fn finished(mut self) -> Self {
        if let Some(libraries) = self.libraries.take() {
            libraries.apply(&mut self.patch_plan);
        }
        self
    }
}

impl PlannedOperand<'_> {
    pub(super) fn has_scripts(&self) -> bool {
        self.planned.as_ref().is_ok_and(|planned| planned.patch_plan.has_scripts())
    }
}

/// The options of the request, completed by the policy.
pub(super) struct ApplyInput<'a> {
    pub(super) ground: &'a RootAndPolicy,
    pub(super) request: &'a ApplyRequest,
    pub(super) caller: &'a Caller<'a>,
    pub(super) options: ApplyOptions,
    pub(super) before: ForeseenRoot,
}

impl<'a> ApplyInput<'a> {
    pub(super) fn keeper<'k>(&self) -> LibraryKeeper<'k>
    where
        'a: 'k,
    {
        let is_run = !self.options.is_rehearsal;
        LibraryKeeper::new(self.ground, self.request.shlibs, &self.caller.now, is_run)
            .ended_by(self.caller.interrupt)
    }

    pub(super) fn packages(&self) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        Ok(self.before.packages(self.ground.packages()?))
    }

    pub(super) fn survey(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        touched: &Touched,
    ) -> Result<Inventory, Failure> {
        let mut touched = Cow::Borrowed(touched);
        let is_native = |package: &PkgInst| {
            packages.get(package).is_some_and(|installed| NativeOrigin::of(&installed.params).is_some())
        };
        if touched.packages.iter().any(is_native) {
            // A patch may spell a path of an adopted package in another way.
            self.ground.add_spellings(&mut touched.to_mut().paths, self.caller.interrupt)?;
        }
        Ok(self.before.onto(self.ground.survey_without_kept(
            packages,
            &touched,
            (None, self.caller.interrupt),
        )?))
    }
}

/// Plans a patch on the root as it is, or as projected. `answers` of checkinstall scripts are by package index.
pub(super) fn plan(
    input: &ApplyInput<'_>,
    operand: &ApplyOperand,
    answers: BTreeMap<usize, Params>,
) -> Result<(PatchPlan, Inventory), Failure> {
    let installed = input.packages()?;
    let touched = operand.touched(&installed);
    let mut inventory = input.survey(installed, &touched)?;
    let applied = input.ground.applied(&inventory);
    let patch_plan = plan_against(input, operand, answers, &mut inventory, &applied)?;
    Ok((patch_plan, inventory))
}

/// Like [`plan`], with the libraries to keep, which are not part of the plan yet.
pub(super) fn plan_alone<'o>(
    input: &ApplyInput<'_>,
    (operand, position): (&'o ApplyOperand, PlaceInRun),
    answers: BTreeMap<usize, Params>,
    keeper: &mut LibraryKeeper<'o>,
) -> Result<(PatchPlan, Inventory, Option<SettledLibraries>), Failure> {
    let (patch_plan, inventory) = plan(input, operand, answers)?;
    let libraries = settle_libraries(keeper, operand, (&patch_plan.plan, &inventory), position)?;
    Ok((patch_plan, inventory, libraries))
}

/// The survey must cover everything that the patch touches.
fn plan_against(
    input: &ApplyInput<'_>,
    operand: &ApplyOperand,
    answers: BTreeMap<usize, Params>,
    inventory: &mut Inventory,
    applied: &Result<AppliedPatches, Reason>,
) -> Result<PatchPlan, Failure> {
    let OpenDevice { source, image, .. } = &operand.device;
    let files = delivered_files(image, &inventory.packages, inventory);
    inventory.identical.clear();
    mark_identical(source, image, files, (inventory, input.caller.interrupt))?;
    let options = ApplyOptions { answers, ..input.options.clone() };
    if let Some(directory) = &options.undo_dir {
        undo_directory::must_be_usable(&input.ground.host, directory)?;
        undo_directory::must_be_inside_stage(&input.ground.root, directory)?;
    }
    let applied = applied.as_ref();
    let (policy, Caller { now, interrupt, .. }) = (&input.ground.policy, input.caller);
    let mut planned =
        apply(image, inventory, applied.map_err(Clone::clone), policy, &options, now, *interrupt)?;
    planned.plan.notes.extend(made_good(input, &planned.plan.patches, &inventory.marker, applied.ok()));
    Ok(planned)
}

/// Returns notes on lost fixes that patches, or others of the same base, bring back, unless an applied one did already.
fn made_good(
    input: &ApplyInput<'_>,
    ids: &[String],
    marker: &str,
    applied: Option<&AppliedPatches>,
) -> Vec<String> {
    let separator = &input.ground.policy.separator;
    let ids: Vec<PatchId> = ids.iter().filter_map(|id| PatchId::parse(id, separator).ok()).collect();
    let is_again = |one: &OvertakenPatch| {
        let Ok(lost) = PatchId::parse(&one.patch, separator) else { return false };
        let restores = |id: &PatchId| id.same_base(&lost) && *id >= lost;
        // A patch that was lost in part is still applied.
        let is_whole = |id: &PatchId| restores(id) && (*id != lost || one.state == OvertakenState::Lost);
        let is_back = applied.is_some_and(|applied| applied.iter().any(|patch| is_whole(&patch.id)));
        !is_back && ids.iter().any(restores)
    };
    // An unreadable list adds no notes.
    let list = overtaken_patches(&input.ground.root, marker).unwrap_or_default();
    let lost = list.patches.iter().filter(|one| one.state.is_lost() && is_again(one));
    lost.map(|one| format!("the fix of {} was {}; this restores it", one.patch, one.told())).collect()
}

/// Plans the next batch, which begins at the operand `at`.
pub(super) fn plan_batch<'o>(
    input: &ApplyInput<'_>,
    operands: &'o [&'o ApplyOperand],
    (at, alone): (usize, &BTreeSet<usize>),
    is_one_run: bool,
    mut keeper: LibraryKeeper<'o>,
) -> ApplyBatch<'o> {
    let mut patches = gather(input, operands, (at, alone), &mut keeper);
    let first = operands.get(at).copied();
    if is_one_run {
        patches = as_one_run(input, operands, patches);
    } else if let Some(operand) = first.filter(|_| patches.is_empty()) {
        let is_followed = input.options.is_rehearsal && at + 1 < operands.len();
        let position = if is_followed { PlaceInRun::Among } else { PlaceInRun::Alone };
        let planned = plan_alone(input, (operand, position), BTreeMap::new(), &mut keeper);
        let planned = planned.map(|(patch_plan, inventory, libraries)| {
            PlannedApplication::alone(patch_plan, inventory, libraries)
        });
        patches.push(PlannedOperand { operand, planned });
    }
    // After a signal, a planned batch is not begun.
    if let (Some(signal), Some(operand)) = ((input.caller.interrupt)(), first) {
        patches = vec![PlannedOperand { operand, planned: Err(Failure::interrupted(signal)) }];
    }
    ApplyBatch { patches, keeper }
}

/// Plans as many operands from `at` on as fit into one run. Returns nothing for at most one (scripts, or in `alone`), a
/// failed survey or a signal; the operand's own plan reports these.
fn gather<'o>(
    input: &ApplyInput<'_>,
    operands: &'o [&'o ApplyOperand],
    (at, alone): (usize, &BTreeSet<usize>),
    keeper: &mut LibraryKeeper<'o>,
) -> Vec<PlannedOperand<'o>> {
    let operands = stretch(input, operands, at, alone);
    if operands.len() < 2 {
        return Vec::new();
    }
    let Ok((mut ahead, last_touched)) = look_ahead(input, operands) else { return Vec::new() };
    let mut applied = input.ground.applied(&ahead.inventory);
    let mut gathered: Vec<PlannedOperand<'o>> = Vec::new();
    let (mut written, mut listed) = (LastWriters::default(), BTreeSet::new());
    (input.caller.progress)(ProgressEvent::Begins(RunActivity::Planning, operands.len() as u64));
    for (place, operand) in operands.iter().enumerate() {
        (input.caller.progress)(ProgressEvent::Advances(1));
        if (input.caller.interrupt)().is_some() {
            return Vec::new();
        }
        let touched = operand.touched(&ahead.inventory.packages);
        if ahead.ends_before(&touched) {
            break;
        }
        let planned = match plan_against(input, operand, BTreeMap::new(), &mut ahead.inventory, &applied) {
            Ok(patch_plan) if patch_plan.has_scripts() || ahead.ends_with(&touched, &patch_plan.plan) => {
                break;
            }
            Err(Failure::Refused(refusal)) if matches!(*refusal.reason, Reason::NoSpace { .. }) => {
                return without_room(gathered, operands, &refusal.reason);
            }
            Ok(mut patch_plan) => {
                if let Err(reason) = ahead.check_room(&patch_plan.plan) {
                    return without_room(gathered, operands, &reason);
                }
                let of = (&patch_plan.plan, &ahead.inventory);
                let libraries = match settle_libraries(keeper, operand, of, PlaceInRun::Among) {
                    Ok(libraries) => libraries,
                    Err(failure) => {
                        gathered.push(PlannedOperand { operand, planned: Err(failure) });
                        continue;
                    }
                };
                // Keep only the first list of each package: otherwise a thousand patches hold a thousand lists of a
                // thousand patches.
                for change in &mut patch_plan.lists {
                    if !listed.insert(change.package.clone()) {
                        change.before = None;
                    }
                }
                let is_chained = |path: &ObjectPath| last_touched.get(path).is_some_and(|last| *last > place);
                let digests = digests(operand, (&patch_plan.plan, input.caller.interrupt), is_chained);
                let made = ahead.go_on(&patch_plan.plan, &digests);
                if let Ok(applied) = &mut applied {
                    record(applied, &ahead.inventory, &patch_plan.plan, &input.ground.policy.separator);
                }
                // A plan file lists the records of each patch.
                if !input.options.is_rehearsal {
                    patch_plan.forget_parameters();
                    written.forget_before(&mut gathered, &patch_plan.plan);
                }
                Ok(PlannedApplication { patch_plan, made, libraries, inventory: None })
            }
            Err(failure) => Err(failure),
        };
        gathered.push(PlannedOperand { operand, planned });
    }
    gathered
}

/// Index of the last gathered patch that writes each record.
#[derive(Default)]
struct LastWriters(HashMap<ObjectPath, usize>);

impl LastWriters {
    /// Removes records that the next patch rewrites: otherwise memory holds a thousand versions of a growing pkginfo.
    fn forget_before(&mut self, gathered: &mut [PlannedOperand<'_>], next: &Plan) {
        for record in &next.records {
            let RecordChange::Write { path, .. } = record else { continue };
            let last = self.0.insert(path.clone(), gathered.len());
            if let Some(Ok(earlier)) =
                last.and_then(|place| gathered.get_mut(place)).map(|one| one.planned.as_mut())
            {
                earlier.patch_plan.forget_record(path);
            }
        }
    }
}

/// Records that a patch is applied, without reading all records again, which would cost more than the patches.
fn record(applied: &mut AppliedPatches, inventory: &Inventory, plan: &Plan, separator: &str) {
    for id in plan.patches.iter().filter_map(|id| PatchId::parse(id, separator).ok()) {
        for package in &plan.packages {
            let records = applied.records_of(package);
            let (Some(records), Some(installed)) = (records, inventory.packages.get(package)) else {
                continue;
            };
            if let PatchInfo::Installed(info) = records.info_in(&id, &installed.params, separator) {
                applied.record_applied(package, &id, &info);
            }
        }
    }
}

/// Ends before the first patch with scripts.
fn stretch<'o>(
    input: &ApplyInput<'_>,
    operands: &'o [&'o ApplyOperand],
    at: usize,
    alone: &BTreeSet<usize>,
) -> &'o [&'o ApplyOperand] {
    let rest = operands.get(at..).unwrap_or_default();
    if rest.len() < 2 {
        return rest;
    }
    // The first operand's plan reports defects of the database.
    let Ok(installed) = input.packages() else { return &[] };
    let stands_alone = |place: usize, operand: &ApplyOperand| {
        alone.contains(&(at + place))
            || brings_scripts(&operand.device.image, &installed, &input.options.scripts)
    };
    let end = rest.iter().enumerate().position(|(place, operand)| stands_alone(place, operand));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest)
}

/// Refuses all operands for lack of space; otherwise the first ones would be applied alone. Refused operands keep their
/// reason.
fn without_room<'o>(
    gathered: Vec<PlannedOperand<'o>>,
    operands: &'o [&'o ApplyOperand],
    reason: &Reason,
) -> Vec<PlannedOperand<'o>> {
    let refusal = |operand: &ApplyOperand| reason.clone().of(Command::Patchadd, &operand.shown_id());
    let mut known = gathered.into_iter();
    let refused = operands.iter().map(|operand| match known.next() {
        Some(one) if one.planned.is_err() => one,
        _ => PlannedOperand { operand, planned: Err(refusal(operand).into()) },
    });
    refused.collect()
}

/// Also returns the last operand that touches each path.
fn look_ahead(
    input: &ApplyInput<'_>,
    operands: &[&ApplyOperand],
) -> Result<(ProjectedRoot, HashMap<ObjectPath, usize>), Failure> {
    let installed = input.packages()?;
    let (mut all, mut last) = (Touched::default(), HashMap::new());
    for (place, operand) in operands.iter().enumerate() {
        let touched = operand.touched(&installed);
        last.extend(touched.paths.iter().map(|path| (path.clone(), place)));
        all.paths.extend(touched.paths);
        all.not_directories.extend(touched.not_directories);
        all.packages.extend(touched.packages);
    }
    let inventory = input.survey(installed, &all)?;
    Ok((ProjectedRoot::new(inventory, all, input.caller.now.timestamp()), last))
}

/// Returns digests of files that a later patch replaces or compares. A file that differs from the pkgmap has none:
/// staging reports it.
fn digests(
    operand: &ApplyOperand,
    (plan, interrupt): (&Plan, Interrupt<'_>),
    is_chained: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, Digest> {
    let mut members: BTreeMap<(usize, PackagePath), (&ObjectPath, &Member)> = BTreeMap::new();
    for change in plan.changes.iter().filter(|change| is_chained(&change.path)) {
        if let Action::Add(NewObject { body: Body::Member(member), .. })
        | Action::Replace(NewObject { body: Body::Member(member), .. }) = &change.action
        {
            members.insert((member.package, member.path.clone()), (&change.path, member));
        }
    }
    let mut digests = BTreeMap::new();
    if members.is_empty() {
        return digests;
    }
    let device = &operand.device;
    let mut is_wanted = |package: usize, path: &PackagePath| members.contains_key(&(package, path.clone()));
    let read = device.source.stream_until::<Failure>(
        &device.image,
        &mut is_wanted,
        interrupt,
        &mut |package, path, _, data| {
            if let (Ok(sums), Some((at, member))) = (Sums::of(data), members.get(&(package, path.clone())))
                && (sums.size, sums.cksum) == (member.size, member.cksum)
            {
                digests.insert((*at).clone(), sums.b3);
            }
            Ok(())
        },
    );
    if read.is_err() {
        digests.clear();
    }
    digests
}

/// Refuses each patch if they cannot all be one run.
fn as_one_run<'o>(
    input: &ApplyInput<'_>,
    operands: &'o [&'o ApplyOperand],
    planned: Vec<PlannedOperand<'o>>,
) -> Vec<PlannedOperand<'o>> {
    let is_whole = planned.len() == operands.len();
    if is_whole && planned.iter().all(|one| one.planned.is_ok()) {
        return planned;
    }
    let mut failures: Vec<Option<Failure>> = planned.into_iter().map(|one| one.planned.err()).collect();
    if failures.iter().all(Option::is_none) {
        let with_scripts = input.packages().ok().and_then(|installed| {
            operands
                .iter()
                .position(|operand| brings_scripts(&operand.device.image, &installed, &input.options.scripts))
        });
        let reason = if with_scripts.is_some() { SetReason::OwnRun } else { SetReason::PlannedAfterwards };
        let place = with_scripts.unwrap_or(failures.len());
        failures.resize_with(operands.len(), || None);
        if let (Some(slot), Some(operand)) = (failures.get_mut(place), operands.get(place)) {
            let refusal = Reason::InSet(reason).of(Command::Patchadd, &operand.shown_id());
            *slot = Some(refusal.into());
        }
    }
    failures.resize_with(operands.len(), || None);
    let refused = refuse_all(operands, failures).into_iter();
    let all = operands.iter().zip(refused);
    all.map(|(operand, failure)| PlannedOperand { operand, planned: Err(failure) }).collect()
}

/// Operands without a failure are not tried because of the first failed one.
pub(super) fn refuse_all(operands: &[&ApplyOperand], failures: Vec<Option<Failure>>) -> Vec<Failure> {
    let first = failures.iter().position(Option::is_some).and_then(|place| operands.get(place));
    let first = first.map(|operand| operand.shown_id()).unwrap_or_default();
    let failure = |failure: Option<Failure>| failure.unwrap_or_else(|| Failure::NotWithout(first.clone()));
    failures.into_iter().map(failure).collect()
}

/// In `SUNW_PATCH_PROPERTIES` and `PATCH_PROPERTIES`: the patch forbids to keep libraries that it removes.
const FORBIDDING: &str = "nokeepshlibs";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceInRun {
    Alone,
    /// Others may follow.
    Among,
}

/// Decides which removed libraries are kept.
fn settle_libraries<'o>(
    keeper: &mut LibraryKeeper<'o>,
    operand: &'o ApplyOperand,
    (plan, inventory): (&Plan, &Inventory),
    position: PlaceInRun,
) -> Result<Option<SettledLibraries>, Failure> {
    let id = operand.shown_id();
    let forbids = |properties: &[String]| properties.iter().any(|word| word == FORBIDDING);
    let Image { packages, patchinfo, .. } = &operand.device.image;
    let by_package = packages.iter().any(|package| forbids(&PatchMacros::properties_of(&package.params)));
    let asked = PlanToSettle {
        forbids: by_package || patchinfo.as_ref().is_some_and(|patchinfo| forbids(&patchinfo.properties)),
        ..PlanToSettle::of((plan, inventory), Command::Patchadd, &id)
    };
    let later = match position {
        PlaceInRun::Alone => LaterContent::NotAsked,
        PlaceInRun::Among => LaterContent::At(Rc::new(RefCell::new(operand.device.content()))),
    };
    keeper.settle(&asked, &mut operand.device.content(), later)
}

impl PlannedOperand<'_> {
    /// `None` if a file differs from the pkgmap, nothing is planned, or a signal came.
    pub(super) fn delivered_digests(&self, interrupt: Interrupt<'_>) -> Option<BTreeMap<ObjectPath, Digest>> {
        let plan = &self.planned.as_ref().ok()?.patch_plan.plan;
        let is_read = |change: &&Change| {
            matches!(
                &change.action,
                Action::Add(NewObject { body: Body::Member(_), .. })
                    | Action::Replace(NewObject { body: Body::Member(_), .. })
            )
        };
        let read = plan.changes.iter().map(Box::as_ref).filter(is_read).count();
        let digests = digests(self.operand, (plan, interrupt), |_| true);
        (digests.len() == read).then_some(digests)
    }
}

/// Refuses damaged sources and unsafe scripts. Scripts get the whole source.
pub(super) fn must_be_usable(
    input: &ApplyInput<'_>,
    operand: &ApplyOperand,
    patch_plan: &PatchPlan,
    is_whole: bool,
) -> Result<(), Failure> {
    let OpenDevice { source, image, .. } = &operand.device;
    if !is_whole || patch_plan.has_scripts() {
        source.verify(image, input.caller.interrupt)?;
    }
    must_be_safe(input.ground, Command::Patchadd, &operand.shown_id(), patch_plan)?;
    let hooks: Vec<&str> = patch_plan.hooks.iter().map(|hook| hook.name.as_str()).collect();
    must_be_executable(source, image, &hooks).map_err(Failure::Script)
}
