//! Patches of which it is only said what would be done: planned as [`apply_all`](super::runs::apply_all) plans them, each
//! against what the ones before it would leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::gather::{digests, gather};
use super::input::ApplyInput;
use super::libraries::{Position, settle};
use super::operands::ApplyOperand;
use super::planning::plan;
use super::request::ApplyOutcome;
use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use crate::operation::libraries::{LibraryKeeper, SettledLibraries};
use crate::operation::patches::in_use::in_use;
use crate::operation::patches::scripts::{must_be_executable, must_be_safe};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{Action, Body, Change, NewObject};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::ObjectPath;

/// What would become of each operand. The sums of files are compared as a run compares them.
pub(super) fn rehearse_all(
    mut input: ApplyInput<'_>,
    operands: &[&ApplyOperand],
) -> Result<Vec<ApplyOutcome>, Failure> {
    let last_touched = last_touched(&input, operands)?;
    let mut report: Vec<ApplyOutcome> = Vec::new();
    let mut damaged = BTreeSet::new();
    let mut keeper = input.keeper();
    while let Some(first) = operands.get(report.len()) {
        let at = report.len();
        let mut next_keeper = keeper.clone();
        let gathered = gather(&input, operands, (at, &damaged), &mut next_keeper);
        let planned: Vec<(&ApplyOperand, Result<PlannedPatch, Failure>)> = if gathered.is_empty() {
            let is_last = at + 1 == operands.len();
            let position = if is_last { Position::Alone } else { Position::Among };
            vec![(first, plan_alone(&input, first, (&mut next_keeper, position)))]
        } else {
            let gathered = gathered.into_iter();
            gathered
                .map(|one| (one.operand, one.planned.map(|taken| (taken.scripted, taken.settled))))
                .collect()
        };
        let mut read = Vec::new();
        for (operand, planned) in planned {
            read.push((operand, planned.map(|planned| (delivered_digests(operand, &planned.0), planned))));
        }
        // One whose source is damaged is no part of a run.
        let is_damaged = |read: &Result<(Option<_>, PlannedPatch), Failure>| matches!(read, Ok((None, _)));
        let bad = read.iter().enumerate().filter(|(_, (_, read))| is_damaged(read));
        let bad: Vec<usize> = bad.map(|(place, _)| at + place).collect();
        if read.len() > 1 && !bad.is_empty() {
            damaged.extend(bad);
            continue;
        }
        keeper = next_keeper;
        for (operand, read) in read {
            let place = report.len();
            match read.and_then(|(digests, (scripted, settled))| {
                Ok((usable(&input, operand, scripted, digests.is_some())?, settled, digests))
            }) {
                Err(failure) => report.push(operand.refused(failure)),
                Ok((mut scripted, settled, digests)) => {
                    if place + 1 < operands.len() {
                        let mut digests = digests.unwrap_or_default();
                        digests.retain(|path, _| last_touched.get(path).is_some_and(|last| *last > place));
                        input.before.add(scripted.plan.clone(), digests);
                    }
                    if let Some(settled) = settled {
                        settled.apply(&mut scripted);
                    }
                    let in_use = in_use(&input.ground.root, &scripted.plan);
                    report.push(operand.applied(scripted, in_use, Ok(None)));
                }
            }
        }
    }
    Ok(report)
}

/// A plan made as if nothing were kept, and what is done about libraries in it.
type PlannedPatch = (PatchPlan, Option<SettledLibraries>);

/// Plans a patch that is a run of its own.
fn plan_alone<'o>(
    input: &ApplyInput<'_>,
    operand: &'o ApplyOperand,
    (keeper, position): (&mut LibraryKeeper<'o>, Position),
) -> Result<PlannedPatch, Failure> {
    let (scripted, inventory) = plan(input, operand, BTreeMap::new())?;
    let settled = settle(keeper, operand, (&scripted.plan, &inventory), position)?;
    Ok((scripted, settled))
}

/// The digests of the files that a plan takes from its source; none where one of them is not what the pkgmap says.
fn delivered_digests(operand: &ApplyOperand, scripted: &PatchPlan) -> Option<BTreeMap<ObjectPath, Digest>> {
    let is_taken = |change: &&Change| {
        matches!(
            &change.action,
            Action::Add(NewObject { body: Body::Member(_), .. })
                | Action::Replace(NewObject { body: Body::Member(_), .. })
        )
    };
    let taken = scripted.plan.changes.iter().map(Box::as_ref).filter(is_taken).count();
    let digests = digests(operand, &scripted.plan, |_| true);
    (digests.len() == taken).then_some(digests)
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

/// A plan whose source is whole, as far as it is read, and whose scripts could run safely. Scripts are given all of the
/// source.
fn usable(
    input: &ApplyInput<'_>,
    operand: &ApplyOperand,
    scripted: PatchPlan,
    is_whole: bool,
) -> Result<PatchPlan, Failure> {
    let OpenDevice { source, image, .. } = &operand.device;
    if !is_whole || scripted.has_scripts() {
        source.verify(image)?;
    }
    must_be_safe(input.ground, Command::Patchadd, &operand.shown_id(), &scripted)?;
    let hooks: Vec<&str> = scripted.hooks.iter().map(|hook| hook.name.as_str()).collect();
    must_be_executable(source, image, &hooks).map_err(Failure::Script)?;
    Ok(scripted)
}
