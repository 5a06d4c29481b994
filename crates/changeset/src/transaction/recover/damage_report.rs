//! Reports where everything is after an incomplete rollback, for an operator with a broken disk and the journal.
//!
//! Only differences from the state before the run are listed. They are read from root and stage, so they are right no
//! matter what failed. If reading fails too, the report says so.

use crate::format::journal::{Identity, Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::has_xattrs;
use crate::transaction::objects::identity::ObjectState;
use crate::transaction::switch::op_runner::OpRunner;
use crate::transaction::switch::undo_step::{UndoStep, undo_step};
use patchadm_rootfs::FileType;

impl OpRunner<'_> {
    /// Returns a sorted line for each path that is not as before, with the place of its old object.
    pub(crate) fn damage_report(&mut self) -> Vec<String> {
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
            Err(cause) => Some(format!("{shown} cannot be looked at ({cause}); {}", self.where_old_is(op))),
        }
    }

    /// Describes the place of the old object in the stage.
    fn where_old_is(&mut self, op: &Op) -> String {
        match self.old_place(op) {
            Ok((dir, name)) => format!("its old object is {}", self.root.show(&dir.at(&name))),
            Err(cause) => format!("where its old object is cannot be found out: {cause}"),
        }
    }

    fn object_is(&mut self, op: &Op) -> Result<Option<String>, Cause> {
        let target = self.target_state(op)?;
        let stage = self.stage_state(op, target)?;
        if matches!(undo_step(op, target, stage), UndoStep::Nothing | UndoStep::Leave) {
            return Ok(None);
        }
        let is = match target {
            ObjectState::None => "is not there",
            ObjectState::Old => "is as before",
            ObjectState::New | ObjectState::NewTouched => "is the new one",
            ObjectState::Other => "is somebody else's",
        };
        Ok(Some(match (&op.old, stage) {
            (None, _) => format!("{is}; nothing was there before"),
            (Some(_), ObjectState::Old) => format!("{is}; {}", self.where_old_is(op)),
            (Some(_), _) if target == ObjectState::Old => {
                format!("{is}; a version that somebody made of it is in the stage")
            }
            (Some(_), _) => format!("{is}; its old object is in the undo archive of the run only"),
        }))
    }

    fn held_is(&mut self, op: &Op) -> Result<Option<String>, Cause> {
        let Some(parent) = self.dirs.parent(&op.path)? else {
            return Ok(op.old.as_ref().map(|_| format!("is not there; {}", self.where_old_is(op))));
        };
        let seen = parent.look(op.path.name())?;
        let (Some(seen), Some(old)) = (&seen, &op.old) else {
            return Ok(match (seen, &op.old) {
                (Some(_), None) => Some("is there; nothing was there before".to_owned()),
                (None, Some(_)) => Some(format!("is not there; {}", self.where_old_is(op))),
                _ => None,
            });
        };
        let is_back = match &op.new {
            None => seen.file_type == FileType::Directory,
            Some(copy) => {
                let is_untouched =
                    !op.whole && seen.inode == old.inode && op.touched.as_deref() == Some(&seen.ctime);
                is_untouched || crate::transaction::recover::put_back::is_held(&parent, op.path.name(), copy)?
            }
        };
        Ok((!is_back).then(|| format!("may be changed; {}", self.where_old_is(op))))
    }

    fn moved_is(&mut self, op: &Op) -> Result<Option<String>, Cause> {
        let Some(to) = &op.to else { return Ok(None) };
        let parent = self.dirs.parent(&op.path)?;
        let is_gone = parent.map(|dir| dir.look(op.path.name())).transpose()?.flatten().is_none();
        Ok(is_gone.then(|| format!("is not there; its old object is {}", self.root.show(to))))
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
