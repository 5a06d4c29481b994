//! The order of application of a set, and its constraints. A set has an order if taking any possible next patch, again
//! and again, leaves none. The returned order goes by ids, with each patch directly after those that it needs.

use std::collections::{BTreeSet, HashMap, HashSet};

use patchadm_svr4::package::PkgInst;

use super::catalogue::{Catalogue, OfferConflict, Selection};

/// For more conflicts, only the first way is tried.
const MOST_WAYS: usize = 10;

const MOST_FOLLOWING: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoOrder {
    /// A conflict does not end.
    Unsettled(Unsettled),
    /// Each of these patches has to come before the one named before it, the last before the first.
    Circle(Vec<usize>),
}

pub(super) fn has_order(catalogue: &Catalogue<'_>, set: &Selection) -> Result<(), NoOrder> {
    settled(catalogue, set).map(|_| ())
}

/// A cheap check before [`has_order`] that ignores the rest of the set. `added` must not conflict.
pub(super) fn can_follow(catalogue: &Catalogue<'_>, set: &Selection, added: &[usize]) -> bool {
    if added.len() > MOST_FOLLOWING {
        return false;
    }
    let is_added: HashSet<usize> = added.iter().copied().collect();
    let mut restricted = catalogue.restricted.iter().filter(|place| set.contains(**place));
    if restricted.next().is_some() {
        return false;
    }
    let stands_alone = |place: &usize| {
        !catalogue.containers(*place).any(|other| set.contains(other))
            && !catalogue.contained(*place).any(|other| is_added.contains(&other))
    };
    added.iter().all(stands_alone) && has_inner_order(catalogue, set, &is_added)
}

fn has_inner_order(catalogue: &Catalogue<'_>, set: &Selection, added: &HashSet<usize>) -> bool {
    let mut there: HashSet<usize> = HashSet::new();
    let mut rest: Vec<usize> = added.iter().copied().collect();
    while !rest.is_empty() {
        let is_met = |place: &usize| {
            catalogue.item(*place).needs.iter().all(|need| {
                let mut providers = catalogue.providers(need).into_iter();
                providers.any(|one| {
                    one != *place && set.contains(one) && (!added.contains(&one) || there.contains(&one))
                })
            })
        };
        let (ready, later): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(is_met);
        if ready.is_empty() {
            return false;
        }
        there.extend(ready);
        rest = later;
    }
    true
}

pub(super) fn order(catalogue: &Catalogue<'_>, set: &Selection) -> Option<Vec<usize>> {
    let (constraints, ranks) = settled(catalogue, set).ok()?;
    let key = |number: &usize| {
        let item = catalogue.item(constraints.members[*number]);
        (!item.is_first, *number)
    };
    let mut numbers: Vec<usize> = (0..constraints.members.len()).collect();
    numbers.sort_by_key(&key);
    let mut done = vec![false; numbers.len()];
    let mut ordered = Vec::with_capacity(numbers.len());
    for root in numbers {
        let mut path = vec![root];
        while let Some(&number) = path.last() {
            if done[number] {
                path.pop();
                continue;
            }
            let mut before: Vec<usize> =
                constraints.before[number].iter().copied().filter(|one| !done[*one]).collect();
            before.sort_by_key(&key);
            let is_earlier = |one: &&usize| ranks[**one] < ranks[number];
            let mut groups =
                constraints.one_of[number].iter().filter(|group| !group.iter().any(|one| done[*one]));
            let next = before.first().copied();
            let next = next.or_else(|| groups.find_map(|group| group.iter().find(is_earlier)).copied());
            if let Some(next) = next {
                path.push(next);
            } else {
                done[number] = true;
                ordered.push(constraints.members[number]);
            }
        }
    }
    Some(ordered)
}

fn settled(catalogue: &Catalogue<'_>, set: &Selection) -> Result<(Constraints, Vec<usize>), NoOrder> {
    let (mut constraints, conflicts) = Constraints::of(catalogue, set).map_err(NoOrder::Unsettled)?;
    let free: Vec<usize> = conflicts
        .iter()
        .enumerate()
        .filter(|(_, ways)| ways.len() > 1)
        .map(|(at, _)| at)
        .take(MOST_WAYS)
        .collect();
    let mut first = None;
    for choice in 0_usize..1 << free.len() {
        let way = |at: usize| -> &Way {
            let bit = free.iter().position(|free| *free == at);
            let is_second = bit.is_some_and(|bit| choice & (1 << bit) != 0);
            &conflicts[at][usize::from(is_second)]
        };
        (0..conflicts.len()).for_each(|at| constraints.take(way(at)));
        match ranks(&constraints) {
            Ok(ranks) => return Ok((constraints, ranks)),
            Err(stuck) => drop(first.get_or_insert_with(|| circle(&constraints, &stuck))),
        }
        (0..conflicts.len()).rev().for_each(|at| constraints.forget(way(at)));
    }
    Err(NoOrder::Circle(first.unwrap_or_default()))
}

fn ranks(constraints: &Constraints) -> Result<Vec<usize>, BTreeSet<usize>> {
    let count = constraints.members.len();
    let mut waits: Vec<usize> = Vec::with_capacity(count);
    let mut after: Vec<Vec<(usize, Option<usize>)>> = vec![Vec::new(); count];
    for (number, (before, groups)) in constraints.before.iter().zip(&constraints.one_of).enumerate() {
        waits.push(before.len() + groups.len());
        for one in before {
            after[*one].push((number, None));
        }
        for (which, group) in groups.iter().enumerate() {
            for one in group {
                after[*one].push((number, Some(which)));
            }
        }
    }
    let mut is_met: Vec<Vec<bool>> =
        constraints.one_of.iter().map(|groups| vec![false; groups.len()]).collect();
    let mut ready: BTreeSet<usize> = (0..count).filter(|number| waits[*number] == 0).collect();
    let (mut ranks, mut next) = (vec![usize::MAX; count], 0);
    while let Some(number) = ready.pop_first() {
        ranks[number] = next;
        next += 1;
        for &(later, group) in &after[number] {
            if group.is_some_and(|which| std::mem::replace(&mut is_met[later][which], true)) {
                continue;
            }
            waits[later] -= 1;
            if waits[later] == 0 {
                ready.insert(later);
            }
        }
    }
    let stuck: BTreeSet<usize> = (0..count).filter(|number| ranks[*number] == usize::MAX).collect();
    if stuck.is_empty() { Ok(ranks) } else { Err(stuck) }
}

/// Indices in the catalogue.
fn circle(constraints: &Constraints, stuck: &BTreeSet<usize>) -> Vec<usize> {
    let mut path: Vec<usize> = stuck.first().copied().into_iter().collect();
    while let Some(&number) = path.last() {
        let before = constraints.before[number].iter().find(|one| stuck.contains(one));
        let missing = || {
            let mut groups = constraints.one_of[number].iter();
            let group = groups.find(|group| group.iter().all(|one| stuck.contains(one)))?;
            group.first()
        };
        let Some(&next) = before.or_else(missing) else { break };
        if let Some(start) = path.iter().position(|known| *known == next) {
            path.drain(..start);
            path.push(next);
            break;
        }
        path.push(next);
    }
    path.into_iter().map(|number| constraints.members[number]).collect()
}

/// Patches are numbered within the set, in the order of ids.
struct Constraints {
    members: Vec<usize>,
    before: Vec<Vec<usize>>,
    /// Groups of which at least one patch comes before.
    one_of: Vec<Vec<Vec<usize>>>,
}

/// First patch, second patch, and the patches that can end the first in between.
type Way = (usize, usize, Vec<usize>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsettled {
    /// They exclude each other, and neither ends.
    Pair(usize, usize),
    /// An applied patch is in the way: the patch, and which of its conflicts.
    Applied(usize, usize),
}

impl Constraints {
    fn of(catalogue: &Catalogue<'_>, set: &Selection) -> Result<(Self, Vec<Vec<Way>>), Unsettled> {
        let members: Vec<usize> = set.iter().collect();
        let numbers: HashMap<usize, usize> =
            members.iter().enumerate().map(|(number, place)| (*place, number)).collect();
        let count = members.len();
        let mut all = Self { members, before: vec![Vec::new(); count], one_of: vec![Vec::new(); count] };
        let inside = |places: Vec<usize>, own: usize| -> Vec<usize> {
            let others = places.into_iter().filter(|place| *place != own);
            others.filter_map(|place| numbers.get(&place).copied()).collect()
        };
        let ordinary = ordinary_by_package(catalogue, &all.members);
        for (number, &place) in all.members.iter().enumerate() {
            let item = catalogue.item(place);
            all.before[number] = inside(catalogue.contained(place).collect(), place);
            if item.is_restricted {
                let packages = item.packages.iter();
                let earlier = packages.flat_map(|package| ordinary.get(package).into_iter().flatten());
                all.before[number].extend(earlier.copied());
            }
            all.before[number].sort_unstable();
            all.before[number].dedup();
            let needs = item.needs.iter().map(|need| inside(catalogue.providers(need), place));
            all.one_of[number].extend(needs);
            for (which, conflict) in item.against.iter().enumerate() {
                let enders = inside(catalogue.enders(conflict.applied), place);
                if enders.is_empty() {
                    return Err(Unsettled::Applied(place, which));
                }
                all.one_of[number].push(enders);
            }
        }
        let conflicts = conflicts(catalogue, set).into_iter().map(|conflict| {
            let pair = (conflict.one, conflict.other);
            let ways = conflict.ways().filter_map(|(first, second)| {
                let mut enders = inside(catalogue.enders(catalogue.id(first)), first);
                let (first, second) = (*numbers.get(&first)?, *numbers.get(&second)?);
                enders.retain(|ender| *ender != second);
                (!enders.is_empty()).then_some((first, second, enders))
            });
            let ways: Vec<Way> = ways.collect();
            if ways.is_empty() { Err(Unsettled::Pair(pair.0, pair.1)) } else { Ok(ways) }
        });
        let conflicts = conflicts.collect::<Result<_, _>>()?;
        Ok((all, conflicts))
    }

    fn take(&mut self, (first, second, enders): &Way) {
        self.before[*second].push(*first);
        self.one_of[*second].push(enders.clone());
    }

    fn forget(&mut self, (_, second, _): &Way) {
        self.before[*second].pop();
        self.one_of[*second].pop();
    }
}

fn conflicts(catalogue: &Catalogue<'_>, set: &Selection) -> Vec<OfferConflict> {
    let mut found = Vec::new();
    for place in set.iter() {
        let excluding = catalogue.excluding(place).into_iter();
        let others = excluding.filter(|other| *other > place && set.contains(*other));
        found.extend(others.map(|other| catalogue.conflict(place, other)));
    }
    found
}

fn ordinary_by_package<'c>(
    catalogue: &'c Catalogue<'_>,
    members: &[usize],
) -> HashMap<&'c PkgInst, Vec<usize>> {
    let mut ordinary: HashMap<&PkgInst, Vec<usize>> = HashMap::new();
    if members.iter().all(|place| !catalogue.item(*place).is_restricted) {
        return ordinary;
    }
    for (number, place) in members.iter().enumerate() {
        let item = catalogue.item(*place);
        for package in item.packages.iter().filter(|_| !item.is_restricted) {
            ordinary.entry(package).or_default().push(number);
        }
    }
    ordinary
}
