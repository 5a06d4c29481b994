//! The files of a record directory of a stage, as they go live: small ones whole, large ones by their digest.

use patchadm_changeset::archive_file::digest_of;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ViewError};
use patchadm_planning::plan::{CopiedRecord, TreeContent, TreeFile};
use patchadm_rootfs::{FileType, Interrupt, ObjectStatus};
use patchadm_svr4::package::ObjectPath;

/// The largest file that is held in memory, in bytes.
const IN_MEMORY: u64 = 64 << 10;

/// Reads the files of a directory and of those below it; empty if it does not exist. Only regular files are records. A
/// signal ends it.
pub(super) fn record_files(
    view: &RecordView<'_>,
    directory: &ObjectPath,
    interrupt: Interrupt<'_>,
) -> Result<Vec<TreeFile>, ArchiveError> {
    let mut files = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(below) = open.pop() {
        let at = join(directory, &below);
        for name in at.as_ref().map(|at| view.list(at)).transpose()?.flatten().unwrap_or_default() {
            let name = if below.is_empty() { name } else { [&below[..], b"/", &name].concat() };
            let Some(path) = join(directory, &name) else { continue };
            let Some(seen) = view.look(&path)? else { continue };
            match seen.file_type {
                FileType::Directory => open.push(name),
                FileType::Regular => files.extend(record_file(view, &path, name, &seen, interrupt)?),
                _ => {}
            }
        }
    }
    files.sort_by(|one: &TreeFile, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Returns a path below a directory. No package tool can have made a name that is too deep for one.
fn join(directory: &ObjectPath, below: &[u8]) -> Option<ObjectPath> {
    if below.is_empty() { Some(directory.clone()) } else { directory.join(below).ok() }
}

fn record_file(
    view: &RecordView<'_>,
    path: &ObjectPath,
    name: Vec<u8>,
    seen: &ObjectStatus,
    interrupt: Interrupt<'_>,
) -> Result<Option<TreeFile>, ArchiveError> {
    let content = if seen.size <= IN_MEMORY {
        let Some(bytes) = view.read(path, IN_MEMORY)? else { return Ok(None) };
        TreeContent::Bytes(bytes)
    } else {
        let Some(file) = view.open(path)? else { return Ok(None) };
        let shown = view.root().show(path);
        let failed = |error| ArchiveError::from(patchadm_changeset::archive_file::unreadable(&shown, &error));
        let b3 = digest_of(&file, interrupt);
        // An interrupted read also fails.
        interrupt().map_or(Ok(()), |signal| Err(ArchiveError::Interrupted(signal)))?;
        let b3 = b3.map_err(failed)?;
        TreeContent::Copied(Box::new(CopiedRecord {
            tree: view.root().clone(),
            path: path.clone(),
            from: 0,
            size: seen.size,
            b3,
        }))
    };
    Ok(Some(TreeFile { name, content, mode: seen.mode, mtime: Some(seen.mtime) }))
}

/// Returns whether a directory exists.
pub(super) fn is_there(view: &RecordView<'_>, directory: &ObjectPath) -> Result<bool, ViewError> {
    Ok(view.look(directory)?.is_some_and(|seen| seen.file_type == FileType::Directory))
}
