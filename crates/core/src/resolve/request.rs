//! What the resolver is asked, and what it may know.

use patchadm_svr4::patch::AppliedPatches;

use super::offer::{InstalledPackages, Offer};
use crate::policy::Policy;

/// All that a resolution depends on.
#[derive(Clone, Copy, Debug)]
pub struct ResolverInput<'a> {
    /// The patches that could go in: those of the depot, and operands.
    pub offers: &'a [Offer],
    /// The patches that are applied.
    pub applied: &'a AppliedPatches,
    /// The packages that are installed.
    pub installed: &'a InstalledPackages,
    /// What the root decides: the separator of ids, which patches are restricted or excluded, and which
    /// packages' patches come first.
    pub policy: &'a Policy,
    /// What is asked.
    pub request: &'a SetRequest,
}

/// What is asked of a set of patches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRequest {
    /// The ids that are named, with a revision or without one, which means the current revision; all current ones where
    /// none is.
    pub named: Option<Vec<String>>,
    /// All of them go in, or none.
    pub all_or_nothing: bool,
    /// A withdrawn patch that is named with its revision may go in.
    pub withdrawn: bool,
    /// Nothing is pulled in.
    pub no_requires: bool,
    /// Ids, with a revision or without, that are left out.
    pub exclude: Vec<String>,
    /// The depot, as messages name it; `None` where there is none.
    pub depot: Option<String>,
}
