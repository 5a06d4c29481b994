//! The patches that an analysis of a root lists as missing, as the words that name a set.

use std::collections::HashSet;

use super::set_depot::SetDepot;
use crate::operation::analysis::facts_of_root;
use crate::operation::failure::Failure;
use crate::operation::queries::applied_patches::PatchesError;
use patchadm_inputs::policy::Policy;
use patchadm_planning::analyze::{AnalysisRequest, analyse, from_depot};
use patchadm_planning::resolve::{Offer, SetRequest, is_excluded};
use patchadm_rootfs::Root;

/// Returns the patches of the groups that the root lacks, by their bases, and the patches that are named in addition. Leaves
/// out their requirements: the resolver pulls them in and says for which patch. Leaves out what an option or the policy
/// excludes in every revision: nobody named it.
pub(super) fn missing_patches(
    (root, policy): (&Root, &Policy),
    depot: &SetDepot,
    offers: &[Offer],
    (request, choices): (&AnalysisRequest, &SetRequest),
) -> Result<Vec<String>, Failure> {
    let facts = facts_of_root(root).map_err(|error| match error {
        PatchesError::Database(error) => Failure::from(error),
        PatchesError::Policy(error) => error.into(),
    })?;
    let groups = AnalysisRequest { named: Vec::new(), with_requirements: false, ..request.clone() };
    let analysis = analyse(&from_depot(depot.depot.index()), &facts, &groups);
    let free = offers.iter().filter(|offer| !is_excluded(choices, policy, &offer.id));
    let free: HashSet<&str> = free.map(|offer| offer.id.base()).collect();
    let missing = analysis.patches.into_iter().filter(|patch| patch.is_missing).map(|patch| patch.base);
    let missing = missing.filter(|base| free.contains(base.as_str()));
    Ok(missing.chain(request.named.iter().cloned()).collect())
}
