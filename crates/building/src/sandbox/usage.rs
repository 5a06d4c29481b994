//! The disk space of what a task has written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Descent, Dir, FileType, RootError};

/// The minimum size counted for an object, in bytes. An object without blocks still takes an inode.
const LEAST: u64 = 4096;

/// The disk space of directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsedSpace {
    /// The bytes, each file once.
    pub(crate) bytes: u64,
    /// The first directory that could not be looked into: anything could lie in it. It begins with the name of its top.
    pub(crate) closed: Option<String>,
}

/// Returns the space that directories of the host occupy, to any depth. Something that is removed meanwhile counts as nothing.
pub(crate) fn space_of(directories: &[PathBuf]) -> UsedSpace {
    let mut walk = SpaceWalk { used: UsedSpace::default(), seen_files: BTreeSet::new() };
    for top in directories {
        let Ok(dir) = Dir::of_host(top) else { continue };
        if walk.add(top, &dir).is_err() {
            walk.used.closed.get_or_insert_with(|| shown(top, &dir));
        }
    }
    walk.used
}

struct SpaceWalk {
    used: UsedSpace,
    /// The files with several names.
    seen_files: BTreeSet<((u32, u32), u64)>,
}

impl SpaceWalk {
    /// Adds what lies below a directory. Fails where a directory was moved meanwhile, so that the way back is lost.
    fn add(&mut self, top: &Path, dir: &Dir) -> Result<(), RootError> {
        let mut descent = Descent::below(dir);
        let mut rest = vec![self.look_at(dir)];
        while let Some(directories) = rest.last_mut() {
            let Some(name) = directories.pop() else {
                rest.pop();
                descent.leave()?;
                continue;
            };
            let below = match descent.here().dir(&name) {
                Ok(below) => below,
                Err(error) => {
                    if error.is_refused_access() {
                        let name = String::from_utf8_lossy(&name);
                        let closed = || format!("{}/{name}", shown(top, descent.here()));
                        self.used.closed.get_or_insert_with(closed);
                    }
                    continue;
                }
            };
            rest.push(self.look_at(&below));
            descent.enter(&name, below)?;
        }
        Ok(())
    }

    /// Counts the objects in a directory. Returns the names of those that are directories.
    fn look_at(&mut self, dir: &Dir) -> Vec<Vec<u8>> {
        let mut directories = Vec::new();
        for name in dir.names().unwrap_or_default() {
            let Ok(Some(seen)) = dir.look(&name) else { continue };
            if seen.links < 2 || self.seen_files.insert((seen.file_system, seen.inode.number)) {
                self.used.bytes += seen.allocated.max(LEAST);
            }
            if seen.file_type == FileType::Directory {
                directories.push(name);
            }
        }
        directories
    }
}

fn shown(top: &Path, dir: &Dir) -> String {
    let name = top.file_name().unwrap_or_default().to_string_lossy();
    if dir.path().relative().is_empty() { name.into_owned() } else { format!("{name}{}", dir.path()) }
}

#[cfg(test)]
mod tests {
    use patchadm_svr4::package::Mode;

    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_those_below_directories_count() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let space = || space_of(&[dir.path().to_owned()]).bytes;
        let empty = space();
        std::fs::write(below.join("file"), vec![1; 100_000]).unwrap();
        let one = space();
        assert!(one >= empty + 100_000, "{one}");
        std::fs::hard_link(below.join("file"), dir.path().join("again")).unwrap();
        assert_eq!(space(), one);
    }

    #[test]
    fn what_lies_deeper_than_any_path_leads_counts() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let top = Dir::of_host(dir.path()).unwrap();
        let (mut here, name) = (top.again().unwrap(), [b'd'; 250]);
        for _ in 0..40 {
            here = here.make_dir(&name, Mode::of(0o755)).unwrap();
        }
        let before = space_of(&[dir.path().to_owned()]);
        here.create(b"file").unwrap().put(&vec![1; 1 << 20]).unwrap();
        let after = space_of(&[dir.path().to_owned()]);
        assert!(after.bytes >= before.bytes + (1 << 20), "{before:?} {after:?}");
        assert_eq!(after.closed, None);
        top.remove_tree(&name).unwrap();
    }

    #[test]
    fn what_has_no_blocks_counts_as_one() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100 {
            std::fs::write(dir.path().join(format!("file{number}")), "").unwrap();
            std::os::unix::fs::symlink("x", dir.path().join(format!("link{number}"))).unwrap();
        }
        assert!(space_of(&[dir.path().to_owned()]).bytes >= 200 * LEAST);
    }
}
