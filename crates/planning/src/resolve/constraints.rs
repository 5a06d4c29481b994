//! The constraints on the order of a set's patches, from every rule that applies to one patch after another.

use std::collections::HashMap;

use patchadm_svr4::package::PkgInst;

use super::catalogue::Catalogue;
use super::conflicts::OfferConflict;
use super::selection::Selection;

/// The constraints on the order of a set. Patches are numbered within the set, in the order of ids.
pub(super) struct Constraints {
    /// The places of the patches in the catalogue.
    pub(super) members: Vec<usize>,
    /// For each patch those that come before it in any case.
    pub(super) before: Vec<Vec<usize>>,
    /// For each patch, groups with at least one patch that comes before it, in the order of preference.
    pub(super) one_of: Vec<Vec<Vec<usize>>>,
}

/// A way through one conflict: the first, the second, and the patches that can end the first in between.
pub(super) type Way = (usize, usize, Vec<usize>);

/// Two patches of a set whose conflict no patch ends, or a patch that an applied one keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsettled {
    /// They exclude each other, and neither ends.
    Pair(usize, usize),
    /// An applied patch is in the way: the patch, and which of its conflicts.
    Applied(usize, usize),
}

impl Constraints {
    /// Returns the constraints on a set but for its conflicts, and the conflicts with their ways.
    pub(super) fn of(catalogue: &Catalogue<'_>, set: &Selection) -> Result<(Self, Vec<Vec<Way>>), Unsettled> {
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

    /// Adds a way through a conflict; [`forget`](Self::forget) takes it back.
    pub(super) fn take(&mut self, (first, second, enders): &Way) {
        self.before[*second].push(*first);
        self.one_of[*second].push(enders.clone());
    }

    /// Takes back the last way that was added.
    pub(super) fn forget(&mut self, (_, second, _): &Way) {
        self.before[*second].pop();
        self.one_of[*second].pop();
    }
}

/// Returns the conflicts within a set.
fn conflicts(catalogue: &Catalogue<'_>, set: &Selection) -> Vec<OfferConflict> {
    let mut found = Vec::new();
    for place in set.iter() {
        let excluding = catalogue.excluding(place).into_iter();
        let others = excluding.filter(|other| *other > place && set.contains(*other));
        found.extend(others.map(|other| catalogue.conflict(place, other)));
    }
    found
}

/// Returns the patches of a set that are not restricted, by their packages; none if no patch is restricted.
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
