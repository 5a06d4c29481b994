//! A set of offers of a catalogue.

use std::collections::BTreeSet;

/// Some of the offers, by their places.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    members: BTreeSet<usize>,
    is_member: Vec<bool>,
}

impl Selection {
    /// Creates an empty set for a catalogue of so many offers.
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

    /// Returns the members in the order of ids.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.members.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}
