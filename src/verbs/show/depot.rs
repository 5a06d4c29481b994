//! A patch of a depot, by its id.

use super::delivered::DeliveredPatch;
use super::fix::not_asked;
use super::query::ShowQuery;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_core::operation::depots::{DepotLocation, DepotProgress, FetchSession, fetch_patch, open_depot};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{SignatureRequest, demands};
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::source::{self, Extent, Origin};
use patchadm_rootfs::Root;

/// Returns the answer about a patch of the depot that an option names; `None` if there is no such patch or option.
pub(super) fn patch_of_depot(
    call: &Invocation,
    root: &Root,
    id: &str,
    query: &ShowQuery,
) -> anyhow::Result<Option<DeliveredPatch>> {
    let Some(named) = &query.depot else { return Ok(None) };
    let refused = |failed: Failure| query_refused(root, &failed);
    let ground = RootAndPolicy::of(root).map_err(refused)?;
    let location = DepotLocation::parse(named).map_err(|error| not_asked(&error))?;
    let demands = demands(&ground, &SignatureRequest::default()).map_err(refused)?;
    let progress = |_: DepotProgress<'_>| {};
    with_signals(|interrupt| -> anyhow::Result<Option<DeliveredPatch>> {
        let access = query.fetching.access(&query.surroundings, &ground.policy, None, interrupt, &progress);
        let session = FetchSession::new(access);
        let depot = open_depot(&location, &demands, &session).map_err(|error| not_asked(&error))?;
        let Some(patch) = depot.patches().into_iter().find(|patch| patch.id == id) else { return Ok(None) };
        // The path exists as long as the session.
        let path = fetch_patch(&depot, patch, &session).map_err(|error| not_asked(&error))?;
        let (_, image) = source::open(Origin::Path(&path), Extent::Everything)?;
        DeliveredPatch::of(call, root, (path.as_path(), &image), query).map(Some)
    })?
}
