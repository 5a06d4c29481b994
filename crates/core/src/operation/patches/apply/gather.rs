//! The patches that can be one run: planned each against what the one before leaves.
//!
//! All that they touch is surveyed once. What each patch leaves is computed ([`ProjectedRoot`]), not surveyed again. A patch that
//! is refused is left out; one that cannot be planned exactly before the others are done ends the run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::batch::{PlannedOperand, PlannedPatch};
use super::input::ApplyInput;
use super::libraries::{Position, settle};
use super::operands::ApplyOperand;
use super::planning::plan_against;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryKeeper;
use patchadm_changeset::transaction::{ProgressEvent, RunActivity};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_planning::plan::concern::brings_scripts;
use patchadm_planning::plan::patch::patch_plan::PatchListChange;
use patchadm_planning::plan::patch::projected_root::ProjectedRoot;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{Action, Body, Member, NewObject, Plan, RecordChange};
use patchadm_rootfs::{Digest, Interrupt, Sums};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchInfo};

/// Plans operands from the place `at` on, as many as can be one run. None where that is one at most, where it brings
/// scripts or is to go `alone`, or where the survey fails or a signal ends it, which is then that operand's matter.
pub(super) fn gather<'o>(
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
    (input.progress)(ProgressEvent::Begins(RunActivity::Planning, operands.len() as u64));
    for (place, operand) in operands.iter().enumerate() {
        (input.progress)(ProgressEvent::Advances(1));
        if (input.interrupt)().is_some() {
            return Vec::new();
        }
        let touched = operand.touched(&ahead.inventory.packages);
        if ahead.ends_before(&touched) {
            break;
        }
        let planned = match plan_against(input, operand, BTreeMap::new(), &mut ahead.inventory, &applied) {
            Ok(scripted) if scripted.has_scripts() || ahead.ends_with(&touched, &scripted.plan) => break,
            Err(Failure::Refused(refusal)) if is_of_room(&refusal.reason) => {
                return without_room(gathered, operands, &refusal.reason);
            }
            Ok(mut scripted) => {
                if let Err(reason) = ahead.check_room(&scripted.plan) {
                    return without_room(gathered, operands, &reason);
                }
                let of = (&scripted.plan, &ahead.inventory);
                let settled = match settle(keeper, operand, of, Position::Among) {
                    Ok(settled) => settled,
                    Err(failure) => {
                        gathered.push(PlannedOperand { operand, planned: Err(failure) });
                        continue;
                    }
                };
                keep_first(&mut scripted.lists, &mut listed);
                let is_chained = |path: &ObjectPath| last_touched.get(path).is_some_and(|last| *last > place);
                let digests = digests(operand, (&scripted.plan, input.interrupt), is_chained);
                let made = ahead.go_on(&scripted.plan, &digests);
                if let Ok(applied) = &mut applied {
                    record(applied, &ahead.inventory, &scripted.plan, &input.ground.policy.separator);
                }
                // A plan file tells each patch by itself.
                if !input.options.is_rehearsal {
                    scripted.forget_parameters();
                    written.forget_before(&mut gathered, &scripted.plan);
                }
                Ok(PlannedPatch { scripted, made, settled, inventory: None })
            }
            Err(failure) => Err(failure),
        };
        gathered.push(PlannedOperand { operand, planned });
    }
    gathered
}

/// Keeps of each package the list before the first patch alone, from which the others follow: a thousand lists of a thousand
/// patches would be held otherwise.
fn keep_first(lists: &mut [PatchListChange], known: &mut BTreeSet<PkgInst>) {
    for change in lists {
        if !known.insert(change.package.clone()) {
            change.before = None;
        }
    }
}

/// The last patch of a run that writes each record, by its place among those that were gathered.
#[derive(Default)]
struct LastWriters(HashMap<ObjectPath, usize>);

impl LastWriters {
    /// Takes what the next patch writes out of the plans before it: a thousand versions of the pkginfo that grows with each of
    /// a thousand patches would be held for the sake of the last one.
    fn forget_before(&mut self, gathered: &mut [PlannedOperand<'_>], next: &Plan) {
        for record in &next.records {
            let RecordChange::Write { path, .. } = record else { continue };
            let last = self.0.insert(path.clone(), gathered.len());
            if let Some(Ok(taken)) =
                last.and_then(|place| gathered.get_mut(place)).map(|one| one.planned.as_mut())
            {
                taken.scripted.forget_record(path);
            }
        }
    }
}

/// Records that the patch of a plan is applied, as the parameters say that it leaves: reading all records again for each of
/// many patches would cost more than the patches.
fn record(applied: &mut AppliedPatches, inventory: &Inventory, plan: &Plan, separator: &str) {
    for id in plan.patches.iter().filter_map(|id| PatchId::parse(id, separator).ok()) {
        for package in &plan.packages {
            let records = applied.packages().iter().find(|records| records.package == *package);
            let (Some(records), Some(installed)) = (records, inventory.packages.get(package)) else {
                continue;
            };
            if let PatchInfo::Installed(info) = records.info_in(&id, &installed.params, separator) {
                applied.record_applied(package, &id, &info);
            }
        }
    }
}

/// The operands from `at` on that may be one run as far as their scripts go.
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
    // What is wrong with the database is said where the first operand is planned.
    let Ok(installed) = input.packages() else { return &[] };
    let stands_alone = |place: usize, operand: &ApplyOperand| {
        alone.contains(&(at + place))
            || brings_scripts(&operand.device.image, &installed, &input.options.scripts)
    };
    let end = rest.iter().enumerate().position(|(place, operand)| stands_alone(place, operand));
    rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest)
}

fn is_of_room(reason: &Reason) -> bool {
    matches!(reason, Reason::NoSpace { .. })
}

/// All of them refused, because there is no room for all of them: those that came first would be applied alone otherwise.
/// What was refused already stays so for its own reason.
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

/// The survey of everything that the operands touch, and the last operand that touches each path.
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
    Ok((ProjectedRoot::new(inventory, all, input.now.timestamp()), last))
}

/// The digests of the files of a plan that are replaced, or looked at, by a later patch. A file that is not what the
/// pkgmap says has none: staging says what is wrong with it.
pub(super) fn digests(
    operand: &ApplyOperand,
    (plan, interrupt): (&Plan, Interrupt<'_>),
    is_chained: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, Digest> {
    let mut wanted: BTreeMap<(usize, PackagePath), (&ObjectPath, &Member)> = BTreeMap::new();
    for change in plan.changes.iter().filter(|change| is_chained(&change.path)) {
        if let Action::Add(NewObject { body: Body::Member(member), .. })
        | Action::Replace(NewObject { body: Body::Member(member), .. }) = &change.action
        {
            wanted.insert((member.package, member.path.clone()), (&change.path, member));
        }
    }
    let mut digests = BTreeMap::new();
    if wanted.is_empty() {
        return digests;
    }
    let device = &operand.device;
    let mut is_wanted = |package: usize, path: &PackagePath| wanted.contains_key(&(package, path.clone()));
    let read = device.source.stream_until::<Failure>(
        &device.image,
        &mut is_wanted,
        interrupt,
        &mut |package, path, _, data| {
            if let (Ok(sums), Some((at, member))) = (Sums::of(data), wanted.get(&(package, path.clone())))
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
