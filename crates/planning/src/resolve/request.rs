//! What the resolver is asked, and what it may know.

use patchadm_svr4::patch::{AppliedPatches, PatchId};

use super::offer::{InstalledPackages, Offer};
use patchadm_inputs::policy::Policy;

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
    /// A named patch that is applied, and of which no later revision is, goes in again.
    pub again: bool,
    /// Nothing is pulled in.
    pub no_requires: bool,
    /// Ids, with a revision or without, that are left out.
    pub exclude: Vec<String>,
    /// The depot, as messages name it; `None` where there is none.
    pub depot: Option<String>,
}

impl SetRequest {
    /// Whether a patch is left out.
    pub fn excludes(&self, id: &PatchId, separator: &str) -> bool {
        is_listed(&self.exclude, separator, id)
    }
}

/// Whether a list of ids, with a revision or without, has a patch.
pub(super) fn is_listed(words: &[String], separator: &str, id: &PatchId) -> bool {
    let mut words = words.iter();
    words.any(|word| word == id.base() || PatchId::parse(word, separator).is_ok_and(|listed| listed == *id))
}
