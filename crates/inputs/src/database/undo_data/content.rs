//! What undo data holds: the saved objects as a source, and the old record files.

use std::collections::BTreeMap;
use std::io::Read as _;

use patchadm_changeset::RecordFile;
use patchadm_changeset::archive_file::UnreadContent;
use patchadm_changeset::format::manifest::{KEPT_RECORDS, MANIFEST, Manifest, RECORDS, decode};
use patchadm_rootfs::Timestamp;
use patchadm_svr4::format::cpio::CpioReader;
use patchadm_svr4::package::{Mode, PkgInst};

use super::archive::UndoArchiveFile;
use super::error::ArchiveError;
use crate::source::{Image, PackageImage, Source, SourceError, StoredContent};

/// The old files of the package's directory in the database, by name.
pub type OldRecords = BTreeMap<Vec<u8>, RecordFile>;

/// The content of undo data, open.
#[derive(Debug)]
pub struct UndoContent {
    /// The saved objects, streamed by their paths in the image.
    pub source: Source,
    /// The backout package: one package, with what is known of each object.
    pub image: Image,
    /// The old record files; none in an archive of another tool.
    pub records: OldRecords,
}

/// The reasons why the content of undo data cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UndoContentError {
    /// The undo data is damaged.
    #[error(transparent)]
    Undo(#[from] ArchiveError),
    /// It cannot be read as the package that it is.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl UndoContent {
    /// Reads everything but the content of the objects.
    pub(super) fn whole(
        archive: UndoArchiveFile,
        manifest: Option<&Manifest>,
    ) -> Result<Self, UndoContentError> {
        let path = archive.path().to_owned();
        let (source, image) = archive.into_source(manifest)?;
        let records = saved_records(&image, manifest, &path)?;
        Ok(Self { source, image, records })
    }

    /// Reads what stands before the objects, with the manifest; `None` if there is no manifest.
    pub(super) fn described(archive: UndoArchiveFile) -> Result<Option<(Manifest, Self)>, ArchiveError> {
        let path = archive.path().to_owned();
        let root = archive.root().clone();
        let opened = archive.into_descriptions();
        let (source, image) = opened.map_err(|error| damaged(&path, error.problem.to_string()))?;
        let bytes = image.packages.first().and_then(|one| one.install.get(MANIFEST));
        let manifest = bytes.map(|bytes| Manifest::parse(bytes)).transpose();
        let manifest = manifest.map_err(|error| UnreadContent::from(error).of(&path))?;
        let records = saved_records(&image, manifest.as_ref(), &path)?;
        let stored = manifest.as_ref().and_then(|manifest| StoredContent::of(&root, manifest));
        let source = source.with_stored(stored);
        Ok(manifest.map(|manifest| (manifest, Self { source, image, records })))
    }

    /// Reads the old record files of undo data with this manifest.
    pub(super) fn records(
        archive: UndoArchiveFile,
        manifest: &Manifest,
    ) -> Result<OldRecords, UndoContentError> {
        let path = archive.path().to_owned();
        let (_, image) = archive.into_descriptions()?;
        Ok(saved_records(&image, Some(manifest), &path)?)
    }
}

fn saved_records(image: &Image, manifest: Option<&Manifest>, path: &str) -> Result<OldRecords, ArchiveError> {
    let Some(bytes) = image.packages.first().and_then(|one| one.install.get(RECORDS)) else {
        return Ok(OldRecords::new());
    };
    let mut files = records(bytes).map_err(|reason| damaged(path, reason))?;
    for (name, nanoseconds) in manifest.into_iter().flat_map(|manifest| &manifest.header.record_times) {
        if let Some(file) = files.get_mut(&*decode(name)) {
            file.mtime.nanoseconds = *nanoseconds;
        }
    }
    Ok(files)
}

fn records(bytes: &[u8]) -> Result<OldRecords, String> {
    let mut files = OldRecords::new();
    each_record(bytes, |name, file| {
        files.insert(name, file);
        Ok(())
    })?;
    Ok(files)
}

/// Reads the record files of packages of kept libraries that undo data with this backout package holds.
pub fn kept_records(image: &PackageImage) -> Result<BTreeMap<PkgInst, OldRecords>, String> {
    let mut packages: BTreeMap<PkgInst, OldRecords> = BTreeMap::new();
    let Some(bytes) = image.install.get(KEPT_RECORDS) else { return Ok(packages) };
    each_record(bytes, |path, file| {
        let slash = path.iter().position(|byte| *byte == b'/');
        let (package, name) = path.split_at(slash.unwrap_or(path.len()));
        let package = std::str::from_utf8(package).ok().and_then(|name| PkgInst::new(name).ok());
        let name = name.get(1..).filter(|name| {
            let mut parts = name.split(|byte| *byte == b'/');
            parts.all(|part| !part.is_empty() && part != b"." && part != b"..")
        });
        let (Some(package), Some(name)) = (package, name) else {
            let name = String::from_utf8_lossy(&path).escape_debug().to_string();
            return Err(format!("<{name}> is no record of a package"));
        };
        packages.entry(package).or_default().insert(name.to_vec(), file);
        Ok(())
    })?;
    Ok(packages)
}

/// Hands each file of a cpio archive of record files to `take`.
fn each_record(
    bytes: &[u8],
    mut take: impl FnMut(Vec<u8>, RecordFile) -> Result<(), String>,
) -> Result<(), String> {
    let mut archive = CpioReader::new(bytes);
    while let Some(header) = archive.next_member().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        archive.read_to_end(&mut content).map_err(|error| error.to_string())?;
        let mtime = Timestamp::whole(i64::try_from(header.mtime).unwrap_or_default());
        take(header.name, RecordFile { bytes: content.into(), mode: Mode::of(header.mode), mtime })?;
    }
    Ok(())
}

fn damaged(path: &str, reason: String) -> ArchiveError {
    ArchiveError::Damaged { path: path.to_owned(), reason }
}
