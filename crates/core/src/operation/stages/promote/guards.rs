//! The guards against emptying a live tree by mistake.

use std::collections::BTreeSet;

use patchadm_inputs::policy::DeleteLimit;
use patchadm_inputs::stage::Scope;
use patchadm_planning::plan::refusal::{PromotionReason, Reason};
use patchadm_svr4::package::ObjectPath;

/// The objects of a promoted path on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathCounts {
    pub(super) stage: usize,
    pub(super) live: usize,
    pub(super) deleted: usize,
}

/// Refuses a path that is empty in the stage, or that would lose too much.
pub(super) fn refuse_deletion(
    path: &ObjectPath,
    counts: PathCounts,
    limit: DeleteLimit,
) -> Result<(), Reason> {
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

/// Refuses mount points that came or went since the stage was made.
pub(super) fn refuse_other_mounts(
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
