//! The undo archives of a root: the place, the contents and the integrity of each.
//!
//! The archive of a patch for a package is in the save directory `save/<id>`, or where the file `remote` there points
//! to on the host (`patchadd -B`), or below a directory that the caller names instead (`patchrm -B`). It is opened
//! once; each pass over it begins at its first byte. An archive of ours has a manifest among its first members, and is
//! believed only if the ledger of the root names its digest. One without manifest and without line was made by another
//! tool. `undo.b3` beside it is for people.
//!
//! Not done here: taking objects out of an archive (`source` reads it as the package it is), writing one.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use patchadm_changeset::archive_file::{ArchiveFileError, FromStart, digest_of, stream};

use super::ledger::{self, LedgerFault};
use super::saves::ARCHIVE_NAMES;
use super::{RecordView, ViewError, places};
use crate::format::ledger::{Ledger, LedgerLine, LedgerUndo, UndoLocation};
use patchadm_changeset::format::manifest::Manifest;
use patchadm_rootfs::Digest;
use patchadm_rootfs::{Root, RootError};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

mod kept;
mod manifest;
mod outside;
mod snapshot;
mod verify;

pub use kept::{kept_manifest, known_manifest, lost, told, unbound_manifest};
pub use outside::{OutsideAccess, OutsideRules};
pub use patchadm_changeset::archive_file::{ArchiveStream, UnboundArchive};
pub use verify::{ArchiveAsWritten, DigestCheck, VerifiedArchive, must_have_size};

/// The most bytes of a `remote` file that are read.
const LARGEST_REMOTE: u64 = 64 << 10;

/// The reasons why a patch cannot be backed out from its archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is no archive: the patch was applied without undo data, or the archive has been removed.
    #[error("patch {patch}, package {package}: there is no undo archive at {path}")]
    Missing {
        /// The patch id.
        patch: String,
        /// The package instance.
        package: PkgInst,
        /// The expected place: the save directory, or the path on the host.
        path: String,
        /// Whether the archive is kept outside the save directory.
        remote: bool,
    },
    /// The ledger names an archive, and neither it nor a pointer to it is in the save directory.
    #[error("patch {patch}, package {package}: the undo data that run {run} saved at {path} is lost")]
    Lost {
        /// The patch id.
        patch: String,
        /// The package instance.
        package: PkgInst,
        /// The place where it was kept.
        path: String,
        /// The run that saved it.
        run: String,
    },
    /// The archive differs from what was written, or cannot be read to its end.
    #[error("the undo archive {path} is damaged: {reason}")]
    Damaged {
        /// The path of the archive, or of the pointer to it.
        path: String,
        /// The damage.
        reason: String,
    },
    /// An earlier form of the program made the archive, or the manifest of a patch without undo data.
    #[error(
        "the undo data {path} was made by an earlier form of this program, with digests that this one does not read"
    )]
    Earlier {
        /// The path of the archive or manifest.
        path: String,
    },
    /// The manifest of a patch without undo data is missing or differs from what was written.
    #[error("the manifest {path} of a patch without undo data cannot be used: {reason}")]
    KeptManifest {
        /// The path of the manifest.
        path: String,
        /// The reason why it cannot be used.
        reason: String,
    },
    /// The ledger of the root does not know the archive.
    #[error("the undo archive {path}: {reason}")]
    NotBound {
        /// The path of the archive.
        path: String,
        /// The statement of the ledger instead.
        reason: String,
    },
    /// The ledger of the package cannot be read.
    #[error(transparent)]
    Ledger(LedgerFault),
    /// The archive lies outside the root, and only the root says so.
    #[error("the undo archive {path} is not opened: {reason}")]
    Outside {
        /// The path on the host.
        path: String,
        /// The reason for the refusal.
        reason: &'static str,
    },
    /// The archive saves objects of another root.
    #[error("the undo archive {path} belongs to another root (its marker is {marker})")]
    OtherRoot {
        /// The path of the archive.
        path: String,
        /// The marker of that root.
        marker: String,
    },
    /// The save directory could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A file could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
}

impl ArchiveError {
    /// Tells whether the caller may not read it: that says nothing about its validity.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Root(error) => error.is_refused_access(),
            Self::View(error) | Self::Ledger(LedgerFault::View(error)) => error.is_refused_access(),
            Self::Ledger(LedgerFault::Database(error)) => error.is_refused_access(),
            _ => false,
        }
    }
}

/// An undo archive that was found and is open.
#[derive(Debug)]
pub struct OpenArchive {
    file: File,
    shown: String,
    size: u64,
    package: PkgInst,
    patch: String,
    line: Option<LedgerLine>,
    /// The path on the host, if the archive is kept outside the save directory.
    outside: Option<ObjectPath>,
}

/// Finds the archive of `patch`, whose save directory has that name, for `package`. `host` is the root of the running
/// system: archives outside the save directory are paths of it, if `outside` allows them.
pub fn find(
    view: &RecordView<'_>,
    host: &Root,
    package: &PkgInst,
    patch: &str,
    outside: &OutsideAccess<'_>,
) -> Result<OpenArchive, ArchiveError> {
    find_with(view, host, package, patch, &ledger::counting(view, package)?, outside)
}

/// Does the same with the ledger of the package, reduced to lines that count.
pub fn find_with(
    view: &RecordView<'_>,
    host: &Root,
    package: &PkgInst,
    patch: &str,
    ledger: &Ledger,
    outside: &OutsideAccess<'_>,
) -> Result<OpenArchive, ArchiveError> {
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
            (_, Some(moved_to)) => moved(host, moved_to, package, patch, &missing)?,
            (Some(text), None) => {
                let path = pointed_to(&text, &view.root().show(&pointer))?;
                outside::check(outside, view.root(), &path, (patch, package), line.as_ref())?;
                let file = open_on(host, &path)?.ok_or_else(|| missing(host.show(&path), true))?;
                (file, path)
            }
            (None, None) => {
                let lost = line.as_ref().and_then(|line| lost(line, view, host, package));
                return Err(lost.unwrap_or_else(|| missing(view.root().show(&directory), false)));
            }
        };
        (file, host.show(&at), Some(at))
    };
    let size = file.metadata().map_err(|error| unreadable(&shown, &error))?.len();
    Ok(OpenArchive {
        file,
        shown,
        size,
        package: package.clone(),
        patch: patch.to_owned(),
        line,
        outside: at,
    })
}

type FoundFile = (File, ObjectPath);

/// Opens the first existing archive name in a directory.
fn first_of(
    directory: &ObjectPath,
    open: impl Fn(&ObjectPath) -> Result<Option<File>, ArchiveError>,
) -> Result<Option<FoundFile>, ArchiveError> {
    for name in ARCHIVE_NAMES {
        let Ok(path) = directory.join(name.as_bytes()) else { continue };
        if let Some(file) = open(&path)? {
            return Ok(Some((file, path)));
        }
    }
    Ok(None)
}

/// Finds the archive below a directory of the host: `<directory>/<patch>/<package>/undo*`.
fn moved(
    host: &Root,
    directory: &Path,
    package: &PkgInst,
    patch: &str,
    missing: &impl Fn(String, bool) -> ArchiveError,
) -> Result<FoundFile, ArchiveError> {
    let place = directory.join(patch).join(package.as_str());
    let none = || missing(place.display().to_string(), true);
    let place = ObjectPath::new(place.as_os_str().as_bytes()).map_err(|_| none())?;
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

fn unreadable(path: &str, error: &io::Error) -> ArchiveError {
    patchadm_changeset::archive_file::unreadable(path, error).into()
}

impl From<ArchiveFileError> for ArchiveError {
    fn from(error: ArchiveFileError) -> Self {
        match error {
            ArchiveFileError::Damaged { path, reason } => Self::Damaged { path, reason },
            ArchiveFileError::Earlier { path } => Self::Earlier { path },
            ArchiveFileError::Root(error) => Self::Root(error),
        }
    }
}

impl From<LedgerFault> for ArchiveError {
    fn from(fault: LedgerFault) -> Self {
        match fault {
            LedgerFault::View(error) => Self::View(error),
            other => Self::Ledger(other),
        }
    }
}

impl OpenArchive {
    /// Returns the path of the archive, for messages.
    pub fn path(&self) -> &str {
        &self.shown
    }

    /// Returns the size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Tells whether the archive is kept outside the save directory.
    pub fn is_remote(&self) -> bool {
        self.outside.is_some()
    }

    /// Returns the place of the archive in the form of the ledger.
    pub fn location(&self) -> UndoLocation {
        match &self.outside {
            Some(path) => UndoLocation::Host(path.as_bytes().to_vec()),
            None => UndoLocation::Save,
        }
    }

    /// Tells whether the archive lies outside the root and may be removed there after use.
    pub fn may_be_removed(&self, root: &Root, outside: &OutsideAccess<'_>) -> bool {
        self.outside.as_ref().is_some_and(|path| outside::may_remove(outside, root, path, self.line.as_ref()))
    }

    /// Tells whether the ledger of the root names the archive by digest, as made by a run of the root.
    /// [`Self::verify`] or [`Self::as_written`] check that digest.
    pub fn is_bound(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.archive().is_some() && !line.is_adopted)
    }

    /// Tells whether another tool made the archive: no line names it, or its line says so.
    pub fn is_classic(&self) -> bool {
        match self.line.as_ref().map(|line| &line.undo) {
            Some(LedgerUndo::Kept { is_classic, .. }) => *is_classic,
            _ => true,
        }
    }

    /// Returns BLAKE3 and size of the file.
    pub fn digest(&self) -> Result<(Digest, u64), ArchiveError> {
        let digest = digest_of(&self.file).map_err(|error| unreadable(&self.shown, &error))?;
        Ok((digest, self.size))
    }

    /// Returns another handle of the open file.
    fn file(&self) -> Result<File, ArchiveError> {
        self.file.try_clone().map_err(|error| unreadable(&self.shown, &error))
    }

    /// Returns the open file.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Reads the file from its first byte.
    fn bytes(&self) -> FromStart<'_> {
        FromStart::new(&self.file)
    }

    /// Opens the archive as a decompressed datastream.
    pub fn open(&self) -> Result<ArchiveStream<'_>, ArchiveError> {
        stream(self.bytes()).map_err(|error| self.damaged(&error))
    }

    /// Reads the manifest without the objects, or returns `None` for an archive of another program.
    pub fn manifest(&self) -> Result<Option<Manifest>, ArchiveError> {
        Ok(UnboundArchive::new(self.file()?, self.shown.clone()).manifest()?)
    }

    /// Reads the pkgmap, the only statement of another program's archive about what it saves.
    pub fn pkgmap(&self) -> Result<Pkgmap, ArchiveError> {
        let stream = self.open()?;
        let [package] = stream.packages() else {
            return Err(self.damaged(&"it holds more than one package"));
        };
        Pkgmap::parse(&package.pkgmap).map_err(|error| self.damaged(&error))
    }

    /// Returns the paths saved by an archive of another program, in a package with these parameters. A senseless
    /// pkgmap saves nothing.
    pub fn saved_paths(&self, params: &Params) -> Vec<ObjectPath> {
        let basedir = ObjectPath::new(params.text("BASEDIR").trim().as_bytes());
        let basedir = basedir.unwrap_or_else(|_| ObjectPath::root());
        let variable = |name: &str| params.get(name).map(<[u8]>::to_vec);
        let entries = self.pkgmap().map(|pkgmap| pkgmap.entries).unwrap_or_default();
        let objects = entries.iter().filter(|entry| !entry.is_information());
        objects.filter_map(|entry| entry.path.resolve(&basedir, variable).ok()).collect()
    }

    fn damaged(&self, reason: &dyn ToString) -> ArchiveError {
        ArchiveError::Damaged { path: self.shown.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
pub(super) mod tests;
