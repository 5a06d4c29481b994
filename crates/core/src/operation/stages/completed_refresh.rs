//! What is told of an interrupted refresh that was completed before something else was done with its stage.

use patchadm_changeset::transaction::Recovered;

/// A refresh that somebody else completed, or that will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletedRefresh {
    /// The stage.
    pub stage: String,
    /// How many paths were still to be brought.
    pub taken: usize,
    /// The finding of recovery on the root, before anything else.
    pub(in crate::operation::stages) recovered: Recovered,
}
