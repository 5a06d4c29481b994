//! What was chosen and fetched, as it is handed on to be applied.

use super::fetch::FetchedPatches;
use crate::operation::patches::apply::{ChosenPatch, ChosenPatches};
use crate::resolve::{Offer, Resolution, SetRequest};
use patchadm_svr4::patch::PatchList;

/// Returns the patches to be applied: those that were fetched; none where all were asked for and one was not.
pub(super) fn chosen(
    offers: &[Offer],
    resolution: &Resolution,
    fetched: &FetchedPatches,
    choices: &SetRequest,
) -> ChosenPatches {
    if choices.all_or_nothing && fetched.iter().any(Result::is_err) {
        return ChosenPatches::default();
    }
    let planned = resolution.planned().zip(fetched);
    let patches = planned.filter_map(|(verdict, fetched)| {
        let (offer, path) = (offers.get(verdict.offer?)?, fetched.as_ref().ok()?);
        Some(ChosenPatch { id: offer.id.clone(), path: path.clone() })
    });
    let mut void = PatchList::new();
    void.extend(resolution.planned().flat_map(|verdict| verdict.void.iter().cloned()));
    ChosenPatches { patches: patches.collect(), void, all_or_nothing: choices.all_or_nothing }
}
