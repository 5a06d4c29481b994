//! Writes `history`, logs and `attempts` for people; nothing depends on them. Their text is also in the journal, so
//! most runs do not sync it: the next command checks it ([`write_again`]). `attempts` lists runs that ended before
//! publication; a run's line waits in its stage until that is removed.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::history::{HistoryEntry, LARGEST_ATTEMPTS_READ, Merge, RefreshRecord, SignatureRecord};
use crate::format::journal::{Journal, JournalHead, Op, OpKind, PatchRecord, RunOutcome, RunRecord};
use crate::format::run::Run;
use crate::transaction::archive::stored_files::MountedFileSystem;
use crate::transaction::error::Cause;
use crate::transaction::journal::{journal_file, run_notes};
use crate::transaction::objects::names::{Dirs, name_put_aside};
use crate::transaction::stage::domains::make_own_directory;
use patchadm_rootfs::{Dir, Lock, Root, WritableFile};
use patchadm_svr4::format::LONGEST_LINE;
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

#[derive(Default)]
pub(crate) struct WrittenHistory {
    /// Not durable yet.
    pub(crate) places: Vec<Appended>,
    pub(crate) is_from_stage: bool,
}

/// For patches that nobody named.
fn because_of(run_record: &RunRecord, patches: &[String]) -> BTreeMap<String, String> {
    let named = patches.iter().filter_map(|id| Some((id.clone(), run_record.because.get(id)?.clone())));
    named.collect()
}

/// Returns what a run and an attempt have in common.
fn entry_of(root: &Root, run: &str, record: &RunRecord) -> HistoryEntry {
    HistoryEntry {
        run: run.to_owned(),
        time: record.time.clone(),
        user: record.user.clone(),
        command: record.command.clone(),
        trusted: root.is_trusted(),
        hook: record.hook,
        note: record.note.clone(),
        undoes: record.undoes.clone(),
        ..HistoryEntry::default()
    }
}

fn history_lines(
    root: &Root,
    (run, run_record): (&str, &RunRecord),
    (outcome, put_aside): (RunOutcome, &[Merge]),
    duration_ms: Option<u64>,
) -> Vec<u8> {
    let line = |typed: &Option<String>,
                (patches, packages): (&[String], &[String]),
                signature: &Option<SignatureRecord>,
                refreshed: &[RefreshRecord],
                merges: &[Merge]| {
        let entry = HistoryEntry {
            typed: typed.clone(),
            patches: patches.to_vec(),
            result: if outcome == RunOutcome::Commit { "done" } else { "rolled-back" }.to_owned(),
            packages: packages.to_vec(),
            duration: duration_ms.unwrap_or_default(),
            signature: signature.clone(),
            because: because_of(run_record, patches),
            refreshed: refreshed.to_vec(),
            merges: merges.to_vec(),
            trial: run_record.trial.clone(),
            trial_end: run_record.trial_end.clone(),
            ..entry_of(root, run, run_record)
        };
        entry.line()
    };
    let planned = |merges: &[Merge]| if outcome == RunOutcome::Commit { merges.to_vec() } else { Vec::new() };
    let RunRecord { patches, packages, signature, refreshed, merges, .. } = run_record;
    let merges = [planned(merges), put_aside.to_vec()].concat();
    let mut lines = line(&run_record.typed, (patches, packages), signature, refreshed, &merges);
    for PatchRecord { patches, packages, signature, refreshed, merges, .. } in &run_record.others {
        lines.extend(line(&None, (patches, packages), signature, refreshed, &planned(merges)));
    }
    lines
}

pub(crate) fn write_history(
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
    let put_aside = put_aside(root, journal, outcome)?;
    let lines = history_lines(root, (run, run_record), (outcome, &put_aside), duration_ms);
    let own = make_own_directory(root)?;
    let mut written = vec![append(&own, b"history", run, &lines)?];
    let stage = journal.domains.first().map(|domain| root.dir_if_there(&domain.stage)).transpose()?.flatten();
    let script_log = stage.map(|stage| run_notes::log(&stage)).transpose()?.unwrap_or_default();
    let is_from_stage = !script_log.is_empty();
    let mut texts = vec![(run_record.log.as_ref(), [run_record.text.as_bytes(), &script_log].concat())];
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

/// Returns what the end of the run kept beside its objects. The names are unique to the run, and looked for, so that a
/// recovery that was interrupted itself forgets none.
fn put_aside(root: &Root, journal: &Journal, outcome: RunOutcome) -> Result<Vec<Merge>, Cause> {
    let (mut dirs, mut found) = (Dirs::new(root), Vec::new());
    // A commit keeps only what somebody put into an exchanged directory.
    let may_keep = |op: &&Op| !op.db && (outcome == RunOutcome::RolledBack || op.kind == OpKind::Tree);
    let paths: BTreeSet<&ObjectPath> = journal.ops.iter().filter(may_keep).map(|op| &op.path).collect();
    for path in paths {
        let Some(parent) = dirs.parent(path)? else { continue };
        for number in 1.. {
            let name = name_put_aside(path.name(), &journal.head.header.run, number);
            if parent.look(&name)?.is_none() {
                break;
            }
            found.push(Merge { path: path.clone(), beside: parent.at(&name) });
        }
    }
    Ok(found)
}

/// For a tidied-up run whose entries a power cut has lost. Logs of patches removed since are not restored.
pub(crate) fn write_again(root: &Root, head: &JournalHead) -> Result<(), Cause> {
    let run_record = journal_file::run_record(root, &head.header.run)?;
    let Some(run_record) = run_record.filter(|_| head.outcome == Some(RunOutcome::Commit)) else {
        return Ok(());
    };
    let (domains, archives, ops) = Default::default();
    let journal = Journal { head: head.clone(), domains, archives, run_record, ops, is_whole: false };
    write_history(root, &journal, RunOutcome::Commit, None, true).map(drop)
}

fn directory_of(root: &Root, log: &ObjectPath) -> Result<Option<(Dir, Vec<u8>)>, Cause> {
    let physical = root.resolver().locate(log)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    Ok(root.dir_if_there(&parent)?.map(|dir| (dir, physical.name().to_vec())))
}

/// For an event outside any run. The caller holds the lock.
pub fn log_without_run(root: &Root, _lock: &Lock, text: &[u8]) -> Result<(), Cause> {
    let file = make_own_directory(root)?.open_or_create(b"log", Mode::of(0o644))?;
    let size = file.size()?;
    // A torn line must not run into this one.
    let is_torn = size > 0 && file.get_at(size - 1, 1)? != b"\n";
    let newline: &[u8] = if is_torn { b"\n" } else { b"" };
    Ok(file.put_at(&[newline, text].concat(), size)?)
}

pub(crate) struct Appended {
    dir: Dir,
    pub(crate) on: MountedFileSystem,
}

impl Appended {
    fn add_to(self, all: &mut Vec<Self>) {
        if all.iter().all(|other| other.on != self.on) {
            all.push(self);
        }
    }

    /// Syncs file, name and directory. After `done`, nothing would write them again.
    pub(crate) fn sync(&self) -> Result<(), Cause> {
        Ok(self.dir.sync_file_system()?)
    }
}

/// Skips a text whose run the file's end already names. Cuts a torn last line.
pub(crate) fn append(dir: &Dir, name: &[u8], run: &str, text: &[u8]) -> Result<Appended, Cause> {
    let mut file = dir.open_or_create(name, Mode::of(0o644))?;
    write_once(&mut file, run, text)?;
    let seen = dir.itself()?;
    Ok(Appended { dir: dir.again()?, on: (seen.mount, seen.file_system) })
}

fn line_start(text: &[u8]) -> usize {
    text.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1)
}

fn write_once(file: &mut WritableFile, run: &str, text: &[u8]) -> Result<(), Cause> {
    let size = file.size()?;
    let window = (1 << 16) + 2 * text.len();
    let tail_at = size.saturating_sub(window as u64);
    let tail = file.get_at(tail_at, window)?;
    let lines = |text: &[u8]| text.split(|&b| b == b'\n').count();
    // Most windows differ in the first byte.
    let is_named = |window: &[u8]| window.first() == run.as_bytes().first() && window == run.as_bytes();
    let named = tail.windows(run.len()).position(is_named);
    let begun = named.map(|named| line_start(tail.get(..named).unwrap_or_default()));
    let whole = match begun {
        Some(begun) if lines(tail.get(begun..).unwrap_or_default()) >= lines(text) => return Ok(()),
        // A power cut tore a text between two lines.
        Some(begun) => begun,
        None => line_start(&tail),
    };
    file.set_size(if tail_at > 0 && whole == 0 { size } else { tail_at + whole as u64 })?;
    Ok(file.put(text)?)
}

const IN_STAGE: &[u8] = b"attempt";

const LARGEST_ATTEMPTS: u64 = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttemptEnd {
    Interrupted,
    Failed,
}

impl AttemptEnd {
    fn word(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

pub(crate) fn note_attempt(root: &Root, stage: &Dir, run: &Run, record: &RunRecord) {
    if record.command.is_empty() {
        return;
    }
    let entry = attempt_entry(root, run, record);
    // Best effort.
    let _ = stage.open_or_create(IN_STAGE, Mode::of(0o600)).and_then(|mut file| file.put(&entry.line()));
}

/// For a command whose script failed before its run began. The caller holds the lock.
pub fn keep_attempt_without_run(
    root: &Root,
    _lock: &Lock,
    nonce: u64,
    (record, is_interrupted): (&RunRecord, bool),
) -> Result<(), Cause> {
    let own = make_own_directory(root)?;
    let head = journal_file::head(root)?;
    let run = Run { number: journal_file::last_run_number(root, head.as_ref())? + 1, nonce };
    let end = if is_interrupted { AttemptEnd::Interrupted } else { AttemptEnd::Failed };
    let entry = HistoryEntry { result: end.word().to_owned(), ..attempt_entry(root, &run, record) };
    keep_line(&own, &run, &entry)
}

fn attempt_entry(root: &Root, run: &Run, record: &RunRecord) -> HistoryEntry {
    let all = |of: fn(&PatchRecord) -> &[String], first: &[String]| {
        let mut names = first.to_vec();
        for name in record.others.iter().flat_map(of) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    };
    HistoryEntry {
        typed: record.typed.clone(),
        patches: all(|one| &one.patches, &record.patches),
        packages: all(|one| &one.packages, &record.packages),
        result: AttemptEnd::Interrupted.word().to_owned(),
        ..entry_of(root, &run.to_string(), record)
    }
}

pub(crate) fn keep_failed_attempt(root: &Root, stage: &Dir, run: &Run, cause: &Cause) {
    let end = match cause {
        // The run is tried again in another way.
        Cause::Apart { .. } | Cause::NoExchange(_) => return,
        Cause::Interrupted(_) => AttemptEnd::Interrupted,
        _ => AttemptEnd::Failed,
    };
    // Best effort.
    let _ = own_directory(root).and_then(|own| keep_attempt(own.as_ref(), stage, run, end));
}

pub(crate) fn keep_interrupted_attempt(own: &Dir, stage: &Dir, run: &Run) {
    // Best effort.
    let _ = keep_attempt(Some(own), stage, run, AttemptEnd::Interrupted);
}

fn own_directory(root: &Root) -> Result<Option<Dir>, Cause> {
    Ok(root.dir_if_there(&root.resolver().locate_dir(&places::own_directory())?)?)
}

fn keep_attempt(own: Option<&Dir>, stage: &Dir, run: &Run, end: AttemptEnd) -> Result<(), Cause> {
    let Some(own) = own else { return Ok(()) };
    let line = stage.read_regular(IN_STAGE, LONGEST_LINE as u64)?.unwrap_or_default();
    // A torn line names nothing.
    let Ok(entry) = HistoryEntry::parse(&line) else { return Ok(()) };
    if entry.run != run.to_string() {
        return Ok(());
    }
    keep_line(own, run, &HistoryEntry { result: end.word().to_owned(), ..entry })
}

fn keep_line(own: &Dir, run: &Run, entry: &HistoryEntry) -> Result<(), Cause> {
    cut_attempts(own)?;
    append(own, places::attempts().name(), &run.to_string(), &entry.line()).map(drop)
}

fn cut_attempts(own: &Dir) -> Result<(), Cause> {
    let attempts = places::attempts();
    let name = attempts.name();
    if own.look(name)?.is_none_or(|seen| seen.size < LARGEST_ATTEMPTS) {
        return Ok(());
    }
    let text = own.read_regular(name, LARGEST_ATTEMPTS_READ).ok().flatten().unwrap_or_default();
    own.remove(name)?;
    let newer = text.get(text.len() / 2..).unwrap_or_default();
    let begin = newer.iter().position(|&byte| byte == b'\n').map_or(newer.len(), |newline| newline + 1);
    let mut file = own.open_or_create(name, Mode::of(0o644))?;
    Ok(file.put(newer.get(begin..).unwrap_or_default())?)
}
