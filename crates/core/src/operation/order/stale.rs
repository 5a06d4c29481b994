//! The packages that should be renewed: those that need a kept library, or would load two versions of one library.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::library_uses::LibraryUses;
use super::object_owners::ObjectOwners;
use patchadm_planning::order::DependencyOrder;
use patchadm_svr4::package::ObjectPath;

/// The reason why something should be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleReason {
    /// It needs libraries that are kept for programs that still need them.
    Kept,
    /// It would load several versions of one library.
    TwoVersions,
}

impl StaleReason {
    /// Returns the word for the reason: `kept` or `two-versions`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::TwoVersions => "two-versions",
        }
    }
}

/// A package or object that should be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleEntry {
    /// The package, or the path of a program or library of no package.
    pub name: String,
    /// The reason.
    pub reason: StaleReason,
    /// The names of the libraries, sorted.
    pub libraries: Vec<String>,
    /// The chains to them, each from a program of the package; sorted by program.
    pub ways: Vec<Vec<ObjectPath>>,
}

impl StaleEntry {
    /// Returns whether it is a program or library of no package.
    pub fn is_object(&self) -> bool {
        self.name.starts_with('/')
    }
}

/// Finds what should be renewed. `kept` are the packages of kept libraries, which need nothing for themselves.
pub(super) fn stale_entries(
    uses: &LibraryUses,
    owners: &ObjectOwners,
    kept: &BTreeSet<String>,
) -> Vec<StaleEntry> {
    let is_kept = |nodes: &[String]| nodes.iter().any(|node| kept.contains(node));
    let mut of_kept: BTreeMap<String, (BTreeSet<String>, Vec<Vec<ObjectPath>>)> = BTreeMap::new();
    for (path, uses) in uses.uses.iter().filter(|(path, _)| !is_kept(&owners.nodes(path))) {
        for one in uses.iter().filter(|one| is_kept(&owners.nodes(&one.library))) {
            for node in owners.nodes(path) {
                let (libraries, ways) = of_kept.entry(node).or_default();
                libraries.insert(one.name.clone());
                ways.push(vec![path.clone(), one.library.clone()]);
            }
        }
    }
    let mut doubles: BTreeMap<(String, Vec<String>), Vec<Vec<ObjectPath>>> = BTreeMap::new();
    for double in uses.doubles.iter().filter(|double| !is_kept(&owners.nodes(&double.program))) {
        for node in owners.nodes(&double.program) {
            doubles.entry((node, double.libraries.clone())).or_default().extend(double.ways.iter().cloned());
        }
    }
    let of_kept = of_kept.into_iter().map(|(name, (libraries, ways))| StaleEntry {
        name,
        reason: StaleReason::Kept,
        libraries: libraries.into_iter().collect(),
        ways,
    });
    let of_doubles = doubles.into_iter().map(|((name, libraries), ways)| StaleEntry {
        name,
        reason: StaleReason::TwoVersions,
        libraries,
        ways,
    });
    of_kept.chain(of_doubles).collect()
}

/// Keeps only the stale part of an order, and sorts the entries in the same order. Drops entries that the order lacks.
pub(super) fn only_stale(order: &mut DependencyOrder, mut entries: Vec<StaleEntry>) -> Vec<StaleEntry> {
    let stale: BTreeSet<&String> = entries.iter().map(|entry| &entry.name).collect();
    for group in &mut order.groups {
        group.retain(|name| stale.contains(name));
    }
    order.groups.retain(|group| !group.is_empty());
    order.edges.retain(|edge| stale.contains(&edge.from) && stale.contains(&edge.to));
    let places: HashMap<&String, usize> = order
        .groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.iter().map(move |name| (name, at)))
        .collect();
    entries.retain(|entry| places.contains_key(&entry.name));
    entries.sort_by(|one, other| {
        let key = |entry: &StaleEntry| {
            (places.get(&entry.name).copied(), entry.name.clone(), entry.reason, entry.libraries.clone())
        };
        key(one).cmp(&key(other))
    });
    entries
}
