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

/// A mount and its file system.
pub(crate) type MountedFileSystem = (u64, (u32, u32));

/// The stored files that a run made useless, and that are still there.
#[derive(Debug, Default)]
pub(crate) struct LeftFiles {
    /// Notes on them.
    pub(crate) notes: Vec<String>,
    /// Whether some of them can still go, at another attempt.
    pub(crate) can_go: bool,
}

impl LeftFiles {
    fn add(&mut self, cause: &Cause) {
        // A directory that is not ours does not become it by itself.
        self.can_go |= !matches!(cause, Cause::StoredFile(StoredFileError::NotOurs { .. }));
        self.notes.push(cause.to_string());
    }
}

/// Makes undo directories of the stages of a run that committed. Until that is done, nothing but its journal knows of the old
/// files in there. How objects looked when they were last found `unchanged` before the commit is known of most, but only to
/// the process that committed.
pub(crate) fn keep_stored_files(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    unchanged: Option<&BTreeMap<StoredName, StoredIdentity>>,
) -> Result<(), Cause> {
    if outcome != RunOutcome::Commit {
        return Ok(());
    }
    let stored = journal.stored_names();
    let had_trees = journal.ops.iter().any(|op| op.kind == OpKind::Tree);
    for (index, domain) in journal.domains.iter().enumerate() {
        let of_domain = || stored.iter().filter(|name| name.directory == index);
        let names: BTreeSet<&[u8]> = of_domain().map(|name| name.name.as_bytes()).collect();
        let known = unchanged.map(|unchanged| {
            of_domain().filter_map(|name| Some((name.name.as_bytes(), *unchanged.get(name)?))).collect()
        });
        if !names.is_empty() {
            keep_objects(root, &domain.stage, &WantedObjects { names, known, had_trees })?;
        }
    }
    Ok(())
}

/// Tells whether a stage of a run has become an undo directory already, which happens only after the commit.
pub(crate) fn has_kept_files(root: &Root, journal: &Journal) -> Result<bool, Cause> {
    let holding: BTreeSet<usize> = journal.stored_names().iter().map(|name| name.directory).collect();
    for domain in holding.into_iter().filter_map(|index| journal.domains.get(index)) {
        let Some(path) = undo_directory(&domain.stage) else { continue };
        let is_moved = match root.dir_if_there(&domain.stage)? {
            Some(stage) => stage.look(b"o")?.is_none(),
            None => true,
        };
        if is_moved && open_undo_directory(root, &path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells whether a run with this outcome makes stored objects useless.
pub(crate) fn drops_stored_files(journal: &Journal, outcome: RunOutcome) -> bool {
    outcome == RunOutcome::Commit && journal.archives.iter().any(|archive| archive.drop.is_some())
}

/// Removes the stored objects that a run made useless, durably or on a file system that is `synced_later`. Returns those
/// that stay.
pub(crate) fn drop_stored_files(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    synced_later: &[MountedFileSystem],
) -> LeftFiles {
    let mut left = LeftFiles::default();
    if !drops_stored_files(journal, outcome) {
        return left;
    }
    let mut directories = BTreeSet::new();
    for drop in journal.archives.iter().filter_map(|archive| archive.drop.as_ref()) {
        if let Err(cause) = drop_stored(root, drop, &mut directories) {
            left.add(&cause);
        }
    }
    // Archives of one run share a directory, which is made durable once.
    for path in &directories {
        if let Err(cause) = settle_directory(root, path, synced_later) {
            left.add(&cause);
        }
    }
    left
}

/// Makes undo directories of the stages of a run that committed and has lost its journal. `stored` are the old files that its
/// undo data names; those of other runs lie where they are.
pub(crate) fn keep_proven_files(root: &Root, run: &str, stored: &[StoredFile]) -> Result<(), Cause> {
    let mut wanted: BTreeMap<&ObjectPath, BTreeSet<&[u8]>> = BTreeMap::new();
    for file in stored.iter().filter(|file| run_of_directory(&file.directory) == run) {
        wanted.entry(&file.directory).or_default().insert(file.name.as_bytes());
    }
    for (directory, names) in wanted {
        let Some(stage) = stage_of(directory) else { continue };
        let Some(above) = root.dir_if_there(&stage.parent().unwrap_or_else(ObjectPath::root))? else {
            continue;
        };
        // Nobody has checked what the undo data says of it.
        if matches!(open_own(&above, stage.name(), run.as_bytes())?, FoundStage::Ours(_)) {
            keep_objects(root, &stage, &WantedObjects { names, known: None, had_trees: true })?;
        }
    }
    Ok(())
}

/// The old objects of a stage that are undo data.
struct WantedObjects<'a> {
    /// Their names.
    names: BTreeSet<&'a [u8]>,
    /// How they looked before the commit, but for those that have been copied or have lost bits since; known only to the first
    /// attempt. Where nothing is known, somebody may have written to them since: then they are read before they are restored.
    known: Option<BTreeMap<&'a [u8], StoredIdentity>>,
    /// Whether whole directories were exchanged, the names of which were removed from the stage just now.
    had_trees: bool,
}

/// Makes the objects of a stage an undo directory that holds the wanted ones.
fn keep_objects(root: &Root, of_run: &ObjectPath, wanted: &WantedObjects<'_>) -> Result<(), Cause> {
    let Some(stage) = root.dir_if_there(of_run)? else { return Ok(()) };
    let path = undo_directory(of_run);
    let path = path.ok_or_else(|| Cause::Internal(format!("{of_run} has no undo directory")))?;
    if stage.look(b"o")?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        // An attempt that was cut off has moved it, and that need not be durable.
        let moved = root.dir_if_there(&path)?;
        return moved.map_or(Ok(()), |moved| Ok(moved.sync_file_system()?));
    }
    let objects = stage.dir(b"o")?;
    let others: Vec<_> =
        objects.entries()?.into_iter().filter(|(name, _)| !wanted.names.contains(&**name)).collect();
    for entry in &others {
        match entry.0.strip_prefix(LATE).filter(|name| wanted.names.contains(name)) {
            Some(name) => objects.replace(&entry.0, &objects, name)?,
            None => objects.remove_entry(entry)?,
        }
    }
    // An attempt that was cut off may have removed some, and that need not be durable.
    let is_first = wanted.known.is_some();
    if wanted.had_trees || !others.is_empty() || !is_first {
        // Once it is an undo directory, nobody looks for them any more.
        objects.sync()?;
    }
    match &wanted.known {
        Some(known) => note_identities(&objects, &run_of_directory(&path), &wanted.names, known)?,
        None => drop(objects.remove(IDENTITIES)?),
    }
    let (above, is_new) = make_holder(root, &path)?;
    stage.move_to(b"o", &above, path.name())?;
    // A new directory needs its own name, too: one sync is enough for both.
    let synced = if is_new { above.sync_file_system() } else { above.sync() };
    Ok(synced?)
}

/// Writes down how the stored objects of a run looked before the commit, and the others of them now. That is a hint, so it
/// need not succeed.
fn note_identities(
    objects: &Dir,
    run: &str,
    wanted: &BTreeSet<&[u8]>,
    known: &BTreeMap<&[u8], StoredIdentity>,
) -> Result<(), Cause> {
    let mut identities = BTreeMap::new();
    for name in wanted {
        let identity = match known.get(name) {
            Some(known) => Some(*known),
            None => objects.look(name)?.map(|seen| StoredIdentity::of(&seen)),
        };
        if let Some(identity) = identity {
            identities.insert(String::from_utf8_lossy(name).into_owned(), identity);
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
