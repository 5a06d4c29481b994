//! Publishing: the patches of a working directory enter a depot, and its index is signed and put in place.
//!
//! ```text
//! WORK ─ read, check ─► objects (durable) ─► index/<digest>.json + .minisig (durable) ─► rename over index.json
//! ```
//! Objects are never changed and never removed. Anyone who reads the depot, at any moment and however a publisher ended,
//! finds one complete index and everything that it names. There is one publisher at a time; the others learn who has the
//! lock. An id that is in the index with other bytes is refused before anything is written. The index in place is built upon
//! only if it is signed like the new one.
//!
//! The signatures of patches are kept as they are. They are verified here only if the key of the index made them: the roots
//! decide who may sign patches.

mod draft;
mod error;
mod index_file;
mod papers;
mod patch_directory;
mod request;
mod shown_keys;
mod store;
mod work;

use draft::IndexDraft;
use index_file::IndexFile;
use shown_keys::read_shown_keys;
use store::{DepotStore, text_of};
use work::{PatchToPublish, lock_work, read_patches};

use crate::operation::depots::read_flags;
use patchadm_inputs::depot::DepotIndex;
use patchadm_rootfs::LockHolder;

pub use error::PublishError;
pub use request::{IndexSigning, PublishReport, PublishRequest, PublishState, PublishWork, SignIndex};

/// Publishes. `wait` decides whether to keep waiting while another command holds the depot or the working directory.
pub fn publish(
    request: &PublishRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<PublishReport, PublishError> {
    match request.work {
        PublishWork::Finish => finish(request, wait),
        PublishWork::Refresh => publish_patches(request, &[], wait),
        PublishWork::Patches(work) => {
            // Taking the lock leaves a note of its holder.
            let _nobody_builds = if request.is_dry_run { None } else { lock_work(work, wait)? };
            publish_patches(request, &read_patches(work, request)?, wait)
        }
    }
}

/// Puts an index with these patches in place of the present one, or leaves it to be signed.
fn publish_patches(
    request: &PublishRequest<'_>,
    patches: &[PatchToPublish],
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<PublishReport, PublishError> {
    if request.is_dry_run || !request.depot.exists() {
        // A depot is not made for patches that will not enter it.
        let draft = draft_after(DepotStore::look(request.depot)?, patches, request)?;
        if draft.lacks_signatures() {
            return Ok(draft.not_written());
        }
        if request.is_dry_run {
            return Ok(unchanged(&draft, request).unwrap_or_else(|| draft.not_written()));
        }
    }
    let mut store = DepotStore::open(request.depot, wait)?;
    let draft = draft_after(store.index()?, patches, request)?;
    if draft.lacks_signatures() {
        return Ok(draft.not_written());
    }
    let text = text_of(&draft.index)?;
    store_objects(&mut store, &draft, patches, request)?;
    match unchanged(&draft, request) {
        Some(unchanged) => Ok(unchanged),
        None => put(&mut store, draft, &text, request),
    }
}

/// Returns the report if all patches are in the index already and no new date is requested.
fn unchanged(draft: &IndexDraft, request: &PublishRequest<'_>) -> Option<PublishReport> {
    draft.unchanged().filter(|_| matches!(request.work, PublishWork::Patches(_)))
}

/// Drafts the index after the one in place, once that is trusted.
fn draft_after(
    in_place: Option<IndexFile>,
    patches: &[PatchToPublish],
    request: &PublishRequest<'_>,
) -> Result<IndexDraft, PublishError> {
    if in_place.is_none() && matches!(request.work, PublishWork::Refresh) {
        return Err(PublishError::NoIndex(request.depot.to_owned()));
    }
    let before = in_place.map(|file| file.believed(&request.signing, request.may_be_unsigned)).transpose()?;
    IndexDraft::of(before, patches, &read_flags(request.depot)?, request)
}

/// Stores the objects that the index names and the depot lacks, including those that a depot has lost.
fn store_objects(
    store: &mut DepotStore,
    draft: &IndexDraft,
    patches: &[PatchToPublish],
    request: &PublishRequest<'_>,
) -> Result<(), PublishError> {
    for patch in patches {
        let Some(entry) = draft.index.patch(&patch.id) else { continue };
        let is_new = draft.adds(&patch.id);
        for (source, object) in &patch.objects {
            let is_named = entry.objects().any(|(sha256, _)| sha256 == object.sha256);
            if is_named && (is_new || !store.seems_to_have(&object.sha256, object.size)?) {
                request.go_on()?;
                store.stage(source, object, request)?;
            }
        }
    }
    Ok(store.settle()?)
}

/// Puts the new index in place, or leaves it to be signed.
fn put(
    store: &mut DepotStore,
    draft: IndexDraft,
    text: &[u8],
    request: &PublishRequest<'_>,
) -> Result<PublishReport, PublishError> {
    if let Some(key) = request.signing.key() {
        store.show_key(key)?;
    }
    let signature = match &request.signing {
        IndexSigning::Elsewhere(_) => {
            let sha256 = store.put_next(text)?;
            let to_sign = vec![request.depot.join("index/next.json")];
            return Ok(PublishReport { to_sign, ..draft.report(PublishState::Waiting, &sha256) });
        }
        IndexSigning::Here { sign, .. } => Some(sign(text)),
        IndexSigning::Never => None,
    };
    let sha256 = store.put_index(&draft.index, text, signature.as_deref())?;
    Ok(draft.report(PublishState::Published, &sha256))
}

/// Puts an index in place that was signed elsewhere. Its bytes stay as they were signed.
fn finish(
    request: &PublishRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<PublishReport, PublishError> {
    if request.is_dry_run || !request.depot.exists() {
        let (next, in_place) = (DepotStore::look_next(request.depot)?, DepotStore::look(request.depot)?);
        let (index, file) = signed_next(next, in_place, request)?;
        return Ok(draft::report(&index, PublishState::Planned, &file.sha256));
    }
    let store = DepotStore::open(request.depot, wait)?;
    let (next, in_place) = (store.next()?, store.index()?);
    if let (Some(next), Some(in_place)) = (&next, &in_place)
        && next.sha256 == in_place.sha256
    {
        // A killed finish had got this far.
        store.remove_next()?;
        return Ok(draft::report(&next.parsed()?, PublishState::Unchanged, &next.sha256));
    }
    let (index, file) = signed_next(next, in_place, request)?;
    let sha256 = store.put_index(&index, &file.text, file.signature.as_deref())?;
    Ok(draft::report(&index, PublishState::Published, &sha256))
}

/// Reads the index that waits, which must be signed and follow the one in place. The signature of the successor vouches
/// for the one in place.
fn signed_next(
    next: Option<IndexFile>,
    in_place: Option<IndexFile>,
    request: &PublishRequest<'_>,
) -> Result<(DepotIndex, IndexFile), PublishError> {
    let next = next.ok_or(PublishError::Finish("none waits for a signature"))?;
    let index = next.parsed()?;
    let current = in_place.as_ref().map(IndexFile::parsed).transpose()?;
    let version = current.map_or(0, |current| current.version);
    if Some(index.version) != version.checked_add(1)
        || index.previous != in_place.map(|in_place| in_place.sha256)
    {
        return Err(PublishError::Finish("the one that waits is not the next after the one in place"));
    }
    match request.signing.key() {
        Some(key) => next.must_be_signed(std::slice::from_ref(key), false)?,
        None => next.must_be_signed(&read_shown_keys(request.depot)?, true)?,
    }
    Ok((index, next))
}
