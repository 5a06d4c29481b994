//! The undo data of a patch for a package, verified and read: what a backout is planned with and restores from.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use patchadm_changeset::RecordFile;
use patchadm_changeset::archive_file::UnreadContent;
use patchadm_changeset::format::manifest::{MANIFEST, Manifest, RECORDS, decode};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::archive::{self, ArchiveAsWritten, ArchiveError, DigestCheck, OutsideAccess};
use patchadm_inputs::source::{self, Extent, Image, Origin};
use patchadm_planning::plan::patch::backout_input::{BackoutArchive, LaterArchive};
use patchadm_rootfs::Root;
use patchadm_rootfs::Timestamp;
use patchadm_svr4::format::cpio;
use patchadm_svr4::package::{Mode, PkgInst};
use patchadm_svr4::patch::PatchId;

/// An undo archive that was verified and read.
pub(super) struct VerifiedUndo {
    pub(super) patch: PatchId,
    pub(super) package: PkgInst,
    /// Where it is, on the host.
    pub(super) at: PathBuf,
    /// Whether that is outside the root.
    is_remote: bool,
    pub(super) device: OpenDevice,
    /// The snapshot beside it, where scripts made the archive: manifest, records and binding are those of the snapshot.
    snapshot: Option<OpenDevice>,
    pub(super) manifest: Option<Manifest>,
    records: BTreeMap<Vec<u8>, RecordFile>,
    /// Its path on the host, where it is kept outside the root and goes with the backout.
    outside: Option<PathBuf>,
    /// Why it stays there, where it does.
    pub(super) stays: Option<String>,
    /// Whether a run of the root made it, by the ledger.
    is_bound: bool,
}

/// How the undo archives of a patch are read.
pub(super) struct UndoReading<'a> {
    pub(super) root: &'a Root,
    /// What may be opened outside the root.
    pub(super) outside: OutsideAccess<'a>,
    /// The marker of the root.
    pub(super) marker: &'a str,
    /// Threads that see whether archives are what was written.
    pub(super) digesting: &'a mut Vec<DigestCheck>,
}

impl UndoReading<'_> {
    /// Reads the archive of a package. What an earlier verification found it to say is `known`.
    pub(super) fn undo(
        &mut self,
        (patch, package): (&PatchId, &PkgInst),
        archive: archive::OpenArchive,
        known: Option<&Option<Manifest>>,
    ) -> Result<VerifiedUndo, Failure> {
        let as_written = if known.is_none() { self.as_written(&archive)? } else { None };
        let snapshot = archive.snapshot(&RecordView::live(self.root))?;
        let path = PathBuf::from(archive.path());
        let is_used_up = archive.may_be_removed(self.root, &self.outside);
        let stays = (archive.is_remote() && !is_used_up).then(|| {
            format!(
                "the undo archive {} stays: the ledger of the root does not name that place",
                path.display()
            )
        });
        let outside = is_used_up.then(|| path.clone());
        let (is_bound, is_remote) = (archive.is_bound(), archive.is_remote());
        let (manifest, opened) = match (known, as_written) {
            (None, Some((manifest, opened))) => (Some(manifest), opened),
            (known, _) => {
                let manifest = match known {
                    Some(manifest) => manifest.clone(),
                    None => archive.verify(Some(self.marker))?.manifest,
                };
                let (source, image) =
                    source::open(Origin::File(archive.into_file(), &path), Extent::Everything)?;
                let records = saved_records(&image, manifest.as_ref(), &path)?;
                (manifest, OpenedUndo { device: OpenDevice::whole(source, image), records })
            }
        };
        let OpenedUndo { device, records } = opened;
        let (patch, package, at) = (patch.clone(), package.clone(), path);
        let undo = VerifiedUndo {
            patch,
            package,
            at,
            is_remote,
            device,
            snapshot: None,
            manifest,
            records,
            outside,
            stays,
            is_bound,
        };
        match snapshot {
            Some(snapshot) => self.with_snapshot(undo, &snapshot),
            None => Ok(undo),
        }
    }

    /// The same undo data, restored from the snapshot beside the archive.
    fn with_snapshot(
        &mut self,
        undo: VerifiedUndo,
        snapshot: &archive::OpenArchive,
    ) -> Result<VerifiedUndo, Failure> {
        let Some((manifest, opened)) = self.as_written(snapshot)? else {
            return Err(damaged(Path::new(snapshot.path()), "it has no manifest").into());
        };
        let OpenedUndo { device, records } = opened;
        Ok(VerifiedUndo { snapshot: Some(device), manifest: Some(manifest), records, is_bound: true, ..undo })
    }

    /// Opens an archive that a run of the root wrote; `None` for any other one. Its digest is computed meanwhile.
    fn as_written(
        &mut self,
        archive: &archive::OpenArchive,
    ) -> Result<Option<(Manifest, OpenedUndo)>, Failure> {
        let path = Path::new(archive.path());
        let written = archive.as_written(|file| described(file, path))?;
        Ok(written.map(|ArchiveAsWritten { manifest, description, digesting }| {
            self.digesting.push(digesting);
            (manifest, description)
        }))
    }
}

/// An archive that is open, and the old record files in it.
struct OpenedUndo {
    device: OpenDevice,
    records: BTreeMap<Vec<u8>, RecordFile>,
}

/// Reads what stands before the objects of an archive.
fn described(file: File, path: &Path) -> Result<(Option<Manifest>, OpenedUndo), ArchiveError> {
    let opened = source::open_descriptions(file, path);
    let (source, image) = opened.map_err(|error| damaged(path, &error.problem.to_string()))?;
    let bytes = image.packages.first().and_then(|one| one.install.get(MANIFEST));
    let manifest = bytes.map(|bytes| Manifest::parse(bytes)).transpose();
    let manifest = manifest.map_err(|error| UnreadContent::from(error).of(&path.display().to_string()))?;
    let records = saved_records(&image, manifest.as_ref(), path)?;
    Ok((manifest, OpenedUndo { device: OpenDevice::whole(source, image), records }))
}

impl VerifiedUndo {
    /// The same without the text of manifest and records, which were read: of many archives they need much memory.
    pub(super) fn without_text(mut self) -> Self {
        for device in std::iter::once(&mut self.device).chain(&mut self.snapshot) {
            for package in &mut device.image.packages {
                package.install.retain(|name, _| name != MANIFEST && name != RECORDS);
            }
        }
        self
    }

    /// The same, of which nothing outside the root goes with the backout.
    pub(super) fn staying(self) -> Self {
        Self { outside: None, ..self }
    }

    /// Why the archive cannot be used.
    pub(super) fn damaged(&self, reason: &str) -> ArchiveError {
        damaged(&self.at, reason)
    }

    /// What is restored from.
    pub(super) fn restored_from(&self) -> &OpenDevice {
        self.snapshot.as_ref().unwrap_or(&self.device)
    }

    /// Whether the scripts of the patch made the archive.
    pub(super) fn is_by_scripts(&self) -> bool {
        self.snapshot.is_some()
    }

    /// As that of a patch that stays; `index` is its place among the sources.
    pub(super) fn as_later(&self, index: usize) -> Option<LaterArchive<'_>> {
        let image = self.restored_from().image.packages.first()?;
        let is_snapshot = self.is_by_scripts();
        let format = match self.at.extension().and_then(|suffix| suffix.to_str()) {
            _ if is_snapshot => UndoFormat::Gzip,
            Some("gz") => UndoFormat::Gzip,
            Some("Z") => UndoFormat::Compress,
            _ => UndoFormat::Plain,
        };
        // The archive that scripts made stays as it is.
        let outside = Some(self.at.as_path()).filter(|_| self.is_remote && !is_snapshot);
        let is_used_up = self.outside.is_some() && !is_snapshot;
        let records = &self.records;
        Some(LaterArchive { index, image, records, format, outside, is_used_up, is_snapshot })
    }

    /// As that of a patch that goes; `index` is its place among the sources.
    pub(super) fn as_archive(&self, index: usize) -> Option<BackoutArchive<'_>> {
        let of_archive = self.device.image.packages.first()?;
        let of_snapshot = self.snapshot.as_ref().and_then(|device| device.image.packages.first());
        Some(BackoutArchive {
            patch: &self.patch,
            index,
            package: &self.package,
            image: of_snapshot.unwrap_or(of_archive),
            made_by_scripts: of_snapshot.map(|_| of_archive),
            manifest: self.manifest.as_ref(),
            records: &self.records,
            outside: self.outside.as_deref(),
            is_bound: self.is_bound,
        })
    }
}

/// The old record files in an archive with this manifest.
pub(in crate::operation) fn records_in(
    archive: archive::OpenArchive,
    manifest: &Manifest,
) -> Result<BTreeMap<Vec<u8>, RecordFile>, Failure> {
    let path = PathBuf::from(archive.path());
    let (_, image) = source::open_descriptions(archive.into_file(), &path)?;
    Ok(saved_records(&image, Some(manifest), &path)?)
}

/// The old record files in an archive; none in one of another tool.
fn saved_records(
    image: &Image,
    manifest: Option<&Manifest>,
    path: &Path,
) -> Result<BTreeMap<Vec<u8>, RecordFile>, ArchiveError> {
    let Some(bytes) = image.packages.first().and_then(|one| one.install.get(RECORDS)) else {
        return Ok(BTreeMap::new());
    };
    let mut files = records(bytes).map_err(|reason| damaged(path, &reason))?;
    for (name, nanoseconds) in manifest.into_iter().flat_map(|manifest| &manifest.header.record_times) {
        if let Some(file) = files.get_mut(&*decode(name)) {
            file.mtime.nanoseconds = *nanoseconds;
        }
    }
    Ok(files)
}

/// The old record files that an archive carries.
fn records(bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, RecordFile>, String> {
    use std::io::Read as _;
    let mut archive = cpio::CpioReader::new(bytes);
    let mut files = BTreeMap::new();
    while let Some(header) = archive.next_member().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        archive.read_to_end(&mut content).map_err(|error| error.to_string())?;
        let mtime = Timestamp::whole(i64::try_from(header.mtime).unwrap_or_default());
        files.insert(header.name, RecordFile { bytes: content.into(), mode: Mode::of(header.mode), mtime });
    }
    Ok(files)
}

fn damaged(path: &Path, reason: &str) -> ArchiveError {
    ArchiveError::Damaged { path: path.display().to_string(), reason: reason.to_owned() }
}
