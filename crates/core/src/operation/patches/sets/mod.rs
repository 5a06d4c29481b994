//! Sets: patches of a depot, chosen for a root, fetched, and applied.
//!
//! ```text
//!   operands ─► words ─► resolve ─► fetch ─► apply, as any other patches ─► verdicts on all that were named or pulled in
//! ```
//! Everything before `apply` happens without the lock of the root. What is found out under it, such as edited files and
//! space, leaves a patch out as it would leave it out alone, together with the patches that require it.
//!
//! Several patches that are named by their paths are a set, too: they are offered instead of those of a depot. So are the
//! patches of a directory or archive of several.

mod chosen;
mod depot_offers;
mod fetch;
mod missing;
mod offered_operands;
mod operands;
mod outcomes;
mod served;
mod set_depot;
mod words;

use std::ffi::OsString;

use super::apply::{ApplyReport, ApplyRequest, demands};
use crate::operation::depots::FetchSession;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, may_change};
use depot_offers::{DepotOffers, apply_offers};
use missing::missing_patches;
use operands::{apply_bundle, bundle_named};
use patchadm_inputs::depot::DepotPatch;
use patchadm_planning::analyze::AnalysisRequest;
use patchadm_planning::resolve::SetRequest;
use patchadm_rootfs::Root;
use set_depot::SetDepot;
use words::words;

pub use operands::{apply_operands, apply_patches};

/// A request to apply patches of a depot.
#[derive(Clone, Debug)]
pub struct SetApplication {
    /// The depot, as it was named; `None` for the one of the policy.
    pub depot: Option<OsString>,
    /// The patches of the depot that are named.
    pub operands: SetOperands,
    /// The choices for the set; the patches and the depot in it do not count.
    pub choices: SetRequest,
    /// The options of the application; the patches in it do not count.
    pub apply: ApplyRequest,
}

/// The named patches of a depot.
#[derive(Clone, Debug)]
pub enum SetOperands {
    /// Ids, or files that list ids; everything current if there are none.
    Words(Vec<OsString>),
    /// The patches that an analysis of the root lists as missing; there may be none.
    Missing(Box<AnalysisRequest>),
}

/// Applies patches of a depot, or of a bundle that is named like one. An error is one of the root or the depot as a whole.
/// Every patch that was named or pulled in has its part of the report.
pub fn apply_set(
    root: &Root,
    request: &SetApplication,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let bundle = bundle_named(request.depot.as_deref(), caller.interrupt)?;
    if let (Some(bundle), SetOperands::Words(operands)) = (bundle, &request.operands) {
        let (apply, choices) = (&request.apply, &request.choices);
        return apply_bundle(root, (&bundle, operands), (apply, choices), session, caller);
    }
    if !request.apply.dry_run {
        may_change(root)?;
    }
    let ground = RootAndPolicy::of(root)?;
    let demands = demands(&ground, &request.apply.signature)?;
    let depot = SetDepot::open(
        root,
        request.depot.as_deref(),
        (&ground, demands),
        &request.apply.signature,
        session,
    )?;
    if matches!(&request.operands, SetOperands::Words(operands) if operands.is_empty()) {
        depot.must_have_patches()?;
    }
    let entries: Vec<&DepotPatch> = depot.depot.patches();
    let offers = depot.offers(&entries)?;
    let named = match &request.operands {
        SetOperands::Words(operands) => words(&offers, &ground.policy.separator, &depot.named, operands)?,
        SetOperands::Missing(analysis) => {
            let request = (&**analysis, &request.choices);
            Some(missing_patches((root, &ground.policy), &depot, &offers, request)?)
        }
    };
    let choices = SetRequest { named, ..request.choices.clone() };
    let offered = DepotOffers { depot: &depot, offers, operands: Vec::new(), entries };
    apply_offers(root, ground, (&request.apply, &choices), offered, session, caller)
}
