//! A verdict for each patch that was named or pulled in.

use std::collections::{BTreeSet, HashMap};

use super::catalogue::{Catalogue, Standing};
use super::named::NamedPatches;
use super::possible::Chances;
use super::request::ResolverInput;
use super::resolution::{Resolution, SetOutcome, SetVerdict};
use super::rounds::Accepted;
use super::schedule::order;
use super::selection::Selection;
use crate::plan::refusal::{Reason, SetReason};

/// Returns the verdicts, first those on patches that go in, in their order.
pub(super) fn verdicts(
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

/// For each patch of a set those that need it: whose requirement it meets, or that could not go in before what it ends.
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
