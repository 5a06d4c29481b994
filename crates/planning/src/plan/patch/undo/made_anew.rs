//! Which objects of a plan are made anew, and which stay where they are.

use crate::plan::Action;
use crate::plan::plan_builder::PlanBuilder;
use patchadm_svr4::package::ObjectPath;

/// Whether a path gets another object, or none: one that gets other attributes keeps its names.
pub(super) fn is_made_anew(draft: &PlanBuilder<'_>, path: &ObjectPath) -> bool {
    let change = draft.changes.get(path);
    change.is_some_and(|change| !matches!(change.action, Action::Attributes(_)))
}
