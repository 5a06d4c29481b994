//! Two hosts held against each other: the patches and packages in which they differ.

use std::collections::{BTreeMap, BTreeSet};

use super::hosts::FleetHost;
use super::inventory::{Inventory, InventoryPackage};
use patchadm_svr4::patch::PatchId;

/// The differences between two hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostComparison {
    /// The bases of patches in which they differ, in the order of listings.
    pub patches: Vec<BaseDifference>,
    /// The number of bases of which both have the same revision.
    pub same_patches: usize,
    /// The packages in which they differ; `None` where an inventory does not list them.
    pub packages: Option<Vec<PackageDifference>>,
}

/// A patch in which two hosts differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseDifference {
    /// The base.
    pub base: String,
    /// The highest revision on the first host.
    pub first: Option<String>,
    /// The highest revision on the second host.
    pub second: Option<String>,
}

/// A package in which two hosts differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageDifference {
    /// The package.
    pub package: String,
    /// Its version and architecture on the first host.
    pub first: Option<String>,
    /// Its version and architecture on the second host.
    pub second: Option<String>,
}

/// Compares two hosts.
pub fn compare_hosts(first: &FleetHost, second: &FleetHost) -> HostComparison {
    let (of_first, of_second) = (highest(&first.inventory), highest(&second.inventory));
    let bases: BTreeSet<&PatchId> = of_first.values().chain(of_second.values()).copied().collect();
    let mut comparison = HostComparison::default();
    let mut seen = BTreeSet::new();
    for base in bases.into_iter().map(PatchId::base).filter(|base| seen.insert(*base)) {
        let (one, other) = (of_first.get(base), of_second.get(base));
        if one == other {
            comparison.same_patches += 1;
            continue;
        }
        let revision = |id: Option<&&PatchId>| id.map(|id| id.revision().to_owned());
        let difference =
            BaseDifference { base: base.to_owned(), first: revision(one), second: revision(other) };
        comparison.patches.push(difference);
    }
    let packages = packages(&first.inventory).zip(packages(&second.inventory));
    comparison.packages = packages.map(|(first, second)| different_packages(&first, &second));
    comparison
}

/// Returns the highest applied revision of each base.
fn highest(inventory: &Inventory) -> BTreeMap<&str, &PatchId> {
    let mut highest: BTreeMap<&str, &PatchId> = BTreeMap::new();
    for patch in inventory.patches.iter().filter(|patch| patch.standing.is_applied()) {
        let id = &patch.about.id;
        let known = highest.entry(id.base()).or_insert(id);
        if *known < id {
            *known = id;
        }
    }
    highest
}

fn packages(inventory: &Inventory) -> Option<BTreeMap<&str, String>> {
    let packages = inventory.packages.as_ref()?.iter();
    let version = |package: &InventoryPackage| format!("{} ({})", package.version, package.arch);
    Some(packages.map(|package| (package.package.as_str(), version(package))).collect())
}

fn different_packages(
    first: &BTreeMap<&str, String>,
    second: &BTreeMap<&str, String>,
) -> Vec<PackageDifference> {
    let names: BTreeSet<&str> = first.keys().chain(second.keys()).copied().collect();
    let differs = names.into_iter().filter(|name| first.get(name) != second.get(name));
    let difference = |name: &str| PackageDifference {
        package: name.to_owned(),
        first: first.get(name).cloned(),
        second: second.get(name).cloned(),
    };
    differs.map(difference).collect()
}
