//! Undo data as files: after the commit, the old objects of a run stay in an undo directory, and those that no undo data
//! names any more go.
//!
//! The objects of a stage become an undo directory by one rename, which is durable before the journal says `done`: a stage
//! whose run is done is removed with all that is in it. Each step may be cut off and be repeated.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::journal::{Domain, Journal, RunOutcome, StoredFiles};
use crate::format::stored_identities::{self, IDENTITIES, StoredIdentity};
use crate::format::undo_files::{StoredName, UNDO, undo_directory};
use crate::stored_file::open_undo_directory;
use crate::transaction::error::Cause;
use crate::transaction::stage::domains::{HOLDER, drop_holder};
use crate::transaction::switch::late_copies::LATE;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// A mount and its file system.
pub(crate) type MountedFileSystem = (u64, (u32, u32));

/// Makes undo directories of the stages of a run that committed. How objects looked when they were last found `unchanged`
/// before the commit is known of most.
pub(crate) fn keep_stored_files(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    unchanged: &BTreeMap<StoredName, StoredIdentity>,
) -> Result<(), Cause> {
    if outcome != RunOutcome::Commit {
        return Ok(());
    }
    let stored = journal.stored_names();
    for (index, domain) in journal.domains.iter().enumerate() {
        let of_domain = stored.iter().filter(|name| name.directory == index);
        let wanted: StoredObjects<'_> =
            of_domain.map(|name| (name.name.as_bytes(), unchanged.get(name).copied())).collect();
        if !wanted.is_empty() {
            keep_objects(root, domain, &wanted)?;
        }
    }
    Ok(())
}

/// Tells whether a run with this outcome makes stored objects useless.
pub(crate) fn drops_stored_files(journal: &Journal, outcome: RunOutcome) -> bool {
    outcome == RunOutcome::Commit && journal.archives.iter().any(|archive| archive.drop.is_some())
}

/// Removes the stored objects that a run made useless, durably or on a file system that is `synced_later`. Returns notes
/// on what stays.
pub(crate) fn drop_stored_files(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    synced_later: &[MountedFileSystem],
) -> Vec<String> {
    if outcome != RunOutcome::Commit {
        return Vec::new();
    }
    let drops = journal.archives.iter().filter_map(|archive| archive.drop.as_ref());
    let mut directories = BTreeSet::new();
    let mut failed: Vec<Cause> =
        drops.filter_map(|drop| drop_stored(root, drop, &mut directories).err()).collect();
    // Archives of one run share a directory, which is made durable once.
    let settled = directories.iter().map(|path| settle_directory(root, path, synced_later));
    failed.extend(settled.filter_map(Result::err));
    failed.iter().map(ToString::to_string).collect()
}

/// The objects of an undo directory by name, each with how it looked before the commit, if that is known.
type StoredObjects<'a> = BTreeMap<&'a [u8], Option<StoredIdentity>>;

/// Makes the objects of a stage an undo directory that holds the `wanted` ones.
fn keep_objects(root: &Root, domain: &Domain, wanted: &StoredObjects<'_>) -> Result<(), Cause> {
    let Some(stage) = root.dir_if_there(&domain.stage)? else { return Ok(()) };
    let path = undo_directory(&domain.stage);
    let path = path.ok_or_else(|| Cause::Internal(format!("{} has no undo directory", domain.stage)))?;
    if stage.look(b"o")?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        // An attempt that was cut off has moved it, and that need not be durable.
        let moved = root.dir_if_there(&path)?;
        return moved.map_or(Ok(()), |moved| Ok(moved.sync_file_system()?));
    }
    let objects = stage.dir(b"o")?;
    let others: Vec<_> =
        objects.entries()?.into_iter().filter(|(name, _)| !wanted.contains_key(&**name)).collect();
    for entry in &others {
        match entry.0.strip_prefix(LATE).filter(|name| wanted.contains_key(name)) {
            Some(name) => objects.replace(&entry.0, &objects, name)?,
            None => objects.remove_entry(entry)?,
        }
    }
    if !others.is_empty() {
        // Once it is an undo directory, nobody looks for them any more.
        objects.sync()?;
    }
    note_identities(&objects, wanted)?;
    let (above, is_new) = make_holder(root, &path)?;
    stage.move_to(b"o", &above, path.name())?;
    // A new directory needs its own name, too: one sync is enough for both.
    let synced = if is_new { above.sync_file_system() } else { above.sync() };
    Ok(synced?)
}

/// Writes down how the stored objects looked before the commit: what was written to one since then is noticed by it. Others
/// have been copied or have lost bits since, and are looked at. That is a hint, so it need not succeed.
fn note_identities(objects: &Dir, wanted: &StoredObjects<'_>) -> Result<(), Cause> {
    let mut identities = BTreeMap::new();
    for (name, known) in wanted {
        let identity = match known {
            Some(known) => Some(*known),
            None => objects.look(name)?.map(|seen| StoredIdentity::of(&seen)),
        };
        if let Some(identity) = identity {
            identities.insert(String::from_utf8_lossy(name).into_owned(), identity);
        }
    }
    objects.remove(IDENTITIES)?;
    let written =
        objects.create(IDENTITIES).and_then(|mut file| file.put(&stored_identities::write(&identities)));
    if written.is_err() {
        objects.remove(IDENTITIES)?;
    }
    Ok(())
}

/// Opens the directory above an undo directory, and makes it if it is missing; tells whether it did.
fn make_holder(root: &Root, path: &ObjectPath) -> Result<(Dir, bool), Cause> {
    let above = path.parent().unwrap_or_else(ObjectPath::root);
    if above.name() != UNDO {
        return Ok((root.dir(&above)?, false));
    }
    let holder = root.dir(&above.parent().unwrap_or_else(ObjectPath::root))?;
    if holder.look(UNDO)?.is_none() {
        return Ok((holder.make_dir(UNDO, Mode::of(0o711))?, true));
    }
    // A run that was cut off may have made it.
    let undo = holder.dir(UNDO)?;
    let is_empty = undo.names()?.is_empty();
    Ok((undo, is_empty))
}

/// Removes stored objects; notes the directories that held them.
fn drop_stored(root: &Root, drop: &StoredFiles, directories: &mut BTreeSet<ObjectPath>) -> Result<(), Cause> {
    let names: BTreeSet<StoredName> = drop.names.iter().filter_map(|name| StoredName::parse(name)).collect();
    for index in 0..drop.directories.directories.len() {
        let Some(path) = drop.directories.directory(index) else { continue };
        let Some(dir) = open_undo_directory(root, &path)? else { continue };
        directories.insert(path);
        for name in names.iter().filter(|name| name.directory == index) {
            dir.remove(name.name.as_bytes())?;
        }
    }
    Ok(())
}

/// Removes an undo directory that holds nothing any more, or makes durable what went from it.
fn settle_directory(root: &Root, path: &ObjectPath, synced_later: &[MountedFileSystem]) -> Result<(), Cause> {
    let Some(dir) = open_undo_directory(root, path)? else { return Ok(()) };
    if dir.names()?.iter().all(|name| name == IDENTITIES) {
        remove_directory(root, &dir, path, synced_later)
    } else {
        make_durable(&dir, synced_later)
    }
}

/// Removes an undo directory without objects, and those above it that are ours and empty.
fn remove_directory(
    root: &Root,
    dir: &Dir,
    path: &ObjectPath,
    synced_later: &[MountedFileSystem],
) -> Result<(), Cause> {
    dir.remove(IDENTITIES)?;
    let Some(above) = path.parent() else { return Ok(()) };
    let holding = root.dir(&above)?;
    holding.remove_dir(path.name())?;
    make_durable(&holding, synced_later)?;
    if above.name() != UNDO {
        return Ok(());
    }
    let Some(holder) = above.parent() else { return Ok(()) };
    let is_empty = root.dir(&holder)?.remove_dir(UNDO)?;
    if is_empty && holder.name() == HOLDER { drop_holder(root, &holder) } else { Ok(()) }
}

/// Makes removed names durable, unless their file system is synced later: no later run looks for what a power cut would
/// bring back.
fn make_durable(dir: &Dir, synced_later: &[MountedFileSystem]) -> Result<(), Cause> {
    let seen = dir.itself()?;
    if synced_later.contains(&(seen.mount, seen.file_system)) { Ok(()) } else { Ok(dir.sync()?) }
}
