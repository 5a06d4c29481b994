//! Publishing: adds patches of a working directory to a depot, and replaces its signed index.
//!
//! ```text
//! WORK ─ read, check ─► objects (durable) ─► index/<digest>.json + .minisig (durable) ─► rename over index.json
//! ```
//! Objects are never changed or removed, so readers always find a complete index. An id with other bytes is refused.
//! Patch signatures are verified only if the index key made them: roots decide who may sign.

mod patch_directory;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::operation::depots::{index_entry, read_flags};
use chrono::Days;
use patch_directory::{HANDOVER, ManifestFault, PackedMembers, PatchDirectoryFiles, PatchPapers};
use patchadm_container::Compression;
use patchadm_inputs::depot::{DepotFile, DepotFlags, DepotIndex, DepotPatch};
use patchadm_inputs::sign::{Manifest, ManifestForm, sha256_text};
use patchadm_inputs::source;
use patchadm_inputs::source::{Extent, Form, Image, Origin};
use patchadm_rootfs::{Dir, FileType, Lock, LockError, LockHolder, RootError, random};
use patchadm_svr4::patch::{PatchId, PatchMacros};
use rustix::io::Errno;
use store::{
    DepotStore, IndexFile, Measured, Measuring, ObjectSource, PROGRAM, StoredIndex, digest, measure,
    read_shown_keys, text_of,
};

pub use patch_directory::{
    IndexSigning, MissingOfEarlier, PublishError, PublishReport, PublishRequest, PublishState, PublishWork,
    SignIndex,
};

/// `wait` decides whether to keep waiting for a locked depot or working directory.
pub fn publish(
    request: &PublishRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<PublishReport, PublishError> {
    match request.work {
        PublishWork::Finish => finish(request, wait),
        PublishWork::Refresh => publish_patches(request, &[], wait),
        PublishWork::Patches(work) => {
            // Locking leaves a note of the holder.
            let _nobody_builds = if request.is_dry_run { None } else { lock_work(work, wait)? };
            publish_patches(request, &read_patches(work, request)?, wait)
        }
    }
}

fn publish_patches(
    request: &PublishRequest<'_>,
    patches: &[PatchToPublish],
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<PublishReport, PublishError> {
    let draft_after = |current: Option<IndexFile>| {
        if current.is_none() && matches!(request.work, PublishWork::Refresh) {
            return Err(PublishError::NoIndex(request.depot.to_owned()));
        }
        let verified =
            current.map(|file| file.believed(&request.signing, request.may_be_unsigned)).transpose()?;
        let draft = IndexDraft::of(verified, patches, &read_flags(request.depot)?, request)?;
        draft.check_revisions(patches, request)?;
        Ok(draft)
    };
    // A new date is a change, too.
    let unchanged =
        |draft: &IndexDraft| draft.unchanged().filter(|_| matches!(request.work, PublishWork::Patches(_)));
    if request.is_dry_run || !request.depot.exists() {
        // Make no depot for patches that will not enter it.
        let draft = draft_after(DepotStore::look(request.depot)?)?;
        if draft.lacks_signatures() {
            return Ok(draft.not_written());
        }
        if request.is_dry_run {
            return Ok(unchanged(&draft).unwrap_or_else(|| draft.not_written()));
        }
    }

    let mut store = DepotStore::open(request.depot, wait)?;
    let draft = draft_after(store.index()?)?;
    if draft.lacks_signatures() {
        return Ok(draft.not_written());
    }
    let text = text_of(&draft.index)?;
    // This restores objects that a depot has lost.
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
    store.settle()?;
    if let Some(report) = unchanged(&draft) {
        return Ok(report);
    }

    if let Some(key) = request.signing.key() {
        store.show_key(key)?;
    }
    let signature = match &request.signing {
        IndexSigning::Elsewhere(_) => {
            let sha256 = store.put_next(&text)?;
            let to_sign = vec![request.depot.join("index/next.json")];
            return Ok(PublishReport { to_sign, ..draft.report(PublishState::Waiting, &sha256) });
        }
        IndexSigning::Here { sign, .. } => Some(sign(&text)),
        IndexSigning::Never => None,
    };
    let sha256 = store.put_index(&draft.index, &text, signature.as_deref())?;
    Ok(draft.report(PublishState::Published, &sha256))
}

/// Publishes an index that was signed elsewhere, byte for byte.
fn finish(
    request: &PublishRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<PublishReport, PublishError> {
    if request.is_dry_run || !request.depot.exists() {
        let (next, in_place) = (DepotStore::look_next(request.depot)?, DepotStore::look(request.depot)?);
        let (index, file) = signed_next(next, in_place, request)?;
        return Ok(report(&index, PublishState::Planned, &file.sha256));
    }
    let store = DepotStore::open(request.depot, wait)?;
    let (next, in_place) = (store.next()?, store.index()?);
    if let (Some(next), Some(in_place)) = (&next, &in_place)
        && next.sha256 == in_place.sha256
    {
        // A killed finish had got this far.
        store.remove_next()?;
        return Ok(report(&next.parsed()?, PublishState::Unchanged, &next.sha256));
    }
    let (index, file) = signed_next(next, in_place, request)?;
    let sha256 = store.put_index(&index, &file.text, file.signature.as_deref())?;
    Ok(report(&index, PublishState::Published, &sha256))
}

/// Reads the waiting index, which must be signed and follow the current one. Its signature covers the current one.
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
        return Err(PublishError::Finish("the waiting one is not the next version after the current one"));
    }
    match request.signing.key() {
        Some(key) => next.must_be_signed(std::slice::from_ref(key), false)?,
        None => next.must_be_signed(&read_shown_keys(request.depot)?, true)?,
    }
    Ok((index, next))
}

const PATCHES: &str = "patches";

const BESIDE_PATCHES: [&str; 2] = [HANDOVER, "logs"];

const LOCK: &[u8] = b"lock";

struct PatchToPublish {
    id: PatchId,
    path: PathBuf,
    entry: DepotPatch,
    objects: Vec<(ObjectSource, DepotFile)>,
    /// The unsigned manifest, or a patch without one.
    to_sign: Option<PathBuf>,
}

/// Locks a directory of `patchadm delta` against builds. Other directories have no lock, and a caller without write
/// permission only reads.
fn lock_work(work: &Path, wait: &mut dyn FnMut(&LockHolder) -> bool) -> Result<Option<Lock>, PublishError> {
    if let Err(error) = std::fs::read_dir(work) {
        return Err(PublishError::Directory { path: work.to_owned(), error });
    }
    let dir = Dir::of_host(work)?;
    if dir.look(LOCK)?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return Ok(None);
    }
    match Lock::take_file(&dir, LOCK, PROGRAM, wait) {
        Err(LockError::Root(error))
            if matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) =>
        {
            Ok(None)
        }
        taken => Ok(Some(taken?)),
    }
}

fn read_patches(work: &Path, request: &PublishRequest<'_>) -> Result<Vec<PatchToPublish>, PublishError> {
    let mut patches: BTreeMap<PatchId, PatchToPublish> = BTreeMap::new();
    for path in patch_files(work)? {
        request.go_on()?;
        let patch = read_patch(&path, work, request)?;
        if let Some(first) = patches.get(&patch.id) {
            let (id, first) = (patch.id, first.path.clone());
            return Err(PublishError::Twice { id, first, second: path });
        }
        patches.insert(patch.id.clone(), patch);
    }
    Ok(patches.into_values().collect())
}

/// Excludes manifests, signatures, hidden files, and other files of `patchadm delta`.
fn patch_files(work: &Path) -> Result<Vec<PathBuf>, PublishError> {
    let inside = work.join(PATCHES);
    let directory = if inside.is_dir() { inside } else { work.to_owned() };
    let unreadable = |error| PublishError::Directory { path: directory.clone(), error };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (name, metadata) = (entry.file_name(), entry.path().metadata().map_err(unreadable)?);
        let name = name.to_string_lossy();
        if is_beside(&name) || metadata.is_dir() && BESIDE_PATCHES.contains(&&*name) {
            continue;
        }
        if !metadata.is_file() && !metadata.is_dir() {
            let reason = "it is neither a file nor a directory".to_owned();
            return Err(PublishError::Patch { path: entry.path(), reason });
        }
        files.push(entry.path());
    }
    files.sort();
    Ok(files)
}

fn is_beside(name: &str) -> bool {
    let is_of_delta = ["lock", "bases"].contains(&name);
    let is_beside = [".manifest", ".minisig", ".sig", ".json"].iter().any(|end| name.ends_with(end));
    name.starts_with('.') || is_of_delta || is_beside
}

fn read_patch(
    path: &Path,
    work: &Path,
    request: &PublishRequest<'_>,
) -> Result<PatchToPublish, PublishError> {
    let is_directory = path.is_dir();
    let (patch, papers) = if is_directory {
        let patch = read_directory(path, request)?;
        (patch, PatchPapers::inside(path)?)
    } else {
        (read_file(path, request)?, PatchPapers::beside(path, work)?)
    };
    let ReadPatch { image, macros, measured, source, members } = patch;
    let manifest =
        papers.checked_manifest(&macros.id, request.signing.key(), |manifest, text| match &members {
            Some(members) => members.difference(manifest, text, &macros.id),
            None => difference_of_file(manifest, &measured).map(ManifestFault::Differs),
        })?;
    let mut entry = index_entry(&image, &macros, DepotFile::new(&measured.sha256, measured.size));
    entry.date = manifest
        .and_then(|manifest| manifest.date)
        .unwrap_or_else(|| patchadm_inputs::depot::stamp(&request.now));
    let mut objects = vec![(source, DepotFile::new(&measured.sha256, measured.size))];
    let to_sign = papers.to_sign(path);
    let readme = image.readme.map(|(_, text)| text);
    // The archive of a directory includes them.
    let (manifest, signature) = if is_directory { (None, None) } else { papers.into_bytes() };
    for (bytes, place) in
        [(manifest, &mut entry.manifest), (signature, &mut entry.signature), (readme, &mut entry.readme)]
    {
        if let Some(bytes) = bytes {
            let object = DepotFile::new(&digest(&bytes), bytes.len() as u64);
            *place = Some(object.clone());
            objects.push((ObjectSource::Bytes(bytes), object));
        }
    }
    Ok(PatchToPublish { id: macros.id, path: path.to_owned(), entry, objects, to_sign })
}

struct ReadPatch {
    image: Image,
    macros: PatchMacros,
    measured: Measured,
    source: ObjectSource,
    members: Option<PackedMembers>,
}

fn read_file(path: &Path, request: &PublishRequest<'_>) -> Result<ReadPatch, PublishError> {
    let (file, measured) = measure(path, request)?;
    let (_, image) = source::open(Origin::File(file, path), Extent::Everything)?;
    let macros = macros_of(&image, path)?;
    check_form(image.form).map_err(|reason| PublishError::Patch { path: path.to_owned(), reason })?;
    Ok(ReadPatch { image, macros, measured, source: ObjectSource::File(path.to_owned()), members: None })
}

/// Reads a directory as its future archive. Fails if a file changes meanwhile, because the index must describe the
/// stored bytes.
fn read_directory(path: &Path, request: &PublishRequest<'_>) -> Result<ReadPatch, PublishError> {
    let listed = PatchDirectoryFiles::of(path)?;
    let (_, mut image) = source::open(Origin::Path(path), Extent::Everything)?;
    let macros = macros_of(&image, path)?;
    image.form = Form::Tar(None);
    let directory = listed.called(&macros.id);
    let mut sum = Measuring::default();
    let members = directory.pack(|bytes| {
        sum.add(bytes);
        request.go_on()
    })?;
    let (measured, source) = (sum.finish(), ObjectSource::Directory(directory));
    Ok(ReadPatch { image, macros, measured, source, members: Some(members) })
}

fn macros_of(image: &Image, path: &Path) -> Result<PatchMacros, PublishError> {
    let fail = |reason: String| PublishError::Patch { path: path.to_owned(), reason };
    image.patch_macros(PatchId::SEPARATOR).map_err(|error| fail(error.to_string()))
}

fn difference_of_file(manifest: &Manifest, measured: &Measured) -> Option<String> {
    match (manifest.form, manifest.entries.as_slice()) {
        (ManifestForm::File, [entry]) if sha256_text(&entry.sum) == measured.sha256 => None,
        (ManifestForm::File, _) => Some("does not match the digest of the file".to_owned()),
        _ => Some("has the form `members`, but a file needs the form `file`".to_owned()),
    }
}

/// Some mirrors or readers cannot handle every form.
fn check_form(form: Form) -> Result<(), String> {
    match form {
        Form::Zip | Form::Tar(None | Some(Compression::Gzip)) | Form::Datastream(None) => Ok(()),
        _ => Err("a depot accepts zip, tar, tar.gz and datastream".to_owned()),
    }
}

/// One version ahead of the current index.
struct IndexDraft {
    index: DepotIndex,
    before: Option<PublishReport>,
    added: BTreeSet<PatchId>,
    has_other_flags: bool,
    kept: Vec<String>,
    to_sign: Vec<PathBuf>,
}

impl IndexDraft {
    /// Starts a new depot if there is no index.
    fn of(
        before: Option<StoredIndex>,
        patches: &[PatchToPublish],
        flags: &DepotFlags,
        request: &PublishRequest<'_>,
    ) -> Result<Self, PublishError> {
        let report =
            before.as_ref().map(|stored| report(&stored.index, PublishState::Unchanged, &stored.sha256));
        let (mut index, previous) = match before {
            Some(StoredIndex { index, sha256 }) => (index, Some(sha256)),
            None => (DepotIndex::new(new_name()?, request.now), None),
        };
        index.version = index.version.checked_add(1).ok_or(PublishError::NoVersion)?;
        index.date = request.now;
        index.expires = request.expires.and_then(|days| request.now.checked_add_days(Days::new(days.into())));
        index.previous = previous;
        let (added, kept, to_sign) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut draft = Self { index, before: report, added, has_other_flags: false, kept, to_sign };
        for patch in patches {
            draft.enter(patch, request.may_be_unsigned)?;
        }
        draft.set_flags(flags);
        Ok(draft)
    }

    fn set_flags(&mut self, flags: &DepotFlags) {
        let wanted = self.index.patches().filter_map(|patch| {
            let id = PatchId::new(&patch.id).ok()?;
            let given = flags.of(&id);
            (patch.flags != given).then(|| (id, DepotPatch { flags: given.to_vec(), ..patch.clone() }))
        });
        for (id, patch) in wanted.collect::<Vec<_>>() {
            self.has_other_flags |= !self.added.contains(&id);
            self.index.enter(id, patch);
        }
    }

    /// A patch with the same bytes stays unless it was signed again; other bytes for the same id are refused.
    fn enter(&mut self, patch: &PatchToPublish, may_be_unsigned: bool) -> Result<(), PublishError> {
        if let Some(there) = self.index.patch(&patch.id) {
            if there.sha256 != patch.entry.sha256 {
                return Err(PublishError::OtherBytes(patch.id.clone()));
            }
            if !is_signed_anew(there, &patch.entry) {
                self.kept.push(there.id.clone());
                return Ok(());
            }
        }
        if !may_be_unsigned {
            self.to_sign.extend(patch.to_sign.clone());
        }
        self.added.insert(patch.id.clone());
        self.index.enter(patch.id.clone(), patch.entry.clone());
        Ok(())
    }

    /// Refuses a new revision without all that earlier ones change: a root may have had any of them.
    fn check_revisions(
        &self,
        patches: &[PatchToPublish],
        request: &PublishRequest<'_>,
    ) -> Result<(), PublishError> {
        for patch in patches.iter().filter(|patch| self.adds(&patch.id)) {
            request.go_on()?;
            let earlier = self.index.revisions_before(&patch.id).map(|(id, earlier)| {
                let given = patches.iter().find(|given| given.id == *id).map(|given| given.path.clone());
                given.unwrap_or_else(|| request.depot.join(&earlier.path))
            });
            let missing = (request.missing_of_earlier)(&patch.path, &earlier.collect::<Vec<_>>())?;
            if !missing.is_empty() {
                return Err(PublishError::NotCumulative { path: patch.path.clone(), missing });
            }
        }
        Ok(())
    }

    fn lacks_signatures(&self) -> bool {
        !self.to_sign.is_empty()
    }

    fn unchanged(&self) -> Option<PublishReport> {
        let before = self.before.clone().filter(|_| self.added.is_empty() && !self.has_other_flags)?;
        Some(PublishReport { kept: self.kept.clone(), ..before })
    }

    fn adds(&self, id: &PatchId) -> bool {
        self.added.contains(id)
    }

    fn not_written(self) -> PublishReport {
        let (before, to_sign) = (self.before.clone(), self.to_sign.clone());
        let planned = self.report(PublishState::Planned, "");
        let depot = before.as_ref().and_then(|before| before.depot.clone());
        if to_sign.is_empty() {
            return PublishReport { depot, index_sha256: None, ..planned };
        }
        PublishReport {
            state: PublishState::Unsigned,
            depot,
            version: before.as_ref().map_or(0, |before| before.version),
            index_sha256: before.as_ref().and_then(|before| before.index_sha256.clone()),
            expires: before.and_then(|before| before.expires),
            added: Vec::new(),
            kept: planned.kept,
            to_sign,
        }
    }

    fn report(self, state: PublishState, sha256: &str) -> PublishReport {
        let added = self.added.iter().map(ToString::to_string).collect();
        PublishReport { added, kept: self.kept, ..report(&self.index, state, sha256) }
    }
}

fn report(index: &DepotIndex, state: PublishState, sha256: &str) -> PublishReport {
    PublishReport {
        state,
        depot: Some(index.depot.clone()),
        version: index.version,
        index_sha256: Some(sha256.to_owned()),
        expires: index.expires,
        added: Vec::new(),
        kept: Vec::new(),
        to_sign: Vec::new(),
    }
}

/// Signatures are never removed.
fn is_signed_anew(there: &DepotPatch, now: &DepotPatch) -> bool {
    now.signature.is_some() && now.signature != there.signature
}

/// 32 random hexadecimal digits.
fn new_name() -> Result<String, RootError> {
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}
