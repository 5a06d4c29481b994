//! The journal on disk: two files, published by a rename, closed by one sector. `ops-<run>` means nothing until a
//! journal names it, so it has its final name from the start; it is removed after the next run's outcome.

use std::io;
use std::io::{BufReader, BufWriter, Read as _, Write};

use serde::Deserialize;

use crate::format::journal::{
    HEAD, Journal, JournalError, JournalFiles, JournalHead, RunOutcome, RunRecord, ScriptProgress,
};
use crate::format::run::{LAST_NUMBER, Run};
use crate::format::{history, journal};
use crate::records::journal_head::{STAGES, UNPUBLISHED as NEW, stage_without_journal};
use crate::transaction::error::Cause;
use crate::transaction::stage::domains::make_own_directory;
use patchadm_rootfs::{Dir, FileType, Root, RootError, Timestamp, WritableFile};
use patchadm_svr4::package::Mode;
use patchadm_svr4::places::own_directory;

pub(crate) const NAME: &[u8] = b"journal";

const AGAIN: &[u8] = b"journal.again";

const DAMAGED: &str = "journal.damaged-";

const OPS: &str = "ops-";

/// In a stage, until the file is durable.
const UNNAMED: &str = ".new";

const LARGEST: u64 = 4 << 30;

const SEARCHED: usize = 1 << 20;

const WRITTEN_AT_ONCE: usize = 1 << 18;

const MOST_KEPT: u32 = 10_000;

pub(crate) fn read(root: &Root) -> Result<Option<Journal>, Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    let Some(dir) = root.dir_if_there(&directory)? else { return Ok(None) };
    let Some(journal) = read_from(&dir, NAME, "")? else { return Ok(None) };
    let path = || root.show(&dir.at(NAME));
    journal.must_be_of(&directory).map_err(|reason| Cause::Journal { path: path(), reason })?;
    Ok(Some(journal))
}

/// `suffix` ends the ops file's name. If a finished run's ops file is lost, the journal is not whole.
fn read_from(dir: &Dir, name: &[u8], suffix: &str) -> Result<Option<Journal>, Cause> {
    let Some(bytes) = dir.read(name, LARGEST)? else { return Ok(None) };
    let damaged = |reason| Cause::Journal { path: dir.root().show(&dir.at(name)), reason };
    let head = journal::parse_head(&bytes).map_err(damaged)?;
    let ops = dir.read(format!("{OPS}{}{suffix}", head.header.run).as_bytes(), LARGEST)?;
    let journal = match Journal::parse_by(dir.root().workers(), &bytes, ops.as_deref()) {
        Err(JournalError::Ops(_)) if head.outcome.is_some() => Journal::parse_leading(&bytes),
        journal => journal,
    };
    journal.map(Some).map_err(damaged)
}

/// The sectors suffice for a tidied-up run.
pub(crate) fn head(root: &Root) -> Result<Option<JournalHead>, Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    root.dir_if_there(&directory)?.map_or(Ok(None), |own| head_in(&own))
}

pub(crate) fn head_in(own: &Dir) -> Result<Option<JournalHead>, Cause> {
    let damaged = |reason| Cause::Journal { path: own.root().show(&own.at(NAME)), reason };
    let is_file = own.look(NAME)?.map(|seen| seen.file_type == FileType::Regular);
    let file = match own.open_regular(NAME) {
        Err(error) if error.is_not_found() => {
            let stage = stage_without_journal(own)?;
            return stage.map_or(Ok(None), |stage| Err(damaged(JournalError::Gone(stage))));
        }
        Err(_) if is_file == Some(false) => return Err(damaged(JournalError::NoFile)),
        opened => opened?,
    };
    let mut bytes = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut bytes).map_err(|error| own.read_error(NAME, &error))?;
    journal::parse_head(&bytes).map(Some).map_err(damaged)
}

/// Reads the beginning of the ops file; `None` if the record is missing or lies further on.
pub(crate) fn run_record(root: &Root, run: &str) -> Result<Option<RunRecord>, Cause> {
    let own = make_own_directory(root)?;
    let name = ops_name(run);
    let mut bytes = Vec::new();
    let file = match own.open_regular(&name) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    let most = SEARCHED as u64;
    file.take(most).read_to_end(&mut bytes).map_err(|error| own.read_error(&name, &error))?;
    let damaged = |reason| Cause::Journal { path: root.show(&own.at(&name)), reason };
    journal::run_record_in(&bytes).map_err(damaged)
}

/// The command line of a run, as typed. `None` if the root is foreign, or the caller may not read it.
pub fn typed_command(root: &Root, run: &str) -> Option<String> {
    root.must_not_be_foreign(&own_directory()).ok()?;
    run_record(root, run).ok().flatten()?.typed
}

/// The run that an open one undoes. `None` if it undoes none, or if that cannot be read.
pub fn run_undone_by(root: &Root, run: &str) -> Option<String> {
    root.must_not_be_foreign(&own_directory()).ok()?;
    run_record(root, run).ok().flatten()?.undoes
}

/// Makes a placeholder for the journal, before the first stage: otherwise the stage would look like that of a lost
/// journal. Durable in a root without a journal.
pub(crate) fn begin(own: &Dir) -> Result<(), Cause> {
    own.remove(NEW)?;
    own.create(NEW)?;
    if own.look(NAME)?.is_none() {
        own.sync()?;
    }
    Ok(())
}

/// Writes the journal, and a copy into each stage, under temporary names, not durable yet. `lines` writes the ops file
/// and returns the journal.
pub(crate) fn write_new(
    root: &Root,
    stages: &[&Dir],
    run: &str,
    lines: impl FnOnce(&mut dyn Write) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, Cause> {
    let own = make_own_directory(root)?;
    let name = ops_name(run);
    own.remove(&name)?;
    let copies = stages.iter().map(|stage| stage.create(format!("{OPS}{run}{UNNAMED}").as_bytes()));
    let files = std::iter::once(own.create(&name)).chain(copies).collect::<Result<_, _>>()?;
    let mut ops = BufWriter::with_capacity(WRITTEN_AT_ONCE, AllOps { files, length: 0, error: None });
    let written = lines(&mut ops).and_then(|journal| ops.flush().map(|()| journal));
    let (AllOps { files, error, .. }, _) = ops.into_parts();
    let journal = match (written, error) {
        (Ok(journal), None) => journal,
        (_, Some(error)) => return Err(error.into()),
        (Err(error), None) => return Err(Cause::Internal(error.to_string())),
    };
    files.iter().try_for_each(|file| file.set_mode(Mode::of(0o600)))?;
    fill(&mut own.open_or_create(NEW, Mode::of(0o600))?, &journal, Mode::of(0o644))?;
    for stage in stages {
        write(stage, NEW, &journal, Mode::of(0o644))?;
    }
    Ok(journal)
}

struct AllOps {
    files: Vec<WritableFile>,
    length: u64,
    error: Option<RootError>,
}

impl AllOps {
    fn put(&mut self, bytes: &[u8]) -> Result<(), RootError> {
        self.length += bytes.len() as u64;
        for file in &mut self.files {
            file.reserve_beyond(self.length)?;
            file.put(bytes)?;
        }
        Ok(())
    }
}

impl Write for AllOps {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|error| {
            let message = io::Error::other(error.to_string());
            self.error = Some(error);
            message
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn read_back(root: &Root, journal: &[u8], run: &str) -> Result<Journal, Cause> {
    let own = make_own_directory(root)?;
    let mut ops = BufReader::with_capacity(1 << 16, own.open_regular(&ops_name(run))?);
    Journal::parse_beside(root.workers(), journal, &mut ops)
        .map_err(|reason| Cause::Journal { path: root.show(&own.at(NAME)), reason })
}

fn ops_name(run: &str) -> Vec<u8> {
    format!("{OPS}{run}").into_bytes()
}

/// The copy is durable, so later damage is no torn write. Names need no sync: nothing later in their file system is
/// durable before them, and temporary names say as much.
pub(crate) fn name_copy(stage: &Dir, run: &str) -> Result<(), Cause> {
    stage.rename(format!("{OPS}{run}{UNNAMED}").as_bytes(), &ops_name(run))?;
    Ok(stage.rename(NEW, NAME)?)
}

/// `None` if there is none, or it was not durable: such a run was never published.
pub(crate) fn read_copy(stage: &Dir) -> Result<Option<Journal>, Cause> {
    if let Some(copy) = read_from(stage, NAME, "")? {
        return Ok(Some(copy));
    }
    for suffix in ["", UNNAMED] {
        match read_from(stage, NEW, suffix) {
            Err(Cause::Journal { .. }) => {}
            read => return read,
        }
    }
    Ok(None)
}

fn write(dir: &Dir, name: &[u8], bytes: &[u8], mode: Mode) -> Result<(), Cause> {
    fill(&mut dir.create(name)?, bytes, mode)
}

fn fill(file: &mut WritableFile, bytes: &[u8], mode: Mode) -> Result<(), Cause> {
    file.reserve(bytes.len() as u64)?;
    file.put(bytes)?;
    file.set_mode(mode)?;
    Ok(())
}

/// True if no name in the root is in the middle of a change.
pub(crate) fn is_unpublished(own: &Dir) -> Result<bool, Cause> {
    Ok(own.look(NEW)?.is_some_and(|seen| seen.file_type == FileType::Regular))
}

/// The content must be durable. From here, recovery rolls back until there is an outcome.
pub(crate) fn publish(root: &Root) -> Result<(), Cause> {
    let own = make_own_directory(root)?;
    own.rename(NEW, NAME)?;
    Ok(own.sync()?)
}

/// The next command retries failures.
pub(crate) fn remove_earlier(root: &Root, run: &str) -> Result<(), Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    root.dir_if_there(&directory)?.map_or(Ok(()), |own| remove_other_ops(&own, Some(run)))
}

pub(crate) fn remove_new(root: &Root) -> Result<(), Cause> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    let Some(own) = root.dir_if_there(&directory)? else { return Ok(()) };
    remove_new_in(&own, head_in(&own)?.as_ref())
}

/// Like [`remove_new`], in the journal's directory. Looks first: on a read-only file system, removing even a missing
/// file fails.
pub(crate) fn remove_new_in(own: &Dir, published: Option<&JournalHead>) -> Result<(), Cause> {
    if own.look(AGAIN)?.is_some() {
        own.remove(AGAIN)?;
    }
    if own.look(NEW)?.is_some() {
        if published.is_none() {
            // The stage must not return without the new journal.
            own.sync_file_system()?;
        }
        own.remove(NEW)?;
    }
    remove_other_ops(own, published.map(|head| head.header.run.as_str()))
}

fn remove_other_ops(own: &Dir, run: Option<&str>) -> Result<(), Cause> {
    let kept = run.map(ops_name);
    for name in own.names()?.into_iter().filter(|name| name.starts_with(OPS.as_bytes())) {
        if Some(&name) != kept.as_ref()
            && own.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Regular)
        {
            own.remove(&name)?;
        }
    }
    Ok(())
}

/// Writes and syncs the outcome: it is final. An error leaves it in doubt, because a failed sync tells nothing.
pub(crate) fn close(journal: &WritableFile, outcome: RunOutcome) -> Result<(), Cause> {
    let (sector, offset) = journal::outcome_sector(outcome);
    journal.put_at(&sector, offset)?;
    journal.sync()?;
    Ok(())
}

/// Synced: recovery must know which script to end.
pub(crate) fn note_progress(root: &Root, progress: &ScriptProgress) -> Result<(), Cause> {
    let (sector, offset) = journal::progress_sector(progress);
    let file = open(root)?;
    file.put_at(&sector, offset)?;
    file.sync()?;
    Ok(())
}

/// Not synced: otherwise the next command just tidies up again. `unsynced`: it must check history and logs.
pub(crate) fn mark_done(root: &Root, unsynced: bool) -> Result<(), Cause> {
    let (sector, offset) = journal::done_sector(unsynced);
    open(root)?.put_at(&sector, offset)?;
    Ok(())
}

pub(crate) fn open(root: &Root) -> Result<WritableFile, Cause> {
    let own = make_own_directory(root)?;
    own.open_writable(NAME)?.ok_or_else(|| Cause::Internal("the journal does not exist".to_owned()))
}

/// Before the outcome of a run without scripts, this is older than the switch and younger than each staged object.
pub(crate) fn written(root: &Root) -> Result<Timestamp, Cause> {
    let seen = make_own_directory(root)?.look(NAME)?;
    seen.map(|seen| seen.mtime).ok_or_else(|| Cause::Internal("the journal does not exist".to_owned()))
}

/// For an outcome found on disk. After a failed sync the page cache proves nothing, so the journal is rewritten, synced
/// and renamed.
pub(crate) fn harden(root: &Root) -> Result<(), Cause> {
    rewrite(&make_own_directory(root)?, |bytes| Some(bytes.to_vec()))
}

/// Durable. Does nothing without a journal, or if `change` returns `None`.
pub(crate) fn rewrite(own: &Dir, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<(), Cause> {
    let bytes = own.read(NAME, LARGEST)?;
    bytes.and_then(|bytes| change(&bytes)).map_or(Ok(()), |bytes| put_in_place(own, &bytes))
}

/// Replaces any object there. The change is durable on return.
fn put_in_place(own: &Dir, bytes: &[u8]) -> Result<(), Cause> {
    own.remove(AGAIN)?;
    let mut file = own.create(AGAIN)?;
    file.put(bytes)?;
    file.set_mode(Mode::of(0o644))?;
    file.sync()?;
    own.rename(AGAIN, NAME)?;
    Ok(own.sync()?)
}

/// The change is durable on return.
pub(crate) fn restore(own: &Dir, files: &JournalFiles, run: &str) -> Result<(), Cause> {
    let ops = ops_name(run);
    if own.read_regular(&ops, LARGEST)?.as_deref() != Some(&files.ops) {
        own.remove(&ops)?;
        write(own, &ops, &files.ops, Mode::of(0o600))?;
        own.sync_file_system()?;
    }
    put_in_place(own, &files.journal)
}

/// Keeps a damaged journal durably under another name, which it returns; `None` if there is none.
pub(crate) fn set_aside(own: &Dir) -> Result<Option<Vec<u8>>, Cause> {
    if own.look(NAME)?.is_none() {
        return Ok(None);
    }
    let kept = free_name(own, DAMAGED)?;
    own.move_to(NAME, own, &kept)?;
    own.sync()?;
    Ok(Some(kept))
}

pub(crate) fn free_name(own: &Dir, begin: &str) -> Result<Vec<u8>, Cause> {
    for number in 1..=MOST_KEPT {
        let name = format!("{begin}{number}").into_bytes();
        if own.look(&name)?.is_none() {
            return Ok(name);
        }
    }
    Err(own.refused(begin.as_bytes()).into())
}

pub(crate) fn found_in(dir: &Dir, run: &str) -> Result<Vec<JournalFiles>, Cause> {
    let mut found = Vec::new();
    for name in [NAME, NEW] {
        for suffix in ["", UNNAMED] {
            let ops = format!("{OPS}{run}{suffix}");
            let journal = dir.read_regular(name, LARGEST)?;
            if let (Some(journal), Some(ops)) = (journal, dir.read_regular(ops.as_bytes(), LARGEST)?) {
                found.push(JournalFiles { journal, ops });
            }
        }
    }
    Ok(found)
}

/// Bytes. Only a hint here, so a larger file is skipped.
const LARGEST_HINT: u64 = 64 << 20;

#[derive(Deserialize)]
struct OfRun {
    run: String,
}

pub(crate) fn last_run_number(root: &Root, head: Option<&JournalHead>) -> Result<u64, Cause> {
    if let Some(run) = head.and_then(JournalHead::run) {
        return Ok(run.number);
    }
    let directory = root.resolver().locate_dir(&own_directory())?;
    root.dir_if_there(&directory)?.map_or(Ok(0), |own| highest_number(&own))
}

fn highest_number(own: &Dir) -> Result<u64, Cause> {
    let history = own.read_regular(b"history", LARGEST_HINT).ok().flatten().unwrap_or_default();
    let entries =
        history.split(|&byte| byte == b'\n').filter_map(|line| history::HistoryEntry::parse(line).ok());
    let mut highest = entries.filter_map(|entry| number_of(&entry.run)).max().unwrap_or(0);
    for name in names_in(own, b"ledger")? {
        let Ok(Some(ledger)) = own.dir(b"ledger")?.read_regular(&name, LARGEST_HINT) else { continue };
        let lines = ledger.split(|&byte| byte == b'\n');
        let runs = lines.filter_map(|line| serde_json::from_slice::<OfRun>(line).ok());
        highest = runs.filter_map(|of| number_of(&of.run)).fold(highest, u64::max);
    }
    let stages = names_in(own, STAGES)?;
    let stages = stages.iter().filter_map(|name| number_of(std::str::from_utf8(name).ok()?));
    Ok(stages.fold(highest, u64::max))
}

fn number_of(run: &str) -> Option<u64> {
    Run::parse(run).map(|run| run.number).filter(|number| *number < LAST_NUMBER)
}

fn names_in(own: &Dir, name: &[u8]) -> Result<Vec<Vec<u8>>, Cause> {
    match own.look(name)? {
        Some(seen) if seen.file_type == FileType::Directory => Ok(own.dir(name)?.names()?),
        _ => Ok(Vec::new()),
    }
}
