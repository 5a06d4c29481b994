//! The program's own snapshot beside an archive that the scripts of a patch made.

use super::{ArchiveError, OpenArchive, unreadable};
use crate::database::RecordView;
use crate::format::ledger::{LedgerLine, LedgerUndo, SNAPSHOT, UndoLocation};
use patchadm_svr4::places;

impl OpenArchive {
    /// Opens the snapshot beside an archive, which the ledger names by digest; `None` if it names none. A missing
    /// snapshot is an error, because the archive made by scripts holds less.
    pub fn snapshot(&self, view: &RecordView<'_>) -> Result<Option<Self>, ArchiveError> {
        let Some((line, b3)) = self.line.as_ref().and_then(|line| Some((line, line.snapshot?))) else {
            return Ok(None);
        };
        let save = places::save(&self.package).join(self.patch.as_bytes());
        let path = save.and_then(|save| save.join(SNAPSHOT.as_bytes()));
        let path = path.map_err(|error| self.damaged(&error))?;
        let shown = view.root().show(&path);
        let Some(file) = view.open(&path)? else {
            return Err(ArchiveError::Missing {
                patch: self.patch.clone(),
                package: self.package.clone(),
                path: shown,
                remote: false,
            });
        };
        let size = file.metadata().map_err(|error| unreadable(&shown, &error))?.len();
        let undo = LedgerUndo::Kept { b3, size, place: UndoLocation::Save, is_classic: false };
        let line = Some(LedgerLine { undo, snapshot: None, ..line.clone() });
        let (package, patch) = (self.package.clone(), self.patch.clone());
        Ok(Some(Self { file, shown, size, package, patch, line, outside: None }))
    }

    /// Returns the snapshot, or the archive itself if there is none: the file that describes everything its patch
    /// did.
    pub fn telling(self, view: &RecordView<'_>) -> Result<Self, ArchiveError> {
        Ok(self.snapshot(view)?.unwrap_or(self))
    }
}
