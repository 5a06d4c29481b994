//! Gives up a journal that is damaged or gone, once it is known whether its run is finished.
//!
//! The stage on the file system of the records is durable before a journal is published, and is removed last of all,
//! after a durable outcome. So if there is no stage, no run is unfinished. If there is one, another copy of the journal
//! says what the run changes. If everything is in the state after the run, the run may have been acknowledged and is
//! finished as committed. Otherwise recovery itself rolls it back from the copy. Without a copy, the staged objects
//! must prove that everything is in the state before or everything is in the state after the run. If they do not,
//! nothing is done and the paths in doubt are named. A damaged journal is always kept.

use crate::format::history::HistoryEntry;
use crate::format::journal::{
    Journal, JournalError, JournalFiles, Op, OpKind, RunOutcome, mended, outcome_sector,
};
use crate::records::lost_journal::STAGES;
use crate::stored_file::StoredFile;
use crate::transaction::error::{Cause, DuringPhase as _, Phase, TransactionError};
use crate::transaction::journal::journal_file;
use crate::transaction::journal::run_notes::with_notes;
use crate::transaction::objects::attributes::has_attributes;
use crate::transaction::objects::identity::ObjectState;
use crate::transaction::recover::copies::journals_of;
use crate::transaction::recover::put_back::is_held;
use crate::transaction::recover::recovery::read_believed;
use crate::transaction::recover::staged_proof::{Proved, prove};
use crate::transaction::recover::stored_files::{has_kept_files, keep_proven_files};
use crate::transaction::stage::own_stage::{FoundStage, OwnStage, open_own};
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{Dir, FileType, Lock, Root};
use patchadm_svr4::places::own_directory;

/// The largest history that is read, in bytes.
const LARGEST_HISTORY: u64 = 64 << 20;

/// The outcome for a journal that should be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalFate {
    /// The journal is whole: nothing was done.
    Whole,
    /// The journal is no longer there; a damaged one is kept.
    Discarded {
        /// The path of the damaged journal.
        kept: Option<String>,
    },
}

/// Gives up a journal that is damaged, or that is gone while a stage exists, once it is proved that no run is
/// unfinished. Otherwise puts a copy in its place from which recovery can end the run. Recovery comes next in any case.
/// The error [`Cause::Doubt`] names the paths that rule out both; then nothing is changed.
pub fn discard_journal(root: &Root, _lock: &Lock) -> Result<JournalFate, TransactionError> {
    discarded(root).during(Phase::Recover)
}

fn discarded(root: &Root) -> Result<JournalFate, Cause> {
    let Some(own) = own(root)? else { return Ok(JournalFate::Whole) };
    match damage(root)? {
        None => return Ok(JournalFate::Whole),
        // This is no damage: the version that wrote the journal can recover the run.
        Some(reason @ JournalError::Earlier(_)) => {
            return Err(Cause::Journal { path: root.show(&own.at(journal_file::NAME)), reason });
        }
        Some(_) => {}
    }
    let kept = match Verdict::of(root, &own)? {
        Verdict::Finished => end_finished(&own)?,
        Verdict::Committed(run, stored) => {
            keep_proven_files(root, &run, &stored)?;
            end_finished(&own)?
        }
        Verdict::Known(files, run) => {
            let kept = journal_file::set_aside(&own)?;
            journal_file::restore(&own, &files, &run)?;
            kept
        }
    };
    Ok(JournalFate::Discarded { kept: kept.map(|name| root.show(&own.at(&name))) })
}

/// Gives up the journal of a run that is finished; returns the name of a damaged one.
fn end_finished(own: &Dir) -> Result<Option<Vec<u8>>, Cause> {
    if !directories(own)?.is_empty() && !journal_file::is_unpublished(own)? {
        // The staged objects are of no use any more; this lets recovery remove them.
        journal_file::begin(own)?;
        own.sync()?;
    }
    journal_file::set_aside(own)
}

/// Opens the directory of our own files.
pub(crate) fn own(root: &Root) -> Result<Option<Dir>, Cause> {
    Ok(root.dir_if_there(&root.resolver().locate_dir(&own_directory())?)?)
}

/// Returns the fault of the journal of a root, if it is damaged, gone, or of an unfinished run of an earlier version. A
/// journal of a later version is an error.
pub(crate) fn damage(root: &Root) -> Result<Option<JournalError>, Cause> {
    let path = root.show(&own_directory().join(journal_file::NAME).unwrap_or_else(|_| own_directory()));
    let read = match journal_file::head(root) {
        Ok(Some(head)) if !head.done => read_believed(root).map(drop),
        other => other.map(drop),
    };
    match read {
        Ok(()) => Ok(None),
        Err(Cause::Journal { reason: reason @ JournalError::Version(_), path }) => {
            Err(Cause::Journal { path, reason })
        }
        Err(Cause::Journal { reason, path: at }) if at == path => Ok(Some(reason)),
        Err(other) => Err(other),
    }
}

/// Returns the names of the directories among the stages.
pub(crate) fn directories(own: &Dir) -> Result<Vec<Vec<u8>>, Cause> {
    if own.look(STAGES)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(Vec::new());
    }
    let stages = own.dir(STAGES)?;
    let mut found = Vec::new();
    for name in stages.names()? {
        if stages.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            found.push(name);
        }
    }
    Ok(found)
}

/// The finding about a run whose journal is lost.
enum Verdict {
    /// No run is unfinished.
    Finished,
    /// The run of this name has committed, and these old files, which may still be in its stages, are undo data.
    Committed(String, Vec<StoredFile>),
    /// The run has these journal files, as recovery must find them, and this name.
    Known(Box<JournalFiles>, String),
}

impl Verdict {
    fn of(root: &Root, own: &Dir) -> Result<Self, Cause> {
        let stages = directories(own)?;
        if stages.is_empty() || journal_file::is_unpublished(own)? {
            return Ok(Self::Finished);
        }
        let within = own.dir(STAGES)?;
        let doubt =
            || Cause::Doubt { paths: stages.iter().map(|name| root.show(&within.at(name))).collect() };
        let [name] = stages.as_slice() else { return Err(doubt()) };
        let FoundStage::Ours(stage) = open_own(&within, name, name)? else { return Err(doubt()) };
        let run = stage.run.to_string();
        let told = told_outcome(own, &run);
        for files in journals_of(root, own, &stage.dir, &run)? {
            let Some(bytes) = mended(&files.journal) else { continue };
            let Ok(journal) = Journal::parse(&bytes, Some(&files.ops)) else { continue };
            let outcome = match journal.head.outcome.or(told) {
                Some(outcome) => Some(outcome),
                None => found_outcome(root, &journal)?,
            };
            let files = JournalFiles { journal: with_outcome(bytes, outcome), ops: files.ops };
            return Ok(Self::Known(Box::new(files), run));
        }
        if told.is_some() {
            return Ok(Self::Finished);
        }
        by_what_is_staged(root, own, &stage)
    }
}

/// Judges by the staged objects, when nothing states any more what the run changes.
fn by_what_is_staged(root: &Root, own: &Dir, stage: &OwnStage) -> Result<Verdict, Cause> {
    match prove(root, own, stage)? {
        Proved::Before => Ok(Verdict::Finished),
        Proved::After(manifests) => {
            let stored = manifests.iter().flat_map(StoredFile::all_of).collect();
            Ok(Verdict::Committed(stage.run.to_string(), stored))
        }
        Proved::Nothing(paths) => Err(Cause::Doubt { paths }),
    }
}

/// Returns the outcome of a run according to the history, which is written after the outcome and before the stage is
/// removed. An unreadable history says nothing.
fn told_outcome(own: &Dir, run: &str) -> Option<RunOutcome> {
    let history = own.read_regular(b"history", LARGEST_HISTORY).ok().flatten().unwrap_or_default();
    let entries = history.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok());
    let results: Vec<String> = entries.filter(|entry| entry.run == run).map(|entry| entry.result).collect();
    match results.first().map(String::as_str) {
        Some("done") => Some(RunOutcome::Commit),
        Some("rolled-back") => Some(RunOutcome::RolledBack),
        _ => None,
    }
}

/// Returns `Commit` if everything that the run changes is durably in the state after it; otherwise `None`: the run is
/// rolled back.
fn found_outcome(root: &Root, journal: &Journal) -> Result<Option<RunOutcome>, Cause> {
    let journal = with_notes(root, journal)?;
    if has_kept_files(root, &journal)? {
        return Ok(Some(RunOutcome::Commit));
    }
    let mut runner = OpRunner::open(root, &journal)?;
    let protected: Vec<&Op> = journal.ops.iter().filter(|op| op.kind == OpKind::Protect).collect();
    let is_after = if protected.is_empty() {
        let mut all = true;
        for op in journal.ops.iter().filter(|op| op.kind != OpKind::Rmdir) {
            all = all && runner.is_as_after(op)?;
        }
        all && !journal.ops.is_empty()
    } else {
        // Safety copies are removed only after the outcome is written; those of a rollback are in their places.
        let mut any_lost = false;
        for op in protected {
            any_lost = any_lost || runner.is_copy_lost(op)?;
        }
        any_lost
    };
    if !is_after {
        return Ok(None);
    }
    runner.sync()?;
    Ok(Some(RunOutcome::Commit))
}

fn with_outcome(mut bytes: Vec<u8>, outcome: Option<RunOutcome>) -> Vec<u8> {
    if let Some((sector, offset)) = outcome.map(outcome_sector)
        && let Ok(at) = usize::try_from(offset)
        && let Some(place) = bytes.get_mut(at..at + sector.len())
    {
        place.copy_from_slice(&sector);
    }
    bytes
}

impl OpRunner<'_> {
    /// Tells whether the target of an op is in the state after it. A new object may have been written to since.
    fn is_as_after(&mut self, op: &Op) -> Result<bool, Cause> {
        use ObjectState::{New, NewTouched, None, Old};
        match op.kind {
            OpKind::Add | OpKind::Replace | OpKind::Tree => {
                Ok(matches!(self.target_state(op)?, New | NewTouched))
            }
            OpKind::Delete => Ok(self.target_state(op)? == None),
            OpKind::Move => {
                let Some(to) = &op.to else { return Ok(false) };
                let Some(parent) = self.parent_of(to)? else { return Ok(false) };
                let state = crate::transaction::objects::identity::state(
                    &parent,
                    to.name(),
                    op.old.as_deref(),
                    Option::None,
                )?;
                Ok(self.target_state(op)? == None && state == Old)
            }
            OpKind::Attr => {
                let (Some(parent), Some(new)) = (self.parent_of(&op.path)?, &op.new) else {
                    return Ok(false);
                };
                has_attributes(&parent, op.path.name(), new)
            }
            OpKind::Rmdir | OpKind::Protect => Ok(true),
        }
    }

    /// Tells whether the safety copy of an op is neither in the stage nor in its place: its stage is being dropped.
    fn is_copy_lost(&mut self, op: &Op) -> Result<bool, Cause> {
        let Some(copy) = &op.new else { return Ok(false) };
        let (stage, staged) = self.staged(op)?;
        if stage.look(&staged)?.is_some() {
            return Ok(false);
        }
        let Some(parent) = self.parent_of(&op.path)? else { return Ok(true) };
        Ok(!is_held(&parent, op.path.name(), copy)?)
    }
}
