//! A patch written down, in any form that is read: a directory, a zip or tar archive, a datastream.
//!
//! ```text
//! PatchDraft ─ members ─► PatchSink ─┬─ DirectorySink   a directory, with a manifest in it
//!   releases ─ contents ────────┘    ├─ TarSink, ZipSink ─┐
//!                                    └─ StreamSink ───────┴─► one file, with a manifest beside it
//! ```
//! The bytes depend on the draft alone: members come in a fixed order, belong to nobody, and have the times of the draft
//! and of the objects. Content is compared with the lists while it passes, and read once. Nothing appears under its name
//! before it is complete; what was begun goes with an error.

mod content;
mod directory;
mod file;
mod sink;
mod stream;
mod tar_archive;
mod zip_archive;

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::draft::{DraftedPackage, PatchDraft};
use super::error::BuildError;
use super::manifest::Sha256Digest;
use super::pairs::ReleaseSide;
use crate::release::ReleasePackage;
use content::CheckedContent;
pub use file::remove_unfinished;
use patchadm_svr4::format::params;
use patchadm_svr4::package::ObjectPath;
use sink::{PatchMember, PatchSink};

/// The form that a patch is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchForm {
    /// A directory.
    #[default]
    Directory,
    /// A zip archive.
    Zip,
    /// A tar archive.
    Tar,
    /// A tar archive, compressed by gzip.
    TarGz,
    /// A package datastream; it has no place for what stands beside the packages.
    Datastream,
}

/// Where a patch is written.
#[derive(Clone, Debug)]
pub struct PatchDestination {
    /// The file or directory that it becomes.
    pub path: PathBuf,
    /// Its form.
    pub form: PatchForm,
    /// Whether a patch that is there is replaced.
    pub replaces: bool,
}

/// A patch that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenPatch {
    /// The file or directory.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: PathBuf,
    /// The bytes of the file, or of all files of the directory.
    pub bytes: u64,
    /// The SHA-256 of the file; of a directory that of its manifest.
    pub sha256: Sha256Digest,
}

/// Tells whether a signal wants the work to end.
pub type Interrupt<'a> = &'a dyn Fn() -> Option<i32>;

impl PatchForm {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Directory => "dir",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::Datastream => "datastream",
        }
    }
}

/// Writes a patch.
pub fn write_patch(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    interrupt: Interrupt<'_>,
) -> Result<WrittenPatch, BuildError> {
    let written = match to.form {
        PatchForm::Directory => directory::write(draft, to, interrupt),
        _ => file::write(draft, to, interrupt),
    };
    // A signal makes whatever is under way fail somehow.
    match interrupt() {
        Some(signal) if written.is_err() => Err(BuildError::Interrupted(signal)),
        _ => written,
    }
}

/// Refuses a destination that is taken.
fn check_free(to: &PatchDestination, path: &Path) -> Result<(), BuildError> {
    if !to.replaces && path.symlink_metadata().is_ok() {
        return Err(BuildError::Exists(path.to_owned()));
    }
    Ok(())
}

/// The directory that a path lies in, and its last component.
fn parent_and_name(path: &Path) -> Result<(&Path, &[u8]), BuildError> {
    let no_name =
        || BuildError::Write { path: path.to_owned(), error: io::ErrorKind::InvalidFilename.into() };
    let name = path.file_name().ok_or_else(no_name)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")), name.as_bytes()))
}

/// Hands all members of a patch to a sink: the files beside the packages, then package after package.
fn feed(
    draft: &PatchDraft<'_>,
    sink: &mut dyn PatchSink,
    interrupt: Interrupt<'_>,
) -> Result<(), BuildError> {
    for (name, text) in &draft.beside {
        sink.beside(&PatchMember::own(name.as_bytes(), text, draft.date), &mut &text[..])?;
    }
    for (index, package) in draft.packages.iter().enumerate() {
        sink.begin_package(index)?;
        let (pkginfo, pkgmap) = (params::write(&package.sparse.params), package.sparse.pkgmap.write());
        let own = [("pkginfo".to_owned(), &pkginfo), ("pkgmap".to_owned(), &pkgmap)];
        let information = package.sparse.information.iter();
        let information = information.map(|(name, text)| (format!("install/{name}"), text));
        for (name, text) in own.into_iter().chain(information) {
            sink.member(&PatchMember::own(name.as_bytes(), text, draft.date), &mut &text[..])?;
        }
        feed_objects(package, ReleaseSide::To, sink, interrupt)?;
        feed_objects(package, ReleaseSide::From, sink, interrupt)?;
    }
    Ok(())
}

/// Hands the files of a package whose content is that of one release to a sink.
fn feed_objects(
    package: &DraftedPackage<'_>,
    side: ReleaseSide,
    sink: &mut dyn PatchSink,
    interrupt: Interrupt<'_>,
) -> Result<(), BuildError> {
    let release = if side == ReleaseSide::To { package.new } else { package.old };
    let files = &package.sparse.files;
    let is_wanted = |path: &ObjectPath| files.get(path).is_some_and(|file| file.side == side);
    let mut left = files.values().filter(|file| file.side == side).count();
    if left == 0 {
        return Ok(());
    }
    let mut failed = None;
    let read = release.contents.each(&is_wanted, &mut |path, data| {
        let Some(file) = files.get(path) else { return Ok(()) };
        left = left.saturating_sub(1);
        let member =
            PatchMember { name: &file.member, mode: file.mode, mtime: file.mtime, size: file.content.size };
        put_object(release, path, &member, &mut CheckedContent::new(data, file.content, interrupt), sink)
            .map_err(|error| {
                let told = io::Error::other(error.to_string());
                failed = Some(error);
                told
            })
    });
    match (failed, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(BuildError::Read { origin: release.origin.clone(), error }),
        (None, Ok(())) if left > 0 => {
            let path = format!("{left} of its files");
            Err(BuildError::Changed { origin: release.origin.clone(), path })
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Hands one file to a sink, and says of a failure whether the release or the destination is to blame.
fn put_object(
    release: &ReleasePackage,
    path: &ObjectPath,
    member: &PatchMember<'_>,
    content: &mut CheckedContent<'_>,
    sink: &mut dyn PatchSink,
) -> Result<(), BuildError> {
    let written = sink.member(member, content);
    let origin = || release.origin.clone();
    match content.finish() {
        Err(error) if content.has_changed() => {
            let path = format!("{path} ({error})");
            Err(BuildError::Changed { origin: origin(), path })
        }
        Err(error) if content.has_failed() => Err(BuildError::Read { origin: origin(), error }),
        _ => written,
    }
}

/// Copies content through a buffer that serves many files.
fn copy(
    data: &mut dyn Read,
    buffer: &mut [u8],
    put: &mut dyn FnMut(&[u8]) -> Result<(), BuildError>,
) -> Result<io::Result<()>, BuildError> {
    loop {
        match data.read(buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(count) => put(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}
