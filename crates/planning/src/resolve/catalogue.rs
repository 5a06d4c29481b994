//! The offers, indexed: revisions of a base, obsoleting and conflicting patches, and the standing of each on the root;
//! and sets of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatches, PatchConflict, PatchId, PatchStanding, Requirement};

use super::request::{InstalledPackages, NamedPatches, Offer, ResolverInput, excluded_by_option};
use crate::plan::refusal::{Reason, SetReason};

pub(super) struct Catalogue<'a> {
    pub(super) items: Vec<Item<'a>>,
    pub(super) applied: &'a AppliedPatches,
    revisions: HashMap<&'a str, Range<usize>>,
    obsoleters: HashMap<&'a str, Vec<(&'a PatchId, usize)>>,
    namers: HashMap<&'a str, Vec<usize>>,
    pub(super) restricted: Vec<usize>,
    pub(super) depot: Option<&'a str>,
}

pub(super) struct Item<'a> {
    pub(super) offer: &'a Offer,
    pub(super) given: usize,
    pub(super) packages: Vec<PkgInst>,
    pub(super) standing: Standing,
    pub(super) is_named: bool,
    pub(super) is_restricted: bool,
    pub(super) is_first: bool,
    /// Requirements that neither applied patches nor the patch itself meets.
    pub(super) needs: Vec<&'a Requirement>,
    /// Required patches that do not apply to this root.
    pub(super) void: Vec<&'a PatchId>,
    pub(super) against: Vec<AppliedConflict<'a>>,
}

#[derive(Clone, Copy)]
pub(super) struct AppliedConflict<'a> {
    pub(super) applied: &'a PatchId,
    named: &'a PatchId,
    says_applied: bool,
    is_contained: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    /// Nothing to do: the patch is in force, or not for this root.
    Settled(Reason),
    Barred(Reason),
}

impl AppliedConflict<'_> {
    pub(super) fn reason(&self) -> Reason {
        let Self { applied, named, says_applied, .. } = *self;
        Reason::Incompatible { applied: applied.clone(), named: named.clone(), says_applied }
    }
}

impl<'a> Catalogue<'a> {
    pub(super) fn of(input: &ResolverInput<'a>, named: &NamedPatches) -> Self {
        let mut catalogue = Self {
            items: items(input, named),
            applied: input.applied,
            revisions: HashMap::new(),
            obsoleters: HashMap::new(),
            namers: HashMap::new(),
            restricted: Vec::new(),
            depot: input.request.depot.as_deref().filter(|_| !input.request.no_requires),
        };
        for (place, item) in catalogue.items.iter().enumerate() {
            let range = catalogue.revisions.entry(item.offer.id.base()).or_insert(place..place);
            range.end = place + 1;
            if item.is_restricted && item.standing == Standing::Open {
                catalogue.restricted.push(place);
            }
            for entry in item.offer.obsoletes.beyond(&item.offer.id) {
                catalogue.obsoleters.entry(entry.base()).or_default().push((entry, place));
            }
            for word in &item.offer.incompatibles {
                let namers = catalogue.namers.entry(word.base()).or_default();
                if namers.last() != Some(&place) {
                    namers.push(place);
                }
            }
        }
        for place in 0..catalogue.items.len() {
            let (needs, void) = catalogue.needs_of(place);
            if let Some(item) = catalogue.items.get_mut(place) {
                (item.needs, item.void) = (needs, void);
            }
        }
        catalogue
    }

    pub(super) fn item(&self, place: usize) -> &Item<'a> {
        &self.items[place]
    }

    pub(super) fn id(&self, place: usize) -> &'a PatchId {
        &self.item(place).offer.id
    }

    pub(super) fn place(&self, id: &PatchId) -> Option<usize> {
        self.items.binary_search_by(|item| item.offer.id.cmp(id)).ok()
    }

    pub(super) fn revisions(&self, base: &str) -> Range<usize> {
        self.revisions.get(base).cloned().unwrap_or(0..0)
    }

    fn fitting(&self, id: &PatchId) -> Range<usize> {
        let all = self.revisions(id.base());
        let start = self.items[all.clone()].partition_point(|item| item.offer.id < *id);
        all.start + start..all.end
    }

    fn later(&self, id: &PatchId) -> Range<usize> {
        let all = self.revisions(id.base());
        let start = self.items[all.clone()].partition_point(|item| item.offer.id <= *id);
        all.start + start..all.end
    }

    /// Lowest base first, highest revision first.
    fn obsoleting(&self, id: &PatchId) -> Vec<usize> {
        let entries = self.obsoleters.get(id.base()).into_iter().flatten();
        let mut places: Vec<usize> =
            entries.filter(|(entry, _)| entry.contains(id)).map(|(_, place)| *place).collect();
        self.sort_obsoleters(&mut places);
        places
    }

    fn sort_obsoleters(&self, places: &mut Vec<usize>) {
        places.sort_by(|a, b| {
            let (one, other) = (self.id(*a), self.id(*b));
            if one.same_base(other) { b.cmp(a) } else { a.cmp(b) }
        });
        places.dedup();
    }

    /// In order of preference: named patches, the highest fitting revision, obsoleters; alternatives from the left.
    pub(super) fn providers(&self, requirement: &Requirement) -> Vec<usize> {
        let mut places: Vec<usize> = requirement.ids().iter().flat_map(|id| self.fitting(id).rev()).collect();
        let mut obsoleting: Vec<usize> =
            requirement.ids().iter().flat_map(|id| self.obsoleting(id)).collect();
        self.sort_obsoleters(&mut obsoleting);
        places.extend(obsoleting);
        self.preferred(places)
    }

    pub(super) fn enders(&self, id: &PatchId) -> Vec<usize> {
        let places = self.later(id).rev().chain(self.obsoleting(id));
        self.preferred(places.filter(|place| self.id(*place) != id).collect())
    }

    fn preferred(&self, places: Vec<usize>) -> Vec<usize> {
        let mut seen = std::collections::HashSet::new();
        let fresh = places.into_iter().filter(|place| seen.insert(*place));
        let (mut named, others): (Vec<usize>, Vec<usize>) =
            fresh.partition(|place| self.item(*place).is_named);
        named.extend(others);
        named
    }

    pub(super) fn containers(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let id = self.id(place);
        self.later(id).chain(self.obsoleting(id)).filter(move |other| *other != place)
    }

    pub(super) fn contained(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let id = self.id(place);
        let lower = self.revisions(id.base()).start..place;
        let obsoleted = self.item(place).offer.obsoletes.iter().flat_map(|entry| {
            let all = self.revisions(entry.base());
            let end = self.items[all.clone()].partition_point(|item| item.offer.id <= *entry);
            all.start..all.start + end
        });
        lower.chain(obsoleted).filter(move |other| *other != place)
    }

    pub(super) fn contains(&self, place: usize, other: usize) -> bool {
        let (own, id) = (self.item(place).offer, self.id(other));
        own.id.is_later_than(id) || own.obsoletes.iter().any(|entry| entry.contains(id))
    }

    fn namers(&self, base: &str) -> &[usize] {
        self.namers.get(base).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn obsoleters(&self, base: &str) -> &[(&'a PatchId, usize)] {
        self.obsoleters.get(base).map(Vec::as_slice).unwrap_or_default()
    }

    fn needs_of(&self, place: usize) -> (Vec<&'a Requirement>, Vec<&'a PatchId>) {
        let offer = self.items[place].offer;
        let (mut needs, mut void) = (Vec::new(), Vec::new());
        for requirement in &offer.requires {
            if self.applied.satisfies(requirement).is_some()
                || requirement.is_met_by(&offer.id, &offer.obsoletes)
            {
                continue;
            }
            match requirement.ids().iter().find_map(|id| self.void(id)) {
                Some(not_applicable) => void.push(not_applicable),
                None => needs.push(requirement),
            }
        }
        (needs, void)
    }

    /// The highest fitting revision if none of them applies to this root. A lost patch still applies.
    fn void(&self, id: &PatchId) -> Option<&'a PatchId> {
        if self.applied.is_lost(id) {
            return None;
        }
        let fitting = self.fitting(id);
        let highest = fitting.clone().next_back()?;
        let is_void =
            |place: usize| matches!(&self.items[place].standing, Standing::Settled(Reason::NotInstalled(_)));
        fitting.into_iter().all(is_void).then(|| &self.items[highest].offer.id)
    }
}

fn items<'a>(input: &ResolverInput<'a>, named: &NamedPatches) -> Vec<Item<'a>> {
    let mut by_id: BTreeMap<&PatchId, Vec<usize>> = BTreeMap::new();
    for (given, offer) in input.offers.iter().enumerate() {
        by_id.entry(&offer.id).or_default().push(given);
    }
    let is_needed = |id: &PatchId| !input.request.no_requires || named.patches.contains_key(id);
    let mut items = Vec::with_capacity(by_id.len());
    for (id, mut places) in by_id.into_iter().filter(|(id, _)| is_needed(id)) {
        let key = |given: &usize| {
            input.offers.get(*given).map(|offer| (&offer.content, &offer.source, offer.id.as_str()))
        };
        places.sort_by(|a, b| key(a).cmp(&key(b)));
        let Some((&given, offer)) = places.first().and_then(|given| Some((given, input.offers.get(*given)?)))
        else {
            continue;
        };
        let mut others = places.iter().filter_map(|given| input.offers.get(*given));
        let other = others.find(|other| other.content != offer.content);
        items.push(item(input, named.patches.get(id).copied(), (given, offer), other));
    }
    items
}

fn item<'a>(
    input: &ResolverInput<'a>,
    named: Option<bool>,
    (given, offer): (usize, &'a Offer),
    other: Option<&Offer>,
) -> Item<'a> {
    let mut packages: Vec<PkgInst> =
        offer.packages.iter().filter_map(|package| input.installed.find(package)).cloned().collect();
    packages.sort();
    packages.dedup();
    let first = |package: &PkgInst| input.policy.first.iter().any(|name| *name == package.as_str());
    let mut item = Item {
        offer,
        given,
        is_first: packages.iter().any(first),
        packages,
        standing: Standing::Open,
        is_named: named.is_some(),
        is_restricted: input.policy.is_restricted(offer.id.base()),
        needs: Vec::new(),
        void: Vec::new(),
        against: Vec::new(),
    };
    item.standing = match other {
        Some(other) => Standing::Barred(Reason::InSet(SetReason::TwoContents(
            offer.source.clone(),
            other.source.clone(),
        ))),
        None => standing(input, &item, named),
    };
    if item.standing == Standing::Open {
        item.against = conflicts(input.applied, offer).filter(AppliedConflict::is_ended_by_others).collect();
    }
    item
}

/// Rules that do not depend on other patches of the set, in the order of patchadd.
fn standing(input: &ResolverInput<'_>, item: &Item<'_>, named: Option<bool>) -> Standing {
    let (offer, request) = (item.offer, input.request);
    if input.policy.excludes(&offer.id) {
        return Standing::Barred(Reason::Excluded);
    }
    if item.packages.is_empty() {
        return Standing::Settled(Reason::NotInstalled(missed(input.installed, offer)));
    }
    let is_again = || request.again && named.is_some() && input.applied.later_revision(&offer.id).is_none();
    let settled = match input.applied.standing(&offer.id, &item.packages) {
        PatchStanding::New | PatchStanding::PartlyApplied(_) => None,
        PatchStanding::Applied if is_again() => None,
        PatchStanding::Applied => Some(Reason::AlreadyApplied(item.packages.clone())),
        PatchStanding::LaterRevision(later) => Some(Reason::LaterRevision(later.clone())),
        PatchStanding::Obsoleted(obsoletion) => {
            Some(Reason::Obsoleted { by: obsoletion.by.cloned(), entry: obsoletion.entry.clone() })
        }
    };
    if let Some(reason) = settled {
        return Standing::Settled(reason);
    }
    let barred = |reason| Standing::Barred(Reason::InSet(reason));
    if excluded_by_option(request, input.policy, &offer.id) {
        return barred(SetReason::ExcludedByOption);
    }
    if offer.is_withdrawn && !(request.withdrawn && named == Some(true)) {
        return barred(SetReason::Withdrawn);
    }
    if item.is_restricted && named.is_none() {
        return barred(SetReason::RestrictedUnasked);
    }
    let is_restricted = |id: &PatchId| input.policy.is_restricted(id.base());
    if let Some((restricted, package)) = input.applied.restricted(&offer.id, &item.packages, is_restricted) {
        let (restricted, package) = (restricted.clone(), package.clone());
        return Standing::Barred(Reason::Restricted { restricted, package });
    }
    let mut conflicts = conflicts(input.applied, offer);
    conflicts
        .find(|one| !one.is_ended_by_others())
        .map_or(Standing::Open, |conflict| Standing::Barred(conflict.reason()))
}

fn missed(installed: &InstalledPackages, offer: &Offer) -> Vec<String> {
    offer.packages.iter().map(|package| installed.missed(package)).collect()
}

fn conflicts<'a>(applied: &'a AppliedPatches, offer: &'a Offer) -> impl Iterator<Item = AppliedConflict<'a>> {
    let conflicts = applied.conflicts_with(&offer.id, &offer.obsoletes, &offer.incompatibles);
    conflicts.map(|conflict| match conflict {
        PatchConflict::IncomingNames { named, applied, is_contained } => {
            AppliedConflict { applied, named, says_applied: false, is_contained }
        }
        PatchConflict::AppliedNames { applied, named } => {
            AppliedConflict { applied, named, says_applied: true, is_contained: false }
        }
    })
}

impl AppliedConflict<'_> {
    /// The contents of an applied patch stay, even if the patch is superseded.
    fn is_ended_by_others(&self) -> bool {
        !self.is_contained
    }
}

#[derive(Clone, Debug)]
pub(super) struct OfferConflict {
    pub(super) one: usize,
    pub(super) other: usize,
    pub(super) one_first: bool,
    pub(super) other_first: bool,
}

impl<'a> Catalogue<'a> {
    pub(super) fn excluding(&self, place: usize) -> Vec<usize> {
        let offer = self.item(place).offer;
        let mut found = Vec::new();
        for word in &offer.incompatibles {
            found.extend(self.revisions(word.base()).filter(|other| word.excludes(self.id(*other))));
            let entries = self.obsoleters(word.base()).iter();
            found.extend(entries.filter(|(entry, _)| word.excludes(entry)).map(|(_, other)| *other));
        }
        for id in std::iter::once(&offer.id).chain(offer.obsoletes.beyond(&offer.id)) {
            let names =
                |other: &&usize| self.item(**other).offer.incompatibles.iter().any(|word| word.excludes(id));
            found.extend(self.namers(id.base()).iter().filter(names).copied());
        }
        found.retain(|other| *other != place);
        found.sort_unstable();
        found.dedup();
        found
    }

    pub(super) fn conflict(&self, one: usize, other: usize) -> OfferConflict {
        OfferConflict {
            one,
            other,
            one_first: !self.names_contained(other, one),
            other_first: !self.names_contained(one, other),
        }
    }

    pub(super) fn says_so(&self, one: usize, other: usize) -> &'a PatchId {
        let names = self.item(one).offer.incompatibles.iter().any(|word| word.excludes(self.id(other)));
        if names || self.names_contained(one, other) { self.id(one) } else { self.id(other) }
    }

    /// The contents of a patch stay, even if the patch is superseded.
    fn names_contained(&self, one: usize, other: usize) -> bool {
        let (words, offer) = (&self.item(one).offer.incompatibles, self.item(other).offer);
        offer.obsoletes.beyond(&offer.id).any(|entry| words.iter().any(|word| word.excludes(entry)))
    }
}

impl OfferConflict {
    pub(super) fn ways(&self) -> impl Iterator<Item = (usize, usize)> {
        let (one, other) = (self.one, self.other);
        let first = self.one_first.then_some((one, other));
        first.into_iter().chain(self.other_first.then_some((other, one)))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    members: BTreeSet<usize>,
    is_member: Vec<bool>,
}

impl Selection {
    pub(super) fn of(offers: usize) -> Self {
        Self { members: BTreeSet::new(), is_member: vec![false; offers] }
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        self.is_member.get(place).copied().unwrap_or(false)
    }

    pub(super) fn insert(&mut self, place: usize) {
        if let Some(slot) = self.is_member.get_mut(place) {
            *slot = true;
            self.members.insert(place);
        }
    }

    pub(super) fn remove(&mut self, place: usize) {
        if let Some(slot) = self.is_member.get_mut(place) {
            *slot = false;
            self.members.remove(&place);
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.members.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}
