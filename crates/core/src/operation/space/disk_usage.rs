//! The bytes that objects occupy on their file systems, as du(1) counts them: allocated blocks, a file with several names
//! once, links not followed.
//!
//! What disappears while it is counted does not count. What the caller may not read counts as far as it can be seen, and
//! is named.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_rootfs::{Dir, FileType, ObjectStatus, RootError};

/// The most directories in each other that are entered. Records and trees of systems have far fewer.
const DEEPEST: usize = 200;

/// A file system: major and minor number of its device.
pub(super) type DeviceNumber = (u32, u32);

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct DiskUsage {
    /// The objects that may be met again.
    counted: BTreeSet<(DeviceNumber, u64)>,
    /// The bytes on each file system.
    pub(super) by_device: BTreeMap<DeviceNumber, u64>,
    /// The directories whose content could not be read.
    pub(super) unread: BTreeSet<String>,
}

impl DiskUsage {
    /// Counts an object of a directory, with everything below it; 0 if it is missing.
    pub(super) fn of(&mut self, directory: &Dir, name: &[u8]) -> Result<u64, RootError> {
        self.of_entry(directory, name, DEEPEST)
    }

    /// Counts a directory with everything below it.
    pub(super) fn of_directory(&mut self, directory: &Dir) -> Result<u64, RootError> {
        let own = self.of_one(&directory.itself()?);
        Ok(own + self.of_content(directory, DEEPEST)?)
    }

    /// Counts one object, and nothing below it.
    pub(super) fn of_one(&mut self, seen: &ObjectStatus) -> u64 {
        let may_be_met_again = seen.links > 1 || seen.file_type == FileType::Directory;
        if may_be_met_again && !self.counted.insert((seen.file_system, seen.inode.number)) {
            return 0;
        }
        *self.by_device.entry(seen.file_system).or_default() += seen.allocated;
        seen.allocated
    }

    fn of_entry(&mut self, directory: &Dir, name: &[u8], depth: usize) -> Result<u64, RootError> {
        let Some(seen) = directory.look(name)? else { return Ok(0) };
        let own = self.of_one(&seen);
        if seen.file_type != FileType::Directory {
            return Ok(own);
        }
        let path = directory.root().show(&directory.at(name));
        let Some(depth) = depth.checked_sub(1) else {
            self.unread.insert(path);
            return Ok(own);
        };
        let below = directory.dir(name).and_then(|inner| self.of_content(&inner, depth));
        Ok(own + self.as_far_as_readable(path, below)?)
    }

    fn of_content(&mut self, directory: &Dir, depth: usize) -> Result<u64, RootError> {
        let mut bytes = 0;
        for name in directory.names()? {
            bytes += self.of_entry(directory, &name, depth)?;
        }
        Ok(bytes)
    }

    /// Names a directory that the caller may not read, and lets it count as empty.
    pub(super) fn as_far_as_readable(
        &mut self,
        path: String,
        counted: Result<u64, RootError>,
    ) -> Result<u64, RootError> {
        match counted {
            Err(error) if error.is_refused_access() => {
                self.unread.insert(path);
                Ok(0)
            }
            Err(error) if error.is_not_found() => Ok(0),
            counted => counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn blocks_are_counted_once_for_all_names_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("inner/file"), vec![b'x'; 10_000]).unwrap();
        fs::hard_link(at("inner/file"), at("again")).unwrap();
        symlink("/usr", at("link")).unwrap();
        // A sparse file occupies less than its size.
        fs::File::create(at("sparse")).unwrap().set_len(1 << 30).unwrap();
        let blocks = |name: &str| fs::symlink_metadata(at(name)).unwrap().blocks() * 512;
        let expected: u64 = ["", "inner", "inner/file", "link", "sparse"].map(blocks).iter().sum();
        let mut usage = DiskUsage::default();
        let directory = Dir::of_host(place.path()).unwrap();
        assert_eq!(usage.of_directory(&directory).unwrap(), expected);
        assert_eq!(usage.by_device.values().sum::<u64>(), expected);
        assert_eq!(usage.of(&directory, b"inner").unwrap(), 0, "it is counted already");
        assert_eq!(usage.of(&directory, b"missing").unwrap(), 0);
        assert!(usage.unread.is_empty());
    }

    #[test]
    fn a_tree_that_is_too_deep_is_named() {
        let place = tempfile::tempdir().unwrap();
        let mut deep = place.path().to_owned();
        for _ in 0..=DEEPEST {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        let mut usage = DiskUsage::default();
        usage.of_directory(&Dir::of_host(place.path()).unwrap()).unwrap();
        assert_eq!(usage.unread.len(), 1);
    }
}
