//! Work after the outcome: removes emptied directories, writes history and logs, drops stages. Steps can be repeated; a
//! failure becomes a note.

use std::collections::{BTreeMap, HashSet};

use rustix::io::Errno;

use crate::format::journal::{Journal, Op, OpKind, RunOutcome, RunRecord};
use crate::format::undo_files::{StoredIdentity, StoredName};
use crate::transaction::archive::stored_files::{
    LeftFiles, MountedFileSystem, drop_stored_files, drops_stored_files, keep_stored_files,
};
use crate::transaction::error::Cause;
use crate::transaction::journal::history_file::{Appended, write_history};
use crate::transaction::journal::journal_file;
use crate::transaction::objects::identity::is_same_inode;
use crate::transaction::objects::names::Dirs;
use crate::transaction::outside::{ArchiveCleanup, OutsideAccess};
use crate::transaction::recover::set_id::strip_set_id_bits;
use crate::transaction::stage::domains::{drop_objects, drop_stages};
use crate::transaction::switch::op_runner::OpRunner;
use crate::transaction::tree::dropping::drop_trees;
use patchadm_rootfs::{FileType, Root};

/// Limits on bytes, archives and patches so that the record is in the first MiB of the ops file: a byte takes up to
/// six.
const LONGEST_TEXT: usize = 64 << 10;

const MOST_PARTS: usize = 200;

/// Returns notes. Retries once after an error: a later run of the same command must find everything as planned.
pub(crate) fn finish_committed(
    root: &Root,
    journal: &Journal,
    findings: SwitchFindings,
    duration_ms: u64,
) -> Vec<String> {
    let finish = |findings: &SwitchFindings| {
        finish_run(root, journal, RunOutcome::Commit, findings, Some(duration_ms), &OutsideAccess::planned())
    };
    let first = finish(&findings);
    if first.is_done {
        return first.notes;
    }
    finish(&SwitchFindings { unchanged: None, ..findings }).notes
}

pub(crate) struct RunEnd {
    pub(crate) notes: Vec<String>,
    pub(crate) is_done: bool,
}

/// `duration_ms` is known only to the running command.
pub(crate) fn finish_run(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    findings: &SwitchFindings,
    duration_ms: Option<u64>,
    named: &OutsideAccess<'_>,
) -> RunEnd {
    let SwitchFindings { notes, plain, unchanged } = findings;
    let mut notes = notes.clone();
    match drop_trees(root, journal, outcome) {
        Ok(mut kept) => notes.append(&mut kept),
        // Foreign objects there would be lost with the stage: the next command tries again.
        Err(cause) => {
            notes.push(cause.to_string());
            return RunEnd { notes, is_done: false };
        }
    }
    let outside = remove_outside_archives(root, journal, outcome, named).map(|stay| notes.extend(stay));
    // Before history says that the run is over: its readers expect nothing to be left.
    let emptied = empties_directories(journal, outcome).then(|| remove_directories(root, journal));
    // While names still lead to the dropped objects.
    let bits = strip_set_id_bits(root, journal, outcome, plain);
    let may_be_repeated =
        duration_ms.is_some() && matches!(bits, Ok(false)) && is_found_again(journal, outcome);
    // The stage holds the only copies of old objects: the next command tries again.
    if let Err(cause) = keep_stored_files(root, journal, outcome, unchanged.as_ref()) {
        notes.push(cause.to_string());
        return RunEnd { notes, is_done: false };
    }
    let (history, left) =
        write_history_and_drop_objects(root, journal, outcome, duration_ms, may_be_repeated);
    notes.extend(left.notes);
    let (history, durability) = match history {
        Ok(durability) => (Ok(()), durability),
        Err(cause) => (Err(cause), HistoryDurability::Durable),
    };
    let (unsynced, is_unsynced) = match durability {
        HistoryDurability::WithDirectories(places) => (places, false),
        HistoryDurability::Durable => (Vec::new(), false),
        HistoryDurability::ByNextRun => (Vec::new(), true),
    };
    let dropped = drop_stages(root, journal.domains.iter()).map(|mut stay| notes.append(&mut stay));
    let earlier = journal_file::remove_earlier(root, &journal.head.header.run);
    let is_tidy = outside.is_ok() && !left.can_go;
    let done = [outside, bits.map(drop), history, dropped, earlier];
    notes.extend(done.into_iter().filter_map(Result::err).map(|cause| cause.to_string()));
    let emptied = emptied.map(|emptied| end_emptied(root, journal, emptied, unsynced));
    let is_done = match emptied.unwrap_or_else(|| Ok(Vec::new())) {
        Ok(mut stay) => {
            notes.append(&mut stay);
            // Only this journal knows of remaining archives or old files: the next command tries again.
            if is_tidy { journal_file::mark_done(root, is_unsynced).map(|()| true) } else { Ok(false) }
        }
        // The journal stays open, so that the next command removes them.
        Err(cause) => Err(cause),
    };
    let is_done = is_done.unwrap_or_else(|cause| {
        notes.push(cause.to_string());
        false
    });
    RunEnd { notes, is_done }
}

fn empties_directories(journal: &Journal, outcome: RunOutcome) -> bool {
    outcome == RunOutcome::Commit && journal.ops.iter().any(|op| op.kind == OpKind::Rmdir)
}

fn is_found_again(journal: &Journal, outcome: RunOutcome) -> bool {
    let RunRecord { text, others, .. } = &journal.run_record;
    let length = text.len() + others.iter().map(|other| other.text.len()).sum::<usize>();
    let is_short = length <= LONGEST_TEXT && journal.archives.len() + others.len() <= MOST_PARTS;
    outcome == RunOutcome::Commit && journal.is_whole && is_short
}

enum HistoryDurability {
    Durable,
    WithDirectories(Vec<Appended>),
    ByNextRun,
}

/// Writes history and logs while threads remove staged and useless stored objects; returns those that are left. One
/// sync serves removed directories, too; text that `may_be_repeated` needs none.
fn write_history_and_drop_objects(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    duration_ms: Option<u64>,
    may_be_repeated: bool,
) -> (Result<HistoryDurability, Cause>, LeftFiles) {
    let write = || {
        let written = write_history(root, journal, outcome, duration_ms, false)?;
        // Script output exists only in the stage, which goes before the directories.
        if empties_directories(journal, outcome) && !written.is_from_stage {
            return Ok(HistoryDurability::WithDirectories(written.places));
        }
        // The first place is on the journal's file system, which every run syncs.
        if may_be_repeated && !written.is_from_stage && written.places.len() < 2 {
            return Ok(HistoryDurability::ByNextRun);
        }
        written.places.iter().try_for_each(Appended::sync).map(|()| HistoryDurability::Durable)
    };
    let drop_stored = || {
        let synced_later =
            if empties_directories(journal, outcome) { synced_at_the_end(root, journal) } else { Vec::new() };
        drop_stored_files(root, journal, outcome, &synced_later)
    };
    if root.workers() < 2 {
        let left = drop_stored();
        return (write(), left);
    }
    std::thread::scope(|scope| {
        let stored = drops_stored_files(journal, outcome).then(|| scope.spawn(drop_stored));
        // Remaining objects go with the stages, which reports errors.
        let dropping =
            scope.spawn(|| journal.domains.iter().try_for_each(|domain| drop_objects(root, domain)));
        let history = write();
        let _ = dropping.join();
        let failed = |_| {
            let notes = vec!["a thread that removes stored objects failed".to_owned()];
            LeftFiles { notes, can_go: true }
        };
        (history, stored.map(|stored| stored.join().unwrap_or_else(failed)).unwrap_or_default())
    })
}

fn synced_at_the_end(root: &Root, journal: &Journal) -> Vec<MountedFileSystem> {
    let tops = journal.domains.iter().filter_map(|domain| root.dir_if_there(&domain.top).ok().flatten());
    let seen = tops.filter_map(|top| top.itself().ok());
    seen.map(|seen| (seen.mount, seen.file_system)).collect()
}

/// Removes emptied directories that could not go before the stages, and syncs: after `done`, nothing is repeated.
fn end_emptied(
    root: &Root,
    journal: &Journal,
    emptied: Result<Vec<String>, Cause>,
    mut unsynced: Vec<Appended>,
) -> Result<Vec<String>, Cause> {
    let mut stay = emptied?;
    if !stay.is_empty() {
        // A stage may have been in one of them.
        stay = remove_directories(root, journal)?;
    }
    for domain in &journal.domains {
        // If the domain's directory is gone, the domain above has the change.
        if let Some(top) = root.dir_if_there(&domain.top)? {
            top.sync_file_system()?;
            let seen = top.itself()?;
            unsynced.retain(|place| place.on != (seen.mount, seen.file_system));
        }
    }
    unsynced.iter().try_for_each(Appended::sync)?;
    Ok(stay)
}

/// Deepest first. Non-empty directories stay, with notes; file system errors are returned.
pub(crate) fn remove_directories(root: &Root, journal: &Journal) -> Result<Vec<String>, Cause> {
    let mut dirs = Dirs::new(root);
    let mut ops: Vec<&Op> = journal.ops.iter().filter(|op| op.kind == OpKind::Rmdir).collect();
    ops.sort_by(|a, b| b.path.cmp(&a.path));
    let mut notes = Vec::new();
    for op in ops {
        match remove_directory(&mut dirs, op) {
            Ok(true) => {}
            Ok(false) => notes.push(format!("{} is not empty and was kept", root.show(&op.path))),
            Err(Cause::Root(error)) if is_of_the_moment(error.errno()) => return Err(error.into()),
            Err(cause) => notes.push(cause.to_string()),
        }
    }
    Ok(notes)
}

fn is_of_the_moment(errno: Option<Errno>) -> bool {
    use Errno as E;
    matches!(errno, Some(E::IO | E::ROFS | E::NOSPC | E::DQUOT | E::MFILE | E::NFILE | E::NOMEM))
}

fn remove_directory(dirs: &mut Dirs, op: &Op) -> Result<bool, Cause> {
    let Some(parent) = dirs.parent(&op.path)? else { return Ok(true) };
    match parent.look(op.path.name())? {
        None => Ok(true),
        Some(seen) => match &op.old {
            Some(old)
                if seen.file_type == FileType::Directory && is_same_inode(&parent, &seen, old.inode)? =>
            {
                Ok(parent.remove_dir(op.path.name())?)
            }
            _ => Ok(false),
        },
    }
}

/// Removes new archives after a rollback, used ones after a commit. Returns notes on those that stay.
fn remove_outside_archives(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    outside: &OutsideAccess<'_>,
) -> Result<Vec<String>, Cause> {
    let ending = ArchiveCleanup { root, journal, outside };
    let mut notes = Vec::new();
    for archive in &journal.archives {
        let path = match outcome {
            RunOutcome::RolledBack => &archive.outside,
            RunOutcome::Commit => &archive.discard,
        };
        if let Some(path) = path {
            notes.extend(ending.remove(archive, path)?);
        }
    }
    Ok(notes)
}

#[derive(Default)]
pub(crate) struct SwitchFindings {
    pub(crate) notes: Vec<String>,
    pub(crate) plain: HashSet<String>,
    pub(crate) unchanged: Option<BTreeMap<StoredName, StoredIdentity>>,
}

impl SwitchFindings {
    pub(crate) fn of_recovery(runner: Option<OpRunner<'_>>) -> Self {
        let of_runner = |runner: OpRunner<'_>| (runner.notes, runner.plain);
        let (notes, plain) = runner.map(of_runner).unwrap_or_default();
        Self { notes, plain, unchanged: None }
    }

    pub(crate) fn of_commit(runner: Option<OpRunner<'_>>) -> Self {
        let of_runner = |runner: OpRunner<'_>| (runner.notes, runner.plain, runner.unchanged);
        let (notes, plain, unchanged) = runner.map(of_runner).unwrap_or_default();
        Self { notes, plain, unchanged: Some(unchanged) }
    }
}
