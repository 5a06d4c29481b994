//! The undo data of one patch for one package: what was saved, and what the ledger says of it.

use std::io;

use super::archive::UndoArchiveFile;
use super::content::{OldRecords, UndoContent, UndoContentError};
use super::error::ArchiveError;
use super::outside::{self, OutsideAccess};
use crate::database::{RecordView, places};
use crate::format::ledger::{LedgerLine, LedgerUndo, SNAPSHOT, UndoLocation};
use crate::source::{Image, SourceError};
use patchadm_changeset::format::manifest::Manifest;
use patchadm_changeset::plan::UndoFormat;
use patchadm_rootfs::{Digest, Interrupt, Root};
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

/// Undo data that was found and is open. Planners and commands ask it, and do not know its form.
#[derive(Debug)]
pub struct UndoData {
    pub(super) archive: UndoArchiveFile,
    pub(super) package: PkgInst,
    pub(super) patch: String,
    pub(super) line: Option<LedgerLine>,
    /// The path on the host, if it is kept outside the save directory.
    pub(super) outside: Option<ObjectPath>,
}

impl UndoData {
    /// Returns another handle of the same undo data.
    pub fn try_clone(&self) -> Result<Self, ArchiveError> {
        Ok(Self {
            archive: self.archive.try_clone()?,
            package: self.package.clone(),
            patch: self.patch.clone(),
            line: self.line.clone(),
            outside: self.outside.clone(),
        })
    }

    /// Returns its path, for messages.
    pub fn path(&self) -> &str {
        self.archive.path()
    }

    /// Returns its size in bytes.
    pub fn size(&self) -> u64 {
        self.archive.size()
    }

    /// Returns the bytes that it occupies on its file system.
    pub fn allocated(&self) -> Result<u64, ArchiveError> {
        self.archive.allocated()
    }

    /// Returns the form that it would be written in again.
    pub fn format(&self) -> UndoFormat {
        UndoFormat::of_name(self.path().as_bytes())
    }

    /// Returns the native version of the package that the patch was applied to, where the ledger says so.
    pub fn native_version(&self) -> Option<&str> {
        self.line.as_ref()?.native.as_deref()
    }

    /// Tells whether it is kept outside the save directory.
    pub fn is_remote(&self) -> bool {
        self.outside.is_some()
    }

    /// Returns its place in the form of the ledger.
    pub fn location(&self) -> UndoLocation {
        match &self.outside {
            Some(path) => UndoLocation::Host(path.as_bytes().to_vec()),
            None => UndoLocation::Save,
        }
    }

    /// Tells whether it lies outside the root and may be removed there after use.
    pub fn may_be_removed(&self, root: &Root, outside: &OutsideAccess<'_>) -> bool {
        self.outside.as_ref().is_some_and(|path| outside::may_remove(outside, root, path, self.line.as_ref()))
    }

    /// Returns the sentence for an operator whose undo data outside the root is not removed after use.
    pub fn why_it_stays(&self, root: &Root, outside: &OutsideAccess<'_>) -> Option<String> {
        (self.is_remote() && !self.may_be_removed(root, outside)).then(|| {
            let path = self.path();
            format!("the undo archive {path} stays: the ledger of the root does not name that place")
        })
    }

    /// Tells whether the ledger of the root names it by digest, as made by a run of the root. [`Self::verify`] or
    /// [`Self::as_written`] check that digest.
    pub fn is_bound(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.archive().is_some() && !line.is_adopted)
    }

    /// Tells whether another tool made it: no line names it, or its line says so.
    pub fn is_classic(&self) -> bool {
        match self.line.as_ref().map(|line| &line.undo) {
            Some(LedgerUndo::Kept { is_classic, .. }) => *is_classic,
            _ => true,
        }
    }

    /// Returns its BLAKE3 and its size, until a signal comes.
    pub fn digest(&self, interrupt: Interrupt<'_>) -> Result<(Digest, u64), ArchiveError> {
        Ok((self.archive.digest(interrupt)?, self.size()))
    }

    /// Returns a reader of its bytes, as they lie there.
    pub fn bytes(&self) -> impl io::Read + '_ {
        self.archive.bytes()
    }

    /// Reads the manifest without the objects, or returns `None` for an archive of another program.
    pub fn manifest(&self) -> Result<Option<Manifest>, ArchiveError> {
        self.archive.manifest()
    }

    /// Returns the paths saved by an archive of another program, in a package with these parameters.
    pub fn saved_paths(&self, params: &Params) -> Vec<ObjectPath> {
        self.archive.saved_paths(params)
    }

    /// Opens the saved objects and record files.
    pub fn content(self, manifest: Option<&Manifest>) -> Result<UndoContent, UndoContentError> {
        UndoContent::whole(self.archive, manifest)
    }

    /// Reads the backout package in it, as another tool would install it.
    pub fn into_image(self) -> Result<Image, SourceError> {
        let manifest = self.archive.manifest().ok().flatten();
        Ok(self.archive.into_source(manifest.as_ref())?.1)
    }

    /// Reads the record files alone, of undo data with this manifest.
    pub fn records(self, manifest: &Manifest) -> Result<OldRecords, UndoContentError> {
        UndoContent::records(self.archive, manifest)
    }

    /// Opens the snapshot beside an archive that the scripts of a patch made, if the ledger names one by digest. A
    /// missing snapshot is an error, because the archive made by scripts holds less.
    pub fn snapshot(&self, view: &RecordView<'_>) -> Result<Option<Self>, ArchiveError> {
        let Some((line, b3)) = self.line.as_ref().and_then(|line| Some((line, line.snapshot?))) else {
            return Ok(None);
        };
        let save = places::save(&self.package).join(self.patch.as_bytes());
        let path = save.and_then(|save| save.join(SNAPSHOT.as_bytes()));
        let path = path.map_err(|error| self.damaged(&error))?;
        let shown = view.root().show(&path);
        let (package, patch) = (self.package.clone(), self.patch.clone());
        let Some(file) = view.open(&path)? else {
            return Err(ArchiveError::Missing { patch, package, path: shown, remote: false });
        };
        let archive = UndoArchiveFile::new(file, shown, view.root())?;
        let undo = LedgerUndo::Kept {
            b3,
            size: archive.size(),
            files: None,
            place: UndoLocation::Save,
            is_classic: false,
        };
        let line = Some(LedgerLine { undo, snapshot: None, ..line.clone() });
        Ok(Some(Self { archive, package, patch, line, outside: None }))
    }

    /// Returns the snapshot, or the undo data itself if there is none: what describes everything its patch did.
    pub fn telling(self, view: &RecordView<'_>) -> Result<Self, ArchiveError> {
        Ok(self.snapshot(view)?.unwrap_or(self))
    }

    pub(super) fn damaged(&self, reason: &dyn ToString) -> ArchiveError {
        ArchiveError::Damaged { path: self.path().to_owned(), reason: reason.to_string() }
    }
}
