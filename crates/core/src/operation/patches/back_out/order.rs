//! The order in which several patches of one patchrm(1M) are taken.

use std::collections::BTreeMap;

use super::what_first::in_order;
use crate::operation::patches::later_patches::latest_run_first;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::RecordView;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Puts patches that require others of the command before those, and later applied ones before earlier ones.
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

/// The patches that require `id`: for the order of removal they are what has to go first.
fn needed_by(applied: &AppliedPatches, id: &PatchId) -> Vec<PatchId> {
    applied.dependents_after_removal(id).into_iter().map(|unmet| unmet.patch).collect()
}
