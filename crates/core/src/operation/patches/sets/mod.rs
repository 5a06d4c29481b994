//! Sets: patches of a depot, chosen for a root, fetched, and applied.
//!
//! ```text
//!   operands ─► words ─► resolve ─► fetch ─► apply, as any other patches ─► verdicts on all that were named or pulled in
//! ```
//! Everything before `apply` happens without the lock of the root. What is found out under it, edited files and space
//! among it, leaves a patch out as it would leave it out alone, and what requires it with it.
//!
//! A directory or archive of several patches among operands is a set, too: its patches are offered instead of those of a
//! depot.

mod chosen;
mod decision;
mod fetch;
mod missing;
mod offered_operands;
mod operands;
mod outcomes;
mod set_depot;
mod words;

use std::ffi::OsString;

use super::apply::{ApplyReport, ApplyRequest, apply_chosen};
use crate::analyze::AnalysisRequest;
use crate::depot::DepotPatch;
use crate::operation::depots::FetchSession;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, Session};
use crate::resolve::SetRequest;
use chosen::chosen;
use decision::resolved;
use fetch::fetch_planned;
use missing::missing_patches;
use operands::{apply_bundle, bundle_named};
use outcomes::told;
use patchadm_rootfs::Root;
use set_depot::SetDepot;
use words::words;

pub use operands::apply_operand_set;

/// A request to apply patches of a depot.
#[derive(Clone, Debug)]
pub struct SetApplication {
    /// The depot, as it was named; `None` for the one of the policy.
    pub depot: Option<OsString>,
    /// Which patches of it are named.
    pub operands: SetOperands,
    /// What is chosen; the patches and the depot in it do not count.
    pub choices: SetRequest,
    /// How they are applied; the patches in it do not count.
    pub apply: ApplyRequest,
}

/// The patches of a depot that are named.
#[derive(Clone, Debug)]
pub enum SetOperands {
    /// Ids, or files that list ids; everything current where there is none.
    Words(Vec<OsString>),
    /// What an analysis of the root lists as missing, which may be nothing.
    Missing(Box<AnalysisRequest>),
}

/// Applies patches of a depot, or of a bundle that is named as one. An error is one of the root or the depot as a whole;
/// every patch that was named or pulled in has its part of the report.
pub fn apply_set(
    root: &Root,
    request: &SetApplication,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let bundle = bundle_named(request.depot.as_deref());
    if let (Some(bundle), SetOperands::Words(operands)) = (bundle, &request.operands) {
        let (apply, choices) = (&request.apply, &request.choices);
        return apply_bundle(root, (&bundle, operands), (apply, choices), session, caller);
    }
    let depot = SetDepot::open(root, request.depot.as_deref(), &request.apply, session)?;
    let entries: Vec<&DepotPatch> = depot.depot.index().patches().collect();
    let offers = depot.offers(&entries)?;
    let named = match &request.operands {
        SetOperands::Words(operands) => {
            words(&offers, &depot.ground.policy.separator, &depot.named, operands)?
        }
        SetOperands::Missing(analysis) => {
            Some(missing_patches(root, &depot, &offers, (analysis, &request.choices))?)
        }
    };
    let choices = SetRequest { named, depot: Some(depot.named.clone()), ..request.choices.clone() };
    let resolution = resolved(&depot.ground, &offers, &choices)?;
    let fetched = fetch_planned(&depot.depot, &entries, &resolution, session)?;
    let chosen = chosen(&offers, &resolution, &fetched, &choices);
    let remember = |locked: &Session<'_>| depot.remember(locked, session);
    // Without a patch to apply the root is not locked, and nothing is remembered of the depot.
    let report = if chosen.patches.is_empty() {
        ApplyReport::default()
    } else {
        apply_chosen(root, &request.apply, &chosen, caller, &remember)?
    };
    Ok(told(report, &offers, resolution, fetched, &choices))
}
