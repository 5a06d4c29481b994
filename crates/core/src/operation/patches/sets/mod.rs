//! Sets: patches of a depot, chosen for a root, fetched, and applied.
//!
//! ```text
//!   operands ─► words ─► resolve ─► fetch ─► apply, as any other patches ─► verdicts on all that were named or pulled in
//! ```
//! Everything before `apply` happens without the lock of the root. What is found out under it, edited files and space
//! among it, leaves a patch out as it would leave it out alone, and what requires it with it.

mod chosen;
mod fetch;
mod outcomes;
mod words;

use std::ffi::OsString;

use super::apply::{ApplyReport, ApplyRequest, apply_chosen, demands};
use crate::depot::DepotPatch;
use crate::operation::depots::{DepotLocation, FetchSession, open_depot};
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_have_database};
use crate::plan::refusal::{Command, Reason};
use crate::resolve::{BadOffer, InstalledPackages, Offer, Resolution, ResolverInput, SetRequest, resolve};
use crate::sign::DemandWord;
use chosen::chosen;
use fetch::fetch_planned;
use outcomes::told;
use patchadm_rootfs::Root;
use words::words;

/// A request to apply patches of a depot.
#[derive(Clone, Debug, Default)]
pub struct SetApplication {
    /// The depot, as it was named.
    pub depot: OsString,
    /// Ids, or files that list ids; everything current where there is none.
    pub operands: Vec<OsString>,
    /// What is chosen; the patches and the depot in it do not count.
    pub choices: SetRequest,
    /// How they are applied; the patches in it do not count.
    pub apply: ApplyRequest,
}

/// Applies patches of a depot. An error is one of the root or the depot as a whole; every patch that was named or pulled in
/// has its part of the report.
pub fn apply_set(
    root: &Root,
    request: &SetApplication,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    if !request.apply.dry_run {
        may_change(root)?;
    }
    let ground = RootAndPolicy::of(root)?;
    let demands = demands(&ground, &request.apply.signature)?;
    let depot = open_depot(&DepotLocation::parse(&request.depot)?, &demands, session)?;
    let required = demands.iter().any(|demand| demand.word == DemandWord::Require);
    let word = if required { DemandWord::Require } else { DemandWord::Warn };
    depot.check(root, word, session.now())?;
    must_have_database(root)?;
    let named = request.depot.to_string_lossy().into_owned();
    let entries: Vec<&DepotPatch> = depot.index().patches().collect();
    let offers = offers(&entries, &ground).map_err(|error| {
        let reason = Reason::BadPatch(format!("the index of {named}: {error}"));
        Failure::from(reason.of(Command::Patchadd, &named))
    })?;
    let choices = SetRequest {
        named: words(&offers, &ground.policy.separator, &named, &request.operands)?,
        depot: Some(named),
        ..request.choices.clone()
    };
    let resolution = resolved(&ground, &offers, &choices)?;
    let fetched = fetch_planned(&depot, &entries, &resolution, session)?;
    let chosen = chosen(&offers, &resolution, &fetched, &choices);
    let remember = |locked: &Session<'_>| depot.remember(locked, word, session.now()).map(drop);
    // Without a patch to apply the root is not locked, and nothing is remembered of the depot.
    let report = if chosen.patches.is_empty() {
        ApplyReport::default()
    } else {
        apply_chosen(root, &request.apply, &chosen, caller, &remember)?
    };
    Ok(told(report, &offers, resolution, fetched, &choices))
}

/// Decides which of the offers go into a root as it is now.
fn resolved(ground: &RootAndPolicy, offers: &[Offer], choices: &SetRequest) -> Result<Resolution, Failure> {
    let packages = ground.packages()?;
    let applied = ground.recorded(&packages)?;
    let installed =
        InstalledPackages::of(packages.iter().map(|(instance, installed)| (instance, &installed.params)));
    Ok(resolve(&ResolverInput {
        offers,
        applied: &applied,
        installed: &installed,
        policy: &ground.policy,
        request: choices,
    }))
}

fn offers(entries: &[&DepotPatch], ground: &RootAndPolicy) -> Result<Vec<Offer>, BadOffer> {
    entries.iter().map(|entry| Offer::of_entry(entry, &ground.policy.separator)).collect()
}
