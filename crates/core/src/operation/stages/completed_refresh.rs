//! The report on an interrupted refresh that was completed before another operation on its stage.

use patchadm_changeset::transaction::Recovered;

/// A refresh that a later command completed, or will complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletedRefresh {
    /// The stage.
    pub stage: String,
    /// The number of paths that still had to be brought.
    pub taken: usize,
    /// The finding of recovery on the root, before anything else.
    pub(in crate::operation::stages) recovered: Recovered,
}
