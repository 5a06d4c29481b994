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
mod fetch;
mod in_place;
mod index;
mod retries;
mod session;

use std::io;
use std::path::{Path, PathBuf};

use patchadm_inputs::cache::CacheError;
use patchadm_inputs::depot::{DepotFlags, DepotFlagsError, IndexError, LARGEST_FLAGS};
use patchadm_inputs::http::{AddressError, HttpError, HttpProblem};
use patchadm_inputs::input_file::InputDirectory;
use patchadm_inputs::sign::Verdict;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::PatchId;

#[cfg(feature = "http")]
#[cfg(test)]
mod tests;

pub use depot::{Depot, DepotLocation, is_on_network, open_depot};
pub(in crate::operation) use directory_digest::{digest_of_patch, files_of_directory};
pub use fetch::{DepotCheck, DepotFault, check_depot, fetch_address, fetch_operand, fetch_patch, is_address};
pub(in crate::operation) use in_place::index_entry;
pub use in_place::{IndexReport, IndexRequest, PassedOver, SignInPlace, index_directory};
pub use session::{DepotAccess, DepotProgress, FetchSession, FetchedFiles, PatchWork, fetch_bytes};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DepotError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("<{0}> names no directory of this machine")]
    FileAddress(String),
    #[error("{} does not exist", .0.display())]
    NotThere(PathBuf),
    #[error("{} has no patches and no index{}", directory.display(), damaged_words(damaged.as_ref()))]
    NoPatches {
        directory: PathBuf,
        /// The first file that looks like a patch but is unreadable, with the reason.
        damaged: Option<(String, String)>,
    },
    #[error("{} is neither a directory nor an archive of several patches", .0.display())]
    NoDepot(PathBuf),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{0} is not in the cache, and nothing is fetched with --offline")]
    Offline(String),
    #[error("there is no directory for the cache")]
    NoCache,
    #[error(transparent)]
    Cache(CacheError),
    #[error("{0} has no index.json")]
    NoIndex(String),
    #[error("{path}: {error}")]
    Index {
        /// File or address.
        path: String,
        error: IndexError,
    },
    #[error("{path} {}", verdict_words(.verdict))]
    IndexSignature {
        /// File or address.
        path: String,
        verdict: Box<Verdict>,
    },
    /// The index names it.
    #[error("{0} does not exist")]
    Missing(String),
    #[error("the signature of {0} does not exist")]
    MissingSignature(String),
    #[error("{path} has {found} bytes, but the index says {wanted}")]
    Size {
        path: String,
        found: u64,
        /// According to the index.
        wanted: u64,
    },
    #[error("{0} does not match the index: its digest differs")]
    Digest(String),
    #[error("patch {0} is a directory there, which cannot be fetched")]
    DirectoryElsewhere(String),
    #[error("patch {id} occurs twice with different content: {} and {}", first.display(), second.display())]
    Twice { id: PatchId, first: PathBuf, second: PathBuf },
    #[error("{} is a depot of `patchadm publish`, which indexes it", .0.display())]
    Published(PathBuf),
    #[error(transparent)]
    Flags(#[from] FlagsFileError),
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Directory(#[from] RootError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("the index would have {0} bytes, more than readers accept")]
    TooLarge(usize),
    #[error("the version of the index cannot be increased any further")]
    NoVersion,
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

impl From<CacheError> for DepotError {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Interrupted(signal) => Self::Interrupted(signal),
            error => Self::Cache(error),
        }
    }
}

impl DepotError {
    pub fn signal(&self) -> Option<i32> {
        match self {
            Self::Interrupted(signal)
            | Self::Http(HttpError { problem: HttpProblem::Interrupted(signal), .. }) => Some(*signal),
            _ => None,
        }
    }

    fn no_directory(path: &Path) -> Self {
        if path.exists() { Self::NoDepot(path.to_owned()) } else { Self::NotThere(path.to_owned()) }
    }

    fn read(path: &Path, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::Missing(path.display().to_string());
        }
        Self::Read { path: path.to_owned(), error }
    }
}

fn damaged_words(damaged: Option<&(String, String)>) -> String {
    damaged.map(|(name, reason)| format!(": {name} cannot be read as a patch, {reason}")).unwrap_or_default()
}

fn verdict_words(verdict: &Verdict) -> String {
    let words = verdict.to_string();
    if ["is ", "has "].iter().any(|verb| words.starts_with(verb)) { words } else { format!("is {words}") }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlagsFileError {
    #[error("{}: {error}", path.display())]
    Words { path: PathBuf, error: DepotFlagsError },
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
}

/// Reads `DIR/flags`; empty if missing.
pub(super) fn read_flags(directory: &Path) -> Result<DepotFlags, FlagsFileError> {
    let path = directory.join("flags");
    let read = InputDirectory::open(directory)
        .and_then(|directory| directory.read_small(Path::new("flags"), LARGEST_FLAGS));
    let text = match read {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(DepotFlags::default()),
        // A depot may not exist before its first publication.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DepotFlags::default()),
        Err(error) => return Err(FlagsFileError::Read { path, error }),
    };
    DepotFlags::parse(&text).map_err(|error| FlagsFileError::Words { path, error })
}
