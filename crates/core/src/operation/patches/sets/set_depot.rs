//! The depot of a set: found, opened, and believed as far as the root demands it.

use std::ffi::OsStr;

use crate::depot::DepotPatch;
use crate::operation::depots::{Depot, DepotError, DepotLocation, FetchSession, open_depot};
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{ApplyRequest, demands};
use crate::operation::session::{RootAndPolicy, Session, may_change, must_have_database};
use crate::plan::refusal::{Command, Reason};
use crate::resolve::Offer;
use crate::sign::DemandWord;
use patchadm_rootfs::Root;

/// A depot whose index was compared with what the root remembers of it.
pub(super) struct SetDepot {
    pub(super) depot: Depot,
    /// The depot as it was named.
    pub(super) named: String,
    pub(super) ground: RootAndPolicy,
    word: DemandWord,
}

impl SetDepot {
    /// Opens the depot that was named, else the one of the policy, for a root that the caller may change, unless that is
    /// only planned.
    pub(super) fn open(
        root: &Root,
        named: Option<&OsStr>,
        apply: &ApplyRequest,
        session: &FetchSession<'_>,
    ) -> Result<Self, Failure> {
        if !apply.dry_run {
            may_change(root)?;
        }
        let ground = RootAndPolicy::of(root)?;
        let demands = demands(&ground, &apply.signature)?;
        let of_policy = ground.policy.depot.as_deref().map(OsStr::new);
        let named = named.or(of_policy).ok_or(Failure::NoDepot)?.to_owned();
        let depot = open_depot(&DepotLocation::parse(&named)?, &demands, session)?;
        let required = demands.iter().any(|demand| demand.word == DemandWord::Require);
        let word = if required { DemandWord::Require } else { DemandWord::Warn };
        depot.check(root, word, session.now())?;
        must_have_database(root)?;
        Ok(Self { depot, named: named.to_string_lossy().into_owned(), ground, word })
    }

    /// Refuses a directory without an index in which there is no patch: it is not the one that was meant.
    pub(super) fn must_have_patches(&self) -> Result<(), DepotError> {
        let depot = &self.depot;
        match depot.location() {
            DepotLocation::Directory(directory)
                if depot.is_indexed_here() && depot.index().patches().len() == 0 =>
            {
                let damaged = depot.passed_over().first().cloned();
                Err(DepotError::NoPatches { directory: directory.clone(), damaged })
            }
            _ => Ok(()),
        }
    }

    /// Its patches as offers, each at the place of its entry.
    pub(super) fn offers(&self, entries: &[&DepotPatch]) -> Result<Vec<Offer>, Failure> {
        let separator = &self.ground.policy.separator;
        let offers = entries.iter().map(|entry| Offer::of_entry(entry, separator));
        offers.collect::<Result<_, _>>().map_err(|error| {
            let reason = Reason::BadPatch(format!("the index of {}: {error}", self.named));
            reason.of(Command::Patchadd, &self.named).into()
        })
    }

    /// Remembers its index under the lock of the root.
    pub(super) fn remember(&self, locked: &Session<'_>, session: &FetchSession<'_>) -> Result<(), Failure> {
        self.depot.remember(locked, self.word, session.now()).map(drop)
    }
}
