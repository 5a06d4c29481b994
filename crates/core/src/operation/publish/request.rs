use std::io;
use std::path::{Path, PathBuf};

use crate::operation::depots::FlagsFileError;
use chrono::{DateTime, Utc};
use patchadm_inputs::depot::IndexError;
use patchadm_inputs::sign::PublicKey;
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::PatchId;

pub struct PublishRequest<'a> {
    /// Made if missing.
    pub depot: &'a Path,
    pub work: PublishWork<'a>,
    /// Days of validity of the new index; `None` for no limit.
    pub expires: Option<u32>,
    /// Accept unsigned patches, and an unsigned current index.
    pub may_be_unsigned: bool,
    pub is_dry_run: bool,
    pub now: DateTime<Utc>,
    pub signing: IndexSigning<'a>,
    /// Returns the signal that asks for the end, if any. Not called once the index is replaced.
    pub interrupt: &'a dyn Fn() -> Option<i32>,
}

#[derive(Clone, Copy, Debug)]
pub enum PublishWork<'a> {
    Patches(&'a Path),
    /// A new version and date of the index.
    Refresh,
    /// The waiting index was signed elsewhere.
    Finish,
}

pub type SignIndex<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

pub enum IndexSigning<'a> {
    Here {
        /// Must also have signed the current index.
        key: PublicKey,
        sign: &'a SignIndex<'a>,
    },
    /// The index waits for [`PublishWork::Finish`]. Without the key, nothing tells who signed the current index.
    Elsewhere(Option<PublicKey>),
    /// The current index must not be signed either.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishState {
    Published,
    /// The index waits to be signed elsewhere.
    Waiting,
    Unchanged,
    /// Nothing was written, as requested.
    Planned,
    /// Nothing was written, because patches are not signed.
    Unsigned,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReport {
    pub state: PublishState,
    /// `None` if no depot was made.
    pub depot: Option<String>,
    /// New version, or the current one if nothing changes.
    pub version: u64,
    /// `None` if it was not written.
    pub index_sha256: Option<String>,
    pub expires: Option<DateTime<Utc>>,
    /// New, or signed again.
    pub added: Vec<String>,
    /// Published already.
    pub kept: Vec<String>,
    /// Files to sign first: manifests, patches without one, or the waiting index.
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

/// The index of the depot is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Depot(#[from] RootError),
    #[error("{path}: {error}")]
    Index { path: String, error: IndexError },
    #[error("the index would have {0} bytes, which is more than readers take")]
    TooLarge(usize),
    #[error("{path} {reason}")]
    Signature {
        path: String,
        /// The end of a sentence.
        reason: String,
    },
    #[error("{}: {error}", path.display())]
    Directory { path: PathBuf, error: io::Error },
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Flags(#[from] FlagsFileError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{}: {reason}", path.display())]
    Patch { path: PathBuf, reason: String },
    #[error("{} changed while it was published", .0.display())]
    Changed(PathBuf),
    #[error("{0} is in the depot with other bytes than its name says: the depot is damaged")]
    DamagedObject(String),
    #[error("patch {0} is in the depot with other bytes; a change needs a new revision")]
    OtherBytes(PatchId),
    #[error("patch {id} is there twice: {} and {}", first.display(), second.display())]
    Twice { id: PatchId, first: PathBuf, second: PathBuf },
    #[error("{} has no index yet", .0.display())]
    NoIndex(PathBuf),
    #[error("the index cannot be finished: {0}")]
    Finish(&'static str),
    #[error("the version of the index cannot grow any more")]
    NoVersion,
    #[error("ended by signal {0}")]
    Interrupted(i32),
}
