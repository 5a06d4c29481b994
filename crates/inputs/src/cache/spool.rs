//! The spool of a command: the files that it uses, under names for people, in a directory that goes with the command.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::error::CacheError;
use patchadm_rootfs::{Dir, ObjectStatus, RootError, WritableFile};

/// The name that the directories of commands have in them.
const PROGRAM: &str = "run";

/// The directory of a command, removed with the value. One that a killed command left is removed by a later one.
#[derive(Debug)]
pub struct PatchSpool {
    above: Dir,
    name: Vec<u8>,
    dir: Dir,
    path: PathBuf,
}

impl PatchSpool {
    pub(super) fn begin(above: &Dir, path: &Path) -> Result<Self, CacheError> {
        above.remove_leftovers(PROGRAM)?;
        let (name, dir) = above.make_private(PROGRAM)?;
        let path = path.join(std::ffi::OsStr::from_bytes(&name));
        Ok(Self { above: above.again()?, name, dir, path })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory, to make other ones in it.
    pub fn place(&self) -> Result<Dir, RootError> {
        self.dir.again()
    }

    /// Gives an object of another directory of the cache a name here, unless it has it.
    pub(super) fn link(&self, from: &Dir, object: &[u8], name: &str) -> Result<(), RootError> {
        if self.dir.look(name.as_bytes())?.is_some() {
            return Ok(());
        }
        self.dir.make_link(name.as_bytes(), from, object)
    }

    pub(super) fn open(&self, name: &str) -> Result<(File, ObjectStatus), RootError> {
        self.dir.open_file(name.as_bytes())
    }

    /// Makes an empty file for content without a digest; replaces an existing one of this name.
    pub fn create(&self, name: &str) -> Result<(PathBuf, WritableFile), CacheError> {
        self.dir.remove(name.as_bytes())?;
        Ok((self.path.join(name), self.dir.create(name.as_bytes())?))
    }

    /// Writes a small file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, CacheError> {
        let (path, mut file) = self.create(name)?;
        file.put(bytes)?;
        Ok(path)
    }

    /// Removes a file or a directory with everything in it.
    pub fn discard(&self, name: &str) -> Result<(), CacheError> {
        Ok(self.dir.remove_tree(name.as_bytes())?)
    }
}

impl Drop for PatchSpool {
    fn drop(&mut self) {
        // If it cannot be removed now, the next command removes it.
        let _ = self.above.remove_tree(&self.name);
    }
}
