//! The programs and libraries of a root: scanned, and compared with plans that remove libraries (patchadm-shlibs(7)).
//!
//! ```text
//! plan (as if nothing were kept) ─► keeper ─► scan, if there is a reason ─► deciding ─► the plan as it is carried out
//! ```

mod decision;
mod keeper;
mod kept;
mod library_state;
mod mapped;
mod planned;
mod scan;
#[cfg(test)]
mod tests;

use patchadm_inputs::policy::{LibraryWords, Policy};

pub(in crate::operation) use decision::{PlanToSettle, SettledLibraries};
pub(in crate::operation) use keeper::LibraryKeeper;
pub use kept::{
    KeptLibraryState, KeptLook, KeptReport, KeptRequest, KeptState, LibrariesBeforePatches, kept_packages,
    look_at_kept,
};
pub(in crate::operation) use kept::{PatchedRecords, recorded_as_loaded, still_loaded};
pub(in crate::operation) use library_state::LaterContent;
pub(in crate::operation) use planned::ArchivedLibraries;
pub(in crate::operation) use scan::known_files;
pub use scan::{LibraryScan, ScanError, ScanRequest, loader_settings, read_facts, write_facts};

/// Without options, the policy decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryRequest {
    /// Replace the policy's words.
    pub words: Option<LibraryWords>,
    /// Keep libraries regardless of the words.
    pub keep: bool,
    /// Even those of patches that forbid it.
    pub always: bool,
}

impl LibraryRequest {
    pub fn words(&self, policy: &Policy) -> LibraryWords {
        let words = self.words.unwrap_or(policy.shlibs);
        LibraryWords { keep: words.keep || self.keep || self.always, ..words }
    }
}
