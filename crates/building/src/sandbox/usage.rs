//! The disk space of what a task has written.

use std::collections::BTreeSet;
use std::path::PathBuf;

use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::ObjectPath;

/// The minimum size counted for an object, in bytes. An object without blocks still takes an inode.
const LEAST: u64 = 4096;

/// Returns the bytes that directories of the host occupy, each file once. What cannot be read counts as nothing: it is still
/// being written, or removed.
pub(crate) fn space_of(directories: &[PathBuf]) -> u64 {
    let mut seen_files = BTreeSet::new();
    let mut bytes = 0;
    for top in directories {
        let Ok(root) = Root::open(top) else { continue };
        // Paths and not open directories: there may be more of them than a process may have open. Each is opened below the top,
        // through no link: whoever writes there may exchange one meanwhile.
        let mut open = vec![ObjectPath::root()];
        while let Some(path) = open.pop() {
            let Ok(dir) = root.dir(&path) else { continue };
            for name in dir.names().unwrap_or_default() {
                let Ok(Some(seen)) = dir.look(&name) else { continue };
                if seen.links < 2 || seen_files.insert((seen.file_system, seen.inode.number)) {
                    bytes += seen.allocated.max(LEAST);
                }
                if seen.file_type == FileType::Directory {
                    open.extend(path.join(&name));
                }
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_those_below_directories_count() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let empty = space_of(&[dir.path().to_owned()]);
        std::fs::write(below.join("file"), vec![1; 100_000]).unwrap();
        let one = space_of(&[dir.path().to_owned()]);
        assert!(one >= empty + 100_000, "{one}");
        std::fs::hard_link(below.join("file"), dir.path().join("again")).unwrap();
        assert_eq!(space_of(&[dir.path().to_owned()]), one);
    }

    #[test]
    fn what_has_no_blocks_counts_as_one() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100 {
            std::fs::write(dir.path().join(format!("file{number}")), "").unwrap();
            std::os::unix::fs::symlink("x", dir.path().join(format!("link{number}"))).unwrap();
        }
        assert!(space_of(&[dir.path().to_owned()]) >= 200 * LEAST);
    }
}
