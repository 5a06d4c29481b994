//! The decisions about every path, from both trees and the base.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;

use super::bases::BaseInForce;
use super::guards::{PathCounts, refuse_deletion, refuse_other_mounts};
use super::report::KeptPath;
use crate::operation::stages::tree::Tree;
use crate::three_way::{Outcome, Outcomes, PathFacts, Sides, TreeDifferences, TwoWay, of_live, of_recorded};
use patchadm_inputs::policy::DeleteLimit;
use patchadm_inputs::stage::{BaseState, ComparedAttributes, Scope};
use patchadm_planning::plan::refusal::{PromotionReason, Reason};
use patchadm_releases::ReleaseObject;
use patchadm_svr4::package::ObjectPath;

/// The lists that are compared.
#[derive(Debug)]
pub(in crate::operation::stages) struct ComparedTrees {
    base: Option<Vec<ReleaseObject>>,
    /// The source tree.
    from: Vec<ReleaseObject>,
    /// The tree that changes.
    to: Vec<ReleaseObject>,
    /// The objects of the tree that changes that are not compared, and stay.
    standing: BTreeSet<ObjectPath>,
    differences: TreeDifferences,
}

/// The paths that are skipped on either side, with everything below them.
#[derive(Debug)]
pub(in crate::operation::stages) struct PassedOver(BTreeSet<ObjectPath>);

impl PassedOver {
    /// Collects the paths: what is left out on one side is left out on both, and nothing below a mount point is known.
    pub(in crate::operation::stages) fn of(stage: &Tree, live: &Tree, base: Option<&BaseInForce>) -> Self {
        let left = [stage, live].into_iter().flat_map(|tree| tree.left.iter().map(|(path, _)| path));
        let mounts = [stage, live].into_iter().flat_map(|tree| &tree.mounts);
        let then = base.into_iter().flat_map(mounts_of);
        Self(left.chain(mounts).chain(then).cloned().collect())
    }

    /// Returns whether a path is skipped.
    pub(in crate::operation::stages) fn has(&self, path: &ObjectPath) -> bool {
        !self.0.is_empty()
            && (self.0.contains(path) || path.ancestors_bytes().any(|above| self.0.contains(above)))
    }
}

/// Returns the mount points that a base knows.
fn mounts_of(force: &BaseInForce) -> impl Iterator<Item = &ObjectPath> {
    let objects = force.base.objects.iter();
    objects.filter(|object| object.state == BaseState::Mount).map(|object| &object.path)
}

impl ComparedTrees {
    /// Brings both trees and the base into the form in which they are compared.
    pub(in crate::operation::stages) fn of(
        (from, to): (&Tree, &Tree),
        base: Option<&BaseInForce>,
        (scope, passed): (&Scope, &PassedOver),
        compared: ComparedAttributes,
    ) -> Self {
        let of_tree = |tree: &Tree| -> Vec<ReleaseObject> {
            let objects = tree.objects.iter().filter(|object| !passed.has(&object.path));
            objects.filter_map(|one| of_live(&one.path, &one.live, one.group, compared)).collect()
        };
        let of_base = |force: &BaseInForce| {
            let objects = force.base.objects.iter();
            let counting = objects.filter(|object| scope.contains(&object.path) && !passed.has(&object.path));
            counting.filter_map(|one| of_recorded(&one.path, one.object()?, compared)).collect()
        };
        let left = to.left.iter().map(|(path, _)| path);
        let standing = left.chain(&to.mounts).cloned().collect();
        let (base, from, to) = thread::scope(|scope| {
            let base = scope.spawn(|| base.map(of_base));
            let both = (of_tree(from), of_tree(to));
            let base = base.join().unwrap_or_else(|panic| resume_unwind(panic));
            (base, both.0, both.1)
        });
        let sides = Sides { base: base.as_deref(), from: &from, to: &to, standing: &standing };
        let differences = TreeDifferences::of(&sides);
        Self { base, from, to, standing, differences }
    }

    fn sides(&self) -> Sides<'_> {
        Sides { base: self.base.as_deref(), from: &self.from, to: &self.to, standing: &self.standing }
    }

    /// Returns the paths at which any two of the trees differ.
    pub(in crate::operation::stages) fn differing(&self) -> BTreeSet<ObjectPath> {
        self.differences.paths()
    }

    /// Returns the paths at which both trees are the same and differ from the base.
    pub(in crate::operation::stages) fn same_on_both(&self) -> BTreeSet<ObjectPath> {
        self.differences.same_on_both()
    }

    /// Decides about each of them.
    pub(in crate::operation::stages) fn decide(&self, two_way: TwoWay, facts: &dyn PathFacts) -> Outcomes {
        self.differences.decide(&self.sides(), two_way, facts)
    }

    /// Returns the numbers of objects below a path on both sides, and of the live ones that are deleted.
    pub(super) fn counts(&self, path: &ObjectPath, outcomes: &Outcomes) -> PathCounts {
        let count = |objects: &[ReleaseObject]| objects.iter().filter(|one| one.path.is_below(path)).count();
        let deleted =
            outcomes.iter().filter(|(at, outcome)| at.is_below(path) && outcome.is_deleted()).count();
        PathCounts { stage: count(&self.from), live: count(&self.to), deleted }
    }

    /// Refuses what the guards forbid, and conflicts that stop everything.
    pub(super) fn refuse(
        &self,
        scope: &Scope,
        outcomes: &Outcomes,
        limit: DeleteLimit,
    ) -> Result<(), Reason> {
        for path in scope.paths() {
            refuse_deletion(path, self.counts(path, outcomes), limit)?;
        }
        refuse_conflicts(outcomes, PromotionReason::Conflicts)
    }
}

/// Refuses paths that both trees changed, if nothing decides about them.
pub(in crate::operation::stages) fn refuse_conflicts(
    outcomes: &Outcomes,
    reason: fn(Vec<ObjectPath>) -> PromotionReason,
) -> Result<(), Reason> {
    let stops = outcomes.iter().filter(|(_, outcome)| outcome.stops());
    let stops: Vec<ObjectPath> = stops.map(|(path, _)| path.clone()).collect();
    if stops.is_empty() {
        return Ok(());
    }
    Err(Reason::Promotion(reason(stops)))
}

/// Refuses mount points that came or went since the base was written.
pub(super) fn refuse_mounts(
    scope: &Scope,
    base: Option<&BaseInForce>,
    (stage, live): (&Tree, &Tree),
) -> Result<(), Reason> {
    let Some(base) = base else { return Ok(()) };
    refuse_other_mounts(scope, &mounts_of(base).collect(), &live.mounts, &stage.mounts)
}

/// Returns the paths that stay as they are, with the reasons.
pub(super) fn kept_paths(trees: (&Tree, &Tree), outcomes: &Outcomes) -> Vec<KeptPath> {
    let (stage, live) = trees;
    let mut kept: Vec<KeptPath> = Vec::new();
    for (path, outcome) in outcomes {
        if let Outcome::Keep(because) = outcome {
            kept.push(KeptPath { path: path.clone(), reason: because.word() });
        }
    }
    let left = [stage, live].into_iter().flat_map(|tree| &tree.left);
    kept.extend(left.map(|(path, reason)| KeptPath { path: path.clone(), reason: reason.word() }));
    kept.extend(live.mounts.iter().map(|path| KeptPath { path: path.clone(), reason: "mount" }));
    kept.sort_by(|one, other| one.path.cmp(&other.path));
    kept.dedup_by(|one, other| one.path == other.path);
    kept
}
