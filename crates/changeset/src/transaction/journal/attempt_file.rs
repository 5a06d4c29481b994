//! Attempts at runs that came to nothing before their journal was published, `var/sadm/patchadm/attempts`: lines as in the
//! history, whose `result` is `interrupted` or `failed`.
//!
//! The line of a run is in its stage from the first write on, and comes into the file when the stage is removed: by the run
//! itself, or by the recovery that finds the stage. A run with a journal has its line in the history instead. All of this is
//! best effort: nothing depends on it, and no error in it stops a run.

use std::collections::BTreeMap;

use crate::format::history::HistoryEntry;
use crate::format::journal::{PatchRecord, RunRecord};
use crate::format::run::Run;
use crate::transaction::error::Cause;
use crate::transaction::recover::finish::append;
use patchadm_rootfs::{Dir, Root};
use patchadm_svr4::format::lines::LONGEST_LINE;
use patchadm_svr4::package::Mode;
use patchadm_svr4::places;

/// The line of a run in its stage.
const IN_STAGE: &[u8] = b"attempt";

/// The size from which only the newer half of the file is kept, in bytes.
const LARGEST: u64 = 256 << 10;

/// The largest file that is cut. A larger one is not of this program, and is removed.
const LARGEST_READ: u64 = 4 << 20;

/// The outcome of an attempt.
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

/// Notes in its stage that a run begins.
pub(crate) fn note(root: &Root, stage: &Dir, run: &Run, record: &RunRecord) {
    if record.command.is_empty() {
        return;
    }
    let all = |of: fn(&PatchRecord) -> &[String], first: &[String]| {
        let mut names = first.to_vec();
        for name in record.others.iter().flat_map(of) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    };
    let entry = HistoryEntry {
        run: run.to_string(),
        time: record.time.clone(),
        user: record.user.clone(),
        command: record.command.clone(),
        patches: all(|one| &one.patches, &record.patches),
        packages: all(|one| &one.packages, &record.packages),
        result: AttemptEnd::Interrupted.word().to_owned(),
        duration: 0,
        trusted: root.is_trusted(),
        hook: record.hook,
        signature: None,
        note: record.note.clone(),
        because: BTreeMap::new(),
        undoes: record.undoes.clone(),
        refreshed: Vec::new(),
        merges: Vec::new(),
        trial: None,
        trial_end: None,
    };
    // Best effort.
    let _ = stage.open_or_create(IN_STAGE, Mode::of(0o600)).and_then(|mut file| file.put(&entry.line()));
}

/// Records the attempt of a run that an error or a signal ended.
pub(crate) fn keep_given_up(root: &Root, stage: &Dir, run: &Run, cause: &Cause) {
    let end = match cause {
        // The run is tried again in another way.
        Cause::Apart { .. } | Cause::NoExchange(_) => return,
        Cause::Interrupted(_) => AttemptEnd::Interrupted,
        _ => AttemptEnd::Failed,
    };
    // Best effort.
    let _ = own_directory(root).and_then(|own| keep(own.as_ref(), stage, run, end));
}

/// Keeps the line of a run whose stage was found.
pub(crate) fn keep_interrupted(own: &Dir, stage: &Dir, run: &Run) {
    // Best effort.
    let _ = keep(Some(own), stage, run, AttemptEnd::Interrupted);
}

fn own_directory(root: &Root) -> Result<Option<Dir>, Cause> {
    Ok(root.dir_if_there(&root.resolver().locate_dir(&places::own_directory())?)?)
}

fn keep(own: Option<&Dir>, stage: &Dir, run: &Run, end: AttemptEnd) -> Result<(), Cause> {
    let Some(own) = own else { return Ok(()) };
    let line = stage.read_regular(IN_STAGE, LONGEST_LINE as u64)?.unwrap_or_default();
    // A line that a power cut has torn names nothing.
    let Ok(entry) = HistoryEntry::parse(&line) else { return Ok(()) };
    if entry.run != run.to_string() {
        return Ok(());
    }
    cut(own)?;
    let line = HistoryEntry { result: end.word().to_owned(), ..entry }.line();
    append(own, places::attempts().name(), &run.to_string(), &line).map(drop)
}

/// Drops the older half of a file that has become large.
fn cut(own: &Dir) -> Result<(), Cause> {
    let attempts = places::attempts();
    let name = attempts.name();
    if own.look(name)?.is_none_or(|seen| seen.size < LARGEST) {
        return Ok(());
    }
    let text = own.read_regular(name, LARGEST_READ).ok().flatten().unwrap_or_default();
    own.remove(name)?;
    let newer = text.get(text.len() / 2..).unwrap_or_default();
    let begin = newer.iter().position(|&byte| byte == b'\n').map_or(newer.len(), |newline| newline + 1);
    let mut file = own.open_or_create(name, Mode::of(0o644))?;
    Ok(file.put(newer.get(begin..).unwrap_or_default())?)
}
