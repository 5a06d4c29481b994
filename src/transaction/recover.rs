//! Rolling back and recovering: one code, for the running command and for whoever finds a dead run.

use super::alone;
use super::error::{Cause, In, Left, Phase, TransactionError};
use super::finish::finish;
use super::hands::Hands;
use super::identity::{State, state_of};
use super::journal_file;
use super::queue::{read_queue, undo_queue};
use super::scripted::with_notes;
use super::sites::{HOLDER, drop_holder, drop_stage, run_of};
use crate::database::own_directory;
use crate::format::journal::{Head, Identity, Journal, Op, OpKind, Outcome, Run, ScriptProcess};
use crate::format::queue::Queue;
use crate::package::ObjectPath;
use crate::root::{Dir, FileType, Lock, Root};

/// What recovery found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// No run was unfinished.
    Nothing,
    /// A run was undone: everything is as before it.
    RolledBack {
        /// The run.
        run: String,
        /// What a person should know.
        notes: Vec<String>,
    },
    /// A run had committed and is tidied up: everything is as after it.
    Finished {
        /// The run.
        run: String,
        /// What a person should know.
        notes: Vec<String>,
    },
}

/// Finishes or rolls back whatever run is unfinished. To be called with the lock, before anything is read for a
/// change. When it cannot, nothing more is touched than what it says, and every later call begins again.
pub fn recover(root: &Root, _lock: &Lock) -> Result<Recovered, TransactionError> {
    let head = journal_file::head(root).during(Phase::Recover)?;
    let recovered = match &head {
        None => Recovered::Nothing,
        // What it did is of no interest any more.
        Some(head) if head.done => Recovered::Nothing,
        Some(_) => recover_run(root)?,
    };
    let last = head.and_then(|head| head.run()).map_or(0, |run| run.number);
    remove_strays(root, last).during(Phase::Recover)?;
    Ok(recovered)
}

fn recover_run(root: &Root) -> Result<Recovered, TransactionError> {
    let Some(journal) = journal_file::read(root).during(Phase::Recover)? else {
        return Ok(Recovered::Nothing);
    };
    look_at_records(root, &journal).during(Phase::Recover)?;
    match journal.head.outcome {
        None => rolled_back(root, &journal),
        Some(outcome) => finished(root, &with_notes(root, &journal).during(Phase::Recover)?, outcome),
    }
}

/// Opens the directory of each record that may go back, so that one which somebody else may change is refused before
/// anything is touched.
fn look_at_records(root: &Root, journal: &Journal) -> Result<(), Cause> {
    let mut directories: Vec<ObjectPath> =
        journal.ops.iter().filter(|op| op.db).filter_map(|op| op.path.parent()).collect();
    directories.dedup();
    for directory in directories {
        root.dir_if_there(&directory)?;
    }
    Ok(())
}

/// The procedure script that an unfinished run says is running: it has to be ended before its work is undone.
pub fn unfinished_script(root: &Root) -> Result<Option<ScriptProcess>, TransactionError> {
    let head = journal_file::head(root).during(Phase::Recover)?.filter(Head::is_open);
    Ok(head.and_then(|head| head.progress).and_then(|progress| progress.script))
}

fn rolled_back(root: &Root, journal: &Journal) -> Result<Recovered, TransactionError> {
    let notes = roll_back(root, journal)?;
    Ok(Recovered::RolledBack { run: journal.head.header.run.clone(), notes })
}

/// What is left of a rollback that could not be made durable.
const NOT_DURABLE: &str = "everything is in its place again, but a power cut may undo that";

/// Undoes a published run and finishes it. Notes say what a person should know.
pub(super) fn roll_back(root: &Root, journal: &Journal) -> Result<Vec<String>, TransactionError> {
    let unfinished = |cause: Cause, what: Vec<String>| TransactionError {
        phase: Phase::Recover,
        cause,
        left: Left::Unfinished(what),
    };
    let journal = &with_notes(root, journal).map_err(|cause| unfinished(cause, Vec::new()))?;
    let mut hands = Hands::open(root, journal).map_err(|cause| unfinished(cause, Vec::new()))?;
    let queue = queue_of(root, journal).map_err(|cause| unfinished(cause, Vec::new()))?;
    // What installf made may stand in a directory that has to go; what it changed may only then be there again.
    if let Err(cause) = undo_queue(root, &queue) {
        return Err(unfinished(cause, hands.whereabouts()));
    }
    let mut failed = Vec::new();
    // Records first, so that no record claims more than the tree; each part in the reverse of its order.
    let (records, objects): (Vec<_>, Vec<_>) = journal.ops.iter().partition(|op| op.db);
    for op in records.into_iter().rev().chain(objects.into_iter().rev()) {
        failed.extend(hands.back(op).err());
    }
    failed.extend(hands.put_back());
    match undo_queue(root, &queue) {
        Ok(mut notes) => hands.notes.append(&mut notes),
        Err(cause) => failed.push(cause),
    }
    if !failed.is_empty() {
        // What could not be undone mostly failed for one reason; what it means is told path by path.
        return Err(unfinished(failed.swap_remove(0), hands.whereabouts()));
    }
    // Before the stage is dropped: it holds the new objects now, but the disk may still have them as the live ones.
    let mark = hands.sync().and_then(|()| journal_file::open(root));
    let closed = mark.and_then(|mark| journal_file::close(&mark, Outcome::RolledBack));
    closed.map_err(|cause| unfinished(cause, vec![NOT_DURABLE.to_owned()]))?;
    Ok(finish(root, journal, Outcome::RolledBack, Some(hands), None))
}

/// What the scripts of a run asked installf and removef for.
fn queue_of(root: &Root, journal: &Journal) -> Result<Queue, Cause> {
    match journal.domains.first() {
        Some(domain) => read_queue(root, &domain.stage),
        None => Ok(Queue::default()),
    }
}

/// A run whose outcome was found: it is made durable, for a committed one what got lost is done again.
fn finished(root: &Root, journal: &Journal, outcome: Outcome) -> Result<Recovered, TransactionError> {
    journal_file::harden(root).during(Phase::Recover)?;
    // Without its stages the run was tidied up already, but for the last sector.
    let mut hands = match Hands::open(root, journal) {
        Ok(hands) => Some(hands),
        Err(Cause::DomainMissing { .. }) => None,
        Err(cause) => return Err(cause).during(Phase::Recover),
    };
    if let Some(hands) = hands.as_mut().filter(|_| outcome == Outcome::Commit) {
        redo(hands).during(Phase::Recover)?;
    }
    let notes = finish(root, journal, outcome, hands, None);
    let run = journal.head.header.run.clone();
    Ok(match outcome {
        Outcome::Commit => Recovered::Finished { run, notes },
        Outcome::RolledBack => Recovered::RolledBack { run, notes },
    })
}

fn redo(hands: &mut Hands<'_>) -> Result<(), Cause> {
    let mut any = false;
    for op in &hands.journal.ops {
        any |= hands.redo(op)?;
    }
    if any { hands.sync() } else { Ok(()) }
}

/// Removes stages that belong to no unfinished run, and a journal that was never published. The directory that is
/// opened here has the last word on what is unfinished: nobody can put another one in its place in between. `last` is the
/// number of the last run.
pub(super) fn remove_strays(root: &Root, last: u64) -> Result<(), Cause> {
    let own = root.resolver().locate_dir(&own_directory())?;
    if let Some(own) = root.dir_if_there(&own)? {
        if journal_file::head_in(&own)?.is_some_and(|head| head.is_open()) {
            return Err(Cause::Changed(root.show(own.path())));
        }
        journal_file::remove_new_in(&own)?;
        if own.look(b"stage")?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            let stages = own.dir(b"stage")?;
            stages.names()?.iter().try_for_each(|name| remove_stray(root, &stages, name))?;
        }
    }
    for mount in root.mount_points()? {
        // Where the path would be too long there can be no stage.
        let Ok(holder) = mount.join(HOLDER) else { continue };
        let Some(dir) = root.dir_if_there(&holder)? else { continue };
        for name in dir.names()? {
            stray_of_other_domain(root, &dir, &name, last)?;
        }
        // A run may have been cut before its first stage was in it, or after its last one was gone.
        drop_holder(root, dir.path())?;
    }
    Ok(())
}

/// A stage of the first domain, with those that it tells of.
fn remove_stray(root: &Root, stages: &Dir, name: &[u8]) -> Result<(), Cause> {
    if stages.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
        alone::remove_noted(root, &stages.dir(name)?)?;
    }
    Ok(stages.remove_tree(name)?)
}

/// A stage on another file system whose run the journal does not name.
fn stray_of_other_domain(root: &Root, holder: &Dir, name: &[u8], last: u64) -> Result<(), Cause> {
    let stage = holder.dir(name)?;
    let Some(run) = run_of(&stage)? else { return drop_stage(root, stage.path()) };
    if run.number > last && was_switched(root, &stage)? {
        return Err(Cause::LaterStage { stage: root.show(stage.path()) });
    }
    drop_stage(root, stage.path())
}

/// Whether any target of the stage's own copy of its journal is the new object.
fn was_switched(root: &Root, stage: &Dir) -> Result<bool, Cause> {
    let Some(copy) = journal_file::read_copy(stage)? else { return Ok(false) };
    for op in &copy.ops {
        let in_stage = copy.domains.get(op.domain).is_some_and(|domain| domain.stage == *stage.path());
        let parent = op.path.parent().unwrap_or_else(ObjectPath::root);
        if let Some(dir) = root.dir_if_there(&parent)?.filter(|_| in_stage)
            && is_as_after(&dir, op)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a target is what an op makes of it. An object that only gets other attributes is the same object before
/// and after: its attributes tell, where they are not the same as before.
fn is_as_after(dir: &Dir, op: &Op) -> Result<bool, Cause> {
    if op.kind == OpKind::Held {
        let seen = dir.look(op.path.name())?;
        return Ok(match (seen, &op.old) {
            (Some(seen), Some(old)) => seen.inode != old.inode || op.touched != Some(seen.ctime),
            (seen, old) => seen.is_some() != old.is_some(),
        });
    }
    if op.kind == OpKind::Attr {
        let Some(seen) = dir.look(op.path.name())? else { return Ok(false) };
        let has = |identity: &Identity| {
            (identity.mode, identity.uid, identity.gid) == (seen.mode.bits(), seen.uid, seen.gid)
        };
        return Ok(op.new.as_ref().is_some_and(has) && !op.old.as_ref().is_some_and(has));
    }
    let found = state_of(dir, op.path.name(), op)?;
    Ok(matches!(found, State::New | State::NewTouched))
}

/// The run that follows the last one of a root.
pub(super) fn next_run(root: &Root, nonce: u64) -> Result<(Run, Option<String>), Cause> {
    let head = journal_file::head(root)?;
    let number = head.as_ref().and_then(Head::run).map_or(0, |run| run.number);
    Ok((Run { number: number + 1, nonce }, head.map(|head| head.header.root)))
}
