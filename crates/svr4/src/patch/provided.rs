//! The patches that applied ones provide.
//!
//! A patch provides itself and every lower revision, likewise each patch that it obsoletes, and in turn the
//! patches those obsolete. Patches may obsolete each other in a circle; the walk still ends.

use super::{PatchId, PatchRecords};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// For each base, the highest revision provided and the applied patch that provides it.
#[derive(Clone, Debug, Default)]
pub(super) struct Provided(HashMap<String, (PatchId, PatchId)>);

impl Provided {
    /// Follows the obsoletions of the patches `applied` to `packages`. The obsoletions of a record that still says
    /// `Installed:` count even if PATCHLIST has lost its patch, which may be contained in another.
    ///
    /// An id is followed only if it raises the revision of its base, so the walk is finite. Revisions are cumulative:
    /// they include the obsoletions of lower ones.
    pub(super) fn by<'a>(applied: impl Iterator<Item = &'a PatchId>, packages: &'a [PatchRecords]) -> Self {
        let claims = claims(packages);
        let mut reached: VecDeque<(&PatchId, &PatchId)> = applied.map(|id| (id, id)).collect();
        let mut highest: HashMap<&str, (&PatchId, &PatchId)> = HashMap::new();
        let mut followed = BTreeSet::new();
        while let Some((id, by)) = reached.pop_front() {
            if highest.get(id.base()).is_some_and(|(known, _)| known.contains(id)) {
                continue;
            }
            highest.insert(id.base(), (id, by));
            let contained =
                claims.range::<PatchId, _>(..=id).rev().take_while(|(other, _)| other.same_base(id));
            for (other, obsoleted) in contained {
                if !followed.insert(*other) {
                    break;
                }
                reached.extend(obsoleted.iter().map(|obsoleted| (*obsoleted, by)));
            }
        }
        let owned =
            |(base, (id, by)): (&str, (&PatchId, &PatchId))| (base.to_owned(), (id.clone(), by.clone()));
        Self(highest.into_iter().map(owned).collect())
    }

    /// Returns the applied patch that provides `id`.
    pub(super) fn provider(&self, id: &PatchId) -> Option<&PatchId> {
        self.0.get(id.base()).filter(|(highest, _)| highest.contains(id)).map(|(_, by)| by)
    }
}

/// Returns the patches that each recorded patch obsoletes in any package.
fn claims(packages: &[PatchRecords]) -> BTreeMap<&PatchId, Vec<&PatchId>> {
    let mut claims: BTreeMap<&PatchId, Vec<&PatchId>> = BTreeMap::new();
    for (id, info) in packages.iter().flat_map(|applied| &applied.infos) {
        if let Some(installed) = info.installed() {
            claims.entry(id).or_default().extend(&installed.obsoletes);
        }
    }
    claims
}
