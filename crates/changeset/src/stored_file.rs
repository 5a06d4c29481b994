//! The stored objects of undo data as files (patchadm-undo(5)).
//!
//! An undo directory, like a stage, is trusted only if nobody else can have put anything there (`why_not_ours`).

use std::fs::File;
use std::io;

use crate::format::manifest::{Manifest, ObjectRecord};
use crate::format::undo_files::StoredName;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;

/// The place of a stored object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredFile {
    /// Its undo directory: a physical path inside the root.
    pub directory: ObjectPath,
    /// Its name there.
    pub name: String,
}

/// The reasons why a stored object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredFileError {
    /// It is gone.
    #[error("the undo directory has no {0} any more")]
    Missing(String),
    /// Its directory is gone.
    #[error("the undo directory {0} is gone")]
    NoDirectory(String),
    /// Something else has its name.
    #[error("{0} is no plain file")]
    NoFile(String),
    /// The directory is not ours alone.
    #[error("the undo directory {directory} {reason}")]
    NotOurs {
        /// Its path.
        directory: String,
        /// The fault, as the rest of the sentence.
        reason: String,
    },
    /// It is not what was saved.
    #[error("the undo data of package {package} is damaged: {shown} {what}")]
    Spoilt {
        /// The package.
        package: String,
        /// The path of the object.
        shown: String,
        /// The fault, as the rest of the sentence.
        what: &'static str,
    },
    /// It cannot be read.
    #[error("the stored object {0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// The system refused.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Opens an undo directory if it is there; it must be ours alone.
pub fn open_undo_directory(root: &Root, path: &ObjectPath) -> Result<Option<Dir>, StoredFileError> {
    let Some(dir) = root.dir_if_there(path)? else { return Ok(None) };
    match why_not_ours(root, &dir.itself()?)? {
        None => Ok(Some(dir)),
        Some(reason) => Err(StoredFileError::NotOurs { directory: root.show(path), reason }),
    }
}

impl StoredFile {
    /// Returns the stored objects that a manifest names; those at places that no run makes are left out.
    pub fn all_of(manifest: &Manifest) -> Vec<Self> {
        let Some(files) = &manifest.header.files else { return Vec::new() };
        let named = manifest.all_objects().filter_map(ObjectRecord::stored_name);
        let place = |stored: StoredName| {
            Some(Self { directory: files.directory(stored.directory)?, name: stored.name })
        };
        named.filter_map(place).collect()
    }

    /// Opens its undo directory.
    pub fn open_directory(&self, root: &Root) -> Result<Dir, StoredFileError> {
        let missing = || StoredFileError::NoDirectory(root.show(&self.directory));
        open_undo_directory(root, &self.directory)?.ok_or_else(missing)
    }

    /// Opens it in its undo directory, which is open.
    pub fn open_in(&self, directory: &Dir) -> Result<(File, ObjectStatus), StoredFileError> {
        let shown = || directory.root().show(&directory.at(self.name.as_bytes()));
        let seen = directory.look(self.name.as_bytes())?.ok_or_else(|| StoredFileError::Missing(shown()))?;
        if seen.file_type != FileType::Regular {
            return Err(StoredFileError::NoFile(shown()));
        }
        let opened = directory.open_seen(self.name.as_bytes())?;
        opened.ok_or_else(|| StoredFileError::Missing(shown()))
    }
}

impl From<StoredFileError> for io::Error {
    fn from(error: StoredFileError) -> Self {
        Self::other(error)
    }
}

pub(crate) fn why_not_ours(root: &Root, seen: &ObjectStatus) -> patchadm_rootfs::Result<Option<String>> {
    if seen.file_type != FileType::Directory {
        return Ok(Some("is not a directory".to_owned()));
    }
    let caller = rustix::process::geteuid().as_raw();
    let is_trusted = root.is_trusted() && seen.uid == root.owner()?.0;
    if !holds("stray.owner", seen.uid == 0 || seen.uid == caller || is_trusted) {
        return Ok(Some(format!("belongs to uid {}", seen.uid)));
    }
    let is_shared = seen.mode.bits() & 0o022 != 0;
    Ok((!holds("stray.writable", !is_shared)).then(|| "can be written by others".to_owned()))
}
