//! Patches in units that can be tried apart, each behind those that it requires.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_making::delta::MadePatch;

use super::packages::SetPackages;
use super::soname::LibraryChanges;

/// Patches that go together: one alone, or those that take a library away with those of its users. Each unit comes behind those
/// that bring what it needs.
pub(super) struct PatchUnits<'p> {
    units: Vec<Vec<&'p MadePatch>>,
    /// For each, the units that it requires, directly or not.
    required: Vec<BTreeSet<usize>>,
}

impl<'p> PatchUnits<'p> {
    /// Divides patches.
    pub(super) fn of(patches: &'p [MadePatch], libraries: &LibraryChanges, released: &SetPackages) -> Self {
        let mut unit_of: BTreeMap<&str, usize> =
            patches.iter().enumerate().map(|(at, patch)| (&*patch.source, at)).collect();
        for taken in &libraries.taken {
            let users = released.packages.iter().filter(|package| taken.users.contains(&package.pkgname));
            let ties: Vec<usize> = users
                .map(|package| &*package.source)
                .chain([&*taken.source])
                .filter_map(|source| unit_of.get(source).copied())
                .collect();
            if let Some(first) = ties.first().copied() {
                unit_of.values_mut().filter(|unit| ties.contains(unit)).for_each(|unit| *unit = first);
            }
        }
        let mut members: BTreeMap<usize, Vec<&MadePatch>> = BTreeMap::new();
        for patch in patches {
            if let Some(unit) = unit_of.get(&*patch.source) {
                members.entry(*unit).or_default().push(patch);
            }
        }
        let needs = |members: &[&MadePatch]| -> BTreeSet<usize> {
            let needed = members.iter().filter_map(|patch| libraries.needs.get(&patch.source)).flatten();
            needed.filter_map(|need| unit_of.get(&*need.source).copied()).collect()
        };
        let needs: BTreeMap<usize, BTreeSet<usize>> =
            members.iter().map(|(unit, members)| (*unit, needs(members))).collect();
        let order = in_order(&needs);
        let place: BTreeMap<usize, usize> = order.iter().enumerate().map(|(at, unit)| (*unit, at)).collect();
        let required = order.iter().map(|unit| {
            let (mut known, mut open) = (BTreeSet::new(), vec![*unit]);
            while let Some(next) = open.pop() {
                open.extend(needs.get(&next).into_iter().flatten().filter(|need| known.insert(**need)));
            }
            known.remove(unit);
            known.iter().filter_map(|unit| place.get(unit).copied()).collect()
        });
        let required = required.collect();
        let units = order.iter().map(|unit| members.remove(unit).unwrap_or_default()).collect();
        Self { units, required }
    }

    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// Returns the patches of a unit.
    pub(super) fn unit(&self, at: usize) -> &[&'p MadePatch] {
        self.units.get(at).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the patches of the first units, and of those that they require.
    pub(super) fn first(&self, count: usize) -> Vec<&'p MadePatch> {
        let required = self.required.iter().take(count).flatten().copied();
        self.all((0..count).chain(required).collect())
    }

    /// Returns the patches of a unit, and of those that it requires.
    pub(super) fn with_required(&self, at: usize) -> Vec<&'p MadePatch> {
        self.all(self.required.get(at).into_iter().flatten().copied().chain([at]).collect())
    }

    /// Returns the patches of the first units and of one behind them, and of those that these require.
    pub(super) fn first_with(&self, count: usize, at: usize) -> Vec<&'p MadePatch> {
        let required = self.required.iter().take(count).chain(self.required.get(at)).flatten().copied();
        self.all((0..count).chain([at]).chain(required).collect())
    }

    fn all(&self, units: BTreeSet<usize>) -> Vec<&'p MadePatch> {
        units.into_iter().flat_map(|at| self.unit(at)).copied().collect()
    }
}

/// Returns units in an order in which each comes behind those that it needs; the members of a circle come in any.
fn in_order(needs: &BTreeMap<usize, BTreeSet<usize>>) -> Vec<usize> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<(usize, bool)> = needs.keys().rev().map(|unit| (*unit, false)).collect();
    while let Some((unit, is_ready)) = open.pop() {
        if is_ready {
            order.push(unit);
        } else if seen.insert(unit) {
            open.push((unit, true));
            open.extend(needs.get(&unit).into_iter().flatten().map(|need| (*need, false)));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use patchadm_making::delta::NeededFeature;

    use super::super::packages::made_up::{library, package, set};
    use super::super::soname::TakenFeature;
    use super::*;

    fn shown(patches: &[&MadePatch]) -> String {
        patches.iter().map(|patch| &*patch.source).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_takes_a_library_away_goes_with_its_users_and_each_unit_behind_what_it_needs() {
        let patch = |source: &str| MadePatch {
            source: source.to_owned(),
            id: format!("{source}-01"),
            path: format!("/{source}").into(),
        };
        let patches = ["app", "lib", "other", "user"].map(patch);
        let needs = |source: &str| NeededFeature { source: source.to_owned(), feature: library("libx.so.2") };
        let libraries = LibraryChanges {
            needs: BTreeMap::from([
                ("app".to_owned(), vec![needs("user"), needs("gone")]),
                ("user".to_owned(), vec![needs("lib")]),
            ]),
            taken: vec![TakenFeature {
                source: "lib".to_owned(),
                feature: library("libx.so.1"),
                users: vec!["user-1.0".to_owned()],
                is_still_needed: false,
            }],
        };
        let released = set(["app", "lib", "other", "user"].map(|name| package(name, &[], &[])).into());
        let units = PatchUnits::of(&patches, &libraries, &released);
        let told: Vec<String> = (0..units.len()).map(|at| shown(units.unit(at))).collect();
        assert_eq!(told, ["lib user", "app", "other"]);
        assert_eq!(shown(&units.first(2)), "lib user app");
        assert_eq!(shown(&units.with_required(1)), "lib user app");
        assert_eq!(shown(&units.with_required(2)), "other");
        assert_eq!(shown(&units.first_with(0, 1)), "lib user app");
    }
}
