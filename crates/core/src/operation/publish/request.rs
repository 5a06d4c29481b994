//! Request, report and errors of a publication.

use std::io;
use std::path::{Path, PathBuf};

use crate::operation::depots::FlagsFileError;
use chrono::{DateTime, Utc};
use patchadm_inputs::depot::IndexError;
use patchadm_inputs::sign::PublicKey;
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::PatchId;

/// Request for a publication.
pub struct PublishRequest<'a> {
    /// The depot, made if it is missing.
    pub depot: &'a Path,
    /// The kind of publication.
    pub work: PublishWork<'a>,
    /// The days for which the new index is valid; `None` for no limit.
    pub expires: Option<u32>,
    /// Accept unsigned patches, and an unsigned current index.
    pub may_be_unsigned: bool,
    /// Write nothing.
    pub is_dry_run: bool,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// How the index is signed.
    pub signing: IndexSigning<'a>,
    /// Returns the signal that asks the publication to end, if one arrived. Not called any more once the index is put in
    /// place.
    pub interrupt: &'a dyn Fn() -> Option<i32>,
}

/// The kinds of publications.
#[derive(Clone, Copy, Debug)]
pub enum PublishWork<'a> {
    /// The patches of a directory.
    Patches(&'a Path),
    /// No patches: a new version and date of the index.
    Refresh,
    /// No patches: the waiting index was signed elsewhere.
    Finish,
}

/// Makes the signature file of an index.
pub type SignIndex<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// How an index is signed.
pub enum IndexSigning<'a> {
    /// At once.
    Here {
        /// The key, by which the index in place must be signed as well.
        key: PublicKey,
        /// Signs with it.
        sign: &'a SignIndex<'a>,
    },
    /// Elsewhere: the index waits until it is published with [`PublishWork::Finish`]. The key is that of the signatures, if
    /// it is known here. Without it, nothing tells who signed the index in place.
    Elsewhere(Option<PublicKey>),
    /// Not at all; the index in place must not be signed either.
    Never,
}

impl IndexSigning<'_> {
    pub(super) fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Here { key, .. } => Some(key),
            Self::Elsewhere(key) => key.as_ref(),
            Self::Never => None,
        }
    }
}

/// Result of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishState {
    /// The index is in place.
    Published,
    /// The index waits to be signed elsewhere.
    Waiting,
    /// Everything is published already, and the index stays.
    Unchanged,
    /// Nothing was written, as requested.
    Planned,
    /// Nothing was written, because patches are not signed.
    Unsigned,
}

/// Report of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReport {
    /// Its result.
    pub state: PublishState,
    /// The name of the depot; `None` for one that was not made.
    pub depot: Option<String>,
    /// The version of the index that was written or would be; if nothing changes, that of the one in place.
    pub version: u64,
    /// The digest of that index; `None` for one that was not written.
    pub index_sha256: Option<String>,
    /// The time until which the index is valid.
    pub expires: Option<DateTime<Utc>>,
    /// The patches that are new, or signed anew.
    pub added: Vec<String>,
    /// The patches that were published already.
    pub kept: Vec<String>,
    /// Files that must be signed before the publication continues: manifests, patches without one, or the waiting
    /// index.
    pub to_sign: Vec<PathBuf>,
}

impl PublishRequest<'_> {
    pub(super) fn go_on(&self) -> Result<(), PublishError> {
        match (self.interrupt)() {
            Some(signal) => Err(PublishError::Interrupted(signal)),
            None => Ok(()),
        }
    }
}

/// Error of a publication. The index of the depot is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Another command is at work in the depot or the working directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The depot could not be read or written.
    #[error(transparent)]
    Depot(#[from] RootError),
    /// The index of the depot is invalid.
    #[error("{path}: {error}")]
    Index {
        /// The file.
        path: String,
        /// The fault.
        error: IndexError,
    },
    /// The new index would be larger than readers take.
    #[error("the index would have {0} bytes, which is more than readers take")]
    TooLarge(usize),
    /// A signature is missing, damaged, or of another key.
    #[error("{path} {reason}")]
    Signature {
        /// The signed file.
        path: String,
        /// The fault, as the end of a sentence.
        reason: String,
    },
    /// A directory of the publisher cannot be read.
    #[error("{}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file of the publisher cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The depot keeper's statements on single patches cannot be read.
    #[error(transparent)]
    Flags(#[from] FlagsFileError),
    /// A file cannot be read as a patch.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file cannot be published.
    #[error("{}: {reason}", path.display())]
    Patch {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A file changed while it was published.
    #[error("{} changed while it was published", .0.display())]
    Changed(PathBuf),
    /// An object of the depot is not what its name says.
    #[error("{0} is in the depot with other bytes than its name says: the depot is damaged")]
    DamagedObject(String),
    /// A patch is in the depot with other bytes.
    #[error("patch {0} is in the depot with other bytes; a change needs a new revision")]
    OtherBytes(PatchId),
    /// Two files of the working directory are the same patch.
    #[error("patch {id} is there twice: {} and {}", first.display(), second.display())]
    Twice {
        /// The patch.
        id: PatchId,
        /// A file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// There is no index to refresh.
    #[error("{} has no index yet", .0.display())]
    NoIndex(PathBuf),
    /// No index waits for its signature, or it does not follow the one in place.
    #[error("the index cannot be finished: {0}")]
    Finish(&'static str),
    /// The version of the index cannot grow.
    #[error("the version of the index cannot grow any more")]
    NoVersion,
    /// The caller asks the publication to end.
    #[error("ended by signal {0}")]
    Interrupted(i32),
}
