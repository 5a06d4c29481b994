//! A damaged record, kept beside the one that replaces it.

use crate::operation::failure::Failure;
use patchadm_inputs::database::RecordView;
use patchadm_planning::plan::RecordChange;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The number of names that are tried.
const MOST: u32 = 1000;

/// The largest file that is kept, in bytes: 256 MiB.
const LARGEST: u64 = 256 << 20;

/// The place where a damaged record is kept, and the change that writes it there; `None` if it was renamed at once.
pub(super) struct KeptRecord {
    pub(super) shown: String,
    pub(super) change: Option<RecordChange>,
}

/// Keeps the object at a path as `NAME.damaged`, `NAME.damaged.2`, …: a file by a change of the run that makes the record
/// anew. Renames any other object, so that a file can take its place. `None` without an object, or for an empty or too large
/// file.
pub(super) fn kept(root: &Root, path: &ObjectPath) -> Result<Option<KeptRecord>, Failure> {
    let physical = root.resolver().locate(path)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(None) };
    let Some(seen) = dir.look(physical.name())? else { return Ok(None) };
    let Some(name) = free_name(&dir, physical.name())? else { return Ok(None) };
    let shown = root.show(&dir.at(&name));
    if seen.file_type != FileType::Regular {
        dir.rename(physical.name(), &name)?;
        return Ok(Some(KeptRecord { shown, change: None }));
    }
    if seen.size == 0 || seen.size > LARGEST {
        return Ok(None);
    }
    let Some(bytes) = RecordView::live(root).read(path, LARGEST)? else { return Ok(None) };
    let change =
        RecordChange::Write { path: dir.at(&name), bytes, mode: Mode::of(0o644), mtime: Some(seen.mtime) };
    Ok(Some(KeptRecord { shown, change: Some(change) }))
}

/// Renames an object that is no file, so that a file can take its place.
pub(in crate::operation) fn set_aside_unless_file(root: &Root, path: &ObjectPath) -> Result<(), Failure> {
    let physical = root.resolver().locate(path)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(()) };
    match dir.look(physical.name())? {
        Some(seen) if seen.file_type != FileType::Regular => kept(root, path).map(drop),
        _ => Ok(()),
    }
}

fn free_name(dir: &Dir, name: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    for number in 1..=MOST {
        let suffix = if number == 1 { String::new() } else { format!(".{number}") };
        let name = [name, b".damaged", suffix.as_bytes()].concat();
        if dir.look(&name)?.is_none() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
