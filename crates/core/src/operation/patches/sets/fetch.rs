//! What was chosen, fetched before the root is locked.

use std::path::PathBuf;

use crate::depot::DepotPatch;
use crate::operation::depots::{Depot, DepotError, DepotProgress, FetchSession, PatchWork, fetch_patch};
use crate::operation::failure::Failure;
use crate::resolve::Resolution;

/// The file or directory of each patch that goes in, in their order, or why there is none.
pub(super) type FetchedPatches = Vec<Result<PathBuf, DepotError>>;

/// Fetches what goes in. A patch that cannot be fetched is left out; a signal ends everything.
pub(super) fn fetch_planned(
    depot: &Depot,
    entries: &[&DepotPatch],
    resolution: &Resolution,
    session: &FetchSession<'_>,
) -> Result<FetchedPatches, Failure> {
    let mut fetched = Vec::new();
    let all = resolution.planned().count();
    for (done, verdict) in resolution.planned().enumerate() {
        session.tell(DepotProgress::Patch { doing: PatchWork::Fetching, done, all });
        let Some(entry) = verdict.offer.and_then(|place| entries.get(place)) else { continue };
        match fetch_patch(depot, entry, session) {
            Err(error) if error.signal().is_some() => return Err(error.into()),
            result => fetched.push(result),
        }
    }
    session.tell(DepotProgress::Ended);
    Ok(fetched)
}
