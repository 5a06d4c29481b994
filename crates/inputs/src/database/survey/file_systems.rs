//! Finds the file system that a directory of the root is on.

use std::collections::HashMap;

use crate::inventory::FileSystem;
use patchadm_rootfs::{ObjectStatus, Result, Root};
use patchadm_svr4::package::ObjectPath;

/// A mount and its file system. A bind mount has the file system of its source, yet nothing can be renamed between
/// the two.
type MountKey = (u64, (u32, u32));

/// The file systems met so far.
pub(super) struct FileSystems<'a> {
    root: &'a Root,
    found: Vec<(MountKey, FileSystem)>,
    known: HashMap<ObjectPath, usize>,
}

impl<'a> FileSystems<'a> {
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, found: Vec::new(), known: HashMap::new() }
    }

    /// Returns the index of the file system that a physical directory is on, or would be once it is made.
    pub(super) fn of(&mut self, directory: &ObjectPath) -> Result<usize> {
        let mut at = directory.clone();
        let index = loop {
            if let Some(&index) = self.known.get(&at) {
                break index;
            }
            if let Some(seen) = self.look(&at)? {
                break self.index(&at, key(&seen))?;
            }
            at = at.parent().unwrap_or_else(ObjectPath::root);
        };
        self.known.insert(directory.clone(), index);
        Ok(index)
    }

    pub(super) fn into_list(self) -> Vec<FileSystem> {
        self.found.into_iter().map(|(_, file_system)| file_system).collect()
    }

    fn look(&self, directory: &ObjectPath) -> Result<Option<ObjectStatus>> {
        self.root.dir_of_object(directory)?.map(|dir| dir.itself()).transpose()
    }

    fn index(&mut self, directory: &ObjectPath, of: MountKey) -> Result<usize> {
        if let Some(index) = self.found.iter().position(|(known, _)| *known == of) {
            return Ok(index);
        }
        let mut top = directory.clone();
        while let Some(parent) = top.parent() {
            if self.look(&parent)?.is_none_or(|seen| key(&seen) != of) {
                break;
            }
            top = parent;
        }
        let directory = self.root.dir(directory)?;
        let space = directory.space()?;
        let file_system = FileSystem {
            name: self.root.show(&top),
            free: space.bytes,
            inodes: space.inodes,
            unit: space.unit,
            is_read_only: directory.is_read_only()?,
        };
        self.found.push((of, file_system));
        Ok(self.found.len() - 1)
    }
}

fn key(seen: &ObjectStatus) -> MountKey {
    (seen.mount, seen.file_system)
}
