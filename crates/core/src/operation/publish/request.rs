//! The request and the outcome of a publication.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::PublishError;
use patchadm_inputs::sign::PublicKey;

/// What to publish, and how.
pub struct PublishRequest<'a> {
    /// The depot, made if it is missing.
    pub depot: &'a Path,
    /// What to do.
    pub work: PublishWork<'a>,
    /// The days for which the new index is valid; `None` for no limit.
    pub expires: Option<u32>,
    /// Whether unsigned patches are accepted, and an unsigned index is built upon.
    pub may_be_unsigned: bool,
    /// Whether nothing is written.
    pub is_dry_run: bool,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// The way in which the index gets its signature.
    pub signing: IndexSigning<'a>,
    /// Returns the signal that asks the publication to end, if one arrived. Not called any more once the index is put in
    /// place.
    pub interrupt: &'a dyn Fn() -> Option<i32>,
}

/// What a publication adds.
#[derive(Clone, Copy, Debug)]
pub enum PublishWork<'a> {
    /// The patches of a directory.
    Patches(&'a Path),
    /// Nothing: a new version and a new date.
    Refresh,
    /// Nothing: the index that waits has been signed.
    Finish,
}

/// Makes the signature file of an index.
pub type SignIndex<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// The way in which an index is signed.
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
    /// Returns the key of the signatures, if it is known.
    pub(super) fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Here { key, .. } => Some(key),
            Self::Elsewhere(key) => key.as_ref(),
            Self::Never => None,
        }
    }
}

/// The state at the end of a publication.
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

/// The outcome of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReport {
    /// The state at its end.
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
    /// What has to be signed before the publication continues: manifests, patches without one, or the index that waits.
    pub to_sign: Vec<PathBuf>,
}

impl PublishRequest<'_> {
    /// Ends the publication if the caller asks for it.
    pub(super) fn go_on(&self) -> Result<(), PublishError> {
        match (self.interrupt)() {
            Some(signal) => Err(PublishError::Interrupted(signal)),
            None => Ok(()),
        }
    }
}
