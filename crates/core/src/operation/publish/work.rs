//! The patches of a working directory, as entries of an index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::index_file::digest;
use super::papers::{HANDOVER, PatchPapers};
use super::patch_directory::{PackedMembers, PatchDirectory};
use super::store::{Measured, Measuring, ObjectSource, PROGRAM, measure};
use super::{PublishError, PublishRequest};
use crate::operation::depots::index_entry;
use patchadm_container::Compression;
use patchadm_inputs::depot::{DepotFile, DepotPatch};
use patchadm_inputs::sign::{Manifest, ManifestForm, sha256_text};
use patchadm_inputs::source::{self, Extent, Form, Image, Origin};
use patchadm_rootfs::{Dir, FileType, Lock, LockError, LockHolder};
use patchadm_svr4::patch::{PatchId, PatchMacros};

/// The directory of a `delta` that holds its patches, and the one that holds the files to be signed.
const PATCHES: &str = "patches";

/// Directories that may lie beside the patches.
const BESIDE_PATCHES: [&str; 2] = [HANDOVER, "logs"];

/// The lock of a `delta`.
const LOCK: &[u8] = b"lock";

/// A patch that is ready to be stored.
pub(super) struct PatchToPublish {
    /// Its id.
    pub(super) id: PatchId,
    /// The file or directory.
    path: PathBuf,
    /// Its line in the index.
    pub(super) entry: DepotPatch,
    /// Its objects, each with its digest.
    pub(super) objects: Vec<(ObjectSource, DepotFile)>,
    /// The file to be signed, if there is no signature: the manifest, or the patch itself if that is missing.
    pub(super) to_sign: Option<PathBuf>,
}

/// Takes the lock of a working directory of `patchadm delta`, so that no command builds in it meanwhile. Other directories
/// have none, and a caller who may not write to the directory only reads it.
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

/// Lists the files and directories of a working directory that are patches by their names: all but manifests, signatures,
/// hidden files, and the other files that `patchadm delta` puts there.
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

/// Reads a patch with the files beside it, or in it.
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
            None => difference_of_file(manifest, &measured),
        })?;
    let mut entry = index_entry(&image, &macros, DepotFile::new(&measured.sha256, measured.size));
    entry.date = manifest
        .and_then(|manifest| manifest.date)
        .unwrap_or_else(|| patchadm_inputs::depot::stamp(&request.now));
    let mut objects = vec![(source, DepotFile::new(&measured.sha256, measured.size))];
    let to_sign = papers.to_sign(path);
    let readme = image.readme.map(|(_, text)| text);
    // The manifest and signature of a directory are in its archive.
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

/// A patch that was read, and the file that it becomes in the depot.
struct ReadPatch {
    image: Image,
    macros: PatchMacros,
    measured: Measured,
    source: ObjectSource,
    /// The files of a directory.
    members: Option<PackedMembers>,
}

/// Reads a patch that is a file.
fn read_file(path: &Path, request: &PublishRequest<'_>) -> Result<ReadPatch, PublishError> {
    let (file, measured) = measure(path, request)?;
    let (_, image) = source::open(Origin::File(file, path), Extent::Everything)?;
    let macros = macros_of(&image, path)?;
    check_form(image.form).map_err(|reason| PublishError::Patch { path: path.to_owned(), reason })?;
    Ok(ReadPatch { image, macros, measured, source: ObjectSource::File(path.to_owned()), members: None })
}

/// Reads a patch that is a directory, as the archive that it becomes. Refuses it if a file changes between reading its
/// description and packing everything: the index must describe the bytes that the depot has.
fn read_directory(path: &Path, request: &PublishRequest<'_>) -> Result<ReadPatch, PublishError> {
    let listed = PatchDirectory::of(path)?;
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

/// Returns the fault of a manifest that lies beside a file.
fn difference_of_file(manifest: &Manifest, measured: &Measured) -> Option<String> {
    match (manifest.form, manifest.entries.as_slice()) {
        (ManifestForm::File, [entry]) if sha256_text(&entry.sum) == measured.sha256 => None,
        (ManifestForm::File, _) => Some("has another digest than the file".to_owned()),
        _ => Some("is of the form `members`, and a file needs one of `file`".to_owned()),
    }
}

/// Refuses a form that not every version of mirrors and readers can handle.
fn check_form(form: Form) -> Result<(), String> {
    match form {
        Form::Zip | Form::Tar(None | Some(Compression::Gzip)) | Form::Datastream(None) => Ok(()),
        _ => Err("a depot takes zip, tar, tar.gz and datastream".to_owned()),
    }
}
