//! The patches that a set does not need: those that were pulled in and are no longer needed, and those that another
//! patch of the set contains.

use super::catalogue::Catalogue;
use super::schedule::has_order;
use super::selection::Selection;

/// Takes out of a set what it does not need; whether there was anything. A patch that was named gives way to one that
/// contains it and stays without it.
pub(super) fn prune(catalogue: &Catalogue<'_>, set: &mut Selection) -> bool {
    let mut was_pruned = prune_pulled_in(catalogue, set);
    let is_contained =
        |place: &usize, set: &Selection| catalogue.containers(*place).any(|other| set.contains(other));
    let contained: Vec<usize> =
        set.iter().filter(|place| catalogue.item(*place).is_named && is_contained(place, set)).collect();
    for place in contained {
        let mut without = set.clone();
        without.remove(place);
        if has_order(catalogue, &without).is_err() {
            continue;
        }
        prune_pulled_in(catalogue, &mut without);
        if is_contained(&place, &without) {
            *set = without;
            was_pruned = true;
        }
    }
    was_pruned
}

/// Takes out what was pulled in and is not needed any more; whether there was anything.
fn prune_pulled_in(catalogue: &Catalogue<'_>, set: &mut Selection) -> bool {
    let mut was_pruned = false;
    loop {
        let needed = needed(catalogue, set);
        let is_candidate = |place: &usize| !needed.contains(*place) && !catalogue.item(*place).is_named;
        let candidates: Vec<usize> = set.iter().rev().filter(is_candidate).collect();
        let can_go = |place: &usize| {
            set.remove(*place);
            let can_go = has_order(catalogue, set).is_ok();
            if !can_go {
                set.insert(*place);
            }
            can_go
        };
        if !candidates.iter().any(can_go) {
            return was_pruned;
        }
        was_pruned = true;
    }
}

/// Returns the patches of a set without which a requirement, or the end of a conflict, would be missing in any case.
fn needed(catalogue: &Catalogue<'_>, set: &Selection) -> Selection {
    let mut needed = Selection::of(catalogue.items.len());
    let mut only = |places: Vec<usize>, own: usize| {
        let mut there = places.into_iter().filter(|place| *place != own && set.contains(*place));
        if let (Some(only), None) = (there.next(), there.next()) {
            needed.insert(only);
        }
    };
    for place in set.iter() {
        let item = catalogue.item(place);
        item.needs.iter().for_each(|need| only(catalogue.providers(need), place));
        item.against.iter().for_each(|conflict| only(catalogue.enders(conflict.applied), place));
    }
    needed
}
