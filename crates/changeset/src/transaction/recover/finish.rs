//! The work after the outcome: remove emptied directories, write history and logs, drop the stages.
//!
//! Each step may fail or be cut off and be repeated later. A failure becomes a note; the outcome stands.
//!
//! The text for history and logs is also in the files of the journal. After most runs nothing waits until that text is
//! on the disk: the journal says so, and the next command checks whether the text is there ([`tell_again`]). The next
//! run's sync, before it replaces the journal, makes the text durable.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::io::Errno;

use crate::format::history::{HistoryEntry, Merge, RefreshRecord, SignatureRecord};
use crate::format::journal::{Journal, JournalHead, Op, OpKind, PatchRecord, RunOutcome, RunRecord};
use crate::outside::OutsideAccess;
use crate::transaction::archive::outside::{ArchiveCleanup, HostDirectories, unpublished_name};
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use crate::transaction::journal::run_notes;
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::objects::identity::is_same_inode;
use crate::transaction::recover::set_id::strip_set_id_bits;
use crate::transaction::recover::stored_files::{
    LeftFiles, MountedFileSystem, drop_stored_files, drops_stored_files, keep_stored_files,
};
use crate::transaction::recover::switch_findings::SwitchFindings;
use crate::transaction::stage::domains::{drop_objects, drop_stages, make_own_directory};
use crate::transaction::tree::dropping::drop_trees;
use patchadm_rootfs::{Dir, FileType, Lock, Root, WritableFile};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The longest text of a run, in bytes, and the most archives and patches, that still let the next command find the
/// record of the run in the first MiB of the ops file: a byte takes up to six when written.
const LONGEST_TOLD: usize = 64 << 10;
const MOST_TOLD: usize = 200;

/// Finishes a run that has just committed after this time, and returns notes for the operator. What an error has cut off is
/// tried once more: another run of the same command must find everything as it was planned.
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

/// The end of a run.
pub(crate) struct RunEnd {
    /// Notes for the operator, with everything that could not be done.
    pub(crate) notes: Vec<String>,
    /// Whether nothing is left to do.
    pub(crate) is_done: bool,
}

/// Finishes a run whose outcome is written; `duration_ms` is known while it runs.
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
        // Foreign objects there would be removed with the stage: the next command tries again.
        Err(cause) => {
            notes.push(cause.to_string());
            return RunEnd { notes, is_done: false };
        }
    }
    let outside = remove_outside_archives(root, journal, outcome, named).map(|stay| notes.extend(stay));
    // Before history says that the run is over: a reader that finds only that has nothing left to do.
    let emptied = empties_directories(journal, outcome).then(|| remove_directories(root, journal));
    // While the dropped objects still have names that lead to them.
    let bits = strip_set_id_bits(root, journal, outcome, plain);
    let may_be_repeated =
        duration_ms.is_some() && matches!(bits, Ok(false)) && is_found_again(journal, outcome);
    // The old objects would be removed with the stage, and nothing else holds them: the next command tries again.
    if let Err(cause) = keep_stored_files(root, journal, outcome, unchanged.as_ref()) {
        notes.push(cause.to_string());
        return RunEnd { notes, is_done: false };
    }
    let (told, left) = write_history_and_drop_objects(root, journal, outcome, duration_ms, may_be_repeated);
    notes.extend(left.notes);
    let (told, durability) = match told {
        Ok(durability) => (Ok(()), durability),
        Err(cause) => (Err(cause), ToldDurability::Durable),
    };
    let (unsynced, is_unsynced) = match durability {
        ToldDurability::WithDirectories(places) => (places, false),
        ToldDurability::Durable => (Vec::new(), false),
        ToldDurability::ByNextRun => (Vec::new(), true),
    };
    let dropped = drop_stages(root, journal.domains.iter()).map(|mut stay| notes.append(&mut stay));
    let earlier = journal_file::remove_earlier(root, &journal.head.header.run);
    let is_tidy = outside.is_ok() && !left.can_go;
    let done = [outside, bits.map(drop), told, dropped, earlier];
    notes.extend(done.into_iter().filter_map(Result::err).map(|cause| cause.to_string()));
    let emptied = emptied.map(|emptied| end_emptied(root, journal, emptied, unsynced));
    let is_done =
        end_journal(root, emptied.unwrap_or_else(|| Ok(Vec::new())), (is_tidy, is_unsynced), &mut notes);
    RunEnd { notes, is_done }
}

/// Ends the journal of a run, of which these directories stay; tells whether it did.
fn end_journal(
    root: &Root,
    emptied: Result<Vec<String>, Cause>,
    (is_tidy, is_unsynced): (bool, bool),
    notes: &mut Vec<String>,
) -> bool {
    let end = match emptied {
        Ok(mut stay) => {
            notes.append(&mut stay);
            // Only this journal knows of an outside archive, or an old file, that could not be removed: the next command
            // tries again.
            if is_tidy { journal_file::mark_done(root, is_unsynced).map(|()| true) } else { Ok(false) }
        }
        // The end of the journal stays open, so that the next command removes them.
        Err(cause) => Err(cause),
    };
    end.unwrap_or_else(|cause| {
        notes.push(cause.to_string());
        false
    })
}

/// Tells whether emptied directories must be removed.
fn empties_directories(journal: &Journal, outcome: RunOutcome) -> bool {
    outcome == RunOutcome::Commit && journal.ops.iter().any(|op| op.kind == OpKind::Rmdir)
}

/// Tells whether the next command finds the record of a run at the beginning of the ops file.
fn is_found_again(journal: &Journal, outcome: RunOutcome) -> bool {
    let RunRecord { text, others, .. } = &journal.run_record;
    let length = text.len() + others.iter().map(|other| other.text.len()).sum::<usize>();
    let is_short = length <= LONGEST_TOLD && journal.archives.len() + others.len() <= MOST_TOLD;
    outcome == RunOutcome::Commit && journal.is_whole && is_short
}

/// How the history and log entries of a run become durable.
enum ToldDurability {
    /// It is.
    Durable,
    /// By the sync that removing emptied directories needs; holds the places that it must reach.
    WithDirectories(Vec<Appended>),
    /// By the next run, before it replaces the journal from which the next command can write them again.
    ByNextRun,
}

/// Writes history and logs, which mostly waits for the disk, while other threads remove the staged objects, and the stored
/// ones that the run made useless; returns those that are left. If directories will be removed, one sync serves all; if the
/// writing `may_be_repeated`, nothing waits.
fn write_history_and_drop_objects(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    duration_ms: Option<u64>,
    may_be_repeated: bool,
) -> (Result<ToldDurability, Cause>, LeftFiles) {
    let write = || {
        let told = write_history(root, journal, outcome, duration_ms, false)?;
        // The output of scripts exists only in the stage, which is dropped before the directories are removed.
        if empties_directories(journal, outcome) && !told.is_from_stage {
            return Ok(ToldDurability::WithDirectories(told.places));
        }
        // The first place is that of the journal, whose file system every run syncs.
        if may_be_repeated && !told.is_from_stage && told.places.len() < 2 {
            return Ok(ToldDurability::ByNextRun);
        }
        told.places.iter().try_for_each(Appended::sync).map(|()| ToldDurability::Durable)
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
        // Objects that it leaves are removed with the stages, which reports any error.
        let dropping =
            scope.spawn(|| journal.domains.iter().try_for_each(|domain| drop_objects(root, domain)));
        let told = write();
        let _ = dropping.join();
        let failed = |_| {
            let notes = vec!["a thread that removes stored objects failed".to_owned()];
            LeftFiles { notes, can_go: true }
        };
        (told, stored.map(|stored| stored.join().unwrap_or_else(failed)).unwrap_or_default())
    })
}

/// Returns the file systems that are synced once emptied directories are removed.
fn synced_at_the_end(root: &Root, journal: &Journal) -> Vec<MountedFileSystem> {
    let tops = journal.domains.iter().filter_map(|domain| root.dir_if_there(&domain.top).ok().flatten());
    let seen = tops.filter_map(|top| top.itself().ok());
    seen.map(|seen| (seen.mount, seen.file_system)).collect()
}

/// Removes the emptied directories that could not be removed before the stages, and makes that and `told` durable.
/// After the journal says `done`, nothing would repeat either.
fn end_emptied(
    root: &Root,
    journal: &Journal,
    emptied: Result<Vec<String>, Cause>,
    mut told: Vec<Appended>,
) -> Result<Vec<String>, Cause> {
    let mut stay = emptied?;
    if !stay.is_empty() {
        // A stage may have been in one of them.
        stay = remove_directories(root, journal)?;
    }
    for domain in &journal.domains {
        // A directory that was a domain of its own may have gone with the rest: the domain above it has the change.
        if let Some(top) = root.dir_if_there(&domain.top)? {
            top.sync_file_system()?;
            let seen = top.itself()?;
            told.retain(|place| place.on != (seen.mount, seen.file_system));
        }
    }
    told.iter().try_for_each(Appended::sync)?;
    Ok(stay)
}

/// Removes the directories emptied by the run, deepest first. Directories that are not empty stay, each with a note.
/// An error of the file system itself is returned.
pub(crate) fn remove_directories(root: &Root, journal: &Journal) -> Result<Vec<String>, Cause> {
    let mut dirs = Dirs::new(root);
    let mut ops: Vec<&Op> = journal.ops.iter().filter(|op| op.kind == OpKind::Rmdir).collect();
    ops.sort_by(|a, b| b.path.cmp(&a.path));
    let mut notes = Vec::new();
    for op in ops {
        match remove_directory(&mut dirs, op) {
            Ok(true) => {}
            Ok(false) => notes.push(format!("{} is not empty and stays", root.show(&op.path))),
            Err(Cause::Root(error)) if is_of_the_moment(error.errno()) => return Err(error.into()),
            Err(cause) => notes.push(cause.to_string()),
        }
    }
    Ok(notes)
}

/// Tells whether an error concerns the file system or process at this moment rather than one directory.
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

/// Removes archives outside the root: the new ones after a rollback, the used ones after a commit. Returns notes on
/// those that stay.
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

/// Removes the unpublished archive outside the root of a run that was given up before publication.
pub(crate) fn remove_unpublished(root: &Root, archive: &Path, run: &str) -> Result<(), Cause> {
    let Some(directories) = HostDirectories::open(root, archive)? else { return Ok(()) };
    directories.package.remove(&unpublished_name(run))?;
    directories.remove_emptied().map(drop)
}

/// The history and log entries of a run.
#[derive(Default)]
struct WrittenHistory {
    /// The files written; none of them is durable yet.
    places: Vec<Appended>,
    /// Whether part of the text exists in the stage only.
    is_from_stage: bool,
}

/// Returns, for each of some patches that nobody named, the patch for which it was taken.
fn because_of(run_record: &RunRecord, patches: &[String]) -> BTreeMap<String, String> {
    let named = patches.iter().filter_map(|id| Some((id.clone(), run_record.because.get(id)?.clone())));
    named.collect()
}

/// Returns the lines of a run for the history of the root, one for each patch.
fn history_lines(
    root: &Root,
    (run, run_record): (&str, &RunRecord),
    outcome: RunOutcome,
    duration_ms: Option<u64>,
) -> Vec<u8> {
    let line = |(patches, packages): (&[String], &[String]),
                signature: &Option<SignatureRecord>,
                refreshed: &[RefreshRecord],
                merges: &[Merge]| {
        let entry = HistoryEntry {
            run: run.to_owned(),
            time: run_record.time.clone(),
            user: run_record.user.clone(),
            command: run_record.command.clone(),
            patches: patches.to_vec(),
            result: if outcome == RunOutcome::Commit { "done" } else { "rolled-back" }.to_owned(),
            packages: packages.to_vec(),
            duration: duration_ms.unwrap_or_default(),
            trusted: root.is_trusted(),
            hook: run_record.hook,
            signature: signature.clone(),
            note: run_record.note.clone(),
            because: because_of(run_record, patches),
            undoes: run_record.undoes.clone(),
            refreshed: refreshed.to_vec(),
            merges: merges.to_vec(),
            trial: run_record.trial.clone(),
            trial_end: run_record.trial_end.clone(),
        };
        entry.line()
    };
    let RunRecord { patches, packages, signature, refreshed, merges, .. } = run_record;
    let mut lines = line((patches, packages), signature, refreshed, merges);
    for PatchRecord { patches, packages, signature, refreshed, merges, .. } in &run_record.others {
        lines.extend(line((patches, packages), signature, refreshed, merges));
    }
    lines
}

/// Appends one line per patch to the history of the root, and the texts to the logs.
fn write_history(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    duration_ms: Option<u64>,
    is_repeated: bool,
) -> Result<WrittenHistory, Cause> {
    let run_record = &journal.run_record;
    if run_record.command.is_empty() {
        return Ok(WrittenHistory::default());
    }
    let run = &journal.head.header.run;
    let lines = history_lines(root, (run, run_record), outcome, duration_ms);
    let own = make_own_directory(root)?;
    let mut written = vec![append(&own, b"history", run, &lines)?];
    let stage = journal.domains.first().map(|domain| root.dir_if_there(&domain.stage)).transpose()?.flatten();
    let told = stage.map(|stage| run_notes::log(&stage)).transpose()?.unwrap_or_default();
    let is_from_stage = !told.is_empty();
    let mut texts = vec![(run_record.log.as_ref(), [run_record.text.as_bytes(), &told].concat())];
    texts.extend(run_record.others.iter().map(|other| (other.log.as_ref(), other.text.as_bytes().to_vec())));
    let title = format!("# run {run}\n");
    let mut rest = Vec::new();
    for (log, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        let place = match (log, outcome) {
            (Some(log), RunOutcome::Commit) => directory_of(root, log)?,
            _ => None,
        };
        match place {
            Some((dir, name)) => {
                let log = append(&dir, &name, run, &[title.as_bytes(), &text].concat())?;
                log.add_to(&mut written);
            }
            None if is_repeated && log.is_some() => {}
            None => rest.extend(text),
        }
    }
    if !rest.is_empty() {
        append(&own, b"log", run, &[title.as_bytes(), &rest].concat())?.add_to(&mut written);
    }
    Ok(WrittenHistory { places: written, is_from_stage })
}

/// Appends to history and logs the entries of a committed, tidied-up run that a power cut has lost. The log of a patch
/// that was removed since is not restored.
pub(crate) fn tell_again(root: &Root, head: &JournalHead) -> Result<(), Cause> {
    let run_record = journal_file::run_record(root, &head.header.run)?;
    let Some(run_record) = run_record.filter(|_| head.outcome == Some(RunOutcome::Commit)) else {
        return Ok(());
    };
    let (domains, archives, ops) = Default::default();
    let told = Journal { head: head.clone(), domains, archives, run_record, ops, is_whole: false };
    write_history(root, &told, RunOutcome::Commit, None, true).map(drop)
}

/// Returns the directory of a log, if it exists, and the log's name in it.
fn directory_of(root: &Root, log: &ObjectPath) -> Result<Option<(Dir, Vec<u8>)>, Cause> {
    let physical = root.resolver().locate(log)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    Ok(root.dir_if_there(&parent)?.map(|dir| (dir, physical.name().to_vec())))
}

/// Appends an event outside any run to the log of a root. The caller holds the lock of the root.
pub fn log_without_run(root: &Root, _lock: &Lock, text: &[u8]) -> Result<(), Cause> {
    let file = make_own_directory(root)?.open_or_create(b"log", Mode::of(0o644))?;
    let size = file.size()?;
    // A line that a power cut left torn must not run into this one.
    let is_torn = size > 0 && file.get_at(size - 1, 1)? != b"\n";
    let newline: &[u8] = if is_torn { b"\n" } else { b"" };
    Ok(file.put_at(&[newline, text].concat(), size)?)
}

/// The directory of a file that was appended to.
pub(crate) struct Appended {
    dir: Dir,
    /// The mount and file system of the directory.
    on: MountedFileSystem,
}

impl Appended {
    /// Adds the directory to those that need a sync, unless one on the same file system is listed already.
    fn add_to(self, all: &mut Vec<Self>) {
        if all.iter().all(|other| other.on != self.on) {
            all.push(self);
        }
    }

    /// Makes file, name and directory durable. After the journal says `done`, nothing would write them again.
    fn sync(&self) -> Result<(), Cause> {
        Ok(self.dir.sync_file_system()?)
    }
}

/// Appends a text that names the run, unless the end of the file already names it. Cuts a torn last line first.
pub(crate) fn append(dir: &Dir, name: &[u8], run: &str, text: &[u8]) -> Result<Appended, Cause> {
    let mut file = dir.open_or_create(name, Mode::of(0o644))?;
    write_once(&mut file, run, text)?;
    let seen = dir.itself()?;
    Ok(Appended { dir: dir.again()?, on: (seen.mount, seen.file_system) })
}

/// Returns the start of the last line of a text.
fn line_start(text: &[u8]) -> usize {
    text.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1)
}

fn write_once(file: &mut WritableFile, run: &str, text: &[u8]) -> Result<(), Cause> {
    let size = file.size()?;
    let window = (1 << 16) + 2 * text.len();
    let tail_at = size.saturating_sub(window as u64);
    let tail = file.get_at(tail_at, window)?;
    let lines = |text: &[u8]| text.split(|&b| b == b'\n').count();
    // Most of the text is something else from the first byte on, and need not be compared.
    let is_named = |window: &[u8]| window.first() == run.as_bytes().first() && window == run.as_bytes();
    let named = tail.windows(run.len()).position(is_named);
    let begun = named.map(|named| line_start(tail.get(..named).unwrap_or_default()));
    let whole = match begun {
        Some(begun) if lines(tail.get(begun..).unwrap_or_default()) >= lines(text) => return Ok(()),
        // A power cut tore a text of several lines between two of them.
        Some(begun) => begun,
        None => line_start(&tail),
    };
    file.set_size(if tail_at > 0 && whole == 0 { size } else { tail_at + whole as u64 })?;
    Ok(file.put(text)?)
}
