//! Whether a tree and the staged paths of a root lie apart, whatever links and bind mounts lead to them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::StageError;
use super::own_files::physical_path;
use patchadm_rootfs::{Dir, ObjectStatus, Root};
use patchadm_svr4::package::ObjectPath;

/// What a directory is, whatever path leads to it.
type DirectoryKey = ((u32, u32), u64);

/// Refuses a tree that is one of these paths of a root, lies in one, or has one in it.
pub(super) fn must_be_apart(root: &Root, tree: &Root, paths: &[ObjectPath]) -> Result<(), StageError> {
    let top = key(&tree.dir(&ObjectPath::root())?.itself()?);
    let way = way_to(&physical_path(tree)?)?;
    let above_root = physical_path(root)?;
    for path in paths {
        let Some(directory) = root.dir_if_there(&root.resolver().locate_dir(path)?)? else { continue };
        let on_host = above_root.join(directory.path().relative())?;
        let is_in_path = way.contains(&key(&directory.itself()?));
        if is_in_path || way_to(&on_host)?.contains(&top) {
            let stage = tree.prefix().display().to_string();
            return Err(StageError::Nested { stage, path: path.to_string() });
        }
    }
    Ok(())
}

/// The directories on the way to a path of the host, itself included. One that the caller may not open is none that the
/// caller stages.
fn way_to(path: &ObjectPath) -> Result<HashSet<DirectoryKey>, StageError> {
    let mut way = HashSet::new();
    for directory in std::iter::once(path.clone()).chain(path.ancestors()) {
        if let Ok(directory) = Dir::of_host(Path::new(OsStr::from_bytes(directory.as_bytes()))) {
            way.insert(key(&directory.itself()?));
        }
    }
    Ok(way)
}

fn key(status: &ObjectStatus) -> DirectoryKey {
    (status.file_system, status.inode.number)
}
