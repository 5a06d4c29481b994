//! A directory of a root that is made where it is missing.

use patchadm_rootfs::{Dir, Result, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// Opens a directory, behind links as well. Makes it, with those above it, if it is missing.
pub(super) fn made_directory(root: &Root, place: &ObjectPath) -> Result<Dir> {
    let physical = root.resolver().locate_dir(place)?;
    if let Some(dir) = root.dir_if_there(&physical)? {
        return Ok(dir);
    }
    let Some(parent) = physical.parent() else { return root.dir(&physical) };
    let above = made_directory(root, &parent)?;
    let made = above.make_dir(physical.name(), Mode::of(0o755))?;
    above.sync()?;
    Ok(made)
}
