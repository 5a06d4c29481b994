//! What a refresh does with each path.

use std::collections::BTreeSet;

use crate::operation::stages::tree::Tree;
use crate::plan::promotion::BroughtPatches;
use crate::three_way::{Outcome, Outcomes};
use patchadm_svr4::package::ObjectPath;

/// The live tree, and what is decided about the paths of the stage.
pub(super) struct DecidedRefresh {
    pub(super) live: Tree,
    pub(super) outcomes: Outcomes,
    /// The patches of the root whose records come.
    pub(super) patches: BroughtPatches,
    /// The base that they were compared with: `0`, or the id of a promotion.
    pub(super) base_name: String,
    /// What an interrupted one may have brought: paths that are the same in both trees, and were something else in the
    /// base. `None` where none was interrupted.
    pub(super) brought_before: Option<BTreeSet<ObjectPath>>,
}

impl DecidedRefresh {
    /// The paths of which both trees have the same from now on.
    pub(super) fn brought(&self) -> impl Iterator<Item = &ObjectPath> {
        let now = self.outcomes.iter().filter(|(_, outcome)| changes(outcome)).map(|(path, _)| path);
        now.chain(self.brought_before.iter().flatten())
    }
}

/// Whether a path of the stage changes.
pub(super) fn changes(outcome: &Outcome) -> bool {
    outcome.is_taken() || outcome.is_deleted() || *outcome == Outcome::TakeTime
}
