//! Compares both trees with the base in force: decisions, and guards against accidental deletion.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;

use serde::Serialize;

use super::StageError;
use super::own_files::{Stage, StageRecord};
use super::tree::Tree;
use crate::operation::failure::Failure;
use crate::operation::promotion_records::read_promotion;
use crate::three_way::{
    Conflict, ConflictDecision, Outcomes, PathFacts, PathOutcome, SideChange, Sides, TreeDifferences, TwoWay,
    of_live, of_recorded,
};
use patchadm_changeset::format::escaped::as_text;
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::policy::DeleteLimit;
use patchadm_inputs::stage::{
    BASE_OF_NEW, BASES, Base, BaseState, ComparedAttributes, FIRST_BASE, PromotionRecord, Scope, base_name,
};
use patchadm_planning::plan::refusal::{PromotionReason, Reason};
use patchadm_releases::ReleaseObject;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptPath {
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    /// `live-only`, `volatile`, `excluded`, `socket` or `mount`.
    pub reason: &'static str,
}

/// A path that both sides changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictingPath {
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    pub stage: SideChange,
    pub live: SideChange,
    pub decision: ConflictDecision,
}

/// `is_refresh`: the stage is the side that changes.
pub(super) fn conflicting_paths(outcomes: &Outcomes, is_refresh: bool) -> Vec<ConflictingPath> {
    let of = |(path, outcome): (&ObjectPath, &PathOutcome)| {
        let PathOutcome::Conflict(Conflict { from, to, decision }) = *outcome else { return None };
        let (stage, live) = if is_refresh { (to, from) } else { (from, to) };
        Some(ConflictingPath { path: path.clone(), stage, live, decision })
    };
    outcomes.iter().filter_map(of).collect()
}

#[derive(Debug)]
pub(super) struct ComparedTrees {
    base: Option<Vec<ReleaseObject>>,
    from: Vec<ReleaseObject>,
    to: Vec<ReleaseObject>,
    /// Objects of `to` that are not compared, and stay.
    standing: BTreeSet<ObjectPath>,
    differences: TreeDifferences,
}

/// Skipped on both sides, with everything below.
#[derive(Debug)]
pub(super) struct SkippedPaths(BTreeSet<ObjectPath>);

impl SkippedPaths {
    /// Includes mount points, below which nothing is known.
    pub(super) fn of(stage: &Tree, live: &Tree, base: Option<&BaseInForce>) -> Self {
        let left = [stage, live].into_iter().flat_map(|tree| tree.left.iter().map(|(path, _)| path));
        let mounts = [stage, live].into_iter().flat_map(|tree| &tree.mounts);
        let then = base.into_iter().flat_map(mounts_of);
        Self(left.chain(mounts).chain(then).cloned().collect())
    }

    pub(super) fn has(&self, path: &ObjectPath) -> bool {
        !self.0.is_empty()
            && (self.0.contains(path) || path.ancestors_bytes().any(|above| self.0.contains(above)))
    }
}

fn mounts_of(force: &BaseInForce) -> impl Iterator<Item = &ObjectPath> {
    let objects = force.base.objects.iter();
    objects.filter(|object| object.state == BaseState::Mount).map(|object| &object.path)
}

impl ComparedTrees {
    pub(super) fn of(
        (from, to): (&Tree, &Tree),
        base: Option<&BaseInForce>,
        (scope, passed): (&Scope, &SkippedPaths),
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

    pub(super) fn differing(&self) -> BTreeSet<ObjectPath> {
        self.differences.paths()
    }

    pub(super) fn same_on_both(&self) -> BTreeSet<ObjectPath> {
        self.differences.same_on_both()
    }

    pub(super) fn decide(&self, two_way: TwoWay, facts: &dyn PathFacts) -> Outcomes {
        self.differences.decide(&self.sides(), two_way, facts)
    }

    fn counts(&self, path: &ObjectPath, outcomes: &Outcomes) -> PathCounts {
        let count = |objects: &[ReleaseObject]| objects.iter().filter(|one| one.path.is_below(path)).count();
        let deleted =
            outcomes.iter().filter(|(at, outcome)| at.is_below(path) && outcome.is_deleted()).count();
        PathCounts { stage: count(&self.from), live: count(&self.to), deleted }
    }

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

pub(super) fn refuse_conflicts(
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

pub(super) fn refuse_mounts(
    scope: &Scope,
    base: Option<&BaseInForce>,
    (stage, live): (&Tree, &Tree),
) -> Result<(), Reason> {
    let Some(base) = base else { return Ok(()) };
    refuse_other_mounts(scope, &mounts_of(base).collect(), &live.mounts, &stage.mounts)
}

pub(super) fn kept_paths(trees: (&Tree, &Tree), outcomes: &Outcomes) -> Vec<KeptPath> {
    let (stage, live) = trees;
    let mut kept: Vec<KeptPath> = Vec::new();
    for (path, outcome) in outcomes {
        if let PathOutcome::Keep(because) = outcome {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PathCounts {
    pub(super) stage: usize,
    pub(super) live: usize,
    pub(super) deleted: usize,
}

fn refuse_deletion(path: &ObjectPath, counts: PathCounts, limit: DeleteLimit) -> Result<(), Reason> {
    let PathCounts { stage, live, deleted } = counts;
    if stage == 0 && live > 0 {
        return Err(Reason::Promotion(PromotionReason::EmptyPath(path.clone())));
    }
    if deleted > 0 && !limit.allows(deleted, live) {
        let (path, limit) = (path.clone(), limit.to_string());
        return Err(Reason::Promotion(PromotionReason::TooManyDeleted { path, deleted, live, limit }));
    }
    Ok(())
}

fn refuse_other_mounts(
    scope: &Scope,
    then: &BTreeSet<&ObjectPath>,
    live: &[ObjectPath],
    stage: &[ObjectPath],
) -> Result<(), Reason> {
    let changed = |path: &ObjectPath, is_mount| {
        Reason::Promotion(PromotionReason::MountChanged { path: path.clone(), is_mount })
    };
    if let Some(path) = live.iter().chain(stage).find(|path| !then.contains(path)) {
        return Err(changed(path, true));
    }
    match then.iter().find(|path| scope.contains(path) && !live.contains(path)) {
        Some(path) => Err(changed(path, false)),
        None => Ok(()),
    }
}

#[derive(Debug)]
pub(super) struct BaseInForce {
    pub(super) base: Base,
    pub(super) name: String,
}

/// Reads the base of the newest applied promotion, or else the initial one.
pub(super) fn in_force(
    stage: &Stage,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<BaseInForce, StageError> {
    let newest = promotions(stage, view, applied)?.into_iter().max_by_key(|(number, _)| *number);
    let Some((_, record)) = newest else {
        let (base, seal) = stage.sealed_base(BASE_OF_NEW)?;
        stage.must_be_recorded(BASE_OF_NEW, seal)?;
        return Ok(BaseInForce { base, name: FIRST_BASE.to_owned() });
    };
    let name = base_name(&record.id);
    let (base, seal) = stage.sealed_base(&name)?;
    let is_its = base.header.promotion == Some((record.id.clone(), record.run.clone()));
    if !is_its {
        let path = stage.root.show(&stage.own.at(&name));
        return Err(StageError::OtherPromotion { path, id: record.id.to_string() });
    }
    stage.must_be_recorded(&name, seal)?;
    Ok(BaseInForce { base, name: record.id.to_string() })
}

pub(super) fn promotions(
    stage: &Stage,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<Vec<(u64, PromotionRecord)>, StageError> {
    // Promotions with this id are of another stage.
    if stage.record == StageRecord::Elsewhere {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<&PatchId> = applied.packages().iter().flat_map(|records| records.list.iter()).collect();
    let mut found = Vec::new();
    for id in ids.into_iter().filter(|id| id.base() == stage.identity.name.as_str()) {
        let Some(record) = read_promotion(view, id)? else { continue };
        if record.stage == Some(stage.identity.id) {
            let number = Run::parse(&record.run).map_or(0, |run| run.number);
            found.push((number, record));
        }
    }
    Ok(found)
}

pub(super) fn own_promotions(
    stage: &Stage,
    view: &RecordView<'_>,
    applied: &AppliedPatches,
) -> Result<BTreeSet<PatchId>, Failure> {
    let all = promotions(stage, view, applied).map_err(StageError::into_failure)?;
    Ok(all.into_iter().map(|(_, record)| record.id).collect())
}

/// Removes bases of promotions that are no longer applied. Ignores errors.
pub(super) fn remove_old_bases(stage: &Stage, view: &RecordView<'_>) {
    let names = stage.own.names_that_are(|name| name.starts_with(BASES)).unwrap_or_default();
    for name in names.iter().filter(|name| name.as_slice() != BASE_OF_NEW) {
        let id = name.strip_prefix(BASES).and_then(|id| std::str::from_utf8(id).ok());
        let id = id.and_then(|id| PatchId::new(id).ok());
        let is_needed = id.is_some_and(|id| !matches!(read_promotion(view, &id), Ok(None)));
        if !is_needed {
            let _ = stage.own.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_may_go_and_not_one_more() {
        let path = ObjectPath::new(b"/usr/pkg").unwrap();
        let refused = |deleted, limit| {
            refuse_deletion(&path, PathCounts { stage: 1, live: 8, deleted }, limit).is_err()
        };
        assert!(!refused(2, DeleteLimit::default()) && refused(3, DeleteLimit::default()));
        assert!(!refused(8, DeleteLimit::Percent(100)) && refused(1, DeleteLimit::Objects(0)));
        let empty = PathCounts { stage: 0, live: 8, deleted: 8 };
        assert!(refuse_deletion(&path, empty, DeleteLimit::Percent(100)).is_err());
        let both = PathCounts { stage: 0, live: 0, deleted: 0 };
        assert!(refuse_deletion(&path, both, DeleteLimit::default()).is_ok());
    }

    #[test]
    fn a_mount_that_came_or_went_is_refused() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let (scope, data) = (Scope::new(vec![path("/usr/pkg")]).unwrap(), path("/usr/pkg/data"));
        let then = BTreeSet::from([&data]);
        let is_refused = |then: &BTreeSet<&ObjectPath>, live: &[ObjectPath], stage: &[ObjectPath]| {
            refuse_other_mounts(&scope, then, live, stage).is_err()
        };
        assert!(!is_refused(&then, std::slice::from_ref(&data), &[]));
        assert!(is_refused(&then, &[], &[]));
        assert!(is_refused(&BTreeSet::new(), std::slice::from_ref(&data), &[]));
        assert!(is_refused(&BTreeSet::new(), &[], std::slice::from_ref(&data)));
    }
}
