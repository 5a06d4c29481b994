//! Depots as their readers see them: opened, believed, searched, and patches fetched from them.
//!
//! ```text
//! DIR, file:, http:, https: ─ open_depot ─► Depot { index }          signature, then form, then the memory of the root
//!                                             │
//!                              fetch_patch ───┴─► path                size and digest checked, manifest beside it
//! ```
//! A directory of patches that has no index is indexed in memory, as `patchadm depot index` would do it on disk. What is on
//! another machine goes through the cache ([`patchadm_inputs::cache`]): resumed, verified again at each use, and never fetched twice
//! at a time. All that a command fetches is there under names for people until its [`FetchSession`] ends; a patch that has a
//! manifest has it beside itself, so that it is opened as any other file with a signature.
//!
//! Everything here happens before a root is locked, apart from [`Depot::remember`]. Which patches are wanted is not decided
//! here.

mod check;
mod depot;
mod directory_digest;
mod download;
mod error;
mod fetch;
mod flags_file;
mod in_place;
mod index_bytes;
mod index_directory;
mod known_patches;
mod location;
mod patch_entry;
mod patch_files;
mod session;
#[cfg(feature = "http")]
#[cfg(test)]
mod tests;

pub use check::{DepotCheck, DepotFault, check_depot};
pub use depot::{Depot, open_depot};
pub use directory_digest::digest_of_directory;
pub(in crate::operation) use directory_digest::files_of_directory;
pub use download::fetch_bytes;
pub use error::DepotError;
pub use fetch::{fetch_address, fetch_operand, fetch_patch, is_address};
pub use flags_file::FlagsFileError;
pub(in crate::operation) use flags_file::read_flags;
pub use index_directory::{IndexReport, IndexRequest, PassedOver, SignInPlace, index_directory};
pub use location::DepotLocation;
pub(in crate::operation) use patch_entry::index_entry;
pub use session::{DepotAccess, DepotProgress, FetchSession, PatchWork};
