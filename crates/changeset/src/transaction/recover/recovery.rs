//! Rolls back and recovers runs, for the running command and later ones.

use crate::format::installf_queue::InstallfRequests;
use crate::format::journal::{
    Identity, Journal, JournalError, JournalHead, Op, OpKind, RunOutcome, ScriptProcess,
};
use crate::format::run::Run;
use crate::records::identity::RootId;
use crate::transaction::archive::stored_files::keep_stored_files;
use crate::transaction::error::{Cause, DuringPhase, Phase, RootCondition, TransactionError};
use crate::transaction::finish::{SwitchFindings, finish_run};
use crate::transaction::journal::history_file::write_again;
use crate::transaction::journal::installf_queue::{read_queue, undo_queue};
use crate::transaction::journal::run_notes::{RunNotes, merge_run_notes};
use crate::transaction::journal::{journal_file, root_id_file};
use crate::transaction::objects::attributes::has_xattrs;
use crate::transaction::objects::identity::ObjectState;
use crate::transaction::outside::OutsideAccess;
use crate::transaction::recover::strays::{RemovedStrays, remove_strays};
use crate::transaction::settings::PackageManagers;
use crate::transaction::stage::domains;
use crate::transaction::stage::domains::must_be_ours;
use crate::transaction::switch::op_runner::{OpRunner, UndoStep, undo_step};
use crate::transaction::tree::list_file;
use patchadm_rootfs::{FileType, Lock, Root};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::places::own_directory;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recovered {
    #[default]
    Nothing,
    /// Everything is as before the run.
    RolledBack { run: String, notes: Vec<String> },
    /// Everything is as after the run.
    Finished { run: String, notes: Vec<String> },
    /// Foreign objects in places for stages were skipped.
    PassedOver {
        /// Each foreign object, with the reason.
        notes: Vec<String>,
    },
    /// Removed remains of runs that had changed nothing live.
    Cleared {
        runs: Vec<String>,
        /// Freed.
        bytes: u64,
        notes: Vec<String>,
    },
    /// Nothing was done: a plan is shown as after recovery.
    Foreseen {
        run: String,
        /// As before the run; otherwise as after it.
        is_rolled_back: bool,
        notes: Vec<String>,
    },
}

impl Recovered {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing | Self::PassedOver { .. } | Self::Cleared { .. })
    }

    pub fn has_changed(&self) -> bool {
        matches!(self, Self::RolledBack { .. } | Self::Finished { .. })
    }

    pub fn notes(&self) -> &[String] {
        match self {
            Self::Nothing => &[],
            Self::RolledBack { notes, .. }
            | Self::Finished { notes, .. }
            | Self::Foreseen { notes, .. }
            | Self::Cleared { notes, .. }
            | Self::PassedOver { notes } => notes,
        }
    }

    #[must_use]
    pub fn with_notes(mut self, mut more: Vec<String>) -> Self {
        match &mut self {
            Self::Nothing if more.is_empty() => {}
            Self::Nothing => return Self::PassedOver { notes: more },
            Self::RolledBack { notes, .. }
            | Self::Finished { notes, .. }
            | Self::Foreseen { notes, .. }
            | Self::Cleared { notes, .. }
            | Self::PassedOver { notes } => notes.append(&mut more),
        }
        self
    }
}

/// Call this with the lock, before reading anything for a change. Every later call starts again after a failure.
pub fn recover(root: &Root, lock: &Lock) -> Result<Recovered, TransactionError> {
    recover_with(root, lock, &OutsideAccess::default(), None)
}

/// Obeys rules for archives outside the root, and leaves objects of native package managers alone.
pub fn recover_with(
    root: &Root,
    _lock: &Lock,
    outside: &OutsideAccess<'_>,
    managers: Option<&dyn PackageManagers>,
) -> Result<Recovered, TransactionError> {
    let head = journal_file::head(root).during(Phase::Recover)?;
    let recovered = match &head {
        None => Recovered::Nothing,
        Some(head) if head.done => Recovered::Nothing.with_notes(complete_history(root, head)),
        Some(_) => recover_run(root, outside, managers)?,
    };
    let RemovedStrays { runs, bytes, notes } = remove_strays(root, head.as_ref()).during(Phase::Recover)?;
    let recovered = match recovered {
        Recovered::Nothing | Recovered::PassedOver { .. } if !runs.is_empty() => {
            Recovered::Cleared { runs, bytes, notes: recovered.notes().to_vec() }
        }
        recovered => recovered,
    };
    Ok(recovered.with_notes(notes))
}

/// The run is done anyway, so a failure is only a note.
fn complete_history(root: &Root, head: &JournalHead) -> Vec<String> {
    if !head.is_unsynced || must_be_of_this_root(root, head).is_err() {
        return Vec::new();
    }
    let run = &head.header.run;
    let note =
        |cause| format!("the changes of run {run} may be missing from the history and the log: {cause}");
    write_again(root, head).err().map(note).into_iter().collect()
}

fn recover_run(
    root: &Root,
    outside: &OutsideAccess<'_>,
    managers: Option<&dyn PackageManagers>,
) -> Result<Recovered, TransactionError> {
    let Some(journal) = read_believed(root).during(Phase::Recover)? else {
        return Ok(Recovered::Nothing);
    };
    look_at_records(root, &journal).during(Phase::Recover)?;
    match journal.head.outcome {
        None => {
            let notes = roll_back(root, &journal, outside, managers)?;
            Ok(Recovered::RolledBack { run: journal.head.header.run, notes })
        }
        Some(outcome) => {
            finished(root, &merge_run_notes(root, &journal).during(Phase::Recover)?, outcome, outside)
        }
    }
}

/// Checks that this program could have written journal and notes, before anything else.
pub(crate) fn read_believed(root: &Root) -> Result<Option<Journal>, Cause> {
    let Some(journal) = journal_file::read(root)? else { return Ok(None) };
    must_be_of_this_root(root, &journal.head)?;
    must_be_ours(root, &journal)?;
    list_file::check_lists(root, &journal)?;
    if let Some(domain) = journal.domains.first()
        && let Some(stage) = root.dir_if_there(&domain.stage)?
    {
        domains::noted_stages(&stage)?;
        RunNotes::read(&stage)?;
    }
    Ok(Some(journal))
}

fn must_be_of_this_root(root: &Root, head: &JournalHead) -> Result<(), Cause> {
    let header = head.header.root.clone();
    match RootId::of(root)?.marker() {
        Some(root_id) if !holds("journal.header.marker", root_id == header) => Err(Cause::Journal {
            path: root.show(&own_directory().join(b"journal").unwrap_or_else(|_| own_directory())),
            reason: JournalError::OtherRoot(Box::new((header, root_id))),
        }),
        _ => Ok(()),
    }
}

/// Refuses a record directory that others may change, before anything is touched.
fn look_at_records(root: &Root, journal: &Journal) -> Result<(), Cause> {
    let mut directories: Vec<ObjectPath> =
        journal.ops.iter().filter(|op| op.db).filter_map(|op| op.path.parent()).collect();
    directories.dedup();
    for directory in directories {
        root.dir_if_there(&directory)?;
    }
    Ok(())
}

/// The script must be ended before its work is undone.
pub fn unfinished_script(root: &Root) -> Result<Option<(String, ScriptProcess)>, TransactionError> {
    let head = journal_file::head(root).during(Phase::Recover)?.filter(JournalHead::is_open);
    let Some((run, script)) = head.and_then(|head| Some((head.header.run, head.progress?.script?))) else {
        return Ok(None);
    };
    // Invalid journals end no process.
    read_believed(root).during(Phase::Recover)?;
    if holds("journal.progress.own", script.group != nix::unistd::getpgrp().as_raw()) {
        return Ok(Some((run, script)));
    }
    let reason = JournalError::Field { field: "group", of: "its progress".to_owned() };
    let path = root.show(&own_directory().join(b"journal").unwrap_or_else(|_| own_directory()));
    Err(Cause::Journal { path, reason }).during(Phase::Recover)
}

const NOT_DURABLE: &str = "everything was restored, but a power cut may undo that";

pub(crate) fn roll_back(
    root: &Root,
    journal: &Journal,
    outside: &OutsideAccess<'_>,
    managers: Option<&dyn PackageManagers>,
) -> Result<Vec<String>, TransactionError> {
    let unfinished = |cause: Cause, what: Vec<String>| TransactionError {
        phase: Phase::Recover,
        cause,
        left: RootCondition::Unfinished(what),
    };
    let journal = &merge_run_notes(root, journal).map_err(|cause| unfinished(cause, Vec::new()))?;
    let mut runner = OpRunner::open(root, journal).map_err(|cause| unfinished(cause, Vec::new()))?;
    runner.managers = managers;
    let queue = read_run_queue(root, journal).map_err(|cause| unfinished(cause, Vec::new()))?;
    // Objects by installf may be in directories that go; objects that it changed may reappear only afterwards.
    if let Err(cause) = undo_queue(root, &queue) {
        return Err(unfinished(cause, runner.damage_report()));
    }
    let mut failed = Vec::new();
    // Records first, so that none claims more than the tree; each part in reverse.
    let (records, objects): (Vec<_>, Vec<_>) = journal.ops.iter().partition(|op| op.db);
    for op in records.into_iter().rev().chain(objects.into_iter().rev()) {
        failed.extend(runner.undo_op(op).err());
    }
    failed.extend(runner.put_back());
    match undo_queue(root, &queue) {
        Ok(mut notes) => runner.notes.append(&mut notes),
        Err(cause) => failed.push(cause),
    }
    if !failed.is_empty() {
        // Most failures share a cause; the report lists the consequences.
        return Err(unfinished(failed.swap_remove(0), runner.damage_report()));
    }
    // Before the stage with the new objects is dropped: the disk may still have them live.
    let mark = runner.sync().and_then(|()| journal_file::open(root));
    let closed = mark.and_then(|mark| journal_file::close(&mark, RunOutcome::RolledBack));
    closed.map_err(|cause| unfinished(cause, vec![NOT_DURABLE.to_owned()]))?;
    let findings = SwitchFindings::of_recovery(Some(runner));
    Ok(finish_run(root, journal, RunOutcome::RolledBack, &findings, None, outside).notes)
}

pub(crate) fn read_run_queue(root: &Root, journal: &Journal) -> Result<InstallfRequests, Cause> {
    match journal.domains.first() {
        Some(domain) => read_queue(root, &domain.stage),
        None => Ok(InstallfRequests::default()),
    }
}

/// Makes a found outcome durable; after a commit, repeats lost ops.
fn finished(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    outside: &OutsideAccess<'_>,
) -> Result<Recovered, TransactionError> {
    journal_file::harden(root).during(Phase::Recover)?;
    // Without stages, only the last sector was missing.
    let mut runner = match OpRunner::open(root, journal) {
        Ok(runner) => Some(runner),
        Err(Cause::DomainMissing { .. }) => None,
        Err(cause) => return Err(cause).during(Phase::Recover),
    };
    // If the journal is not whole, only records are known, and they are not repeated without objects.
    if let Some(runner) = runner.as_mut().filter(|_| outcome == RunOutcome::Commit && journal.is_whole) {
        redo_lost_ops(runner).during(Phase::Recover)?;
    }
    let findings = SwitchFindings::of_recovery(runner);
    let mut notes = finish_run(root, journal, outcome, &findings, None, outside).notes;
    let run = journal.head.header.run.clone();
    if !journal.is_whole {
        notes.push(format!(
            "the file ops-{run} is lost or damaged: run {run} is not in the history and the log, and its objects were not examined again"
        ));
    }
    Ok(match outcome {
        RunOutcome::Commit => Recovered::Finished { run, notes },
        RunOutcome::RolledBack => Recovered::RolledBack { run, notes },
    })
}

fn redo_lost_ops(runner: &mut OpRunner<'_>) -> Result<(), Cause> {
    let mut any = false;
    for op in &runner.journal.ops {
        any |= runner.redo_op(op)?;
    }
    if any { runner.sync() } else { Ok(()) }
}

pub(crate) fn next_run(root: &Root, nonce: u64) -> Result<(Run, Option<String>), Cause> {
    let head = journal_file::head(root)?;
    if head.as_ref().is_some_and(|head| !head.done && head.outcome == Some(RunOutcome::Commit)) {
        keep_files_of_last_run(root)?;
    }
    let number = journal_file::last_run_number(root, head.as_ref())?;
    Ok((Run { number: number + 1, nonce }, root_id_file::marker(root, head.as_ref())?))
}

/// For a run whose end an error cut off: the next run replaces its journal, the only record of these files.
fn keep_files_of_last_run(root: &Root) -> Result<(), Cause> {
    let Some(journal) = read_believed(root)? else { return Ok(()) };
    keep_stored_files(root, &journal, RunOutcome::Commit, None)
}

impl OpRunner<'_> {
    /// A line for each path that is not as before, sorted.
    fn damage_report(&mut self) -> Vec<String> {
        self.dirs.forget();
        let journal = self.journal;
        let mut lines: Vec<String> = journal.ops.iter().filter_map(|op| self.damage_of(op)).collect();
        lines.sort();
        lines
    }

    fn damage_of(&mut self, op: &Op) -> Option<String> {
        let shown = self.show(op);
        let found = match op.kind {
            OpKind::Rmdir => Ok(None),
            OpKind::Add | OpKind::Replace | OpKind::Delete | OpKind::Tree => self.object_is(op),
            OpKind::Protect => self.held_is(op),
            OpKind::Move => self.moved_is(op),
            OpKind::Attr => self.attributes_are(op),
        };
        match found {
            Ok(None) => None,
            Ok(Some(what)) => Some(format!("{shown} {what}")),
            Err(cause) => Some(format!("{shown} cannot be examined ({cause}); {}", self.where_old_is(op))),
        }
    }

    fn where_old_is(&mut self, op: &Op) -> String {
        match self.old_place(op) {
            Ok((dir, name)) => format!("its old object is {}", self.root.show(&dir.at(&name))),
            Err(cause) => format!("the place of its old object is unknown: {cause}"),
        }
    }

    fn object_is(&mut self, op: &Op) -> Result<Option<String>, Cause> {
        let target = self.target_state(op)?;
        let stage = self.stage_state(op, target)?;
        if matches!(undo_step(op, target, stage), UndoStep::Nothing | UndoStep::Leave) {
            return Ok(None);
        }
        let is = match target {
            ObjectState::None => "does not exist",
            ObjectState::Old => "is as before",
            ObjectState::New | ObjectState::NewTouched => "is the new one",
            ObjectState::Other => "was made by another process",
        };
        Ok(Some(match (&op.old, stage) {
            (None, _) => format!("{is}; nothing was there before"),
            (Some(_), ObjectState::Old) => format!("{is}; {}", self.where_old_is(op)),
            (Some(_), _) if target == ObjectState::Old => {
                format!("{is}; a version made by another process is in the stage")
            }
            (Some(_), _) => format!("{is}; its old object is in the undo archive of the run only"),
        }))
    }

    fn held_is(&mut self, op: &Op) -> Result<Option<String>, Cause> {
        let Some(parent) = self.dirs.parent(&op.path)? else {
            return Ok(op.old.as_ref().map(|_| format!("does not exist; {}", self.where_old_is(op))));
        };
        let seen = parent.look(op.path.name())?;
        let (Some(seen), Some(old)) = (&seen, &op.old) else {
            return Ok(match (seen, &op.old) {
                (Some(_), None) => Some("is there; nothing was there before".to_owned()),
                (None, Some(_)) => Some(format!("does not exist; {}", self.where_old_is(op))),
                _ => None,
            });
        };
        let is_back = match &op.new {
            None => seen.file_type == FileType::Directory,
            Some(copy) => {
                let is_untouched =
                    !op.whole && seen.inode == old.inode && op.touched.as_deref() == Some(&seen.ctime);
                is_untouched || crate::transaction::safety_copies::is_held(&parent, op.path.name(), copy)?
            }
        };
        Ok((!is_back).then(|| format!("may be changed; {}", self.where_old_is(op))))
    }

    fn moved_is(&mut self, op: &Op) -> Result<Option<String>, Cause> {
        let Some(to) = &op.to else { return Ok(None) };
        let parent = self.dirs.parent(&op.path)?;
        let is_gone = parent.map(|dir| dir.look(op.path.name())).transpose()?.flatten().is_none();
        Ok(is_gone.then(|| format!("does not exist; its old object is {}", self.root.show(to))))
    }

    fn attributes_are(&mut self, op: &Op) -> Result<Option<String>, Cause> {
        let (Some(parent), Some(old), Some(new)) = (self.dirs.parent(&op.path)?, &op.old, &op.new) else {
            return Ok(None);
        };
        let Some(seen) = parent.look(op.path.name())? else { return Ok(None) };
        let xattrs = parent.xattrs(op.path.name())?;
        let has_new = new.xattrs.as_deref().is_some_and(|new| has_xattrs(&xattrs, new));
        let is_new = |of: &dyn Fn(&Identity) -> u32, now: u32| now == of(new) && now != of(old);
        let is_other = is_new(&|one| one.mode, seen.mode.bits())
            || is_new(&|one| one.uid, seen.uid)
            || is_new(&|one| one.gid, seen.gid)
            || has_new && new.xattrs != old.xattrs;
        let was = || format!("mode {:04o}, owner {}, group {}", old.mode, old.uid, old.gid);
        Ok(is_other.then(|| format!("has new attributes; it had {}", was())))
    }
}
