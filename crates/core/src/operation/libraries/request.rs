//! What is asked for libraries that a change takes away.

use patchadm_inputs::policy::{LibraryWords, Policy};

/// The options about libraries; without them the policy of the root decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryRequest {
    /// `--shlibs`: in the place of what the policy says.
    pub words: Option<LibraryWords>,
    /// `--keep-shlibs`: libraries stay, whatever else is said.
    pub keep: bool,
    /// `--keep-shlibs=always`: also those of patches that forbid it.
    pub always: bool,
}

impl LibraryRequest {
    /// Returns what counts in a root with this policy.
    pub fn words(&self, policy: &Policy) -> LibraryWords {
        let words = self.words.unwrap_or(policy.shlibs);
        LibraryWords { keep: words.keep || self.keep || self.always, ..words }
    }
}
