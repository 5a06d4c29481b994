//! Undo data as files: after the commit, the old objects of a run stay in an undo directory, and those that no undo data
//! names any more go.
//!
//! The objects of a stage become an undo directory by one rename, which is durable before the journal says `done`: a stage
//! whose run is done is removed with all that is in it. Each step may be cut off and be repeated.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::journal::{Journal, OpKind, RunOutcome, StoredFiles};
use crate::format::stored_identities::{self, IDENTITIES, StoredIdentity};
use crate::format::undo_files::{StoredName, UNDO, run_of_directory, stage_of, undo_directory};
use crate::stored_file::{StoredFile, StoredFileError, open_undo_directory};
use crate::transaction::error::Cause;
use crate::transaction::stage::domains::{HOLDER, drop_holder};
use crate::transaction::stage::own_stage::{FoundStage, open_own};
use crate::transaction::switch::late_copies::LATE;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// What became of the stored files of a run.
#[derive(Debug, Default)]
pub(crate) struct SettledFiles {
    /// Notes on what stays although no undo data names it.
    pub(crate) notes: Vec<String>,
    /// Whether some of that can still go, at another attempt.
    pub(crate) is_left: bool,
}

/// Makes undo directories of the stages of a run that committed, and removes what the run made useless.
pub(crate) fn settle_stored_files(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
) -> Result<SettledFiles, Cause> {
    if outcome != RunOutcome::Commit {
        return Ok(SettledFiles::default());
    }
    keep_stored_of(root, journal)?;
    let mut settled = SettledFiles::default();
    for drop in journal.archives.iter().filter_map(|archive| archive.drop.as_ref()) {
        if let Err(cause) = drop_stored(root, drop) {
            // A directory that is not ours does not become it by itself.
            settled.is_left |= !matches!(cause, Cause::StoredFile(StoredFileError::NotOurs { .. }));
            settled.notes.push(cause.to_string());
        }
    }
    Ok(settled)
}

/// Makes undo directories of the stages of a run that committed. Until that is done, nothing but its journal knows of the old
/// files in there.
pub(crate) fn keep_stored_of(root: &Root, journal: &Journal) -> Result<(), Cause> {
    let stored = journal.stored_names();
    let had_trees = journal.ops.iter().any(|op| op.kind == OpKind::Tree);
    for (index, domain) in journal.domains.iter().enumerate() {
        let of_domain = stored.iter().filter(|name| name.directory == index);
        let wanted: BTreeSet<&[u8]> = of_domain.map(|name| name.name.as_bytes()).collect();
        if !wanted.is_empty() {
            keep_objects(root, &domain.stage, &wanted, had_trees)?;
        }
    }
    Ok(())
}

/// Makes undo directories of the stages of a run that committed and has lost its journal. `stored` are the old files that its
/// undo data names; those of other runs lie where they are.
pub(crate) fn keep_stored_files(root: &Root, run: &str, stored: &[StoredFile]) -> Result<(), Cause> {
    let mut wanted: BTreeMap<&ObjectPath, BTreeSet<&[u8]>> = BTreeMap::new();
    for file in stored.iter().filter(|file| run_of_directory(&file.directory) == run) {
        wanted.entry(&file.directory).or_default().insert(file.name.as_bytes());
    }
    for (directory, wanted) in wanted {
        let Some(stage) = stage_of(directory) else { continue };
        let Some(above) = root.dir_if_there(&stage.parent().unwrap_or_else(ObjectPath::root))? else {
            continue;
        };
        // Nobody has checked what the undo data says of it.
        if matches!(open_own(&above, stage.name(), run.as_bytes())?, FoundStage::Ours(_)) {
            keep_objects(root, &stage, &wanted, true)?;
        }
    }
    Ok(())
}

/// Makes the objects of a stage an undo directory that holds the `wanted` ones. Where whole directories were exchanged, the
/// names of these, too, were removed from there just now.
fn keep_objects(
    root: &Root,
    of_run: &ObjectPath,
    wanted: &BTreeSet<&[u8]>,
    had_trees: bool,
) -> Result<(), Cause> {
    let Some(stage) = root.dir_if_there(of_run)? else { return Ok(()) };
    if stage.look(b"o")?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(());
    }
    let objects = stage.dir(b"o")?;
    let others: Vec<_> =
        objects.entries()?.into_iter().filter(|(name, _)| !wanted.contains(&**name)).collect();
    for entry in &others {
        match entry.0.strip_prefix(LATE).filter(|name| wanted.contains(name)) {
            Some(name) => objects.replace(&entry.0, &objects, name)?,
            None => objects.remove_entry(entry)?,
        }
    }
    if had_trees || !others.is_empty() {
        // Once it is an undo directory, nobody looks for them any more.
        objects.sync()?;
    }
    let path = undo_directory(of_run);
    let path = path.ok_or_else(|| Cause::Internal(format!("{of_run} has no undo directory")))?;
    note_identities(&objects, &run_of_directory(&path), wanted)?;
    let above = make_holder(root, &path)?;
    stage.move_to(b"o", &above, path.name())?;
    Ok(above.sync()?)
}

/// Writes down how the stored objects of a run look now. That is a hint, so it need not succeed.
fn note_identities(objects: &Dir, run: &str, wanted: &BTreeSet<&[u8]>) -> Result<(), Cause> {
    let mut identities = BTreeMap::new();
    for name in wanted {
        if let Some(seen) = objects.look(name)? {
            identities.insert(String::from_utf8_lossy(name).into_owned(), StoredIdentity::of(&seen));
        }
    }
    objects.remove(IDENTITIES)?;
    let written =
        objects.create(IDENTITIES).and_then(|mut file| file.put(&stored_identities::write(run, identities)));
    if written.is_err() {
        objects.remove(IDENTITIES)?;
    }
    Ok(())
}

/// Opens the directory above an undo directory, and makes it if it is missing.
fn make_holder(root: &Root, path: &ObjectPath) -> Result<Dir, Cause> {
    let above = path.parent().unwrap_or_else(ObjectPath::root);
    if above.name() != UNDO {
        return Ok(root.dir(&above)?);
    }
    let holder = root.dir(&above.parent().unwrap_or_else(ObjectPath::root))?;
    let undo = match holder.look(UNDO)? {
        None => holder.make_dir(UNDO, Mode::of(0o711))?,
        Some(_) => holder.dir(UNDO)?,
    };
    // Only its name must be durable, and that of what will be in it.
    holder.sync()?;
    Ok(undo)
}

/// Removes stored objects, and the directories that held nothing else.
fn drop_stored(root: &Root, drop: &StoredFiles) -> Result<(), Cause> {
    let names: BTreeSet<StoredName> = drop.names.iter().filter_map(|name| StoredName::parse(name)).collect();
    for index in 0..drop.directories.directories.len() {
        let Some(path) = drop.directories.directory(index) else { continue };
        let Some(dir) = open_undo_directory(root, &path)? else { continue };
        for name in names.iter().filter(|name| name.directory == index) {
            dir.remove(name.name.as_bytes())?;
        }
        // No later run looks for what a power cut would bring back.
        if dir.names()?.iter().all(|name| name == IDENTITIES) {
            remove_directory(root, &dir, &path)?;
        } else {
            dir.sync()?;
        }
    }
    Ok(())
}

/// Removes an undo directory without objects, and those above it that are ours and empty.
fn remove_directory(root: &Root, dir: &Dir, path: &ObjectPath) -> Result<(), Cause> {
    dir.remove(IDENTITIES)?;
    let Some(above) = path.parent() else { return Ok(()) };
    let holding = root.dir(&above)?;
    holding.remove_dir(path.name())?;
    holding.sync()?;
    if above.name() != UNDO {
        return Ok(());
    }
    let Some(holder) = above.parent() else { return Ok(()) };
    let is_empty = root.dir(&holder)?.remove_dir(UNDO)?;
    if is_empty && holder.name() == HOLDER { drop_holder(root, &holder) } else { Ok(()) }
}
