use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use patchadm_inputs::stage::staged_path;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

pub fn object_path(text: &str) -> Result<ObjectPath, String> {
    ObjectPath::new(text.as_bytes()).map_err(|error| error.to_string())
}

/// Reads a directory of a root, which may be named relative to it.
pub fn directory_of_root(text: &str) -> Result<ObjectPath, String> {
    staged_path(text.as_bytes()).map_err(|error| error.to_string())
}

/// Returns the absolute path of the directory of a root. One with `..` is resolved as the kernel resolves it, because the
/// directory before `..` may be a link.
pub fn absolute_root(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    if !absolute.components().any(|component| component == Component::ParentDir) {
        return Ok(absolute);
    }
    // If it is not there, opening it says so.
    Ok(absolute.canonicalize().unwrap_or(absolute))
}

/// Removes the prefix of the root, which messages show.
pub fn inside(root: &Root, paths: &[ObjectPath]) -> Vec<ObjectPath> {
    let prefix = ObjectPath::new(root.prefix().as_os_str().as_bytes()).ok().filter(|_| !root.is_system());
    let strip = |path: ObjectPath| match &prefix {
        Some(prefix) if path.is_below(prefix) => {
            ObjectPath::new(&path.as_bytes()[prefix.as_bytes().len()..]).unwrap_or(path)
        }
        _ => path,
    };
    paths.iter().cloned().map(strip).collect()
}
