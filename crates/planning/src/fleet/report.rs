//! Hosts and patches held against each other: the matrix of a report, by its rows and by its columns.

use std::collections::{BTreeMap, HashSet};

use super::findings::{Finding, FindingKind, findings_of};
use super::hosts::FleetHost;
use super::inventory::{Inventory, InventoryPatch, PatchStanding};
use super::newest::{base_name, newest_of};
use crate::analyze::{
    CrossReference, InstalledPackage, InstalledPatch, MachineFacts, ReferencePatch, missing,
};
use patchadm_svr4::patch::PatchId;

/// Who has and who lacks what. Hosts and patches are named by their places in the lists.
#[derive(Clone, Debug)]
pub struct FleetReport<'f> {
    /// The hosts, by their names.
    pub hosts: &'f [FleetHost],
    /// What each of them has and lacks, in the same order.
    pub standings: Vec<HostStanding>,
    /// The patches that any host has or lacks, in the order of listings.
    pub patches: Vec<FleetPatch>,
}

/// The patches of a host, and what needs attention there.
#[derive(Clone, Debug, Default)]
pub struct HostStanding {
    /// Those whose changes it has.
    pub applied: Vec<usize>,
    /// Those that it lacks.
    pub lacks: Vec<usize>,
    /// What needs attention, by kind.
    pub findings: Vec<Finding>,
}

/// A patch, with the hosts by how they stand to it.
#[derive(Clone, Debug)]
pub struct FleetPatch {
    /// The patch.
    pub id: PatchId,
    /// Its subject in its own words.
    pub synopsis: String,
    /// The packages that it is for.
    pub packages: Vec<String>,
    /// Whether the depot recommends it.
    pub is_recommended: bool,
    /// Whether it is about security, as the depot says.
    pub is_security: bool,
    /// Whether it was withdrawn from the depot.
    pub is_withdrawn: bool,
    /// The hosts that have its changes.
    pub applied: Vec<usize>,
    /// The hosts where it is in force: neither superseded nor obsoleted.
    pub effective: usize,
    /// The hosts that lack it.
    pub lacking: Vec<usize>,
    /// The hosts where it is on trial.
    pub on_trial: Vec<usize>,
    /// The hosts where its fix is lost.
    pub lost: Vec<usize>,
}

impl FleetPatch {
    fn of_inventory(patch: &InventoryPatch) -> Self {
        let about = &patch.about;
        Self {
            synopsis: about.synopsis.clone().unwrap_or_default(),
            packages: about.packages.clone(),
            ..Self::named(about.id.clone())
        }
    }

    fn of_reference(patch: &ReferencePatch) -> Self {
        let mut packages: Vec<String> = patch.packages.iter().map(|package| package.name.clone()).collect();
        packages.sort();
        packages.dedup();
        Self { synopsis: patch.synopsis.clone(), packages, ..Self::named(patch.id.clone()) }
    }

    fn named(id: PatchId) -> Self {
        Self {
            id,
            synopsis: String::new(),
            packages: Vec::new(),
            is_recommended: false,
            is_security: false,
            is_withdrawn: false,
            applied: Vec::new(),
            effective: 0,
            lacking: Vec::new(),
            on_trial: Vec::new(),
            lost: Vec::new(),
        }
    }
}

impl<'f> FleetReport<'f> {
    /// Holds the hosts against the index of a depot; without one against the newest that any of them has.
    pub fn of(hosts: &'f [FleetHost], depot: Option<&CrossReference>) -> Self {
        let newest;
        let reference = if let Some(depot) = depot {
            depot
        } else {
            newest = newest_of(hosts);
            &newest
        };
        let mut patches = there(hosts);
        add_lacking(&mut patches, hosts, reference);
        let mut patches: Vec<FleetPatch> = patches.into_values().collect();
        for patch in &mut patches {
            if let Some(told) = depot.and_then(|depot| depot.patch(&patch.id)) {
                (patch.is_recommended, patch.is_security) = (told.is_recommended, told.is_security);
                patch.is_withdrawn = told.is_bad;
            }
        }
        let withdrawn: Vec<&PatchId> =
            patches.iter().filter(|patch| patch.is_withdrawn).map(|patch| &patch.id).collect();
        let standing =
            |host| HostStanding { findings: findings_of(host, &withdrawn), ..HostStanding::default() };
        let mut standings: Vec<HostStanding> = hosts.iter().map(standing).collect();
        for (place, patch) in patches.iter().enumerate() {
            for host in &patch.applied {
                standings.get_mut(*host).into_iter().for_each(|standing| standing.applied.push(place));
            }
            for host in &patch.lacking {
                standings.get_mut(*host).into_iter().for_each(|standing| standing.lacks.push(place));
            }
        }
        Self { hosts, standings, patches }
    }

    /// Returns the hosts with what each of them has and lacks.
    pub fn each_host(&self) -> impl Iterator<Item = (&'f FleetHost, &HostStanding)> {
        self.hosts.iter().zip(&self.standings)
    }

    /// Returns the ids of patches by their places.
    pub fn ids<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = &'a str> {
        places.iter().filter_map(|place| self.patches.get(*place)).map(|patch| patch.id.as_str())
    }

    /// Returns the names of hosts by their places.
    pub fn names<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = &'f str> + 'a {
        places.iter().filter_map(|place| self.hosts.get(*place)).map(|host| host.name.as_str())
    }

    /// Returns the findings of all hosts by kind and by what they are about, each with its hosts.
    pub fn findings(&self) -> BTreeMap<&Finding, Vec<usize>> {
        let mut hosts: BTreeMap<&Finding, Vec<usize>> = BTreeMap::new();
        for (place, standing) in self.standings.iter().enumerate() {
            standing.findings.iter().for_each(|finding| hosts.entry(finding).or_default().push(place));
        }
        hosts
    }

    /// Returns the number of hosts with a finding of a kind.
    pub fn hosts_with(&self, kind: FindingKind) -> usize {
        let has = |standing: &&HostStanding| standing.findings.iter().any(|finding| finding.kind == kind);
        self.standings.iter().filter(has).count()
    }

    /// Returns the number of hosts that lack a patch.
    pub fn lacking_hosts(&self) -> usize {
        self.standings.iter().filter(|standing| !standing.lacks.is_empty()).count()
    }
}

/// Returns the patches that are on any host.
fn there(hosts: &[FleetHost]) -> BTreeMap<PatchId, FleetPatch> {
    let mut patches: BTreeMap<PatchId, FleetPatch> = BTreeMap::new();
    for (place, host) in hosts.iter().enumerate() {
        let trial = host.inventory.trial.as_ref();
        for patch in &host.inventory.patches {
            let id = &patch.about.id;
            let row = patches.entry(id.clone()).or_insert_with(|| FleetPatch::of_inventory(patch));
            if patch.standing.is_applied() {
                row.applied.push(place);
            }
            row.effective += usize::from(patch.standing == PatchStanding::Effective);
            if patch.standing == PatchStanding::Lost || patch.is_partly_lost {
                row.lost.push(place);
            }
            if trial.is_some_and(|trial| trial.patches.iter().any(|on_trial| on_trial == id.as_str())) {
                row.on_trial.push(place);
            }
        }
    }
    patches
}

/// Adds what each host lacks.
fn add_lacking(patches: &mut BTreeMap<PatchId, FleetPatch>, hosts: &[FleetHost], reference: &CrossReference) {
    let names: HashSet<&str> = reference.package_names().collect();
    for (place, host) in hosts.iter().enumerate() {
        let facts = facts_of(&host.inventory, &names);
        for patch in missing(reference, &facts) {
            let row = patches.entry(patch.id.clone()).or_insert_with(|| FleetPatch::of_reference(patch));
            row.lacking.push(place);
        }
    }
}

/// Returns the facts about a host, as far as patches are for its packages.
fn facts_of(inventory: &Inventory, names: &HashSet<&str>) -> MachineFacts {
    let patches = inventory.patches.iter().filter(|patch| patch.standing.is_applied());
    let patches = patches
        .map(|patch| InstalledPatch { id: patch.about.id.clone(), obsoletes: patch.about.obsoletes.clone() });
    let Some(packages) = &inventory.packages else { return MachineFacts::of_patches_alone(patches) };
    let concerned = packages.iter().filter(|package| names.contains(base_name(&package.package)));
    let packages = concerned.map(|package| InstalledPackage {
        instance: package.package.clone(),
        arch: package.arch.clone(),
        version: package.version.clone(),
    });
    MachineFacts::new(packages, patches)
}
