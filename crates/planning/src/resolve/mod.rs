//! Decides which patches go in, in which order, and why others do not. The answer does not depend on the order of
//! input. The rules are those for a single patch (`plan::patch`); only a full plan finds edited files, space and
//! scripts. Choices exist for requirements and for revisions that end a conflict, at most [`MOST_DECISIONS`] per patch.
//!
//! ```text
//!   offers ─────────┐
//!   applied patches ├─► catalogue ─► possible ─► rounds ─► schedule ─► Resolution
//!   packages        │   (indexed)    (what has   (search    (order)
//!   request ────────┘                 a chance)   and prune)
//! ```

mod catalogue;
mod possible;
mod request;
mod rounds;
mod schedule;
mod search;

#[cfg(test)]
mod tests;

pub use request::{
    BadOffer, InstalledPackages, Offer, OfferedPackage, ResolverInput, SetRequest, is_excluded,
};
pub use search::MOST_DECISIONS;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_svr4::patch::{PatchId, PatchList};

use crate::plan::refusal::{Reason, SetReason};
use catalogue::{Catalogue, Selection, Standing};
use possible::Chances;
use request::{NamedPatches, named_patches};
use rounds::{Accepted, accept_all};
use schedule::order;

pub fn resolve(input: &ResolverInput<'_>) -> Resolution {
    let named = named_patches(input);
    let catalogue = Catalogue::of(input, &named);
    let chances = Chances::of(&catalogue);
    let accepted = accept_all(&catalogue, &chances, input.request.all_or_nothing);
    verdicts(input, &named, &catalogue, &chances, &accepted)
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Patches that go in come first, in the order of application; then the others, by id.
    pub verdicts: Vec<SetVerdict>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVerdict {
    /// The word that was named if it is no patch of the depot.
    pub id: String,
    /// Index among the offers; `None` if it is not offered.
    pub offer: Option<usize>,
    pub is_named: bool,
    /// Patches that pulled it in, in order; empty for a named one.
    pub because: Vec<PatchId>,
    /// Required patches that are not for this root: these requirements count as met.
    pub void: Vec<PatchId>,
    pub outcome: SetOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    Planned,
    /// It does not go in, or need not.
    LeftOut(Reason),
    /// This other patch cannot go in, and the request is for all or none.
    NotTried(String),
}

impl Resolution {
    /// Returns the verdicts on the patches that go in, in the order of application.
    pub fn planned(&self) -> impl Iterator<Item = &SetVerdict> {
        self.verdicts.iter().filter(|verdict| verdict.outcome == SetOutcome::Planned)
    }

    /// Returns, for each patch that goes in without being named, the patch that it goes in for.
    pub fn because(&self) -> BTreeMap<String, String> {
        let first = |verdict: &SetVerdict| Some((verdict.id.clone(), verdict.because.first()?.to_string()));
        self.planned().filter_map(first).collect()
    }

    /// Returns the patches that are required by those that go in, but are not for this root.
    pub fn void(&self) -> PatchList {
        let mut void = PatchList::new();
        void.extend(self.planned().flat_map(|verdict| verdict.void.iter().cloned()));
        void
    }
}

impl SetVerdict {
    /// Returns the reason in words; empty if the patch goes in because it was named.
    pub fn reason(&self) -> String {
        match (&self.outcome, self.because.first()) {
            (SetOutcome::Planned, Some(by)) => format!("required by {by}"),
            (SetOutcome::Planned, None) => String::new(),
            (SetOutcome::LeftOut(reason), _) => reason.sentence(),
            (SetOutcome::NotTried(by), _) => format!("{by} cannot be applied"),
        }
    }
}

fn verdicts(
    input: &ResolverInput<'_>,
    named: &NamedPatches,
    catalogue: &Catalogue<'_>,
    chances: &Chances,
    accepted: &Accepted,
) -> Resolution {
    let missing = named.missing.iter().map(|word| missing(input, word));
    let missing: Vec<SetVerdict> = missing.collect();
    let is_stopped = input.request.all_or_nothing && (accepted.stopped_by.is_some() || !missing.is_empty());
    let ordered = if is_stopped { Vec::new() } else { order(catalogue, &accepted.set).unwrap_or_default() };
    let needing = needing(catalogue, &accepted.set);
    let mut verdicts: Vec<SetVerdict> =
        ordered.iter().map(|place| planned(catalogue, *place, needing.get(place))).collect();
    let first_missing = missing.first().map(|verdict| verdict.id.clone());
    let stopper = accepted
        .stopped_by
        .map(|place| catalogue.id(place).to_string())
        .or(first_missing)
        .unwrap_or_default();
    let rest = named.patches.keys().filter_map(|id| catalogue.place(id));
    for place in rest.filter(|place| is_stopped || !accepted.set.contains(*place)) {
        let outcome = match &catalogue.item(place).standing {
            Standing::Settled(reason) => SetOutcome::LeftOut(reason.clone()),
            _ => match (accepted.refused.get(&place), accepted.covered.get(&place)) {
                (Some(reason), _) => SetOutcome::LeftOut(reason.clone()),
                _ if is_stopped => SetOutcome::NotTried(stopper.clone()),
                (None, Some(by)) => SetOutcome::LeftOut(covered(catalogue, place, *by)),
                (None, None) => SetOutcome::LeftOut(chances.reason(catalogue, place)),
            },
        };
        verdicts.push(verdict(catalogue, place, outcome));
    }
    verdicts.extend(missing);
    Resolution { verdicts }
}

fn missing(input: &ResolverInput<'_>, word: &str) -> SetVerdict {
    let depot = input.request.depot.clone().unwrap_or_else(|| "the command line".to_owned());
    let outcome = SetOutcome::LeftOut(Reason::InSet(SetReason::NotInDepot(depot)));
    SetVerdict {
        id: word.to_owned(),
        offer: None,
        is_named: true,
        because: Vec::new(),
        void: Vec::new(),
        outcome,
    }
}

fn covered(catalogue: &Catalogue<'_>, place: usize, by: usize) -> Reason {
    let (id, by) = (catalogue.id(place), catalogue.id(by));
    let is_later = by.is_later_than(id);
    let by = by.clone();
    Reason::InSet(if is_later { SetReason::LaterInSet(by) } else { SetReason::ContainedInSet(by) })
}

fn planned(catalogue: &Catalogue<'_>, place: usize, needing: Option<&BTreeSet<usize>>) -> SetVerdict {
    let mut verdict = verdict(catalogue, place, SetOutcome::Planned);
    if !verdict.is_named {
        let others = needing.into_iter().flatten();
        verdict.because = others.map(|other| catalogue.id(*other).clone()).collect();
    }
    verdict.void = catalogue.item(place).void.iter().copied().cloned().collect();
    verdict
}

fn verdict(catalogue: &Catalogue<'_>, place: usize, outcome: SetOutcome) -> SetVerdict {
    let item = catalogue.item(place);
    SetVerdict {
        id: item.offer.id.to_string(),
        offer: Some(item.given),
        is_named: item.is_named,
        because: Vec::new(),
        void: Vec::new(),
        outcome,
    }
}

/// Patches whose requirement it meets, or that could not be applied before it ends something.
fn needing(catalogue: &Catalogue<'_>, set: &Selection) -> HashMap<usize, BTreeSet<usize>> {
    let mut needing: HashMap<usize, BTreeSet<usize>> = HashMap::new();
    let mut note = |places: Vec<usize>, by: usize| {
        for place in places.into_iter().filter(|place| *place != by && set.contains(*place)) {
            needing.entry(place).or_default().insert(by);
        }
    };
    for place in set.iter() {
        let item = catalogue.item(place);
        item.needs.iter().for_each(|need| note(catalogue.providers(need), place));
        item.against.iter().for_each(|conflict| note(catalogue.enders(conflict.applied), place));
        for other in catalogue.excluding(place).into_iter().filter(|other| set.contains(*other)) {
            let enders = catalogue.enders(catalogue.id(other)).into_iter();
            note(enders.filter(|ender| *ender != other).collect(), place);
        }
    }
    needing
}
