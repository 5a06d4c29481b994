//! Patches that are named by their paths: one as itself, several as a set that is chosen for a root and applied.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::offered_operands::OfferedOperands;
use super::outcomes::{ToldSet, told};
use super::served::{apply_served, lacks_patches};
use super::words::words;
use crate::operation::depots::{DepotLocation, DepotProgress, FetchSession, PatchWork};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{
    ApplyOperand, ApplyOutcome, ApplyReport, ApplyRequest, PatchChoice, WantedPatches, apply_read, demands,
    opens_as_set,
};
use crate::operation::session::{Caller, RootAndPolicy, may_change, shown_to_anybody};
use patchadm_inputs::source::SourceProblem;
use patchadm_planning::resolve::SetRequest;
use patchadm_rootfs::{Interrupt, Root};

/// Applies patches that are named by their paths. An error is one of the root as a whole; the error of a single patch is in
/// its part of the report. Files with several patches are not unpacked.
pub fn apply_patches(
    root: &Root,
    request: &ApplyRequest,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    apply_operands(root, request, &SetRequest::default(), None, caller)
}

/// Does the same with choices for a set. With a session, paths may be directories or archives of several patches, which are
/// unpacked for as long as needed, and requirements are taken from the depot of the policy.
pub fn apply_operands(
    root: &Root,
    request: &ApplyRequest,
    choices: &SetRequest,
    session: Option<&FetchSession<'_>>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    apply_taken(root, (request, choices), session, caller, |offered| {
        let all = request.patches.len();
        for (done, path) in request.patches.iter().enumerate() {
            if let Some(session) = session {
                session.tell(DepotProgress::Patch { doing: PatchWork::Reading, done, all });
            }
            offered.take(path, session)?;
        }
        if let Some(session) = session {
            session.tell(DepotProgress::Ended);
        }
        Ok(())
    })
}

/// Applies patches of a bundle that is named like a depot: those that the operands name, otherwise those that it names
/// itself.
pub(super) fn apply_bundle(
    root: &Root,
    (path, operands): (&Path, &[OsString]),
    request: (&ApplyRequest, &SetRequest),
    session: &FetchSession<'_>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    apply_taken(root, request, None, caller, |offered| {
        offered.take(path, Some(session))?;
        session.tell(DepotProgress::Ended);
        let shown = path.display().to_string();
        if let Some(named) = words(&offered.offers, offered.separator, &shown, operands)? {
            offered.named = named;
        }
        Ok(())
    })
}

/// Returns the bundle that is named like a depot: an archive of several patches, or a directory without an index that has an
/// order or its patches one level below. Fails if a signal came.
pub(super) fn bundle_named(
    depot: Option<&OsStr>,
    interrupt: Interrupt<'_>,
) -> Result<Option<PathBuf>, Failure> {
    let Some(Ok(DepotLocation::Directory(path))) = depot.map(DepotLocation::parse) else { return Ok(None) };
    let has = |name: &str| path.join(name).exists();
    let may_be = if path.is_dir() {
        !has("index.json") && !has("objects") && (has("patch_order") || has("patches"))
    } else {
        path.is_file()
    };
    let is_set = may_be && opens_as_set(&path, interrupt)?;
    Ok(is_set.then_some(path))
}

/// Applies what is chosen from the offers of `take`. With a session, takes requirements from the depot of the policy. If it
/// is only a plan, makes it also for callers who could not carry it out.
fn apply_taken(
    root: &Root,
    (request, choices): (&ApplyRequest, &SetRequest),
    session: Option<&FetchSession<'_>>,
    caller: &Caller<'_>,
    take: impl FnOnce(&mut OfferedOperands<'_>) -> Result<(), Failure>,
) -> Result<ApplyReport, Failure> {
    let work = || {
        let ground = RootAndPolicy::of(root)?;
        let demands = demands(&ground, &request.signature)?;
        let separator = ground.policy.separator.clone();
        let mut offered = OfferedOperands::new((request, caller.interrupt), &demands, &separator);
        take(&mut offered)?;
        apply_offered(root, (request, choices), ground, offered, session, caller)
    };
    if request.dry_run {
        return shown_to_anybody(root, work, ApplyReport::but);
    }
    may_change(root)?;
    work()
}

/// Applies what is chosen from the offers. Unpacked files exist until that is done.
fn apply_offered(
    root: &Root,
    (request, choices): (&ApplyRequest, &SetRequest),
    ground: RootAndPolicy,
    mut offered: OfferedOperands<'_>,
    session: Option<&FetchSession<'_>>,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    if request.plan_file.expected.is_some()
        && let Some(place) = offered.unread.iter().position(is_of_signature)
        && let Err(failure) = offered.unread.swap_remove(place).result
    {
        // Nothing of the plan holds then, and this is why.
        return Err(failure);
    }
    let is_single = offered.is_single() && *choices == SetRequest::default();
    offered.tell_contents();
    let choices = SetRequest {
        named: Some(std::mem::take(&mut offered.named)),
        depot: offered.place.clone(),
        again: request.unconditional,
        ..choices.clone()
    };
    let serving = session.filter(|_| ground.policy.depot.is_some() && !choices.no_requires);
    let report = if choices.all_or_nothing && !offered.unread.is_empty() {
        not_without(&offered)
    } else if let Some(session) = serving
        && lacks_patches(root, &ground, &offered.offers, &choices)?
    {
        let operands = (std::mem::take(&mut offered.operands), std::mem::take(&mut offered.offers));
        let ground = (ground, offered.demands.to_vec());
        apply_served(root, ground, (request, &choices), operands, session, caller)?
    } else if is_single && let Some(operand) = offered.operands.pop() {
        apply_read(root, ground, request, &WantedPatches::one(operand), caller, &|_| Ok(()))?.report
    } else {
        let operands = std::mem::take(&mut offered.operands);
        apply_set_of(root, ground, request, (operands, &offered), &choices, caller)?
    };
    let OfferedOperands { unread, opened, .. } = offered;
    drop(opened);
    Ok(ApplyReport { patches: report.patches.into_iter().chain(unread).collect(), ..report })
}

/// Tells whether a patch was not read because of its signature.
fn is_of_signature(outcome: &ApplyOutcome) -> bool {
    let Err(Failure::Source(error)) = &outcome.result else { return false };
    matches!(error.problem, SourceProblem::Signature(_))
}

/// Applies what the resolver takes from the operands.
fn apply_set_of(
    root: &Root,
    ground: RootAndPolicy,
    request: &ApplyRequest,
    (operands, offered): (Vec<ApplyOperand>, &OfferedOperands<'_>),
    choices: &SetRequest,
    caller: &Caller<'_>,
) -> Result<ApplyReport, Failure> {
    let choice = PatchChoice::Resolve { offers: offered.offers.clone(), request: choices.clone() };
    let wanted = WantedPatches { operands, unread: Vec::new(), choice };
    let done = apply_read(root, ground, request, &wanted, caller, &|_| Ok(()))?;
    let Some(resolution) = done.resolution else { return Ok(done.report) };
    let set = ToldSet { offers: &offered.offers, operands: 0, fetched: Vec::new(), choices };
    Ok(told(done.report, resolution, set))
}

/// Returns the outcomes of patches that are not tried, because one that was named with them cannot be read.
fn not_without(offered: &OfferedOperands<'_>) -> ApplyReport {
    let first = offered.unread.first().map(|first| first.id.clone()).unwrap_or_default();
    let untried = |operand: &ApplyOperand| operand.not_without(&first);
    ApplyReport { patches: offered.operands.iter().map(untried).collect(), ..ApplyReport::default() }
}
