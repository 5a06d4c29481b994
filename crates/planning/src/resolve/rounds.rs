//! Accepts patches in rounds: in the order of ids, each with its needs, until a round accepts none. Patches that the
//! set does not need are removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::catalogue::{Catalogue, Selection, Standing};
use super::possible::Chances;
use super::schedule::has_order;
use super::search::Search;
use crate::plan::refusal::{Reason, SetReason};

pub(super) struct Accepted {
    /// Empty if all or nothing was requested and a patch cannot be applied.
    pub(super) set: Selection,
    pub(super) refused: BTreeMap<usize, Reason>,
    /// Named patches that others contain, with the patch that is applied.
    pub(super) covered: BTreeMap<usize, usize>,
    pub(super) stopped_by: Option<usize>,
}

struct Rounds<'c, 'a> {
    catalogue: &'c Catalogue<'a>,
    chances: &'c Chances,
    set: Selection,
    refused: BTreeMap<usize, Reason>,
    /// For each named patch, the named patches to which it gives way.
    displacers: HashMap<usize, Vec<usize>>,
    tried: HashMap<usize, usize>,
    changes: usize,
}

pub(super) fn accept_all(catalogue: &Catalogue<'_>, chances: &Chances, all_or_nothing: bool) -> Accepted {
    let named: Vec<usize> =
        (0..catalogue.items.len()).filter(|place| catalogue.item(*place).is_named).collect();
    let mut rounds = Rounds {
        catalogue,
        chances,
        set: Selection::of(catalogue.items.len()),
        refused: BTreeMap::new(),
        displacers: displacers(catalogue, &named),
        tried: HashMap::new(),
        changes: 0,
    };
    rounds.accept(&named);
    if all_or_nothing && !rounds.refused.is_empty() {
        rounds.try_together(&named);
    }
    let stopped_by = rounds.refused.keys().next().copied().filter(|_| all_or_nothing);
    let covered = named.iter().filter_map(|place| Some((*place, rounds.container(*place)?)));
    let covered = covered.filter(|(place, _)| !rounds.set.contains(*place)).collect();
    let set = if stopped_by.is_some() { Selection::of(catalogue.items.len()) } else { rounds.set };
    Accepted { set, refused: rounds.refused, covered, stopped_by }
}

impl Rounds<'_, '_> {
    fn accept(&mut self, named: &[usize]) {
        // Each turn accepts, refuses or removes a patch, and nothing is accepted again without another change.
        for _ in 0..named.len() * 2 + 10 {
            let mut is_over = true;
            for &place in named {
                if self.is_due(place) {
                    is_over = false;
                    self.try_one(place);
                }
            }
            let before = self.set.len();
            if self.changes > 0 && !is_over && prune(self.catalogue, &mut self.set) {
                self.changes += before - self.set.len();
            }
            if is_over {
                break;
            }
        }
        let in_force: Vec<usize> =
            self.refused.keys().copied().filter(|place| self.container(*place).is_some()).collect();
        for place in in_force {
            self.refused.remove(&place);
        }
    }

    fn is_due(&self, place: usize) -> bool {
        let standing = &self.catalogue.item(place).standing;
        if matches!(standing, Standing::Settled(_)) || self.set.contains(place) {
            return false;
        }
        let is_news = match self.tried.get(&place) {
            None => true,
            // A patch without a chance is not tried again, and neither is one whose search was given up.
            Some(_) if !self.chances.has(place) => false,
            Some(_) if self.refused.get(&place) == Some(&Reason::InSet(SetReason::TooManyRequirements)) => {
                false
            }
            Some(changes) => *changes != self.changes,
        };
        is_news && self.container(place).is_none() && !self.is_displaced(place)
    }

    fn try_one(&mut self, place: usize) {
        let (catalogue, chances) = (self.catalogue, self.chances);
        let result = if chances.has(place) {
            Search::new(catalogue, chances, &mut self.set).add(&[place])
        } else {
            Err(chances.reason(catalogue, place))
        };
        match result {
            Ok(()) => {
                self.changes += 1;
                let set = &self.set;
                self.refused.retain(|place, _| !set.contains(*place));
            }
            Err(reason) => drop(self.refused.insert(place, reason)),
        }
        self.tried.insert(place, self.changes);
    }

    /// Starts again with all patches together: the choices of one may block another.
    fn try_together(&mut self, named: &[usize]) {
        let is_settled = |place: usize| matches!(self.catalogue.item(place).standing, Standing::Settled(_));
        let has_to_go_in =
            |place: &usize| !is_settled(*place) && self.displacers.get(place).is_none_or(Vec::is_empty);
        let roots: Vec<usize> = named.iter().copied().filter(has_to_go_in).collect();
        if roots.iter().any(|place| !self.chances.has(*place)) {
            return;
        }
        let mut set = Selection::of(self.catalogue.items.len());
        match Search::new(self.catalogue, self.chances, &mut set).add(&roots) {
            Ok(()) => {
                self.refused.clear();
                prune(self.catalogue, &mut set);
                self.set = set;
            }
            Err(reason @ Reason::InSet(SetReason::TooManyRequirements)) => {
                self.refused.values_mut().take(1).for_each(|own| *own = reason.clone());
            }
            Err(_) => {}
        }
    }

    /// Prefers a later revision.
    fn container(&self, place: usize) -> Option<usize> {
        let taken: Vec<usize> = reached(self.catalogue, &self.set, place)
            .into_iter()
            .filter(|other| self.set.contains(*other))
            .collect();
        let id = self.catalogue.id(place);
        let later = taken.iter().rev().find(|other| self.catalogue.id(**other).same_base(id));
        later.or(taken.first()).copied()
    }

    fn is_displaced(&self, place: usize) -> bool {
        let mut others = self.displacers.get(&place).into_iter().flatten();
        others.any(|other| !self.refused.contains_key(other))
    }
}

/// In a cycle, the first patch does not give way.
fn displacers(catalogue: &Catalogue<'_>, named: &[usize]) -> HashMap<usize, Vec<usize>> {
    let none = Selection::of(catalogue.items.len());
    let reached: HashMap<usize, BTreeSet<usize>> =
        named.iter().map(|place| (*place, reached(catalogue, &none, *place))).collect();
    let is_in_circle =
        |place: usize, other: usize| reached.get(&other).is_some_and(|others| others.contains(&place));
    let of_one = |place: usize, others: &BTreeSet<usize>| -> Vec<usize> {
        let is_open = |other: &&usize| catalogue.item(**other).standing == Standing::Open;
        let gives_way = |other: &&usize| !(place < **other && is_in_circle(place, **other));
        others.iter().filter(is_open).filter(gives_way).copied().collect()
    };
    reached.iter().map(|(place, others)| (*place, of_one(*place, others))).collect()
}

fn reached(catalogue: &Catalogue<'_>, set: &Selection, place: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![place];
    while let Some(at) = next.pop() {
        let is_known = |other: &usize| catalogue.item(*other).is_named || set.contains(*other);
        for other in catalogue.containers(at).filter(is_known) {
            if reached.insert(other) {
                next.push(other);
            }
        }
    }
    reached.remove(&place);
    reached
}

// A patch is not needed if it was pulled in for one that is gone, or if another patch of the set contains it.

/// Returns true if something was removed. A named patch gives way to one that contains it.
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

/// Patches that are the only way to meet a requirement or to end a conflict.
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
