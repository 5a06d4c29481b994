//! Depots: directories of signed patches that others copy and read, and a root's memory of them.
//!
//! ```text
//! DEPOT/index.json             the index; put in place by one rename
//! DEPOT/index/<sha256>.json    a copy under its own digest, with its signature .minisig beside it
//! DEPOT/objects/ab/<sha256>    patches, manifests, signatures, READMEs; never changed, never removed
//! DEPOT/keys/*.pub             shown to people, trusted by nobody
//! DEPOT/flags                  what its keeper says of single patches
//! ```
//! A directory of patches that `patchadm depot index` indexed in place is a depot, too: its index uses the names that
//! the patches have there.
//!
//! The index names every object by digest and size, so one signature covers a depot. Its version only grows and it
//! expires; a root keeps the highest version it saw of each depot, so an older or a forked index is refused. Making and
//! reading depots is an operation of patchadm-core; here are the values, and nothing opens a file.

mod entry;
mod flags;
mod index;
mod seen;

pub use entry::{DepotFile, DepotPackage, DepotPatch, is_plain_name};
pub use flags::{DepotFlags, DepotFlagsError, LARGEST_FLAGS};
pub use index::stamp;
pub use index::{DepotIndex, IndexError, LARGEST_INDEX, SCHEMA};
pub use seen::{IndexSight, LARGEST_MEMORY, SeenDepot, SeenDepots, SeenDepotsError, StaleIndex};

use patchadm_changeset::format::escaped::is_hex;

/// Tells whether a text is the digest of an object, as an index writes it: 64 lower-case hexadecimal digits.
fn is_digest(text: &str) -> bool {
    is_hex(text, 64)
}

/// Returns the path of an object below the top of its depot.
pub fn object_path(sha256: &str) -> String {
    format!("objects/{}/{sha256}", sha256.get(..2).unwrap_or_default())
}
