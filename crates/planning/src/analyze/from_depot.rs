//! The index of a depot as a cross-reference.

use chrono::{DateTime, NaiveDate};

use super::cross_reference::CrossReference;
use super::depot_chain::{DepotChain, is_withdrawn};
use super::reference::{ReferencePackage, ReferencePatch};
use patchadm_inputs::depot::{DepotIndex, DepotPatch};
use patchadm_svr4::patch::PatchId;

/// The properties that ask for a reboot.
const REBOOTS: [&str; 4] = ["reconfigimmediate", "rebootimmediate", "reconfigafter", "rebootafter"];

/// Takes the patches of an index as a cross-reference.
pub fn from_depot(index: &DepotIndex) -> CrossReference {
    let chain = DepotChain::of(index);
    let patches = chain.entries().iter().map(|(id, patch)| patch_of(id, patch, chain.next(id)));
    CrossReference::new(Some(index.date.date_naive()), patches)
}

fn patch_of(id: &PatchId, patch: &DepotPatch, next: Option<&PatchId>) -> ReferencePatch {
    let packages = patch.packages.iter().map(|package| ReferencePackage {
        name: package.pkg.clone(),
        version: package.version.clone(),
        arch: Some(package.arch.clone()),
    });
    let reboot = REBOOTS.iter().find(|word| patch.properties.iter().any(|property| property == *word));
    ReferencePatch {
        id: id.clone(),
        date: day(&patch.date),
        is_recommended: patch.has_flag("recommended"),
        is_security: patch.has_flag("security"),
        is_obsolete: next.is_some(),
        is_bad: is_withdrawn(patch),
        is_unbundled: false,
        archs: Vec::new(),
        packages: packages.collect(),
        requires: patch.requires.iter().map(|entry| alternatives(entry)).collect(),
        obsoleted_by: next.cloned(),
        synopsis: patch.synopsis.clone(),
        size: Some(patch.size),
        reboot: reboot.map(|&word| word.to_owned()),
    }
}

/// Returns the patches of a requirement, `1-01 | 2-01`.
pub(super) fn alternatives(entry: &str) -> Vec<PatchId> {
    entry.split('|').filter_map(|id| PatchId::new(id.trim()).ok()).collect()
}

/// Returns the day of a date of the index.
pub(super) fn day(date: &str) -> Option<NaiveDate> {
    DateTime::parse_from_rfc3339(date).ok().map(|date| date.to_utc().date_naive())
}
