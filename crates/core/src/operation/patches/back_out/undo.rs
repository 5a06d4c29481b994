//! The undo data of a patch for a package, verified and read: what a backout is planned with and restores from.

use std::cell::OnceCell;
use std::path::PathBuf;

use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use patchadm_changeset::format::history::HistoryEntry;
use patchadm_changeset::format::manifest::{MANIFEST, Manifest, RECORDS};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::undo_data::{
    ArchiveError, DigestCheck, OldRecords, OutsideAccess, UndoAsWritten, UndoContent, UndoData,
};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::native::{NativeOrigin, NativeRegistration};
use patchadm_planning::plan::patch::backout_input::{BackoutArchive, LaterArchive};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// An undo archive that was verified and read.
pub(in crate::operation::patches) struct VerifiedUndo {
    pub(in crate::operation::patches) patch: PatchId,
    pub(in crate::operation::patches) package: PkgInst,
    /// Where it is, on the host.
    pub(in crate::operation::patches) at: PathBuf,
    /// Whether that is outside the root.
    is_remote: bool,
    /// The form in which it is written anew.
    format: UndoFormat,
    pub(in crate::operation::patches) device: OpenDevice,
    /// The snapshot beside it, where scripts made the archive: manifest, records and binding are those of the snapshot.
    snapshot: Option<OpenDevice>,
    pub(in crate::operation::patches) manifest: Option<Manifest>,
    records: OldRecords,
    /// Its path on the host, where it is kept outside the root and goes with the backout.
    outside: Option<PathBuf>,
    /// Why it stays there, where it does.
    pub(in crate::operation::patches) stays: Option<String>,
    /// Whether a run of the root made it, by the ledger.
    is_bound: bool,
    /// The native version of the package that the patch was applied to, if that is known.
    pub(in crate::operation::patches) native: Option<String>,
}

/// How the undo archives of a patch are read.
pub(in crate::operation::patches) struct UndoReading<'a> {
    pub(in crate::operation::patches) root: &'a Root,
    /// What may be opened outside the root.
    pub(in crate::operation::patches) outside: OutsideAccess<'a>,
    /// The marker of the root.
    pub(in crate::operation::patches) marker: &'a str,
    /// Threads that see whether archives are what was written.
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

    /// Returns the native version that a patch was applied to; `None` if it is unknown, or the package was not adopted from
    /// dpkg or rpm. `known` is the version in the ledger. A line of an earlier form has none: then it is the registered
    /// version, unless a refresh has followed another version since.
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

    /// Reads the undo data of a package. What an earlier verification found it to say is `known`.
    pub(in crate::operation::patches) fn undo(
        &mut self,
        (patch, package): (&PatchId, &PkgInst),
        found: UndoData,
        known: Option<&Option<Manifest>>,
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

    /// The same undo data, restored from the snapshot beside it.
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

    /// Opens what a run of the root wrote; `None` for any other undo data. Its digest is computed meanwhile.
    fn as_written(&mut self, found: &UndoData) -> Result<Option<(Manifest, UndoContent)>, Failure> {
        let written = found.as_written()?;
        Ok(written.map(|UndoAsWritten { manifest, content, digesting }| {
            self.digesting.push(digesting);
            (manifest, content)
        }))
    }
}

/// Waits for digests until a signal comes. Fails if an archive is not what was written.
pub(in crate::operation::patches) fn wait_for(
    digesting: Vec<DigestCheck>,
    interrupt: Interrupt<'_>,
) -> Result<(), ArchiveError> {
    digesting.into_iter().try_for_each(|one| one.wait(interrupt))
}

impl VerifiedUndo {
    /// The same without the text of manifest and records, which were read: of many archives they need much memory.
    pub(in crate::operation::patches) fn without_text(mut self) -> Self {
        for device in std::iter::once(&mut self.device).chain(&mut self.snapshot) {
            for package in &mut device.image.packages {
                package.install.retain(|name, _| name != MANIFEST && name != RECORDS);
            }
        }
        self
    }

    /// The same, of which nothing outside the root goes with the backout.
    pub(in crate::operation::patches) fn staying(self) -> Self {
        Self { outside: None, ..self }
    }

    /// Why the archive cannot be used.
    pub(in crate::operation::patches) fn damaged(&self, reason: &str) -> ArchiveError {
        ArchiveError::Damaged { path: self.at.display().to_string(), reason: reason.to_owned() }
    }

    /// What is restored from.
    pub(in crate::operation::patches) fn restored_from(&self) -> &OpenDevice {
        self.snapshot.as_ref().unwrap_or(&self.device)
    }

    /// Whether the scripts of the patch made the archive.
    pub(in crate::operation::patches) fn is_by_scripts(&self) -> bool {
        self.snapshot.is_some()
    }

    /// As that of a patch that stays; `index` is its place among the sources.
    pub(in crate::operation::patches) fn as_later(&self, index: usize) -> Option<LaterArchive<'_>> {
        let image = self.restored_from().image.packages.first()?;
        let is_snapshot = self.is_by_scripts();
        let format = if is_snapshot { UndoFormat::Gzip } else { self.format };
        // The archive that scripts made stays as it is.
        let outside = Some(self.at.as_path()).filter(|_| self.is_remote && !is_snapshot);
        let is_used_up = self.outside.is_some() && !is_snapshot;
        let records = &self.records;
        Some(LaterArchive { index, image, records, format, outside, is_used_up, is_snapshot })
    }

    /// As that of a patch that goes; `index` is its place among the sources.
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
