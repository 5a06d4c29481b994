//! The separation of a tree from the staged paths of a root, regardless of links and bind mounts that lead to them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::StageError;
use super::own_files::physical_path;
use super::tree::{ObjectKey, TreeObject, key};
use patchadm_rootfs::{Dir, Root};
use patchadm_svr4::package::ObjectPath;

/// Refuses a tree that is one of these paths of a root, lies in one, or contains one.
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

/// Refuses a tree that, because of a bind mount, is one of the directories found in the root, or lies in one: the names on
/// the way to it do not tell that.
pub(super) fn must_not_be_met(root: &Root, tree: &Root, met: &[TreeObject]) -> Result<(), StageError> {
    let way = way_to(&physical_path(tree)?)?;
    let numbers: HashSet<u64> = way.iter().map(|(_, number)| *number).collect();
    let alike = met.iter().filter(|one| one.live.is_directory() && numbers.contains(&one.live.inode.number));
    for TreeObject { path, .. } in alike {
        let Some(directory) = root.dir_if_there(&root.resolver().locate_dir(path)?)? else { continue };
        if way.contains(&key(&directory.itself()?)) {
            let stage = tree.prefix().display().to_string();
            return Err(StageError::Nested { stage, path: path.to_string() });
        }
    }
    Ok(())
}

/// Returns the directories on the way to a path of the host, itself included. A directory that the caller may not open is
/// none that the caller stages.
pub(super) fn way_to(path: &ObjectPath) -> Result<HashSet<ObjectKey>, StageError> {
    let mut way = HashSet::new();
    for directory in std::iter::once(path.clone()).chain(path.ancestors()) {
        if let Ok(directory) = Dir::of_host(Path::new(OsStr::from_bytes(directory.as_bytes()))) {
            way.insert(key(&directory.itself()?));
        }
    }
    Ok(way)
}
