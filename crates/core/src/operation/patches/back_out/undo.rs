//! Verified undo data of a patch for a package.

use std::cell::OnceCell;
use std::path::PathBuf;

use super::input::BackOutInput;
use crate::operation::content::ArchiveSources;
use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use crate::operation::patches::undo_directory::must_be_private;
use patchadm_changeset::format::history::HistoryEntry;
use patchadm_changeset::format::manifest::{MANIFEST, RECORDS, UndoManifest};
use patchadm_changeset::format::outside_path::OutsidePath;
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::undo_data::{
    ArchiveError, DigestCheck, OldRecords, OutsideAccess, UndoAsWritten, UndoContent, UndoData, exported,
};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::native::{NativeOrigin, NativeRegistration};
use patchadm_planning::plan::patch::backout_input::{BackoutArchive, LaterArchive, LaterUndo};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

pub(in crate::operation::patches) struct VerifiedUndo {
    pub(in crate::operation::patches) patch: PatchId,
    pub(in crate::operation::patches) package: PkgInst,
    pub(in crate::operation::patches) at: PathBuf,
    is_remote: bool,
    /// For rewriting.
    format: UndoFormat,
    pub(in crate::operation::patches) device: OpenDevice,
    /// Beside an archive made by scripts: it has manifest, records and binding.
    snapshot: Option<OpenDevice>,
    pub(in crate::operation::patches) manifest: Option<UndoManifest>,
    records: OldRecords,
    /// Set if it is outside the root and the backout removes it.
    outside: Option<PathBuf>,
    pub(in crate::operation::patches) stays: Option<String>,
    /// According to the ledger, a run of the root made it.
    is_bound: bool,
    /// Native version that the patch was applied to, if known.
    pub(in crate::operation::patches) native: Option<String>,
}

pub(in crate::operation::patches) struct UndoReading<'a> {
    pub(in crate::operation::patches) root: &'a Root,
    pub(in crate::operation::patches) outside: OutsideAccess<'a>,
    pub(in crate::operation::patches) marker: &'a str,
    /// Threads that compare digests of archives.
    digesting: &'a mut Vec<DigestCheck>,
    interrupt: Interrupt<'a>,
    history: OnceCell<Vec<HistoryEntry>>,
}

impl<'a> UndoReading<'a> {
    pub(in crate::operation::patches) fn of(
        root: &'a Root,
        outside: OutsideAccess<'a>,
        marker: &'a str,
        digesting: &'a mut Vec<DigestCheck>,
        interrupt: Interrupt<'a>,
    ) -> Self {
        Self { root, outside, marker, digesting, interrupt, history: OnceCell::new() }
    }

    /// Returns the native version that a patch was applied to; `None` if unknown or not adopted. Without a version in
    /// the ledger (`known`, older forms), it is the registered version, unless a refresh followed another one since.
    pub(in crate::operation::patches) fn patched_version(
        &self,
        package: &PkgInst,
        id: &PatchId,
        known: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        if let Some(known) = known {
            return Ok(Some(known.to_owned()));
        }
        let view = RecordView::live(self.root);
        let params = installed::params(&view, package)?;
        let Some(params) = params.filter(|params| NativeOrigin::of(params).is_some()) else {
            return Ok(None);
        };
        let history = self.history.get_or_init(|| readable_history(&view));
        let is_application = |patches: &[String]| patches.iter().any(|patch| patch == id.as_str());
        let since = history
            .iter()
            .rev()
            .take_while(|entry| entry.result != "done" || !is_application(&entry.patches));
        let mut refreshed = since.flat_map(|entry| &entry.refreshed);
        let is_upgraded = refreshed
            .any(|record| record.package == package.as_str() && record.to.as_ref() != Some(&record.from));
        Ok((!is_upgraded).then(|| NativeRegistration::of(&params).version))
    }

    /// `known` are manifests from an earlier verification.
    pub(in crate::operation::patches) fn undo(
        &mut self,
        (patch, package): (&PatchId, &PkgInst),
        found: UndoData,
        known: Option<&Option<UndoManifest>>,
    ) -> Result<VerifiedUndo, Failure> {
        Failure::unless_interrupted(self.interrupt)?;
        let as_written = if known.is_none() { self.as_written(&found)? } else { None };
        let view = RecordView::live(self.root);
        let snapshot = found.snapshot(&view)?;
        let at = PathBuf::from(found.path());
        let native = self.patched_version(package, patch, found.native_version())?;
        let stays = found.why_it_stays(self.root, &self.outside);
        let (is_bound, is_remote, format) = (found.is_bound(), found.is_remote(), found.format());
        let outside = (is_remote && stays.is_none()).then(|| at.clone());
        let (manifest, content) = match (known, as_written) {
            (None, Some((manifest, content))) => (Some(manifest), content),
            (known, _) => {
                let manifest = match known {
                    Some(manifest) => manifest.clone(),
                    None => found.verify_alone(Some(self.marker), self.interrupt)?.manifest,
                };
                let content = found.content(manifest.as_ref())?;
                (manifest, content)
            }
        };
        let device = OpenDevice::whole(content.source, content.image);
        let (patch, package, records) = (patch.clone(), package.clone(), content.records);
        let undo = VerifiedUndo {
            patch,
            package,
            at,
            is_remote,
            format,
            device,
            snapshot: None,
            manifest,
            records,
            outside,
            stays,
            is_bound,
            native,
        };
        match snapshot {
            Some(snapshot) => self.with_snapshot(undo, &snapshot),
            None => Ok(undo),
        }
    }

    fn with_snapshot(&mut self, undo: VerifiedUndo, snapshot: &UndoData) -> Result<VerifiedUndo, Failure> {
        let Some((manifest, content)) = self.as_written(snapshot)? else {
            let (path, reason) = (snapshot.path().to_owned(), "it has no manifest".to_owned());
            return Err(ArchiveError::Damaged { path, reason }.into());
        };
        Ok(VerifiedUndo {
            snapshot: Some(OpenDevice::whole(content.source, content.image)),
            manifest: Some(manifest),
            records: content.records,
            is_bound: true,
            ..undo
        })
    }

    /// For undo data of a run of the root; computes its digest meanwhile.
    fn as_written(&mut self, found: &UndoData) -> Result<Option<(UndoManifest, UndoContent)>, Failure> {
        let written = found.as_written()?;
        Ok(written.map(|UndoAsWritten { manifest, content, digesting }| {
            self.digesting.push(digesting);
            (manifest, content)
        }))
    }
}

/// Fails if an archive is not what was written, or on a signal.
pub(in crate::operation::patches) fn wait_for(
    digesting: Vec<DigestCheck>,
    interrupt: Interrupt<'_>,
) -> Result<(), ArchiveError> {
    digesting.into_iter().try_for_each(|one| one.wait(interrupt))
}

impl VerifiedUndo {
    /// Drops texts of manifest and records: many archives need much memory.
    pub(in crate::operation::patches) fn without_text(mut self) -> Self {
        for device in std::iter::once(&mut self.device).chain(&mut self.snapshot) {
            for package in &mut device.image.packages {
                package.install.retain(|name, _| name != MANIFEST && name != RECORDS);
            }
        }
        self
    }

    /// Keeps the archive outside the root.
    pub(in crate::operation::patches) fn staying(self) -> Self {
        Self { outside: None, ..self }
    }

    pub(in crate::operation::patches) fn damaged(&self, reason: &str) -> ArchiveError {
        ArchiveError::Damaged { path: self.at.display().to_string(), reason: reason.to_owned() }
    }

    pub(in crate::operation::patches) fn restored_from(&self) -> &OpenDevice {
        self.snapshot.as_ref().unwrap_or(&self.device)
    }

    pub(in crate::operation::patches) fn is_by_scripts(&self) -> bool {
        self.snapshot.is_some()
    }

    /// For a patch that stays; `index` is its position among the sources.
    pub(in crate::operation::patches) fn as_later(&self, index: usize) -> Option<LaterArchive<'_>> {
        let image = self.restored_from().image.packages.first()?;
        let is_snapshot = self.is_by_scripts();
        let format = if is_snapshot { UndoFormat::Gzip } else { self.format };
        // An archive by scripts stays as it is.
        let outside = Some(self.at.as_path()).filter(|_| self.is_remote && !is_snapshot);
        let is_used_up = self.outside.is_some() && !is_snapshot;
        let records = &self.records;
        Some(LaterArchive { index, image, records, format, outside, is_used_up, is_snapshot })
    }

    /// For an outgoing patch; `index` is its position among the sources.
    pub(in crate::operation::patches) fn as_archive(&self, index: usize) -> Option<BackoutArchive<'_>> {
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
            native: self.native.as_deref(),
            is_bound: self.is_bound,
        })
    }
}

/// `index` is the first archive's position among the sources.
pub(in crate::operation::patches) fn as_later(
    staying: &[StayingUndo],
    mut index: usize,
) -> Vec<LaterUndo<'_>> {
    let mut later = Vec::new();
    for one in staying {
        later.extend(one.as_later(index));
        index += usize::from(one.archive.is_some());
    }
    later
}

/// Returns sources in the plan's order: archives of outgoing patches, then of staying ones.
pub(in crate::operation::patches) fn sources<'a>(
    undo: impl Iterator<Item = &'a VerifiedUndo>,
    later: &'a [StayingUndo],
) -> ArchiveSources<'a> {
    let later = later.iter().filter_map(|one| one.archive.as_ref());
    ArchiveSources(undo.chain(later).map(|one| one.restored_from().content()).collect())
}

pub(in crate::operation::patches) struct StayingUndo {
    package: PkgInst,
    patch: String,
    kept: Option<UndoManifest>,
    pub(in crate::operation::patches) archive: Option<VerifiedUndo>,
}

impl StayingUndo {
    pub(in crate::operation::patches) fn open(
        input: &BackOutInput<'_>,
        reading: &mut UndoReading<'_>,
        (package, id): (PkgInst, PatchId),
    ) -> Result<Self, Failure> {
        let view = RecordView::live(&input.ground.root);
        let patch = installed::saved_as(&view, &package, &id)?;
        let reader = input.ground.undo_data(&view, None);
        let ledger = input.ledger(&package)?;
        // It would have to be rewritten, but is not here.
        if let Some(exported) = ledger.line(&patch).and_then(|line| exported(line, &package)) {
            return Err(exported.into());
        }
        let kept = reader.kept_manifest(&package, &patch, &ledger)?;
        if kept.is_some() {
            return Ok(Self { package, patch, kept, archive: None });
        }
        let found = input.later_undo_data(&package, &patch)?;
        if found.is_remote() {
            let path = found.path().as_bytes().to_vec();
            let directory = OutsidePath::parse(&path).map(|at| at.directory);
            must_be_private(&input.ground.host, directory.unwrap_or(&path))?;
        }
        let archive = reading.undo((&id, &package), found, None)?;
        if archive.manifest.is_none() {
            let reason = "it has no manifest".to_owned();
            return Err(ArchiveError::Damaged { path: archive.at.display().to_string(), reason }.into());
        }
        Ok(Self { package, patch, kept: None, archive: Some(archive) })
    }

    /// `index` is its archive's position among the sources.
    fn as_later(&self, index: usize) -> Option<LaterUndo<'_>> {
        let (package, patch) = (&self.package, self.patch.clone());
        match &self.archive {
            None => Some(LaterUndo { package, patch, manifest: self.kept.as_ref()?, archive: None }),
            Some(one) => {
                let archive = Some(one.as_later(index)?);
                Some(LaterUndo { package, patch, manifest: one.manifest.as_ref()?, archive })
            }
        }
    }

    /// `None` if the old archive is replaced.
    pub(in crate::operation::patches) fn stays(&self) -> Option<String> {
        self.archive.as_ref()?.stays.clone()
    }
}
