//! Publishing: the patches of a working directory enter a depot, and its index is signed and put in place.
//!
//! ```text
//! WORK ─ read, check ─► objects (durable) ─► index/<digest>.json + .minisig (durable) ─► rename over index.json
//! ```
//! Objects are never changed and never removed. Whoever reads the depot, at any moment and however a publisher ended, finds
//! one complete index and everything that it names. One publisher at a time: the others are told who has the lock.
//! An id that is in the index with other bytes is refused, before anything is written.
//!
//! The signatures of patches are kept as they are and are not verified here: who may sign is decided by the roots.

mod draft;
mod store;
mod work;

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::depot::IndexError;
use crate::source::SourceError;
use patchadm_rootfs::{LockError, LockHolder, RootError};
use patchadm_svr4::patch::PatchId;

use draft::IndexDraft;
use store::{DepotStore, StoredIndex};
use work::{PatchToPublish, patch_files, read_patch};

/// What is to be published, and how.
pub struct PublishRequest<'a> {
    /// The depot, made if it is missing.
    pub depot: &'a Path,
    /// What to do.
    pub work: PublishWork<'a>,
    /// How long the new index is believed, in days; `None` for ever.
    pub expires: Option<u32>,
    /// Whether patches without a signature are taken.
    pub may_be_unsigned: bool,
    /// Whether nothing is written.
    pub is_dry_run: bool,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// How the index gets its signature.
    pub signing: IndexSigning<'a>,
}

/// What a publication adds.
#[derive(Clone, Copy)]
pub enum PublishWork<'a> {
    /// The patches of a directory.
    Patches(&'a Path),
    /// Nothing: a new version and a new date.
    Refresh,
    /// Nothing: the index that waits has been signed.
    Finish,
}

/// Makes the signature of the index of a depot.
pub type SignIndex<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + 'a;

/// How an index is signed.
pub enum IndexSigning<'a> {
    /// At once.
    Key(&'a SignIndex<'a>),
    /// Not at all.
    Unsigned,
    /// Elsewhere: the index waits until it is published with [`PublishWork::Finish`].
    Elsewhere,
}

/// The outcome of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReport {
    /// The name of the depot.
    pub depot: String,
    /// The version of its index.
    pub version: u64,
    /// The digest of its index.
    pub index_sha256: String,
    /// Until when it is believed.
    pub expires: Option<DateTime<Utc>>,
    /// The patches that are new.
    pub added: Vec<String>,
    /// The patches of the working directory that were there already.
    pub kept: Vec<String>,
    /// The index that waits for its signature.
    pub to_sign: Option<PathBuf>,
}

/// The reason nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Another publisher is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The depot could not be read or written.
    #[error(transparent)]
    Depot(#[from] RootError),
    /// The index of the depot is not one.
    #[error("{path}: {error}")]
    Index {
        /// Where it is.
        path: String,
        /// The fault.
        error: IndexError,
    },
    /// The working directory cannot be read.
    #[error("{}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
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
    /// A file cannot be read.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// An object cannot be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// A file changed while it was published.
    #[error("it changed while it was published")]
    Changed,
    /// An object of the depot is not what its name says.
    #[error("{0} is in the depot with another size: the depot is damaged")]
    DamagedObject(String),
    /// A patch is in the depot with other bytes.
    #[error("patch {id} is in the depot with other bytes; a change needs a new revision")]
    OtherBytes {
        /// The patch.
        id: PatchId,
    },
    /// Two files of the working directory are one patch.
    #[error("patch {id} is there twice: {} and {}", first.display(), second.display())]
    Twice {
        /// The patch.
        id: PatchId,
        /// A file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// There is no index that waits for a signature, or it is not the one after the present one, or it has no signature.
    #[error("the index cannot be finished: {0}")]
    Finish(&'static str),
    /// The version of the index cannot grow.
    #[error("the version of the index cannot grow any more")]
    NoVersion,
    /// The index could not be signed.
    #[error("the index cannot be signed: {0}")]
    Sign(String),
}

/// Publishes. `wait` is asked whether to wait on while another publisher has the depot.
pub fn publish(
    request: &PublishRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<PublishReport, PublishError> {
    let patches = match request.work {
        PublishWork::Patches(work) => read_patches(work, request)?,
        PublishWork::Refresh | PublishWork::Finish => Vec::new(),
    };
    if request.is_dry_run {
        let current = DepotStore::look(request.depot)?;
        let mut draft = IndexDraft::after(current, request)?;
        draft.enter(&patches)?;
        return Ok(draft.report(String::new(), None));
    }
    let mut store = DepotStore::open(request.depot, wait)?;
    if matches!(request.work, PublishWork::Finish) {
        return finish(&store);
    }
    let mut draft = IndexDraft::after(store.index()?, request)?;
    draft.enter(&patches)?;
    if let (PublishWork::Patches(_), Some(unchanged)) = (request.work, draft.unchanged()) {
        return Ok(unchanged);
    }
    for patch in patches {
        store_objects(&mut store, patch)?;
    }
    store.settle()?;
    put(&store, draft, request)
}

fn read_patches(work: &Path, request: &PublishRequest<'_>) -> Result<Vec<PatchToPublish>, PublishError> {
    let mut patches: Vec<PatchToPublish> = Vec::new();
    for path in patch_files(work)? {
        let patch = read_patch(&path, work, request.now, request.may_be_unsigned)?;
        if let Some(first) = patches.iter().find(|other| other.id == patch.id) {
            let (id, first) = (patch.id, first.path.clone());
            return Err(PublishError::Twice { id, first, second: path });
        }
        patches.push(patch);
    }
    Ok(patches)
}

fn store_objects(store: &mut DepotStore, patch: PatchToPublish) -> Result<(), PublishError> {
    for (mut file, object) in patch.objects {
        io::Seek::rewind(&mut file).map_err(PublishError::Read)?;
        store.stage(&mut file, &object)?;
    }
    if let (Some(text), Some(object)) = (&patch.readme, &patch.entry.readme) {
        store.stage(&mut text.as_slice(), object)?;
    }
    Ok(())
}

/// Puts the new index in place, or leaves it to be signed.
fn put(
    store: &DepotStore,
    draft: IndexDraft,
    request: &PublishRequest<'_>,
) -> Result<PublishReport, PublishError> {
    let text = draft.index.write();
    let signature = match &request.signing {
        IndexSigning::Elsewhere => {
            let sha256 = store.put_next(&text)?;
            return Ok(draft.report(sha256, Some(request.depot.join("index/next.json"))));
        }
        IndexSigning::Key(sign) => Some(sign(&text).map_err(PublishError::Sign)?),
        IndexSigning::Unsigned => None,
    };
    let sha256 = store.put_index(&text, signature.as_deref())?;
    let stored = StoredIndex { index: draft.index.clone(), sha256: sha256.clone() };
    store.remove_old_copies(&stored)?;
    Ok(draft.report(sha256, None))
}

/// Puts an index in place that was signed elsewhere. Its bytes stay as they were signed.
fn finish(store: &DepotStore) -> Result<PublishReport, PublishError> {
    let waiting = store.next()?.ok_or(PublishError::Finish("none waits for a signature"))?;
    let (next, signature) = waiting;
    let signature = signature.ok_or(PublishError::Finish("index/next.json.minisig is not there"))?;
    let current = store.index()?;
    let version = current.as_ref().map_or(0, |current| current.index.version);
    let previous = current.map(|current| current.sha256);
    if Some(next.index.version) != version.checked_add(1) || next.index.previous != previous {
        return Err(PublishError::Finish("the one that waits is not the next after the one in place"));
    }
    let text = next.index.write();
    if store::digest(&text) != next.sha256 {
        return Err(PublishError::Finish("the one that waits was changed by another program"));
    }
    store.put_index(&text, Some(&signature))?;
    store.remove_old_copies(&next)?;
    Ok(IndexDraft::finished(next.index).report(next.sha256, None))
}
