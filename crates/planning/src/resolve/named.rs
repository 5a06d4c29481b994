//! The patches that a request means: ids with a revision, ids without one, or everything current.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_svr4::patch::PatchId;

use super::offer::Offer;
use super::request::{ResolverInput, SetRequest, is_listed};
use patchadm_inputs::policy::Policy;

/// The meaning of the words of a request.
#[derive(Debug, Default)]
pub(super) struct NamedPatches {
    /// The patches, each with whether its revision was named.
    pub(super) patches: BTreeMap<PatchId, bool>,
    /// The words that match no offer.
    pub(super) missing: BTreeSet<String>,
}

/// Returns the patches that the request means.
pub(super) fn named_patches(input: &ResolverInput<'_>) -> NamedPatches {
    let mut bases: BTreeMap<&str, Vec<&Offer>> = BTreeMap::new();
    for offer in input.offers {
        bases.entry(offer.id.base()).or_default().push(offer);
    }
    let mut named = NamedPatches::default();
    let Some(words) = &input.request.named else {
        let current = bases.values().filter_map(|offers| current(offers, input));
        named.patches = current.map(|id| (id, false)).collect();
        return named;
    };
    for word in words {
        let id = PatchId::parse(word, &input.policy.separator).ok();
        let offered = id.as_ref().and_then(|id| bases.get(id.base())).into_iter().flatten();
        let exact = offered.map(|offer| &offer.id).filter(|other| Some(*other) == id.as_ref()).min_by_key(
            |id| id.as_str().to_owned(), // one of several spellings, whatever the order of the offers
        );
        if let Some(exact) = exact {
            named.patches.insert(exact.clone(), true);
        } else if let Some(offers) = bases.get(word.as_str()) {
            if let Some(id) = current(offers, input) {
                named.patches.entry(id).or_insert(false);
            }
        } else {
            named.missing.insert(word.clone());
        }
    }
    named
}

/// Returns the current revision of a patch: the highest that is neither withdrawn nor excluded; where all are, the
/// highest.
fn current(offers: &[&Offer], input: &ResolverInput<'_>) -> Option<PatchId> {
    let is_free =
        |offer: &&&Offer| !offer.is_withdrawn && !is_excluded(input.request, input.policy, &offer.id);
    let highest = |free: Vec<&PatchId>| {
        free.into_iter().max_by(|a, b| a.cmp(b).then_with(|| b.as_str().cmp(a.as_str()))).cloned()
    };
    let free = highest(offers.iter().filter(is_free).map(|offer| &offer.id).collect());
    free.or_else(|| {
        let excluded = |offer: &&&Offer| excluded_by_option(input.request, input.policy, &offer.id);
        let is_unnamed = input.request.named.is_none();
        // Patches that an option excludes from everything are not even mentioned.
        let rest = offers.iter().filter(|offer| !(is_unnamed && excluded(offer)));
        highest(rest.map(|offer| &offer.id).collect())
    })
}

/// Tells whether an option of the command or the policy leaves a patch out.
pub fn is_excluded(request: &SetRequest, policy: &Policy, id: &PatchId) -> bool {
    excluded_by_option(request, policy, id) || excluded_by_policy(policy, id)
}

/// Tells whether an option of the command leaves a patch out.
pub(super) fn excluded_by_option(request: &SetRequest, policy: &Policy, id: &PatchId) -> bool {
    request.excludes(id, &policy.separator)
}

/// Tells whether the policy leaves a patch out.
pub(super) fn excluded_by_policy(policy: &Policy, id: &PatchId) -> bool {
    is_listed(&policy.exclude, &policy.separator, id)
}
