//! A damaged record kept beside the one that takes its place.

use crate::operation::failure::Failure;
use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::ObjectPath;

/// So many names are tried.
const MOST: u32 = 1000;

/// Renames what is no file at a path, so that one can take its place.
pub(in crate::operation) fn set_aside_unless_file(root: &Root, path: &ObjectPath) -> Result<(), Failure> {
    let physical = root.resolver().locate(path)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(()) };
    match dir.look(physical.name())? {
        Some(seen) if seen.file_type != FileType::Regular => set_aside(root, path).map(drop),
        _ => Ok(()),
    }
}

/// Keeps what is at a path as `NAME.damaged`, `NAME.damaged.2`, …: a file gets this second name, anything else is renamed,
/// so that a file can take its place. Nothing happens where nothing is, or an empty file.
pub(super) fn set_aside(root: &Root, path: &ObjectPath) -> Result<Option<String>, Failure> {
    let physical = root.resolver().locate(path)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(None) };
    let Some(seen) = dir.look(physical.name())? else { return Ok(None) };
    if seen.file_type == FileType::Regular && seen.size == 0 {
        return Ok(None);
    }
    for number in 1..=MOST {
        let suffix = if number == 1 { String::new() } else { format!(".{number}") };
        let name = [physical.name(), b".damaged", suffix.as_bytes()].concat();
        if dir.look(&name)?.is_some() {
            continue;
        }
        if seen.file_type == FileType::Regular {
            // A file system without second names keeps none.
            if dir.make_link(&name, &dir, physical.name()).is_err() {
                return Ok(None);
            }
        } else {
            dir.rename(physical.name(), &name)?;
        }
        return Ok(Some(root.show(&dir.at(&name))));
    }
    Ok(None)
}
