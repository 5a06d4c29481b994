//! Patches that are named by their paths, as a set: chosen for a root, and applied.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::chosen::chosen;
use super::decision::resolved;
use super::fetch::FetchedPatches;
use super::offered_operands::OfferedOperands;
use super::outcomes::told;
use super::words::words;
use crate::operation::depots::{DepotLocation, DepotProgress, FetchSession, PatchWork};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{ApplyOutcome, ApplyReport, ApplyRequest, apply_chosen, demands};
use crate::operation::session::{Caller, RootAndPolicy, may_change, must_have_database};
use crate::resolve::{Offer, SetRequest};
use crate::sign::Demand;
use crate::source::Bundle;
use patchadm_rootfs::Root;

/// Applies patches that are named by their paths as a set, as those of a depot are. A path may be a directory or an archive
/// of several patches, which is unpacked for the time that this takes.
pub fn apply_operand_set(
    root: &Root,
    request: &ApplyRequest,
    choices: &SetRequest,
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let (ground, demands) = ground_and_demands(root, request)?;
    let mut offered = OfferedOperands::new(&demands, &ground.policy.separator);
    let all = request.patches.len();
    for (done, path) in request.patches.iter().enumerate() {
        session.tell(DepotProgress::Patch { doing: PatchWork::Reading, done, all });
        offered.take(path, session)?;
    }
    session.tell(DepotProgress::Ended);
    apply_offered(root, request, choices, &ground, offered, caller)
}

/// Applies patches of a bundle that is named as depots are: those that the operands name, else those that it names itself.
pub(super) fn apply_bundle(
    root: &Root,
    (path, operands): (&Path, &[OsString]),
    (request, choices): (&ApplyRequest, &SetRequest),
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let (ground, demands) = ground_and_demands(root, request)?;
    let mut offered = OfferedOperands::new(&demands, &ground.policy.separator);
    offered.take(path, session)?;
    session.tell(DepotProgress::Ended);
    let shown = path.display().to_string();
    if let Some(named) = words(&offered.offers, &ground.policy.separator, &shown, operands)? {
        offered.named = named;
    }
    apply_offered(root, request, choices, &ground, offered, caller)
}

/// The bundle that is named as a depot: an archive of several patches, or a directory without an index that has an order or
/// its patches one level below.
pub(super) fn bundle_named(depot: Option<&OsStr>) -> Option<PathBuf> {
    let DepotLocation::Directory(path) = DepotLocation::parse(depot?).ok()? else { return None };
    let has = |name: &str| path.join(name).exists();
    let may_be = if path.is_dir() {
        !has("index.json") && !has("objects") && (has("patch_order") || has("patches"))
    } else {
        path.is_file()
    };
    let is_set = || Bundle::open(&path).is_ok_and(|bundle| bundle.is_some_and(|bundle| bundle.is_set()));
    (may_be && is_set()).then_some(path)
}

/// The policy of a root that the caller may change, unless that is only planned, and what is demanded of signatures.
fn ground_and_demands(root: &Root, request: &ApplyRequest) -> Result<(RootAndPolicy, Vec<Demand>), Failure> {
    if !request.dry_run {
        may_change(root)?;
    }
    let ground = RootAndPolicy::of(root)?;
    let demands = demands(&ground, &request.signature)?;
    must_have_database(root)?;
    Ok((ground, demands))
}

/// Applies what was chosen of the offers; what was unpacked is there until that is done.
fn apply_offered(
    root: &Root,
    request: &ApplyRequest,
    choices: &SetRequest,
    ground: &RootAndPolicy,
    offered: OfferedOperands<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let OfferedOperands { offers, paths, named, place, unread, opened, .. } = offered;
    let choices = SetRequest { named: Some(named), depot: place, ..choices.clone() };
    let mut report = ApplyReport::default();
    if let Some(first) = unread.first().filter(|_| choices.all_or_nothing) {
        let untried = |offer: &Offer| {
            ApplyOutcome::refused(offer.id.to_string(), None, Failure::NotWithout(first.id.clone()))
        };
        report.patches = offers.iter().map(untried).collect();
    } else {
        let resolution = resolved(ground, &offers, &choices)?;
        let found = resolution.planned().filter_map(|verdict| paths.get(verdict.offer?).cloned().map(Ok));
        let found: FetchedPatches = found.collect();
        let chosen = chosen(&offers, &resolution, &found, &choices);
        if !chosen.patches.is_empty() {
            report = apply_chosen(root, request, &chosen, caller, &|_| Ok(()))?;
        }
        report = told(report, &offers, resolution, found, &choices);
    }
    drop(opened);
    report.patches.extend(unread);
    Ok(report)
}
