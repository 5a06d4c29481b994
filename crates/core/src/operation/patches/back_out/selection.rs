//! Selects the patches of a backout: named ones, their dependents, or all later ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::BackOutRequest;
use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::{latest_run_first, run_of};
use crate::operation::patches::undo::named_run;
use crate::operation::queries::applied_patches::OrderOnRoot;
use crate::operation::session::RootAndPolicy;
use crate::operation::stages::records::{PromotionRecordFault, read_promotion};
use chrono::DateTime;
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::stage::PromotionRecord;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

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
        let ledger = ledger::counting(view, package)
            .map_err(patchadm_inputs::database::undo_data::ArchiveError::from)?;
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
