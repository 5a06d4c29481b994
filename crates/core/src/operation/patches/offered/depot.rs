//! The depot of a set: found, opened and verified.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::operation::depot_memory::last_used_depot;
use crate::operation::depots::{
    Depot, DepotError, DepotLocation, DepotProgress, FetchSession, PatchWork, fetch_patch, open_depot,
};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{SignatureRequest, must_be_vouched_for};
use crate::operation::session::{RootAndPolicy, Session};
use patchadm_inputs::depot::DepotPatch;
use patchadm_inputs::sign::{Demand, DemandWord};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::resolve::{Offer, Resolution};
use patchadm_rootfs::{Root, side_by_side};

pub(super) struct SetDepot {
    pub(super) depot: Depot,
    pub(super) named: String,
    /// For signatures of index and patches.
    pub(super) demands: Vec<Demand>,
    separator: String,
    word: DemandWord,
}

impl SetDepot {
    pub(super) fn open(
        root: &Root,
        named: Option<&OsStr>,
        (ground, demands): (&RootAndPolicy, Vec<Demand>),
        signature: &SignatureRequest,
        session: &FetchSession<'_>,
    ) -> Result<Self, Failure> {
        let of_policy = ground.policy.depot.as_deref().map(OsStr::new);
        let without_depot =
            || Failure::NoDepot { ignored: ground.ignored_depot.clone(), last: last_used_depot(root) };
        let named = named.or(of_policy).ok_or_else(without_depot)?.to_owned();
        let location = DepotLocation::parse(&named)?;
        if let DepotLocation::Address(address) = &location {
            must_be_vouched_for(ground, &demands, signature, &address.to_string())?;
        }
        let depot = open_depot(&location, &demands, session)?;
        let required = demands.iter().any(|demand| demand.word == DemandWord::Require);
        let word = if required { DemandWord::Require } else { DemandWord::Warn };
        depot.check(root, word, session.now())?;
        let (named, separator) = (named.to_string_lossy().into_owned(), ground.policy.separator.clone());
        Ok(Self { depot, named, demands, separator, word })
    }

    pub(super) fn offers(&self, entries: &[&DepotPatch]) -> Result<Vec<Offer>, Failure> {
        let offers = entries.iter().map(|entry| Offer::of_entry(entry, &self.separator));
        offers.collect::<Result<_, _>>().map_err(|error| {
            let reason = Reason::BadPatch(format!("the index of {}: {error}", self.named));
            reason.of(Command::Patchadd, &self.named).into()
        })
    }

    pub(super) fn remember(&self, locked: &Session<'_>, session: &FetchSession<'_>) -> Result<(), Failure> {
        self.depot.remember(locked, self.word, session.now()).map(drop)
    }
}

pub(super) enum FetchedPatch {
    Path(PathBuf),
    Operand(usize),
}

/// Most of the time of small patches is that of waiting for a server that is far away.
const MOST_DOWNLOADS: usize = 8;

/// In order of application.
pub(super) type FetchedPatches = Vec<Result<FetchedPatch, DepotError>>;

/// The first offers are the `operands` patches, the rest those of entries. A failed patch is left out; a signal ends
/// everything.
pub(super) fn fetch_planned(
    depot: &Depot,
    (operands, entries): (usize, &[&DepotPatch]),
    resolution: &Resolution,
    session: &FetchSession<'_>,
) -> Result<FetchedPatches, Failure> {
    let offers: Vec<usize> = resolution.planned().filter_map(|verdict| verdict.offer).collect();
    let all = offers.len();
    let finished = AtomicUsize::new(0);
    let tell = || {
        let done = finished.load(Ordering::Relaxed);
        if done < all {
            session.tell(DepotProgress::Patch { doing: PatchWork::Fetching, done, all });
        }
    };
    let fetch = |at: usize| {
        tell();
        let offer = *offers.get(at)?;
        let fetched = match offer.checked_sub(operands) {
            None => Ok(FetchedPatch::Operand(offer)),
            Some(place) => fetch_patch(depot, entries.get(place)?, session).map(FetchedPatch::Path),
        };
        finished.fetch_add(1, Ordering::Relaxed);
        tell();
        Some(fetched)
    };
    let is_far = matches!(depot.location(), DepotLocation::Address(_));
    let at_once = if is_far { MOST_DOWNLOADS } else { 1 };
    let mut fetched: FetchedPatches = side_by_side(at_once, all, || fetch).into_iter().flatten().collect();
    let is_ended =
        |patch: &Result<_, DepotError>| patch.as_ref().is_err_and(|error| error.signal().is_some());
    if let Some(at) = fetched.iter().position(is_ended)
        && let Err(signal) = fetched.swap_remove(at)
    {
        return Err(signal.into());
    }
    session.tell(DepotProgress::Ended);
    Ok(fetched)
}
