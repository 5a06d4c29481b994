//! Depots from the reader's side: opened, trusted, searched, and patches fetched from them.
//!
//! ```text
//! DIR, file:, http:, https: ─ open_depot ─► Depot { index }          signature, then form, then the memory of the root
//!                                             │
//!                              fetch_patch ───┴─► path                size and digest checked, manifest beside it
//! ```
//! A directory of patches without an index is indexed in memory, as `patchadm depot index` would do it on disk. Files on
//! another machine go through the cache ([`patchadm_inputs::cache`]): they are resumed, verified again at each use, and
//! never fetched twice at a time. Everything that a command fetches exists under readable names until its [`FetchSession`]
//! ends. The manifest of a patch is put beside the patch, so that it is opened like any other file with a signature.
//!
//! Everything here happens before a root is locked, apart from [`Depot::remember`]. Which patches are wanted is decided
//! elsewhere.

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
mod patch_content;
mod patch_entry;
mod patch_files;
mod session;
#[cfg(feature = "http")]
#[cfg(test)]
mod tests;

pub use check::{DepotCheck, DepotFault, check_depot};
pub use depot::{Depot, open_depot};
pub use directory_digest::digest_of_directory;
pub(in crate::operation) use directory_digest::{digest_of_patch, files_of_directory};
pub use download::fetch_bytes;
pub use error::DepotError;
pub use fetch::{fetch_address, fetch_operand, fetch_patch, is_address};
pub use flags_file::FlagsFileError;
pub(in crate::operation) use flags_file::read_flags;
pub use index_directory::{IndexReport, IndexRequest, PassedOver, SignInPlace, index_directory};
pub use location::{DepotLocation, is_on_network};
pub(in crate::operation) use patch_entry::index_entry;
pub use session::{DepotAccess, DepotProgress, FetchSession, PatchWork};
