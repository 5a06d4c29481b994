//! The patches of a depot that another one of it contains, and the next one in each chain.
//!
//! A patch that was withdrawn contains nothing: it must not replace another one.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::depot::{DepotIndex, DepotPatch};
use patchadm_svr4::patch::PatchId;

/// The flag of a patch that should not be applied.
const WITHDRAWN: &str = "withdrawn";

/// The chains of patches that contain each other.
pub(super) struct DepotChain<'a> {
    /// The patches in use, with their ids, in order.
    entries: Vec<(PatchId, &'a DepotPatch)>,
    in_use: BTreeSet<PatchId>,
    /// By base what patches say that they obsolete, with who says it.
    obsoleted: BTreeMap<String, Vec<(PatchId, PatchId)>>,
}

impl<'a> DepotChain<'a> {
    pub(super) fn of(index: &'a DepotIndex) -> Self {
        let entries: Vec<(PatchId, &DepotPatch)> =
            index.patches().filter_map(|patch| Some((PatchId::new(&patch.id).ok()?, patch))).collect();
        let mut chain = Self { entries: Vec::new(), in_use: BTreeSet::new(), obsoleted: BTreeMap::new() };
        for (id, patch) in entries.iter().filter(|(_, patch)| !is_withdrawn(patch)) {
            chain.in_use.insert(id.clone());
            for entry in patch.obsoletes.iter().filter_map(|text| PatchId::new(text).ok()) {
                if !entry.same_base(id) {
                    let obsoleted = chain.obsoleted.entry(entry.base().to_owned()).or_default();
                    obsoleted.push((entry, id.clone()));
                }
            }
        }
        chain.entries = entries;
        chain
    }

    /// Returns all patches, in the order of their ids.
    pub(super) fn entries(&self) -> &[(PatchId, &'a DepotPatch)] {
        &self.entries
    }

    /// Returns the patch that is next to contain this one: its next revision, else the first one that obsoletes it.
    pub(super) fn next(&self, id: &PatchId) -> Option<&PatchId> {
        let later = self.in_use.range(id.clone()..).find(|other| *other != id);
        later.filter(|other| other.same_base(id)).or_else(|| {
            let obsoleted = self.obsoleted.get(id.base())?;
            obsoleted.iter().filter(|(entry, _)| entry.contains(id)).map(|(_, by)| by).min()
        })
    }
}

/// Tells whether the depot's maintainer withdrew the patch.
pub(super) fn is_withdrawn(patch: &DepotPatch) -> bool {
    patch.has_flag(WITHDRAWN)
}
