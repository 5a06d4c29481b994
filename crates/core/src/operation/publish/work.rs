//! The patches of a working directory, as entries of an index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::index_file::digest;
use super::store::{Measured, ObjectSource, PROGRAM, measure};
use super::{PublishError, PublishRequest};
use crate::depot::{DepotFile, DepotPatch};
use crate::operation::depots::index_entry;
use crate::operation::small_file::read_start;
use crate::sign::{
    LARGEST_MANIFEST, LARGEST_SIGNATURE, Manifest, ManifestForm, PublicKey, Signature, SignatureFormat,
    sha256_text,
};
use crate::source::{self, Extent, Form, Origin};
use patchadm_container::Compression;
use patchadm_rootfs::{Dir, FileType, Lock, LockError, LockHolder};
use patchadm_svr4::patch::PatchId;

/// The directory of a `delta` that holds its patches, and the one that holds what is to be signed.
const PATCHES: &str = "patches";
const HANDOVER: &str = "handover";

/// Directories that may lie where the patches are.
const BESIDE_PATCHES: [&str; 2] = [HANDOVER, "logs"];

/// The lock of a `delta`.
const LOCK: &[u8] = b"lock";

/// A patch that is ready to be stored.
pub(super) struct PatchToPublish {
    /// Its id.
    pub(super) id: PatchId,
    /// The file.
    path: PathBuf,
    /// Its line in the index.
    pub(super) entry: DepotPatch,
    /// Its objects, each with its digest.
    pub(super) objects: Vec<(ObjectSource, DepotFile)>,
    /// What has to be signed, where there is no signature: the manifest, or the patch itself where that is missing.
    pub(super) to_sign: Option<PathBuf>,
}

/// Takes the lock of a working directory of `patchadm delta`, so that nobody builds in it meanwhile. Other directories have
/// none, and who may not write to it only reads what is there.
pub(super) fn lock_work(
    work: &Path,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<Option<Lock>, PublishError> {
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

/// Reads the patches of a working directory.
pub(super) fn read_patches(
    work: &Path,
    request: &PublishRequest<'_>,
) -> Result<Vec<PatchToPublish>, PublishError> {
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

/// Lists the files of a working directory that are patches by their names: all but manifests, signatures, hidden files, and
/// what else `patchadm delta` puts there.
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
        if !metadata.is_file() {
            let reason = "it is no file, and a depot takes patches that are one file each".to_owned();
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

/// Reads a patch with what lies beside it.
fn read_patch(
    path: &Path,
    work: &Path,
    request: &PublishRequest<'_>,
) -> Result<PatchToPublish, PublishError> {
    let fail = |reason: String| PublishError::Patch { path: path.to_owned(), reason };
    let (file, measured) = measure(path, request)?;
    let (_, image) = source::open(Origin::File(file, path), Extent::Everything)?;
    let macros = image.patch_macros(PatchId::SEPARATOR).map_err(|error| fail(error.to_string()))?;
    check_form(image.form).map_err(fail)?;
    let beside = BesidePatch::of(path, work)?;
    let manifest = beside.checked_manifest(&macros.id, &measured, request.signing.key())?;
    let mut entry = index_entry(&image, &macros, DepotFile::new(&measured.sha256, measured.size));
    entry.date =
        manifest.and_then(|manifest| manifest.date).unwrap_or_else(|| crate::depot::stamp(&request.now));
    let mut objects =
        vec![(ObjectSource::File(path.to_owned()), DepotFile::new(&measured.sha256, measured.size))];
    let to_sign = beside.to_sign(path);
    let readme = image.readme.map(|(_, text)| text);
    let signature = beside.signature.map(|found| found.bytes);
    for (bytes, place) in [
        (beside.manifest.map(|(_, bytes)| bytes), &mut entry.manifest),
        (signature, &mut entry.signature),
        (readme, &mut entry.readme),
    ] {
        if let Some(bytes) = bytes {
            let object = DepotFile::new(&digest(&bytes), bytes.len() as u64);
            *place = Some(object.clone());
            objects.push((ObjectSource::Bytes(bytes), object));
        }
    }
    Ok(PatchToPublish { id: macros.id, path: path.to_owned(), entry, objects, to_sign })
}

/// The manifest and the signature of a patch.
struct BesidePatch {
    manifest: Option<(PathBuf, Vec<u8>)>,
    signature: Option<FoundSignature>,
}

/// A signature file.
struct FoundSignature {
    path: PathBuf,
    format: SignatureFormat,
    bytes: Vec<u8>,
}

impl BesidePatch {
    /// Reads what is beside a patch, or handed over to be signed and come back from there.
    fn of(patch: &Path, work: &Path) -> Result<Self, PublishError> {
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        let manifest = patch.with_file_name(format!("{name}.manifest"));
        let handed_over = work.join(HANDOVER).join(format!("{name}.manifest"));
        let places = [&manifest, &handed_over];
        let mut signature = None;
        for (place, format) in
            places.iter().flat_map(|place| SignatureFormat::ALL.map(|format| (place, format)))
        {
            let path = PathBuf::from(format!("{}{}", place.display(), format.ending()));
            if signature.is_none() {
                let bytes = read_small(&path, LARGEST_SIGNATURE)?;
                signature = bytes.map(|bytes| FoundSignature { path, format, bytes });
            }
        }
        let bytes = read_small(&manifest, LARGEST_MANIFEST)?;
        Ok(Self { manifest: bytes.map(|bytes| (manifest, bytes)), signature })
    }

    /// What has to be signed, where there is no signature.
    fn to_sign(&self, patch: &Path) -> Option<PathBuf> {
        match (&self.manifest, &self.signature) {
            (Some(_), Some(_)) => None,
            (Some((manifest, _)), None) => Some(manifest.clone()),
            (None, _) => Some(patch.to_owned()),
        }
    }

    /// Reads the manifest, which must be of this patch and of these bytes, and its signature, which must be one of it where
    /// that can be told.
    fn checked_manifest(
        &self,
        id: &PatchId,
        measured: &Measured,
        key: Option<&PublicKey>,
    ) -> Result<Option<Manifest>, PublishError> {
        let Some((path, text)) = &self.manifest else { return Ok(None) };
        let wrong = |path: &Path, reason: String| PublishError::Signature {
            path: path.display().to_string(),
            reason,
        };
        let manifest =
            Manifest::parse(text).map_err(|error| wrong(path, format!("is not valid: {error}")))?;
        if PatchId::new(&manifest.patch).ok().as_ref() != Some(id) {
            return Err(wrong(path, format!("is the manifest of patch {}, not of {id}", manifest.patch)));
        }
        match (manifest.form, manifest.entries.as_slice()) {
            (ManifestForm::File, [entry]) if sha256_text(&entry.sum) == measured.sha256 => {}
            (ManifestForm::File, _) => {
                return Err(wrong(path, "has another digest than the file".to_owned()));
            }
            _ => {
                return Err(wrong(
                    path,
                    "is of the form `members`, and a file needs one of `file`".to_owned(),
                ));
            }
        }
        if let Some(found) = &self.signature {
            let signature = Signature::parse(&found.bytes, found.format)
                .map_err(|error| wrong(&found.path, format!("is not valid: {error}")))?;
            if key.is_some_and(|key| key.id == signature.key && !signature.is_of(key, text)) {
                return Err(wrong(
                    &found.path,
                    format!("is by key {}, but not of {}", signature.key, path.display()),
                ));
            }
        }
        Ok(Some(manifest))
    }
}

/// Reads a file of at most `limit` bytes; `None` where there is none.
fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PublishError> {
    let unreadable = |error| PublishError::Read { path: path.to_owned(), error };
    let bytes = match read_start(path, limit) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(unreadable)?,
    };
    if bytes.len() as u64 > limit {
        let reason = format!("is larger than {limit} bytes");
        return Err(PublishError::Signature { path: path.display().to_string(), reason });
    }
    Ok(Some(bytes))
}

/// Refuses a form that mirrors and readers of every version cannot be given.
fn check_form(form: Form) -> Result<(), String> {
    match form {
        Form::Zip | Form::Tar(None | Some(Compression::Gzip)) | Form::Datastream(None) => Ok(()),
        _ => Err("a depot takes zip, tar, tar.gz and datastream".to_owned()),
    }
}
