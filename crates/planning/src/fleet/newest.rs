//! The newest that any host has, as a cross-reference.
//!
//! A patch is for the packages in the versions on which it is applied somewhere. One that a patch on some host contains is
//! out of use: who lacks it lacks that other one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::hosts::FleetHost;
use super::inventory::{InventoryPackage, InventoryPatch, PatchStanding};
use super::reader::patch_id;
use crate::analyze::{CrossReference, ReferencePackage, ReferencePatch};
use patchadm_svr4::patch::PatchId;

/// What is known of a patch from the hosts that have it.
struct KnownPatch<'a> {
    patch: &'a InventoryPatch,
    packages: HashSet<(&'a str, &'a str, &'a str)>,
    obsoleted_by: Option<PatchId>,
}

/// Returns the applied patches of all hosts as a cross-reference.
pub(super) fn newest_of(hosts: &[FleetHost]) -> CrossReference {
    let mut known: BTreeMap<PatchId, KnownPatch<'_>> = BTreeMap::new();
    for host in hosts {
        let packages = packages_of(host);
        // Where the native package contains a fix, its version needs no patch.
        let is_from_patch = |patch: &&InventoryPatch| {
            patch.standing.is_applied() && patch.standing != PatchStanding::Contained
        };
        for patch in host.inventory.patches.iter().filter(is_from_patch) {
            let entry = known.entry(patch.about.id.clone()).or_insert_with(|| KnownPatch {
                patch,
                packages: HashSet::new(),
                obsoleted_by: None,
            });
            let there = patch.about.packages.iter().filter_map(|name| packages.get(name.as_str()));
            entry.packages.extend(there.map(|package| {
                (base_name(&package.package), package.version.as_str(), package.arch.as_str())
            }));
            if patch.standing == PatchStanding::Obsoleted && entry.obsoleted_by.is_none() {
                entry.obsoleted_by = patch.by.as_ref().and_then(|by| patch_id(by).ok());
            }
        }
    }
    CrossReference::new(None, known.into_values().map(reference))
}

/// Returns the packages of a host by their instances.
fn packages_of(host: &FleetHost) -> HashMap<&str, &InventoryPackage> {
    let packages = host.inventory.packages.iter().flatten();
    packages.map(|package| (package.package.as_str(), &**package)).collect()
}

/// Returns the name of a package without the number of its instance.
pub(super) fn base_name(instance: &str) -> &str {
    instance.split('.').next().unwrap_or_default()
}

fn reference(known: KnownPatch<'_>) -> ReferencePatch {
    let about = &known.patch.about;
    let packages = known.packages.into_iter().map(|(name, version, arch)| ReferencePackage {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: Some(arch.to_owned()),
    });
    ReferencePatch {
        id: about.id.clone(),
        date: None,
        is_recommended: false,
        is_security: false,
        is_obsolete: known.obsoleted_by.is_some(),
        is_bad: false,
        is_unbundled: false,
        archs: Vec::new(),
        packages: packages.collect(),
        requires: Vec::new(),
        obsoleted_by: known.obsoleted_by,
        synopsis: about.synopsis.clone().unwrap_or_default(),
        size: None,
        reboot: None,
    }
}
