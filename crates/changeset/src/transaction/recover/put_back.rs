//! Restores safety copies: the rollback of a run with procedure scripts, regardless of what the scripts did.
//!
//! The current state decides each step, so this can be cut off at any point and repeated. A file changed by someone
//! else in the meantime is kept as `PATH.edited-<run>`. A file counts as such if it is not known to come from the run,
//! unless a script was running (which then made it). A file of a type that administrators edit counts as such in any
//! case of doubt.

use rustix::io::Errno;

use crate::format::journal::{Identity, Op, OpKind};
use crate::format::manifest::encode;
use crate::transaction::error::Cause;
use crate::transaction::journal::run_notes::RunNotes;
use crate::transaction::objects::attributes::{set_attributes, set_attributes_of_directory};
use crate::transaction::objects::identity::{ObjectState, identity, state};
use crate::transaction::objects::rename_support::{is_one_object, link};
use crate::transaction::recover::left_to_owner::Claim;
use crate::transaction::stage::safety_copies::{copy_object, make_again};
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::LiveKind;
use patchadm_rootfs::{Dir, FileType, ObjectStatus};
use patchadm_svr4::package::Mode;

impl OpRunner<'_> {
    /// Restores everything protected by the journal: records first, so that no record claims more than the tree; new
    /// objects are removed before old ones return. Returns the causes of failures.
    pub(crate) fn put_back(&mut self) -> Vec<Cause> {
        let notes = match self.stages.first().map(RunNotes::read).transpose() {
            Ok(notes) => notes.unwrap_or_default(),
            Err(cause) => return vec![cause],
        };
        let mut failed = Vec::new();
        for db in [true, false] {
            let held = |op: &&Op| op.kind == OpKind::Protect && op.db == db;
            let mut ops: Vec<&Op> = self.journal.ops.iter().filter(held).collect();
            ops.sort_by(|a, b| a.path.cmp(&b.path));
            let news = ops.iter().rev().filter(|op| op.old.is_none()).map(|op| (*op, true));
            let olds = ops.iter().filter(|op| op.old.is_some()).map(|op| (*op, false));
            for (op, is_new) in news.chain(olds).collect::<Vec<_>>() {
                let done = if is_new { self.take_away(op, &notes) } else { self.bring_back(op, &notes) };
                failed.extend(done.err());
                self.dirs.forget();
            }
        }
        failed
    }

    /// Removes an object from a place that was free.
    fn take_away(&mut self, op: &Op, notes: &RunNotes) -> Result<(), Cause> {
        let Some(parent) = self.parent_of(&op.path)? else { return Ok(()) };
        let Some(seen) = parent.look(op.path.name())? else { return Ok(()) };
        if let Some(claim) = self.claim_on_protected(op, true) {
            return self.leave_to(&claim, op);
        }
        if seen.file_type == FileType::Directory && !op.db {
            if !parent.remove_dir(op.path.name())? {
                let shown = self.show(op);
                self.notes.push(format!("{shown} is not empty and stays"));
            }
            return Ok(());
        }
        if !op.db && self.is_of_somebody_else(op, &seen, notes) {
            let shown = self.show(op);
            self.notes.push(format!("{shown} was made by somebody else; it is left as it is"));
            return Ok(());
        }
        let (stage, staged) = self.staged(op)?;
        stage.remove_tree(&staged)?;
        let support = self.rename_support(op);
        self.with_ballast(|| support.take(&parent, op.path.name(), &stage, &staged))
    }

    /// Makes sure that the old object is in place.
    fn bring_back(&mut self, op: &Op, notes: &RunNotes) -> Result<(), Cause> {
        let Some(old) = &op.old else { return Ok(()) };
        let parent = self.parent_of(&op.path)?;
        let seen = parent.as_ref().map(|parent| parent.look(op.path.name())).transpose()?.flatten();
        if let Some(claim) = self.claim_on_changed(op, parent.as_deref(), seen.as_ref())? {
            return self.leave_to(&claim, op);
        }
        let Some(parent) = parent else {
            return Err(Cause::Changed(self.show(op)));
        };
        let (stage, staged) = self.staged(op)?;
        let Some(copy) = &op.new else { return self.directory_back(op, &parent, seen.as_ref(), old, notes) };
        match &seen {
            None => self.put_copy(op, &parent)?,
            // The existing object may look like the copy and be another file: one without its other names, or with
            // attributes that a script set.
            Some(seen) if is_itself(&stage, &staged, copy)? || !is_held(&parent, op.path.name(), copy)? => {
                if !op.whole && seen.inode == old.inode && op.touched.as_deref() == Some(&seen.ctime) {
                    return Ok(());
                }
                if !is_held(&stage, &staged, copy)? {
                    return Err(Cause::Internal(format!("the held copy of {} is missing", self.show(op))));
                }
                self.swap(op, &parent, notes)?;
            }
            // An interrupted rollback had done this already.
            Some(_) => {}
        }
        let out = self.out_of(op, staged);
        self.keep_what_came_out(op, &stage, &out, &parent, notes)
    }

    /// Returns the claim of a package manager on an object that is gone, or has other content than before.
    pub(super) fn claim_on_changed(
        &self,
        op: &Op,
        parent: Option<&Dir>,
        seen: Option<&ObjectStatus>,
    ) -> Result<Option<Claim>, Cause> {
        let is_directory = seen.is_some_and(|seen| seen.file_type == FileType::Directory);
        match (parent, seen) {
            // Directories are shared, and get their attributes back.
            _ if is_directory && op.old.as_ref().is_some_and(|old| old.file_type == 'd') => Ok(None),
            (Some(parent), Some(seen)) if is_like(parent, op.path.name(), seen, op)? => Ok(None),
            _ => Ok(self.claim_on_protected(op, seen.is_some())),
        }
    }

    /// Moves the staged copy to a free place.
    fn put_copy(&mut self, op: &Op, parent: &Dir) -> Result<(), Cause> {
        let (support, (stage, staged)) = (self.rename_support(op), self.staged(op)?);
        self.with_ballast(|| support.place(&stage, &staged, parent, op.path.name()))
    }

    /// Returns the staged name of the object that a safety copy replaced.
    fn out_of(&self, op: &Op, staged: Vec<u8>) -> Vec<u8> {
        if self.rename_support(op).exchange { staged } else { [&staged, &b".out"[..]].concat() }
    }

    /// Exchanges the staged copy and the live object. Without exchange, the live object gets a second name in the
    /// stage and the copy is renamed over it; a directory cannot have a second name, so its place is briefly empty.
    fn swap(&mut self, op: &Op, parent: &Dir, notes: &RunNotes) -> Result<(), Cause> {
        let (support, (stage, staged)) = (self.rename_support(op), self.staged(op)?);
        let name = op.path.name();
        if support.exchange {
            let swapped = self.with_ballast(|| stage.exchange(&staged, parent, name));
            return match swapped {
                Err(Cause::Root(error)) if op.whole && error.errno() == Some(Errno::XDEV) => {
                    restore(&stage.dir(&staged)?, &parent.dir(name)?, &stage)
                }
                other => other,
            };
        }
        let out = self.out_of(op, staged.clone());
        if !is_one_object(parent, name, &stage, &out)? {
            // An interrupted rollback had moved it out, and then another object was put there.
            self.keep_what_came_out(op, &stage, &out, parent, notes)?;
            stage.remove_tree(&out)?;
        }
        let is_directory =
            |seen: Option<ObjectStatus>| seen.is_some_and(|seen| seen.file_type == FileType::Directory);
        let any_directory = is_directory(parent.look(name)?) || is_directory(stage.look(&staged)?);
        if !any_directory && link(parent, name, &stage, &out)? {
            return self.with_ballast(|| stage.replace(&staged, parent, name));
        }
        self.with_ballast(|| support.take(parent, name, &stage, &out))?;
        self.put_copy(op, parent)
    }

    /// Keeps the object that an exchange brought into the stage, if it is foreign.
    fn keep_what_came_out(
        &mut self,
        op: &Op,
        stage: &Dir,
        staged: &[u8],
        parent: &Dir,
        notes: &RunNotes,
    ) -> Result<(), Cause> {
        let Some(out) = stage.look(staged)?.filter(|_| !op.db) else { return Ok(()) };
        let is_ours = out.file_type == FileType::Directory || is_like(stage, staged, &out, op)?;
        if !is_ours && self.is_of_somebody_else(op, &out, notes) {
            self.keep_object(op, stage, staged, parent)?;
        }
        Ok(())
    }

    /// Restores a directory: remakes it if it is gone, otherwise sets its attributes.
    fn directory_back(
        &mut self,
        op: &Op,
        parent: &Dir,
        seen: Option<&ObjectStatus>,
        old: &Identity,
        notes: &RunNotes,
    ) -> Result<(), Cause> {
        if old.file_type != 'd' {
            return Err(Cause::Internal(format!("{} has no held copy", self.show(op))));
        }
        let (stage, staged) = self.staged(op)?;
        let name = op.path.name();
        match seen {
            None => {
                make_again(&stage, &staged, old)?;
                self.put_copy(op, parent)
            }
            Some(seen) if seen.file_type != FileType::Directory => {
                make_again(&stage, &staged, old)?;
                self.swap(op, parent, notes)
            }
            Some(seen) => {
                let mut now = identity(seen, None, None);
                now.xattrs =
                    Some(Box::new(crate::transaction::objects::identity::encoded(&parent.xattrs(name)?)));
                set_attributes(parent, name, &now, old)
            }
        }
    }

    pub(super) fn is_of_somebody_else(&self, op: &Op, seen: &ObjectStatus, notes: &RunNotes) -> bool {
        if notes.is_ours(&op.path, seen) {
            return false;
        }
        let progress = self.journal.head.progress.as_ref();
        let running = progress.map_or(notes.script_runs, |progress| progress.script.is_some());
        !running || (op.editable && op.old.is_some())
    }
}

/// Makes a record directory equal to its safety copy, file by file, because a directory from a lower layer of an
/// overlayfs cannot be exchanged. The copy is not changed, so this can be cut off and repeated.
fn restore(copy: &Dir, to: &Dir, stage: &Dir) -> Result<(), Cause> {
    const NEXT: &[u8] = b"next";
    for name in copy.names()? {
        let is_directory =
            |seen: Option<ObjectStatus>| seen.map(|seen| seen.file_type == FileType::Directory);
        let (wanted, there) = (is_directory(copy.look(&name)?), is_directory(to.look(&name)?));
        if there.is_some() && there != wanted {
            to.remove_tree(&name)?;
        }
        if wanted == Some(true) {
            let inner = if there == wanted { to.dir(&name)? } else { to.make_dir(&name, Mode::of(0o700))? };
            restore(&copy.dir(&name)?, &inner, stage)?;
        } else {
            stage.remove(NEXT)?;
            copy_object(copy, &name, stage, NEXT)?;
            stage.replace(NEXT, to, &name)?;
        }
    }
    for name in to.names()? {
        if copy.look(&name)?.is_none() {
            to.remove_tree(&name)?;
        }
    }
    let (mut now, mut before) = (identity(&to.itself()?, None, None), identity(&copy.itself()?, None, None));
    now.xattrs = Some(Box::new(crate::transaction::objects::identity::encoded(&to.xattrs(b"")?)));
    before.xattrs = Some(Box::new(crate::transaction::objects::identity::encoded(&copy.xattrs(b"")?)));
    set_attributes_of_directory(to, &now, &before)
}

/// Tells, by inode, whether a name belongs to the safety copy itself.
pub(super) fn is_itself(dir: &Dir, name: &[u8], copy: &Identity) -> Result<bool, Cause> {
    Ok(dir.look(name)?.is_some_and(|seen| seen.inode == copy.inode))
}

/// Tells whether an object is the safety copy. A directory is recognized by its inode only.
pub(crate) fn is_held(dir: &Dir, name: &[u8], copy: &Identity) -> Result<bool, Cause> {
    if copy.file_type == 'd' {
        return is_itself(dir, name, copy);
    }
    Ok(state(dir, name, None, Some(copy))? == ObjectState::New)
}

/// Tells whether an object has its old content, regardless of its current attributes.
pub(super) fn is_like(dir: &Dir, name: &[u8], seen: &ObjectStatus, op: &Op) -> Result<bool, Cause> {
    let Some(old) = op.old.as_ref().filter(|old| old.size == seen.size) else { return Ok(false) };
    Ok(match dir.live(name)?.map(|live| live.kind) {
        Some(LiveKind::Regular { b3, .. }) => old.b3 == Some(b3.into()),
        Some(LiveKind::Symlink(target)) => old.target == Some(encode(&target).into()),
        _ => old.inode == seen.inode,
    })
}
