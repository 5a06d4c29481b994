//! Depots for readers: opened, verified, searched, and patches fetched.
//!
//! ```text
//! DIR, file:, http:, https: ─ open_depot ─► Depot { index }          signature, then form, then the memory of the root
//!                                             │
//!                              fetch_patch ───┴─► path                size and digest checked, manifest beside it
//! ```
//! A directory without an index is indexed in memory. Remote files go through the cache ([`patchadm_inputs::cache`]).
//! Fetched files live as long as the [`FetchSession`]. Only [`Depot::remember`] needs a locked root.

mod depot;
mod directory_digest;
mod error;
mod fetch;
mod in_place;
mod index;
mod location;
mod session;
#[cfg(feature = "http")]
#[cfg(test)]
mod tests;

pub use depot::{Depot, open_depot};
pub use directory_digest::digest_of_directory;
pub(in crate::operation) use directory_digest::{digest_of_patch, files_of_directory};
pub use error::DepotError;
pub use error::FlagsFileError;
pub(in crate::operation) use error::read_flags;
pub use fetch::{DepotCheck, DepotFault, check_depot};
pub use fetch::{fetch_address, fetch_operand, fetch_patch, is_address};
pub(in crate::operation) use in_place::index_entry;
pub use in_place::{IndexReport, IndexRequest, PassedOver, SignInPlace, index_directory};
pub use location::{DepotLocation, is_on_network};
pub use session::fetch_bytes;
pub use session::{DepotAccess, DepotProgress, FetchSession, PatchWork};
