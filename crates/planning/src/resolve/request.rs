//! The question to the resolver, and its permitted knowledge.

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
    /// The decisions of the root: the separator of ids, the restricted and excluded patches, and the packages whose
    /// patches come first.
    pub policy: &'a Policy,
    /// The request.
    pub request: &'a SetRequest,
}

/// A request about a set of patches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRequest {
    /// The ids that are named, with a revision or without one, which means the current revision; all current ones where
    /// none is.
    pub named: Option<Vec<String>>,
    /// All of them go in, or none.
    pub all_or_nothing: bool,
    /// A withdrawn patch that is named with its revision may go in.
    pub withdrawn: bool,
    /// A named patch goes in again if it is applied and no later revision of it is.
    pub again: bool,
    /// Nothing is pulled in.
    pub no_requires: bool,
    /// Ids, with a revision or without, that are left out.
    pub exclude: Vec<String>,
    /// The depot, as messages name it; `None` if there is none.
    pub depot: Option<String>,
}

impl SetRequest {
    /// Tells whether a patch is left out.
    pub fn excludes(&self, id: &PatchId, separator: &str) -> bool {
        is_listed(&self.exclude, separator, id)
    }
}

/// Tells whether a list of ids, with a revision or without, has a patch.
pub(super) fn is_listed(words: &[String], separator: &str, id: &PatchId) -> bool {
    let mut words = words.iter();
    words.any(|word| word == id.base() || PatchId::parse(word, separator).is_ok_and(|listed| listed == *id))
}
