//! Which patches give their undo data up because of their age, or because it takes too much space: the oldest first, and
//! never the newest revision of a base.
//!
//! Undo data of another tool is passed over, because everything known of the paths of its patch would be lost with it; and
//! so are archives outside the root, which take no space in it.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::operation::failure::Failure;
use crate::operation::patches::ledgers::LedgerCache;
use crate::operation::patches::order_on_root::OrderOnRoot;
use crate::operation::space::{PatchSpace, UndoForm, undo_spaces};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::format::ledger::LedgerUndo;
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// The limits by which undo data goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct UndoLimits {
    /// The seconds since the application of a patch after which its undo data goes.
    pub older_than: Option<u64>,
    /// The bytes that undo data may take in the root.
    pub shrink_to: Option<u64>,
    /// The number of newest patches that keep their undo data.
    pub keep_newest: Option<usize>,
}

/// The patches that a limit chose.
#[derive(Debug, Default)]
pub(super) struct LimitChoice {
    pub(super) chosen: BTreeSet<PatchId>,
    /// The bytes that undo data takes beyond the limit when all of them are given up.
    pub(super) excess: u64,
    /// The patches of another tool that would have been chosen.
    pub(super) foreign: Vec<PatchId>,
}

/// A root whose undo data is limited.
pub(super) struct LimitedRoot<'a> {
    pub(super) root: &'a Root,
    pub(super) applied: &'a AppliedPatches,
    pub(super) ledgers: &'a LedgerCache,
    pub(super) now: &'a Now,
}

impl UndoLimits {
    /// Tells whether there is no limit.
    pub fn is_none(&self) -> bool {
        self.older_than.is_none() && self.shrink_to.is_none() && self.keep_newest.is_none()
    }
}

impl LimitedRoot<'_> {
    /// Chooses patches, besides those that are `given_up` for another reason.
    pub(super) fn choose(
        &self,
        limits: &UndoLimits,
        given_up: &BTreeSet<&PatchId>,
    ) -> Result<LimitChoice, Failure> {
        let mut choice = LimitChoice::default();
        if limits.is_none() {
            return Ok(choice);
        }
        let spaces = undo_spaces(self.root)?;
        let order = OrderOnRoot::of(self.applied);
        let candidates = self.candidates(&spaces, &order, given_up, &mut choice)?;
        if let Some(age) = limits.older_than {
            let old = candidates.iter().filter(|one| is_older(order.date(&one.id), age, self.now));
            choice.chosen.extend(old.map(|one| one.id.clone()));
        }
        if let Some(keep) = limits.keep_newest {
            let kept: BTreeSet<&PatchId> = order.newest_first().into_iter().take(keep).collect();
            let beyond = candidates.iter().filter(|one| !kept.contains(&one.id));
            choice.chosen.extend(beyond.map(|one| one.id.clone()));
        }
        if let Some(most) = limits.shrink_to {
            let stays = |one: &&PatchSpace| !given_up.contains(&one.id) && !choice.chosen.contains(&one.id);
            let mut bytes: u64 = spaces.iter().filter(stays).map(PatchSpace::freeable).sum();
            for one in candidates {
                if bytes > most && choice.chosen.insert(one.id.clone()) {
                    bytes -= one.freeable();
                }
            }
            choice.excess = bytes.saturating_sub(most);
        }
        Ok(choice)
    }

    /// Returns the patches whose undo data may go by a limit, the oldest first.
    fn candidates<'s>(
        &self,
        spaces: &'s [PatchSpace],
        order: &OrderOnRoot<'_>,
        given_up: &BTreeSet<&PatchId>,
        choice: &mut LimitChoice,
    ) -> Result<Vec<&'s PatchSpace>, Failure> {
        let mut candidates = Vec::new();
        for one in spaces.iter().filter(|one| !one.is_newest && !given_up.contains(&one.id)) {
            let mut forms = one.undo.iter().filter_map(|(_, undo)| undo.form);
            if one.freeable() == 0 || forms.any(|form| form == UndoForm::Outside) {
                continue;
            }
            if self.is_foreign(one)? {
                choice.foreign.push(one.id.clone());
            } else {
                candidates.push(one);
            }
        }
        let newest_first =
            order.newest_first_of(candidates.iter().filter_map(|one| self.id(&one.id)).collect());
        let place = |one: &&PatchSpace| newest_first.iter().position(|id| **id == one.id);
        candidates.sort_by_key(|one| std::cmp::Reverse(place(one)));
        Ok(candidates)
    }

    fn id(&self, id: &PatchId) -> Option<&PatchId> {
        self.applied.get(id).map(|patch| &patch.id)
    }

    /// Tells whether another tool made undo data of a patch, or its ledger does not say who did.
    fn is_foreign(&self, patch: &PatchSpace) -> Result<bool, Failure> {
        let view = RecordView::live(self.root);
        for (package, _) in patch.undo.iter().filter(|(_, undo)| undo.form.is_some()) {
            let name = installed::saved_as(&view, package, &patch.id)?;
            let ledger = self.ledgers.of(&view, package)?;
            let line = ledger.line(&name).map(|line| &line.undo);
            if !matches!(line, Some(LedgerUndo::Kept { is_classic: false, .. })) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Tells whether a date is longer ago than so many seconds. A patch without a date is not known to be old.
pub(super) fn is_older(date: Option<DateTime<FixedOffset>>, age: u64, now: &Now) -> bool {
    let age = i64::try_from(age).ok().and_then(TimeDelta::try_seconds);
    let limit = age.and_then(|age| now.utc.and_utc().checked_sub_signed(age));
    limit.zip(date).is_some_and(|(limit, date)| date < limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_counted_back_from_now_and_none_is_too_long() {
        let moment = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let utc = moment("2026-11-20T12:00:00Z").naive_utc();
        let now = Now { utc, local: utc, host: "here".to_owned() };
        let day = 86_400;
        let old = |date: Option<&str>, age| is_older(date.map(moment), age, &now);
        assert!(old(Some("2026-11-19T11:59:59Z"), day));
        assert!(!old(Some("2026-11-19T12:00:00Z"), day), "it is exactly as old");
        assert!(!old(Some("2026-11-19T11:30:00-01:00"), day));
        assert!(!old(None, 0), "nobody knows how old it is");
        for age in [u64::MAX, i64::MAX.unsigned_abs(), 1 << 45] {
            assert!(!old(Some("1970-01-01T00:00:00Z"), age), "{age}");
        }
    }
}
