//! Sets: patches of a depot, chosen for a root, fetched, and applied.
//!
//! ```text
//!   operands ─► words ─► resolve ─► fetch ─► apply, as any other patches ─► verdicts on all that were named or pulled in
//! ```
//! Everything before `apply` happens without the lock of the root. What is found out under it, edited files and space
//! among it, leaves a patch out as it would leave it out alone, and what requires it with it.
//!
//! Patches that are named by their paths are a set, too, where they are several: they are offered instead of those of a
//! depot, and so are the patches of a directory or archive of several.

mod chosen;
mod fetch;
mod missing;
mod offered_operands;
mod operands;
mod outcomes;
mod served;
mod set_depot;
mod words;

use std::ffi::OsString;

use super::apply::{ApplyReport, ApplyRequest, apply_read, demands};
use super::decision::resolved;
use crate::analyze::AnalysisRequest;
use crate::depot::DepotPatch;
use crate::operation::depots::FetchSession;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use crate::resolve::SetRequest;
use chosen::chosen;
use fetch::fetch_planned;
use missing::missing_patches;
use operands::{apply_bundle, bundle_named};
use outcomes::{ToldSet, told};
use patchadm_rootfs::Root;
use set_depot::SetDepot;
use words::words;

pub use operands::{apply_operands, apply_patches};

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
    if matches!(&request.operands, SetOperands::Words(operands) if operands.is_empty()) {
        depot.must_have_patches()?;
    }
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
    let fetched = fetch_planned(&depot.depot, (0, &entries), &resolution, session)?;
    let chosen = chosen(&offers, &resolution, &fetched, Vec::new(), &choices);
    let demands = demands(&depot.ground, &request.apply.signature)?;
    let wanted = chosen.read(&request.apply, &depot.ground.policy.separator, &demands);
    let remember = |locked: &Session<'_>| depot.remember(locked, session);
    // Without a patch to apply the root is not locked, and nothing is remembered of the depot.
    let ground = RootAndPolicy::of(root)?;
    let mut report = apply_read(root, ground, &request.apply, &wanted, caller, &remember)?.report;
    report.patches.extend(wanted.unread);
    let set = ToldSet { offers: &offers, operands: 0, fetched, choices: &choices };
    Ok(told(report, resolution, set))
}
