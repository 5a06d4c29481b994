//! The size of what one of several patches of a run puts in place, for its receipt.

use patchadm_planning::plan::{Action, Body, Plan};
use patchadm_svr4::package::ObjectPath;

/// Returns the bytes of the objects that a plan puts in place, and of the edited files that it keeps.
pub(in crate::operation) fn new_bytes(plan: &Plan) -> u64 {
    let size = |path: &ObjectPath| {
        let change = plan.changes.iter().find(|change| change.path == *path);
        change.and_then(|change| change.old.as_ref()?.size()).unwrap_or(0)
    };
    let bytes = plan.changes.iter().map(|change| match &change.action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Member(member) => member.size,
            Body::CopyOf(path) => size(path),
            _ => 0,
        },
        _ => 0,
    });
    bytes.sum()
}
