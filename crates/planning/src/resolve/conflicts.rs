//! The pairs of offers that conflict, and the order in which they are still possible: after the first is no longer
//! effective.

use super::catalogue::Catalogue;
use patchadm_svr4::patch::PatchId;

/// Two offers that exclude each other, and the ways out.
#[derive(Clone, Debug)]
pub(super) struct OfferConflict {
    pub(super) one: usize,
    pub(super) other: usize,
    /// Whether `one` may come first, and `other` when `one` has ended.
    pub(super) one_first: bool,
    /// The reverse.
    pub(super) other_first: bool,
}

impl<'a> Catalogue<'a> {
    /// Returns the offers that cannot simply be together with one, in the order of ids.
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

    /// Returns the ways in which two offers that exclude each other can both go in.
    pub(super) fn conflict(&self, one: usize, other: usize) -> OfferConflict {
        OfferConflict {
            one,
            other,
            one_first: !self.names_contained(other, one),
            other_first: !self.names_contained(one, other),
        }
    }

    /// Returns the one of two whose list says that they exclude each other.
    pub(super) fn says_so(&self, one: usize, other: usize) -> &'a PatchId {
        let names = self.item(one).offer.incompatibles.iter().any(|word| word.excludes(self.id(other)));
        if names || self.names_contained(one, other) { self.id(one) } else { self.id(other) }
    }

    /// Tells whether a patch names one that another contains: a contained patch stays, regardless of later ones.
    fn names_contained(&self, one: usize, other: usize) -> bool {
        let (words, offer) = (&self.item(one).offer.incompatibles, self.item(other).offer);
        offer.obsoletes.beyond(&offer.id).any(|entry| words.iter().any(|word| word.excludes(entry)))
    }
}

impl OfferConflict {
    /// Returns the ways, each as the patch that comes first and the one that follows when the first has ended.
    pub(super) fn ways(&self) -> impl Iterator<Item = (usize, usize)> {
        let (one, other) = (self.one, self.other);
        let first = self.one_first.then_some((one, other));
        first.into_iter().chain(self.other_first.then_some((other, one)))
    }
}
