//! Stored objects of undo data as files (patchadm-undo(5)). An undo directory is trusted only if nobody else can write
//! there (`why_not_ours`).

use std::fs::File;
use std::io;

use crate::format::manifest::{ObjectRecord, UndoManifest};
use crate::format::undo_files::StoredName;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredFile {
    /// Physical path inside the root.
    pub directory: ObjectPath,
    pub name: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StoredFileError {
    #[error("the undo directory no longer has {0}")]
    Missing(String),
    #[error("the undo directory {0} is gone")]
    NoDirectory(String),
    #[error("{0} is not a plain file")]
    NoFile(String),
    #[error("the undo directory {directory} {reason}")]
    NotOurs {
        directory: String,
        /// The rest of the sentence.
        reason: String,
    },
    #[error("the undo data of package {package} is damaged: {shown} {what}")]
    Spoilt {
        package: String,
        shown: String,
        /// The rest of the sentence.
        what: &'static str,
    },
    #[error("the stored object {0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// It must be ours alone.
pub fn open_undo_directory(root: &Root, path: &ObjectPath) -> Result<Option<Dir>, StoredFileError> {
    let Some(dir) = root.dir_if_there(path)? else { return Ok(None) };
    match why_not_ours(root, &dir.itself()?)? {
        None => Ok(Some(dir)),
        Some(reason) => Err(StoredFileError::NotOurs { directory: root.show(path), reason }),
    }
}

impl StoredFile {
    /// Skips places that no run makes.
    pub fn all_of(manifest: &UndoManifest) -> Vec<Self> {
        let Some(files) = &manifest.header.files else { return Vec::new() };
        let named = manifest.all_objects().filter_map(ObjectRecord::stored_name);
        let place = |stored: StoredName| {
            Some(Self { directory: files.directory(stored.directory)?, name: stored.name })
        };
        named.filter_map(place).collect()
    }

    pub fn open_directory(&self, root: &Root) -> Result<Dir, StoredFileError> {
        let missing = || StoredFileError::NoDirectory(root.show(&self.directory));
        open_undo_directory(root, &self.directory)?.ok_or_else(missing)
    }

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
    Ok((!holds("stray.writable", !is_shared)).then(|| "is writable by others".to_owned()))
}
