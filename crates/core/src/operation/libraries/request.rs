//! The request about libraries that a change removes.

use patchadm_inputs::policy::{LibraryWords, Policy};

/// The options about libraries; without them the policy of the root decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryRequest {
    /// `--shlibs`: replaces the words of the policy.
    pub words: Option<LibraryWords>,
    /// `--keep-shlibs`: libraries stay, regardless of other options.
    pub keep: bool,
    /// `--keep-shlibs=always`: also those of patches that forbid it.
    pub always: bool,
}

impl LibraryRequest {
    /// Returns the words that count in a root with this policy.
    pub fn words(&self, policy: &Policy) -> LibraryWords {
        let words = self.words.unwrap_or(policy.shlibs);
        LibraryWords { keep: words.keep || self.keep || self.always, ..words }
    }
}
