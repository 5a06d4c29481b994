//! The cache of fetched objects: private, bounded, and shared by commands that run at the same time.
//!
//! ```text
//! CACHE/objects/ab/<sha256>    what was fetched whole, under its digest; read again and compared at each use
//! CACHE/partial/<sha256>       what is being fetched, locked by the one who writes it; beside it .json, where from
//! CACHE/index/<sha256>         the last index of each address, under the digest of that address
//! CACHE/spool/                 a directory for each command at work: what it uses, under names for people
//! ```
//! The directory is the caller's and no other user may use it (0700), otherwise it is refused. An object gets its name
//! when its digest is right and its bytes are durable. If the cache is larger than its limit, the least recently used
//! objects go first. An object that a command uses has a second name in the spool, and stays.
//!
//! Nothing is fetched here.

mod error;
mod objects;
mod partial;
mod spool;
mod store;

pub use error::CacheError;
pub use objects::{ObjectDigest, digest_of_file};
pub use partial::{PartialDownload, PartialOrigin};
pub use spool::PatchSpool;
pub use store::DownloadCache;
