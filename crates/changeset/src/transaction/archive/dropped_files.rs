//! Undo data as files: the stored objects of an earlier run that no undo data names any more once this run has committed.
//!
//! They follow from the records alone: a run that removes or replaces a file `undo.files` drops what that names. No plan
//! has to say so.

use std::collections::BTreeSet;

use crate::archive_file::UnboundArchive;
use crate::format::journal::{JournalArchive, Op, OpKind, StoredFiles};
use crate::format::manifest::{Manifest, ObjectRecord, UndoFiles};
use crate::plan::UndoFormat;
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::stage::layout_items::Layout;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::ObjectPath;

/// The deepest directory below a removed record that is searched: `pkg/<PKG>` has `save/<id>/undo.files`.
const DEEPEST: usize = 3;

/// Returns the records of a layout that may name stored objects and go.
pub(crate) fn records_that_go(layout: &Layout<'_>) -> Vec<ObjectPath> {
    let ops = layout.items.iter().map(|item| &item.op);
    ops.filter(|op| is_record_that_goes(op)).map(|op| op.path.clone()).collect()
}

/// Returns what is dropped with these records, for the journal.
pub(crate) fn dropped_files(root: &Root, records: &[ObjectPath]) -> Result<Vec<JournalArchive>, Cause> {
    let mut dirs = Dirs::new(root);
    let mut found = Vec::new();
    for path in records {
        let Some(parent) = dirs.parent(path)? else { continue };
        search(&parent, path.name(), 0, &mut found)?;
    }
    let drops =
        found.into_iter().map(|drop| JournalArchive { drop: Some(drop), ..JournalArchive::default() });
    Ok(drops.collect())
}

fn is_record_that_goes(op: &Op) -> bool {
    let is_directory = || op.old.as_deref().is_some_and(|old| old.file_type == 'd');
    op.db
        && matches!(op.kind, OpKind::Delete | OpKind::Replace)
        && (UndoFormat::Files.has_archive_named(op.path.name()) || is_directory())
}

/// Looks for archives without objects at a name and below it.
fn search(dir: &Dir, name: &[u8], depth: usize, found: &mut Vec<StoredFiles>) -> Result<(), Cause> {
    match dir.look(name)?.map(|seen| seen.file_type) {
        Some(FileType::Directory) if depth <= DEEPEST => {
            let inner = dir.dir(name)?;
            inner.names()?.iter().try_for_each(|name| search(&inner, name, depth + 1, found))
        }
        Some(FileType::Regular) if UndoFormat::Files.has_archive_named(name) => {
            let archive = UnboundArchive::new(dir.open_regular(name)?, dir.root().show(&dir.at(name)));
            // What cannot be read names nothing; it was refused before, or goes with its package.
            found.extend(archive.manifest().ok().flatten().and_then(|manifest| stored_files(&manifest)));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns the stored objects that a manifest names; `None` for an archive that holds its objects, and where a name is
/// none that a run gives.
fn stored_files(manifest: &Manifest) -> Option<StoredFiles> {
    let directories = manifest.header.files.clone().filter(UndoFiles::is_possible)?;
    let names: BTreeSet<String> =
        manifest.all_objects().filter_map(ObjectRecord::stored_name).map(|name| name.to_string()).collect();
    Some(StoredFiles { directories, names: names.into_iter().collect() })
}
