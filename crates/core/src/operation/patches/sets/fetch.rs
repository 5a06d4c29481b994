//! The chosen patches, fetched before the root is locked.

use std::path::PathBuf;

use crate::operation::depots::{Depot, DepotError, DepotProgress, FetchSession, PatchWork, fetch_patch};
use crate::operation::failure::Failure;
use patchadm_inputs::depot::DepotPatch;
use patchadm_planning::resolve::Resolution;

/// The location of a patch that is applied.
pub(super) enum FetchedPatch {
    /// It is this file or directory.
    Path(PathBuf),
    /// It is the operand at this place.
    Operand(usize),
}

/// Each patch that is applied, in order, or the reason why it is not there.
pub(super) type FetchedPatches = Vec<Result<FetchedPatch, DepotError>>;

/// Fetches the patches that are applied. The first offers are those of the existing `operands` patches, the others those of
/// the entries. A patch that cannot be fetched is left out; a signal ends everything.
pub(super) fn fetch_planned(
    depot: &Depot,
    (operands, entries): (usize, &[&DepotPatch]),
    resolution: &Resolution,
    session: &FetchSession<'_>,
) -> Result<FetchedPatches, Failure> {
    let mut fetched = Vec::new();
    let all = resolution.planned().count();
    for (done, verdict) in resolution.planned().enumerate() {
        session.tell(DepotProgress::Patch { doing: PatchWork::Fetching, done, all });
        let Some(place) = verdict.offer else { continue };
        if place < operands {
            fetched.push(Ok(FetchedPatch::Operand(place)));
            continue;
        }
        let Some(entry) = entries.get(place - operands) else { continue };
        match fetch_patch(depot, entry, session) {
            Err(error) if error.signal().is_some() => return Err(error.into()),
            result => fetched.push(result.map(FetchedPatch::Path)),
        }
    }
    session.tell(DepotProgress::Ended);
    Ok(fetched)
}
