//! The table: the tree that changed a path decides its outcome.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::{Conflict, Decision, KeptBecause, Outcome, Outcomes, SideChange};
use super::settle::settle;
use super::sides::Sides;
use patchadm_inputs::policy::Edited;
use patchadm_releases::ReleaseObject;
use patchadm_releases::{ChangeKind, CompareOptions, compare};
use patchadm_svr4::package::ObjectPath;

/// The options of a comparison without a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoWay {
    /// Whether objects that exist only in the tree that changes are deleted.
    pub deletes: bool,
}

/// The facts about a path beside the trees.
pub trait PathFacts {
    /// Returns what to do if both trees changed the path.
    fn choice(&self, path: &ObjectPath) -> Edited;
    /// Returns whether the path is recorded as volatile.
    fn is_volatile(&self, path: &ObjectPath) -> bool;
    /// Returns whether the object of the source tree comes even if only the other tree changed the path.
    fn comes_always(&self, _: &ObjectPath) -> bool {
        false
    }
    /// Returns whether the existing object stays although the source tree deleted it: something of its own tree needs it.
    fn is_needed(&self, _: &ObjectPath) -> bool {
        false
    }
    /// Returns whether the existing object was written to since it was recorded.
    fn is_edited(&self, path: &ObjectPath) -> bool;
}

/// The paths at which one tree differs from another.
#[derive(Debug, Default)]
struct Differing {
    /// In more than the modification time.
    state: BTreeMap<ObjectPath, ChangeKind>,
    /// In the modification time alone.
    time: BTreeSet<ObjectPath>,
}

impl Differing {
    /// Compares two trees in every respect.
    fn between(old: &[ReleaseObject], new: &[ReleaseObject]) -> Self {
        let options = CompareOptions { mtimes: true, every_type: true };
        let mut found = Self::default();
        for change in compare(old, new, options).changes {
            match change.kind {
                ChangeKind::Replaced(differences) if differences.is_mtime_only() => {
                    found.time.insert(change.path);
                }
                kind => {
                    found.state.insert(change.path, kind);
                }
            }
        }
        found
    }

    fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.state.keys().chain(&self.time)
    }

    fn has(&self, path: &ObjectPath) -> bool {
        self.state.contains_key(path) || self.time.contains(path)
    }
}

/// The paths at which any of the trees differs from another one.
#[derive(Debug)]
pub struct TreeDifferences {
    /// The source tree compared with the one that changes.
    apart: Differing,
    /// Both compared with the base, in the same order; `None` without one.
    since_base: Option<(Differing, Differing)>,
}

impl TreeDifferences {
    /// Compares each tree with each other one.
    pub fn of(sides: &Sides<'_>) -> Self {
        let since = |base| (Differing::between(base, sides.from), Differing::between(base, sides.to));
        Self { apart: Differing::between(sides.to, sides.from), since_base: sides.base.map(since) }
    }

    /// Returns all of the paths.
    pub fn paths(&self) -> BTreeSet<ObjectPath> {
        let since = self.since_base.iter().flat_map(|(from, to)| from.paths().chain(to.paths()));
        self.apart.paths().chain(since).cloned().collect()
    }

    /// Returns the paths at which both trees are the same and differ from the base.
    pub fn same_on_both(&self) -> BTreeSet<ObjectPath> {
        let mut paths = self.paths();
        paths.retain(|path| !self.apart.has(path));
        paths
    }

    /// Decides about every path. `sides` are those that were compared.
    pub fn decide(&self, sides: &Sides<'_>, two_way: TwoWay, facts: &dyn PathFacts) -> Outcomes {
        let mut outcomes = match &self.since_base {
            Some((from, to)) => {
                let decider = ThreeWay { from, to, apart: &self.apart, facts };
                let all = self.paths().into_iter().filter_map(|path| {
                    let outcome = decider.outcome(&path)?;
                    Some((path, outcome))
                });
                all.collect()
            }
            None => without_base(&self.apart, two_way, facts),
        };
        settle(sides, &mut outcomes);
        outcomes
    }
}

struct ThreeWay<'a> {
    from: &'a Differing,
    to: &'a Differing,
    apart: &'a Differing,
    facts: &'a dyn PathFacts,
}

impl ThreeWay<'_> {
    fn outcome(&self, path: &ObjectPath) -> Option<Outcome> {
        let (from, to) = (self.from.state.get(path), self.to.state.get(path));
        let apart = self.apart.state.get(path);
        let is_there = to.is_none_or(|kind| *kind != ChangeKind::Deleted);
        if is_there && from.is_some() && apart.is_some_and(is_in_to) && self.facts.is_volatile(path) {
            return Some(Outcome::Keep(KeptBecause::Volatile));
        }
        match (from, to) {
            (None, None) => {
                let is_newer = self.from.time.contains(path) && self.apart.time.contains(path);
                let is_volatile = is_newer && self.facts.is_volatile(path);
                (is_newer && !is_volatile).then_some(Outcome::TakeTime)
            }
            (Some(ChangeKind::Deleted), None) if self.facts.is_needed(path) => {
                Some(Outcome::Keep(KeptBecause::LiveOnly))
            }
            (Some(ChangeKind::Deleted), None) => Some(Outcome::Delete),
            (Some(_), None) => Some(Outcome::Take),
            (None, Some(_)) if apart.is_some_and(is_in_from) && self.facts.comes_always(path) => {
                Some(Outcome::Take)
            }
            (None, Some(_)) => Some(Outcome::Keep(KeptBecause::LiveOnly)),
            (Some(_), Some(_)) if apart.is_none() => None,
            (Some(from), Some(to)) => {
                let decision = decision(self.facts.choice(path));
                let is_deletion = *from == ChangeKind::Deleted && decision == Decision::Replace;
                if is_deletion && self.facts.is_needed(path) {
                    return Some(Outcome::Keep(KeptBecause::LiveOnly));
                }
                Some(Outcome::Conflict(Conflict { from: side(from), to: side(to), decision }))
            }
        }
    }
}

/// Returns whether a difference of the two trees is one at which the tree that changes has an object.
fn is_in_to(kind: &ChangeKind) -> bool {
    *kind != ChangeKind::Added
}

/// Returns whether a difference of the two trees is one at which the source tree has an object.
fn is_in_from(kind: &ChangeKind) -> bool {
    *kind != ChangeKind::Deleted
}

fn without_base(apart: &Differing, two_way: TwoWay, facts: &dyn PathFacts) -> Outcomes {
    let mut outcomes: Outcomes = apart
        .time
        .iter()
        .filter(|path| !facts.is_volatile(path))
        .map(|path| ((*path).clone(), Outcome::TakeTime))
        .collect();
    for (path, kind) in &apart.state {
        let conflict = |from| {
            let decision = decision(facts.choice(path));
            Outcome::Conflict(Conflict { from, to: SideChange::Changed, decision })
        };
        let outcome = match kind {
            ChangeKind::Added => Outcome::Take,
            _ if facts.is_volatile(path) => Outcome::Keep(KeptBecause::Volatile),
            ChangeKind::Deleted if !two_way.deletes => Outcome::Keep(KeptBecause::LiveOnly),
            ChangeKind::Deleted if facts.is_edited(path) => conflict(SideChange::Gone),
            ChangeKind::Deleted => Outcome::Delete,
            ChangeKind::Replaced(_) if facts.is_edited(path) => conflict(SideChange::Changed),
            ChangeKind::Replaced(_) => Outcome::Take,
        };
        outcomes.insert((*path).clone(), outcome);
    }
    outcomes
}

fn side(kind: &ChangeKind) -> SideChange {
    match kind {
        ChangeKind::Added => SideChange::New,
        ChangeKind::Deleted => SideChange::Gone,
        ChangeKind::Replaced(_) => SideChange::Changed,
    }
}

fn decision(choice: Edited) -> Decision {
    match choice {
        Edited::Stop => Decision::Stop,
        Edited::Replace => Decision::Replace,
        Edited::Keep => Decision::Keep,
    }
}
