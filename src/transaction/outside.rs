//! Undo archives outside the root (`-B`): paths of the host, as the journal has them and as they are found.

use std::path::Path;

use super::error::Cause;
use crate::format::manifest::decode;
use crate::package::{Inode, ObjectPath};
use crate::root::Root;

/// The path of an object outside the root, as the journal has it.
pub(super) fn outside_path(text: &str) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(decode(text)).into()
}

/// A path of the host as a path below `/`.
pub(super) fn host_path(path: &Path) -> Result<ObjectPath, Cause> {
    use std::os::unix::ffi::OsStrExt;
    ObjectPath::new(path.as_os_str().as_bytes()).map_err(|error| Cause::Internal(error.to_string()))
}

/// Which object a path of the host is now; none where nothing is.
pub(super) fn host_inode(root: &Root, path: &Path) -> Result<Option<Inode>, Cause> {
    let host = root.elsewhere(Path::new("/"))?;
    let physical = host.resolver().locate(&host_path(path)?)?;
    let parent = physical.parent().map(|parent| host.dir_if_there(&parent)).transpose()?.flatten();
    let seen = parent.map(|dir| dir.look(physical.name())).transpose()?.flatten();
    Ok(seen.map(|seen| seen.inode))
}
