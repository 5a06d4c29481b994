//! Shows the root as after a rollback, without changing it, by the table of [`undo_step`] and the rules of
//! [`safety_copies`](crate::transaction::safety_copies). Not foreseen: rebuilt objects, directories that scripts
//! removed, and installf or removef requests.

use crate::format::journal::{Identity, Journal, Op, OpKind, RunOutcome};
use crate::transaction::error::{Cause, DuringPhase as _, Phase, TransactionError};
use crate::transaction::journal::journal_file;
use crate::transaction::journal::run_notes::{RunNotes, merge_run_notes};
use crate::transaction::objects::attributes::{may_have_back, without_rights};
use crate::transaction::objects::identity::{ObjectState, is_there, state};
use crate::transaction::objects::names::is_one_object;
use crate::transaction::recover::left_to_owner::OwnerClaim;
use crate::transaction::recover::recovery::{Recovered, read_believed, read_run_queue};
use crate::transaction::safety_copies::{is_held, is_itself, is_like};
use crate::transaction::settings::PackageManagers;
use crate::transaction::switch::op_runner::{OpRunner, UndoStep, undo_step};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError, ShownAttributes, ShownNames, Untrusted};
use patchadm_svr4::package::Mode;
use patchadm_svr4::places::own_directory;

#[derive(Debug)]
pub enum ForeseenRecovery {
    Nothing,
    /// Read-only.
    Root(Box<(Root, Recovered)>),
    /// Only a recovery can tell.
    Unknown,
    /// The run's files were not read: this user could have written them.
    Foreign(Box<Untrusted>),
}

/// No process may be at work on the run; its scripts are not ended.
pub fn foresee_recovery(
    root: &Root,
    managers: Option<&dyn PackageManagers>,
) -> Result<ForeseenRecovery, TransactionError> {
    match root.must_not_be_foreign(&own_directory()) {
        Err(RootError::Untrusted(untrusted)) => return Ok(ForeseenRecovery::Foreign(untrusted)),
        checked => checked.map_err(Cause::from).during(Phase::Recover)?,
    }
    // None of these functions changes anything.
    foreseen(&root.showing(ShownNames::default()), managers).during(Phase::Recover)
}

fn foreseen(root: &Root, managers: Option<&dyn PackageManagers>) -> Result<ForeseenRecovery, Cause> {
    if journal_file::head(root)?.is_none_or(|head| head.done) {
        return Ok(ForeseenRecovery::Nothing);
    }
    let Some(journal) = read_believed(root)? else { return Ok(ForeseenRecovery::Nothing) };
    let run = journal.head.header.run.clone();
    let Some(outcome) = journal.head.outcome else {
        let journal = merge_run_notes(root, &journal)?;
        if !read_run_queue(root, &journal)?.0.is_empty() {
            return Ok(ForeseenRecovery::Unknown);
        }
        let mut runner = OpRunner::open(root, &journal)?;
        runner.managers = managers;
        let foreseer = Foreseer { runner, names: ShownNames::default(), notes: Vec::new() };
        let Some((names, notes)) = foreseer.rolled_back()? else { return Ok(ForeseenRecovery::Unknown) };
        let recovered = Recovered::Foreseen { run, is_rolled_back: true, notes };
        return Ok(ForeseenRecovery::Root(Box::new((root.showing(names), recovered))));
    };
    let is_rolled_back = outcome == RunOutcome::RolledBack;
    let recovered = Recovered::Foreseen { run, is_rolled_back, notes: Vec::new() };
    let shown =
        if is_rolled_back { ShownNames::default() } else { without_emptied_directories(root, &journal)? };
    Ok(ForeseenRecovery::Root(Box::new((root.showing(shown), recovered))))
}

fn without_emptied_directories(root: &Root, journal: &Journal) -> Result<ShownNames, Cause> {
    let mut names = ShownNames::default();
    let mut ops: Vec<&Op> = journal.ops.iter().filter(|op| op.kind == OpKind::Rmdir).collect();
    // Inner directories first.
    ops.sort_by(|one, other| other.path.cmp(&one.path));
    for op in ops {
        if let Some(directory) = root.dir_if_there(&op.path)?
            && names.names(&op.path, directory.names()?).is_empty()
        {
            names.hide(&op.path);
        }
    }
    Ok(names)
}

type IsKnown = bool;

struct Foreseer<'a> {
    runner: OpRunner<'a>,
    names: ShownNames,
    notes: Vec<String>,
}

impl Foreseer<'_> {
    /// `None` if unknown.
    fn rolled_back(mut self) -> Result<Option<(ShownNames, Vec<String>)>, Cause> {
        let journal = self.runner.journal;
        let (records, objects): (Vec<_>, Vec<_>) = journal.ops.iter().partition(|op| op.db);
        for op in records.into_iter().rev().chain(objects.into_iter().rev()) {
            let is_known = match op.kind {
                OpKind::Rmdir | OpKind::Protect => true,
                OpKind::Move => self.move_back(op)?,
                OpKind::Attr => self.attributes_back(op)?,
                OpKind::Add | OpKind::Replace | OpKind::Delete | OpKind::Tree => self.object_back(op)?,
            };
            if !is_known {
                return Ok(None);
            }
        }
        if !self.put_back()? {
            return Ok(None);
        }
        Ok(Some((self.names, self.notes)))
    }

    fn object_back(&mut self, op: &Op) -> Result<IsKnown, Cause> {
        let target = self.runner.target_state(op)?;
        let step = undo_step(op, target, self.runner.stage_state(op, target)?);
        if let Some(claim) = self.runner.claim_on(op, target, step)? {
            return self.leave_to(&claim, op);
        }
        let Some(parent) = self.runner.parent_of(&op.path)? else {
            // Another op restores the directory, which is not there yet.
            if step == UndoStep::PutBack {
                self.show_old(op)?;
            }
            return Ok(step != UndoStep::Rebuild);
        };
        let name = op.path.name();
        match step {
            UndoStep::Nothing if self.has_two_names(op, &parent)? => self.names.hide(&op.path),
            UndoStep::Nothing => {}
            UndoStep::Exchange => {
                if target != ObjectState::New {
                    self.keep(op, &parent, name, &parent)?;
                }
                self.show_old(op)?;
            }
            UndoStep::PutBack => self.show_old(op)?,
            UndoStep::TakeAway => self.names.hide(&op.path),
            UndoStep::KeepStaged => {
                let (stage, staged) = self.runner.staged(op)?;
                self.keep(op, &stage, &staged, &parent)?;
            }
            UndoStep::KeepTarget => {
                self.keep(op, &parent, name, &parent)?;
                self.names.hide(&op.path);
            }
            UndoStep::RemoveDirectory => self.hide_if_empty(op, &parent)?,
            UndoStep::Leave => {
                let shown = self.runner.show(op);
                self.notes.push(format!("{shown} was changed by another process; it will be left unchanged"));
            }
            UndoStep::Rebuild => return Ok(false),
        }
        Ok(true)
    }

    /// Such an object counts as not placed.
    fn has_two_names(&mut self, op: &Op, parent: &Dir) -> Result<bool, Cause> {
        if op.kind != OpKind::Add || self.runner.rename_support(op).no_replace {
            return Ok(false);
        }
        let (stage, staged) = self.runner.staged(op)?;
        Ok(is_one_object(parent, op.path.name(), &stage, &staged)?
            && self.runner.target_state(op)? == ObjectState::New)
    }

    fn show_old(&mut self, op: &Op) -> Result<(), Cause> {
        let (stage, staged) = self.runner.old_place(op)?;
        Ok(self.names.show(&op.path, &stage, &staged)?)
    }

    fn keep(&mut self, op: &Op, from: &Dir, name: &[u8], parent: &Dir) -> Result<(), Cause> {
        let kept = self.show_beside(op, from, name, parent)?;
        let shown = self.runner.show(op);
        self.notes.push(format!("{shown} was edited in the meantime; that version will be kept as {kept}"));
        Ok(())
    }

    fn show_beside(&mut self, op: &Op, from: &Dir, name: &[u8], parent: &Dir) -> Result<String, Cause> {
        let mut number = 1;
        while number < 1000 && parent.look(&self.runner.kept_name(op, number))?.is_some() {
            number += 1;
        }
        let kept = parent.at(&self.runner.kept_name(op, number));
        self.names.show(&kept, from, name)?;
        Ok(self.runner.root.show(&kept))
    }

    /// A package manager wrote or removed the target, so the old object goes beside it.
    fn leave_to(&mut self, claim: &OwnerClaim, op: &Op) -> Result<IsKnown, Cause> {
        let mut place = None;
        if let Some(parent) = self.runner.parent_of(&op.path)?
            && let Some((stage, name)) = self.runner.staged_old(op)?
        {
            place = Some(self.show_beside(op, &stage, &name, &parent)?);
        }
        self.notes.push(claim.note(&self.runner.show(op), place));
        Ok(true)
    }

    fn hide_if_empty(&mut self, op: &Op, parent: &Dir) -> Result<(), Cause> {
        let names = parent.dir(op.path.name())?.names()?;
        if self.names.names(&op.path, names).is_empty() {
            self.names.hide(&op.path);
        } else {
            let shown = self.runner.show(op);
            self.notes.push(format!("{shown} is not empty and will be kept"));
        }
        Ok(())
    }

    fn move_back(&mut self, op: &Op) -> Result<IsKnown, Cause> {
        let Some(to) = &op.to else { return Ok(true) };
        let (Some(parent), Some(other)) = (self.runner.parent_of(&op.path)?, self.runner.parent_of(to)?)
        else {
            return Ok(true);
        };
        let is_gone = parent.look(op.path.name())?.is_none()
            || is_one_object(&parent, op.path.name(), &other, to.name())?;
        if is_gone && state(&other, to.name(), op.old.as_deref(), None)? == ObjectState::Old {
            self.names.show(&op.path, &other, to.name())?;
            self.names.hide(to);
        }
        Ok(true)
    }

    /// Only attributes that still have the run's value.
    fn attributes_back(&mut self, op: &Op) -> Result<IsKnown, Cause> {
        let (Some(parent), Some(old), Some(new)) = (self.runner.parent_of(&op.path)?, &op.old, &op.new)
        else {
            return Ok(true);
        };
        let name = op.path.name();
        let Some(seen) = parent.look(name)? else { return Ok(true) };
        let is_it = match old.file_type {
            'd' => seen.file_type == FileType::Directory,
            _ => is_there(&parent, name, old, new)?,
        };
        if !is_it || self.runner.is_written_since(op, &parent)? {
            return Ok(true);
        }
        let to = if may_have_back(&parent, name, old)? { (**old).clone() } else { without_rights(old, new) };
        // Only a recovery can separate foreign changes of extended attributes.
        if new.xattrs != to.xattrs {
            return Ok(false);
        }
        self.names.set_attributes(&seen, given_back(&seen, new, &to, parent.root().is_privileged()));
        Ok(true)
    }

    fn put_back(&mut self) -> Result<IsKnown, Cause> {
        let journal = self.runner.journal;
        let mut ops: Vec<&Op> = journal.ops.iter().filter(|op| op.kind == OpKind::Protect).collect();
        if ops.is_empty() {
            return Ok(true);
        }
        let notes = self.runner.stages.first().map(RunNotes::read).transpose()?.unwrap_or_default();
        // The content of a directory must be known before the check whether it is empty.
        ops.sort_by(|a, b| b.path.cmp(&a.path));
        for op in ops {
            let is_known =
                if op.old.is_none() { self.take_away(op, &notes)? } else { self.bring_back(op, &notes)? };
            if !is_known {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_away(&mut self, op: &Op, notes: &RunNotes) -> Result<IsKnown, Cause> {
        let Some(parent) = self.runner.parent_of(&op.path)? else { return Ok(true) };
        let Some(seen) = parent.look(op.path.name())? else { return Ok(true) };
        if let Some(claim) = self.runner.claim_on_protected(op, true) {
            return self.leave_to(&claim, op);
        }
        if seen.file_type == FileType::Directory && !op.db {
            self.hide_if_empty(op, &parent)?;
        } else if !op.db && self.runner.is_of_somebody_else(op, &seen, notes) {
            let shown = self.runner.show(op);
            self.notes.push(format!("{shown} was made by another process; it is left unchanged"));
        } else {
            self.names.hide(&op.path);
        }
        Ok(true)
    }

    fn bring_back(&mut self, op: &Op, notes: &RunNotes) -> Result<IsKnown, Cause> {
        let (Some(old), parent) = (&op.old, self.runner.parent_of(&op.path)?) else { return Ok(false) };
        let name = op.path.name();
        let seen = parent.as_ref().map(|parent| parent.look(name)).transpose()?.flatten();
        if let Some(claim) = self.runner.claim_on_changed(op, parent.as_deref(), seen.as_ref())? {
            return self.leave_to(&claim, op);
        }
        let Some(parent) = parent else { return Ok(false) };
        let Some(copy) = &op.new else {
            return Ok(self.directory_back(parent.root().is_privileged(), seen.as_ref(), old));
        };
        let (stage, staged) = self.runner.staged(op)?;
        if let Some(seen) = &seen {
            let is_back = is_held(&parent, name, copy)? && !is_itself(&stage, &staged, copy)?;
            let is_untouched =
                !op.whole && seen.inode == old.inode && op.touched.as_deref() == Some(&seen.ctime);
            if is_back || is_untouched {
                return Ok(true);
            }
        }
        if !is_held(&stage, &staged, copy)? {
            return Ok(false);
        }
        if let Some(seen) = seen.filter(|seen| !op.db && seen.file_type != FileType::Directory)
            && !is_like(&parent, name, &seen, op)?
            && self.runner.is_of_somebody_else(op, &seen, notes)
        {
            self.keep(op, &parent, name, &parent)?;
        }
        self.names.show(&op.path, &stage, &staged)?;
        Ok(true)
    }

    /// Not foreseen for a missing directory.
    fn directory_back(
        &mut self,
        is_privileged: bool,
        seen: Option<&ObjectStatus>,
        old: &Identity,
    ) -> IsKnown {
        let Some(seen) = seen.filter(|seen| seen.file_type == FileType::Directory) else { return false };
        let attributes = ShownAttributes {
            mode: Some(Mode::of(old.mode)),
            uid: is_privileged.then_some(old.uid),
            gid: is_privileged.then_some(old.gid),
            mtime: None,
        };
        self.names.set_attributes(seen, attributes);
        true
    }
}

fn given_back(seen: &ObjectStatus, from: &Identity, to: &Identity, is_privileged: bool) -> ShownAttributes {
    let is_directory = from.file_type == 'd';
    let given = |now: u32, from: u32, to: u32| (now == from).then_some(to);
    let owner = |now: u32, from: u32, to: u32| given(now, from, to).filter(|_| is_privileged);
    ShownAttributes {
        mode: given(seen.mode.bits(), from.mode, to.mode).map(Mode::of),
        uid: owner(seen.uid, from.uid, to.uid),
        gid: owner(seen.gid, from.gid, to.gid),
        mtime: (!is_directory && seen.mtime == from.mtime).then_some(to.mtime),
    }
}
