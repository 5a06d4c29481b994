//! Patches that are named by their paths, with their requirements from the depot of the policy.

use super::depot_offers::{DepotOffers, apply_offers};
use super::set_depot::SetDepot;
use crate::operation::depots::FetchSession;
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{ApplyOperand, ApplyReport, ApplyRequest};
use crate::operation::patches::decision::resolved;
use crate::operation::session::{Caller, RootAndPolicy, must_have_database};
use patchadm_inputs::depot::DepotPatch;
use patchadm_inputs::sign::Demand;
use patchadm_planning::plan::refusal::{Reason, SetReason};
use patchadm_planning::resolve::{Offer, SetOutcome, SetRequest};
use patchadm_rootfs::Root;

/// Returns whether patches have a requirement that is neither applied nor among them.
pub(super) fn lacks_patches(
    root: &Root,
    ground: &RootAndPolicy,
    offers: &[Offer],
    choices: &SetRequest,
) -> Result<bool, Failure> {
    must_have_database(root)?;
    let resolution = resolved(ground, offers, choices)?;
    let lacks = |outcome: &SetOutcome| {
        let SetOutcome::LeftOut(reason) = outcome else { return false };
        let required = |reason: &SetReason| {
            matches!(reason, SetReason::RequiredNowhere { .. } | SetReason::RequiredRefused { .. })
        };
        matches!(reason, Reason::Required(_)) || matches!(reason, Reason::InSet(reason) if required(reason))
    };
    Ok(resolution.verdicts.iter().any(|verdict| lacks(&verdict.outcome)))
}

/// Applies patches together with those of their requirements that the depot of the policy has.
pub(super) fn apply_served(
    root: &Root,
    (ground, demands): (RootAndPolicy, Vec<Demand>),
    request: (&ApplyRequest, &SetRequest),
    (operands, mut offers): (Vec<ApplyOperand>, Vec<Offer>),
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let depot = SetDepot::open(root, None, (&ground, demands), &request.0.signature, session)?;
    let mut entries: Vec<&DepotPatch> = depot.depot.patches();
    let served = depot.offers(&entries)?;
    // A patch that was named by its path is taken from there.
    let is_other = |offer: &Offer| offers.iter().all(|named| named.id != offer.id);
    let is_served: Vec<bool> = served.iter().map(is_other).collect();
    let mut kept = is_served.iter();
    entries.retain(|_| kept.next().copied().unwrap_or(false));
    offers.extend(served.into_iter().zip(&is_served).filter(|(_, kept)| **kept).map(|(offer, _)| offer));
    let offered = DepotOffers { depot: &depot, offers, operands, entries };
    apply_offers(root, ground, request, offered, session, caller)
}
