//! The programs and libraries of a root: scanned, and compared with plans that remove libraries (patchadm-shlibs(7)).
//!
//! ```text
//! plan (as if nothing were kept) ─► keeper ─► scan, if there is a reason ─► deciding ─► the plan as it is carried out
//! ```

mod archived;
mod config;
mod deciding;
mod elf_cache;
mod keeper;
mod library_state;
mod link_chains;
mod look;
mod mapped;
mod new_files;
mod owners;
mod planned_tree;
mod request;
mod scan;
mod settled;
mod still_loaded;
mod telling;

pub use config::loader_settings;
pub(in crate::operation) use elf_cache::read as known_files;
pub use elf_cache::{read_facts, write_facts};
pub use look::{KeptLibraryState, KeptLook, KeptState, look_at_kept};
pub use request::LibraryRequest;
pub use scan::{LibraryScan, ScanError, ScanRequest};
pub use still_loaded::LibrariesBeforePatches;

pub(in crate::operation) use archived::ArchivedLibraries;
pub(in crate::operation) use keeper::LibraryKeeper;
pub(in crate::operation) use library_state::LaterContent;
pub(in crate::operation) use look::plan_to_prune;
pub(in crate::operation) use settled::{PlanToSettle, SettledLibraries};
pub(in crate::operation) use still_loaded::{PatchedRecords, recorded_as_loaded, still_loaded};

#[cfg(test)]
mod tests;
