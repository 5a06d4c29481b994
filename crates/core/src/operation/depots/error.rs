//! Errors of depots, and the file of flags.

use std::io;
use std::path::{Path, PathBuf};

use patchadm_inputs::cache::CacheError;
use patchadm_inputs::depot::{DepotFlags, DepotFlagsError, IndexError, LARGEST_FLAGS};
use patchadm_inputs::http::{AddressError, HttpError, HttpProblem};
use patchadm_inputs::input_file::InputDirectory;
use patchadm_inputs::sign::Verdict;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::PatchId;

/// Error of using a depot, or of fetching a patch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DepotError {
    /// The operand is no place of a depot.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A `file:` address that names no directory of this machine.
    #[error("<{0}> names no directory of this machine")]
    FileAddress(String),
    /// The directory does not exist.
    #[error("{} is not there", .0.display())]
    NotThere(PathBuf),
    /// The directory contains no patch.
    #[error("there is no patch in {}{}", directory.display(), damaged_words(damaged.as_ref()))]
    NoPatches {
        /// The directory.
        directory: PathBuf,
        /// The first file that looks like a patch and cannot be read, with the reason.
        damaged: Option<(String, String)>,
    },
    /// It is neither a directory nor an archive of several patches.
    #[error("{} is neither a directory nor an archive of several patches", .0.display())]
    NoDepot(PathBuf),
    /// A file could not be fetched.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The cache does not have a file, and the network is not to be used.
    #[error("{0} is not in the cache, and nothing is fetched with --offline")]
    Offline(String),
    /// There is no directory for the cache.
    #[error("there is no directory for the cache")]
    NoCache,
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(CacheError),
    /// The depot has no index.
    #[error("{0} has no index.json")]
    NoIndex(String),
    /// The index cannot be read.
    #[error("{path}: {error}")]
    Index {
        /// The file or address.
        path: String,
        /// The fault.
        error: IndexError,
    },
    /// The signature of the index is not good enough.
    #[error("{path} {}", verdict_words(.verdict))]
    IndexSignature {
        /// The file or address.
        path: String,
        /// The verdict.
        verdict: Box<Verdict>,
    },
    /// The index names an object, or has a signature, that does not exist.
    #[error("{0} is not there")]
    Missing(String),
    /// An object has another size than the index says.
    #[error("{path} has {found} bytes, and the index says {wanted}")]
    Size {
        /// The object.
        path: String,
        /// Its size.
        found: u64,
        /// The size that it should have.
        wanted: u64,
    },
    /// An object has a digest other than the one in the index.
    #[error("{0} is not what the index says: its digest is another one")]
    Digest(String),
    /// A patch is a directory on another machine.
    #[error("patch {0} is a directory there, which cannot be fetched")]
    DirectoryElsewhere(String),
    /// Two files are one patch with different content.
    #[error("patch {id} comes twice with different content: {} and {}", first.display(), second.display())]
    Twice {
        /// The patch.
        id: PatchId,
        /// A file or directory.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// The directory is one that `publish` indexes.
    #[error("{} is a depot of `patchadm publish`, which indexes it", .0.display())]
    Published(PathBuf),
    /// The flags of a depot cannot be read.
    #[error(transparent)]
    Flags(#[from] FlagsFileError),
    /// A file of the depot cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The directory could not be opened or written.
    #[error(transparent)]
    Directory(#[from] RootError),
    /// Another command is indexing the directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The new index would be larger than readers take.
    #[error("the index would have {0} bytes, which is more than readers take")]
    TooLarge(usize),
    /// The version of the index cannot grow.
    #[error("the version of the index cannot grow any more")]
    NoVersion,
    /// The caller asks the command to end.
    #[error("ended by signal {0}")]
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
    /// Returns the signal that ended the command, if one did.
    pub fn signal(&self) -> Option<i32> {
        match self {
            Self::Interrupted(signal)
            | Self::Http(HttpError { problem: HttpProblem::Interrupted(signal), .. }) => Some(*signal),
            _ => None,
        }
    }

    pub(super) fn no_directory(path: &Path) -> Self {
        if path.exists() { Self::NoDepot(path.to_owned()) } else { Self::NotThere(path.to_owned()) }
    }

    pub(super) fn read(path: &Path, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::Missing(path.display().to_string());
        }
        Self::Read { path: path.to_owned(), error }
    }
}

fn damaged_words(damaged: Option<&(String, String)>) -> String {
    damaged.map(|(name, reason)| format!(": {name} cannot be read as one, {reason}")).unwrap_or_default()
}

fn verdict_words(verdict: &Verdict) -> String {
    let words = verdict.to_string();
    if ["is ", "has "].iter().any(|verb| words.starts_with(verb)) { words } else { format!("is {words}") }
}

/// Error of reading the flags of a depot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlagsFileError {
    /// They make no sense.
    #[error("{}: {error}", path.display())]
    Words {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: DepotFlagsError,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// Reads `DIR/flags`; empty if it is missing.
pub(in crate::operation) fn read_flags(directory: &Path) -> Result<DepotFlags, FlagsFileError> {
    let path = directory.join("flags");
    let read = InputDirectory::open(directory)
        .and_then(|directory| directory.read_small(Path::new("flags"), LARGEST_FLAGS));
    let text = match read {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(DepotFlags::default()),
        // A depot that is published for the first time is not there yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DepotFlags::default()),
        Err(error) => return Err(FlagsFileError::Read { path, error }),
    };
    DepotFlags::parse(&text).map_err(|error| FlagsFileError::Words { path, error })
}
