//! The undo data of a root's patches: found, read and verified. Nothing else opens it.
//!
//! ```text
//! UndoReader   where it is: in the save directory `save/<id>`, or on the host where the file `remote` there points to
//!              (`patchadd -B`), or below a directory that the caller names instead (`patchrm -B`)
//! UndoData     what was saved of one patch for one package, and what the ledger says of it
//! verify       whether it is what its run wrote
//! content      the saved objects and record files in it
//! kept         the manifest of a patch without undo data, in its place
//! archive      the form: a file that other tools can install
//! ```
//! Undo data of ours has a manifest, and is believed only if the ledger of the root names its digest. What has neither
//! manifest nor line was made by another tool. `undo.b3` beside it is for people.
//!
//! Not done here: writing it.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::ledger;
use super::{RecordView, places};
use crate::format::ledger::{Ledger, LedgerLine, LedgerUndo, UndoLocation};
use patchadm_changeset::format::outside_path::OutsidePath;
use patchadm_changeset::plan::ARCHIVE_NAMES;
use patchadm_rootfs::Root;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{ObjectPath, PkgInst};

mod archive;
mod content;
mod data;
mod error;
mod kept;
mod manifest;
mod outside;
mod verify;

use archive::UndoArchiveFile;
pub use content::{OldRecords, UndoContent, UndoContentError, kept_records};
pub use data::UndoData;
pub use error::ArchiveError;
pub use outside::{OutsideAccess, OutsideRules};
pub use verify::{DigestCheck, UndoAsWritten, VerifiedManifest, must_have_size};

/// The most bytes of a `remote` file that are read.
const LARGEST_REMOTE: u64 = 64 << 10;

/// Where the undo data of a root's patches is looked for.
#[derive(Clone, Copy, Debug)]
pub struct UndoReader<'a> {
    /// The moment of the records.
    pub view: &'a RecordView<'a>,
    /// The root of the running system: undo data outside the save directory is at a path of it.
    pub host: &'a Root,
    /// What may be opened there.
    pub outside: OutsideAccess<'a>,
}

impl UndoReader<'_> {
    /// Finds the undo data of `patch`, whose save directory has that name, for `package`.
    pub fn find(&self, package: &PkgInst, patch: &str) -> Result<UndoData, ArchiveError> {
        self.find_with(package, patch, &ledger::counting(self.view, package)?)
    }

    /// Does the same with the ledger of the package, reduced to lines that count.
    pub fn find_with(
        &self,
        package: &PkgInst,
        patch: &str,
        ledger: &Ledger,
    ) -> Result<UndoData, ArchiveError> {
        let (view, host, outside) = (self.view, self.host, &self.outside);
        let line = ledger.line(patch).cloned();
        let missing = |path: String, remote| {
            let (patch, package) = (patch.to_owned(), package.clone());
            ArchiveError::Missing { patch, package, path, remote }
        };
        let nowhere = || missing(view.root().show(&places::save(package)), false);
        let directory = places::save(package).join(patch.as_bytes()).map_err(|_| nowhere())?;
        if ledger.earlier(patch).is_some_and(|line| line.has_undo) {
            return Err(ArchiveError::Earlier { path: view.root().show(&directory) });
        }
        let pointer = directory.join(b"remote").map_err(|_| nowhere())?;
        let local = first_of(&directory, |at| view.open(at).map_err(ArchiveError::from))?;
        let (file, shown, at) = if let Some((file, at)) = local {
            (file, view.root().show(&at), None)
        } else {
            let text = view.read(&pointer, LARGEST_REMOTE)?;
            let (file, at) = match (text, outside.moved_to) {
                (text, Some(moved_to)) => {
                    let pointer = text.and_then(|text| pointed_to(&text, &view.root().show(&pointer)).ok());
                    moved(host, moved_to, (package, patch, pointer.as_ref()), &missing)?
                }
                (Some(text), None) => {
                    let path = pointed_to(&text, &view.root().show(&pointer))?;
                    outside::check(outside, view.root(), &path, (patch, package), line.as_ref())?;
                    let file = open_on(host, &path)?.ok_or_else(|| missing(host.show(&path), true))?;
                    (file, path)
                }
                (None, None) => {
                    let lost = line.as_ref().and_then(|line| self.lost(line, package));
                    return Err(lost.unwrap_or_else(|| missing(view.root().show(&directory), false)));
                }
            };
            (file, host.show(&at), Some(at))
        };
        let archive = UndoArchiveFile::new(file, shown, view.root())?;
        Ok(UndoData { archive, package: package.clone(), patch: patch.to_owned(), line, outside: at })
    }

    /// Returns why the undo data that a line names is not there: it is lost, or was exported; `None` if the line names none.
    pub fn lost(&self, line: &LedgerLine, package: &PkgInst) -> Option<ArchiveError> {
        let place = match &line.undo {
            LedgerUndo::Kept { place, .. } => place,
            LedgerUndo::Exported { .. } => return exported(line, package),
            LedgerUndo::None(_) => return None,
        };
        let path = match place {
            UndoLocation::Save => {
                let save = places::save(package);
                self.view.root().show(&save.join(line.patch.as_bytes()).unwrap_or(save))
            }
            UndoLocation::Host(path) => ObjectPath::new(path)
                .map_or_else(|_| String::from_utf8_lossy(path).into_owned(), |at| self.host.show(&at)),
        };
        let (patch, package, run) = (line.patch.clone(), package.clone(), line.run.clone());
        Some(ArchiveError::Lost { patch, package, path, run })
    }
}

/// Returns where the undo data of a line is, if it was exported.
pub fn exported(line: &LedgerLine, package: &PkgInst) -> Option<ArchiveError> {
    let (patch, package, run) = (line.patch.clone(), package.clone(), line.run.clone());
    line.exported().map(|_| ArchiveError::Exported { patch, package, run })
}

type FoundFile = (File, ObjectPath);

/// Opens the first existing archive name in a directory.
fn first_of(
    directory: &ObjectPath,
    open: impl Fn(&ObjectPath) -> Result<Option<File>, ArchiveError>,
) -> Result<Option<FoundFile>, ArchiveError> {
    for (name, _) in ARCHIVE_NAMES {
        let Ok(path) = directory.join(name.as_bytes()) else { continue };
        if let Some(file) = open(&path)? {
            return Ok(Some((file, path)));
        }
    }
    Ok(None)
}

/// Finds the archive below a directory of the host: `<directory>/<patch>/<package>/undo*`. One that was written anew has the
/// name that the pointer to its former place has.
fn moved(
    host: &Root,
    directory: &Path,
    (package, patch, pointer): (&PkgInst, &str, Option<&ObjectPath>),
    missing: &impl Fn(String, bool) -> ArchiveError,
) -> Result<FoundFile, ArchiveError> {
    let place = directory.join(patch).join(package.as_str());
    let none = || missing(place.display().to_string(), true);
    let place = ObjectPath::new(place.as_os_str().as_bytes()).map_err(|_| none())?;
    let named = pointer.and_then(|path| OutsidePath::parse(path.as_bytes()));
    let named = named.and_then(|outside| place.join(outside.name.as_bytes()).ok());
    if let Some(path) = named
        && let Some(file) = open_on(host, &path)?
    {
        return Ok((file, path));
    }
    first_of(&place, |path| open_on(host, path))?.ok_or_else(none)
}

/// Returns the path of the archive to which a `remote` file points.
fn pointed_to(text: &[u8], shown: &str) -> Result<ObjectPath, ArchiveError> {
    let damaged = |reason: String| ArchiveError::Damaged { path: shown.to_owned(), reason };
    let remote = RemoteArchive::parse(text).map_err(|error| damaged(error.to_string()))?;
    ObjectPath::new(remote.find_at()).map_err(|error| damaged(error.to_string()))
}

fn open_on(host: &Root, path: &ObjectPath) -> Result<Option<File>, ArchiveError> {
    Ok(RecordView::live(host).open(path)?)
}

#[cfg(test)]
pub(in crate::database) mod tests;
