use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};

use crate::operation::queries::applied_patches::applied_date;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// Order of application: within a package by its list, between packages by date, then by id.
pub(in crate::operation) struct OrderOnRoot<'a> {
    applied: &'a AppliedPatches,
    dates: BTreeMap<&'a PatchId, DateTime<FixedOffset>>,
}

impl<'a> OrderOnRoot<'a> {
    pub(in crate::operation) fn of(applied: &'a AppliedPatches) -> Self {
        let mut dates = BTreeMap::new();
        for of in applied.packages() {
            for id in &of.list {
                if let Some(date) = of.installed(id).and_then(|info| applied_date(&info.date)) {
                    dates.entry(id).or_insert(date);
                }
            }
        }
        Self { applied, dates }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'a PatchId> {
        self.applied.iter().map(|patch| &patch.id)
    }

    pub(super) fn date(&self, id: &PatchId) -> Option<DateTime<FixedOffset>> {
        self.dates.get(id).copied()
    }

    pub(super) fn is_after(&self, one: &PatchId, other: &PatchId) -> bool {
        for of in self.applied.packages() {
            let place = |id: &PatchId| of.list.iter().position(|known| known == id);
            if let (Some(one), Some(other)) = (place(one), place(other)) {
                return one > other;
            }
        }
        (self.date(one), one) > (self.date(other), other)
    }

    pub(super) fn newest_first(&self) -> Vec<&'a PatchId> {
        self.newest_first_of(self.all().collect())
    }

    pub(in crate::operation) fn newest_first_of(&self, mut rest: Vec<&'a PatchId>) -> Vec<&'a PatchId> {
        // By date, the next patch is usually the first one.
        rest.sort_by_key(|id| std::cmp::Reverse(self.date(id)));
        let mut ordered = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            let is_last = |at: &usize| {
                let one = rest.get(*at).copied();
                one.is_some_and(|one| !rest.iter().any(|other| self.is_after(other, one)))
            };
            let next = (0..rest.len()).find(is_last).unwrap_or(0);
            ordered.push(rest.remove(next));
        }
        ordered
    }
}
