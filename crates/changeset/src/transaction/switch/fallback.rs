//! Replaces objects, and undoes it, on file systems that cannot exchange names.
//!
//! The old object has a second name in the stage, or a copy (`stage/old_link.rs`). The new one is renamed over it; undoing
//! is one rename of the second name over the new object. In the recovery table, the second name stands for the object that
//! an exchange would have brought into the stage:
//!
//! | target | staged | `.old` | is the row |
//! | --- | --- | --- | --- |
//! | old | any | any | old / staged: not yet, or already undone |
//! | new, new* | any | old | new / old |
//! | other, none | new | any | other / new: changed before the switch reached it |
//! | other, none | none | old | other / old |
//!
//! An object that another process puts at the target between the last check and the rename is lost; only an exchange
//! could keep it.

use std::rc::Rc;

use rustix::io::Errno;

use crate::format::journal::{Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::{ObjectState, state_of};
use crate::transaction::objects::rename_support::{is_one_object, link};
use crate::transaction::switch::op_runner::{OpRunner, is_as_planned};
use patchadm_rootfs::{Dir, FileType};

impl OpRunner<'_> {
    /// Tells whether an op is a replacement on a file system without exchange.
    pub(crate) fn is_without_exchange(&self, op: &Op) -> bool {
        op.kind == OpKind::Replace && !self.rename_support(op).exchange
    }

    /// Returns the staged place of the old object: its second name if it has one, otherwise the place of the new
    /// object.
    pub(crate) fn old_place(&mut self, op: &Op) -> Result<(Rc<Dir>, Vec<u8>), Cause> {
        let (stage, staged) = self.staged(op)?;
        let second = second_name(&staged);
        let has_second = self.is_without_exchange(op) && stage.look(&second)?.is_some();
        Ok((stage, if has_second { second } else { staged }))
    }

    /// Renames the new object over the old one.
    pub(crate) fn replace_over(&mut self, op: &Op, parent: &Dir) -> Result<(), Cause> {
        let (stage, staged) = self.staged(op)?;
        let name = op.path.name();
        if !is_as_planned(parent, name, op)? {
            return Err(Cause::Changed(self.show(op)));
        }
        stage.replace(&staged, parent, name).map_err(|error| self.in_the_way(op, parent, error))?;
        if self.is_second_name_as_saved(op)? { Ok(()) } else { Err(Cause::Changed(self.show(op))) }
    }

    /// Tells whether the old object is unchanged since it was saved. Neither a copy nor an op of a run with scripts
    /// can show a change; the latter is undone from its safety copies.
    pub(crate) fn is_second_name_as_saved(&mut self, op: &Op) -> Result<bool, Cause> {
        let (stage, staged) = self.staged(op)?;
        let second = second_name(&staged);
        if op.copy.is_some() || stage.look(&second)?.is_none() {
            return Ok(true);
        }
        is_as_planned(&stage, &second, op)
    }

    /// Returns the state of the stage as the recovery table needs it.
    pub(crate) fn state_behind(
        &mut self,
        op: &Op,
        target: ObjectState,
        staged: ObjectState,
    ) -> Result<ObjectState, Cause> {
        let (stage, name) = self.staged(op)?;
        let second = state_of(&stage, &second_name(&name), op)?;
        Ok(match (target, staged, second) {
            (ObjectState::Old, ..) | (_, _, ObjectState::None) => staged,
            (ObjectState::New | ObjectState::NewTouched, ..) | (_, ObjectState::None, _) => second,
            _ => staged,
        })
    }

    /// Renames the old object over the current one. Anything but the new object as staged is kept.
    pub(crate) fn put_old_over(&mut self, op: &Op, parent: &Dir) -> Result<(), Cause> {
        let name = op.path.name();
        if self.target_state(op)? != ObjectState::New {
            self.keep_object_in_place(op, parent)?;
        }
        let (stage, old) = self.old_place(op)?;
        let support = self.rename_support(op);
        if parent.look(name)?.is_some() {
            self.with_ballast(|| stage.replace(&old, parent, name))?;
        } else {
            self.with_ballast(|| support.place(&stage, &old, parent, name))?;
        }
        self.forget_if_directory(op);
        Ok(())
    }

    /// Keeps the object at the target as `PATH.edited-<run>`, and, if it can have two names, also leaves it in place.
    fn keep_object_in_place(&mut self, op: &Op, parent: &Dir) -> Result<(), Cause> {
        let name = op.path.name();
        let Some(seen) = parent.look(name)? else { return Ok(()) };
        let was_directory = op.old.as_ref().is_some_and(|old| old.file_type == 'd');
        if seen.file_type == FileType::Directory || was_directory {
            return self.keep_object(op, parent, name, parent);
        }
        let mut number = 1;
        loop {
            let kept = self.kept_name(op, number);
            match link(parent, name, parent, &kept) {
                Ok(true) => {
                    self.note_kept(op, parent, &kept);
                    return Ok(());
                }
                Ok(false) => return self.keep_object(op, parent, name, parent),
                Err(error) if error.errno() == Some(Errno::EXIST) && number < 1000 => number += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Removes the second name of an object that was placed by two names and never lost the first one, so that it
    /// counts as not placed.
    pub(crate) fn finish_placing(&mut self, op: &Op) -> Result<(), Cause> {
        if self.rename_support(op).no_replace || op.kind != OpKind::Add {
            return Ok(());
        }
        let (stage, staged) = self.staged(op)?;
        let Some(parent) = self.parent_of(&op.path)? else { return Ok(()) };
        let name = op.path.name();
        if is_one_object(&parent, name, &stage, &staged)? && self.target_state(op)? == ObjectState::New {
            parent.remove(name)?;
        }
        Ok(())
    }
}

fn second_name(staged: &[u8]) -> Vec<u8> {
    [staged, b".old"].concat()
}
