//! What a refresh does with each path.

use crate::operation::stages::tree::Tree;
use crate::three_way::{Outcome, Outcomes};

/// The live tree, and what is decided about the paths of the stage.
pub(super) struct DecidedRefresh {
    pub(super) live: Tree,
    pub(super) outcomes: Outcomes,
    /// The base that they were compared with: `0`, or the id of a promotion.
    pub(super) base_name: String,
}

/// Whether a path of the stage changes.
pub(super) fn changes(outcome: &Outcome) -> bool {
    outcome.is_taken() || outcome.is_deleted() || *outcome == Outcome::TakeTime
}
