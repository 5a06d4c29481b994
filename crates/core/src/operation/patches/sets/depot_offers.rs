//! Patches that a depot offers, alone or beside patches that were read: chosen, fetched, and applied.

use super::chosen::chosen;
use super::fetch::fetch_planned;
use super::outcomes::{ToldSet, told};
use super::set_depot::SetDepot;
use crate::operation::depots::FetchSession;
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{ApplyOperand, ApplyReport, ApplyRequest, apply_read};
use crate::operation::patches::decision::resolved;
use crate::operation::patches::preparation;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use patchadm_inputs::depot::DepotPatch;
use patchadm_planning::resolve::{Offer, SetRequest};
use patchadm_rootfs::Root;

/// The offers for a root: patches that were read, and those of a depot.
pub(super) struct DepotOffers<'a> {
    pub(super) depot: &'a SetDepot,
    /// The offers of the operands, then those of the entries.
    pub(super) offers: Vec<Offer>,
    pub(super) operands: Vec<ApplyOperand>,
    pub(super) entries: Vec<&'a DepotPatch>,
}

/// Applies what the resolver takes from the offers. Everything but the patches themselves happens without the lock of the
/// root. Without a patch to apply, the root is not locked, and nothing is remembered of the depot.
pub(super) fn apply_offers(
    root: &Root,
    ground: RootAndPolicy,
    (request, choices): (&ApplyRequest, &SetRequest),
    offered: DepotOffers<'_>,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let DepotOffers { depot, offers, operands, entries } = offered;
    let own = operands.len();
    let choices = SetRequest { depot: Some(depot.named.clone()), ..choices.clone() };
    let packages = || offers.iter().flat_map(|offer| offer.packages.clone()).collect();
    // What it comes to is told where it is done.
    preparation::foresee(&ground, &request.preparation, &packages, caller)?;
    let resolution = resolved(&ground, &offers, &choices)?;
    let fetched = fetch_planned(&depot.depot, (own, &entries), &resolution, session)?;
    let chosen = chosen(&offers, &resolution, &fetched, operands, &choices);
    let wanted = chosen.read((request, caller.interrupt), &ground.policy.separator, &depot.demands)?;
    let remember = |locked: &Session<'_>| depot.remember(locked, session);
    let mut report = apply_read(root, ground, request, &wanted, caller, &remember)?.report;
    report.patches.extend(wanted.unread);
    let set = ToldSet { offers: &offers, operands: own, fetched, choices: &choices };
    Ok(told(report, resolution, set))
}
