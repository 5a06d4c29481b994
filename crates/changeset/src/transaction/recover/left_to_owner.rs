//! Objects that a native package manager wrote or removed since the interruption. A rollback leaves them; the old
//! object is kept as `PATH.edited-<run>`. The recovery table is `undo_step` of `switch/op_runner.rs`.
//!
//! | target | staged | by the recovery table | is left if |
//! | --- | --- | --- | --- |
//! | neither old nor new | old, or kept beside already | exchange, or rebuild | a package owns the path |
//! | as the new one, in another inode | any | exchange, take away | its package was installed since, and delivers this |
//! | none | old | put back | the package that had the path has it no longer |

use std::rc::Rc;

use crate::format::journal::{Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::{ObjectState, is_same_inode};
use crate::transaction::switch::op_runner::{OpRunner, UndoStep};
use patchadm_rootfs::Dir;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::places;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnerClaim {
    Owned(String),
    TakenAway(String),
}

type StagedObject = (Rc<Dir>, Vec<u8>);

impl OpRunner<'_> {
    pub(crate) fn claim_on(
        &mut self,
        op: &Op,
        target: ObjectState,
        next: UndoStep,
    ) -> Result<Option<OwnerClaim>, Cause> {
        let Some(managers) = self.managers.filter(|_| !op.db) else { return Ok(None) };
        if target == ObjectState::None {
            let brings_back = matches!(next, UndoStep::PutBack | UndoStep::Rebuild);
            let by = if brings_back {
                managers.former_owner(&op.path, &|package| self.ends(package))
            } else {
                None
            };
            return Ok(by.map(OwnerClaim::TakenAway));
        }
        let moves = matches!(
            next,
            UndoStep::Exchange
                | UndoStep::Rebuild
                | UndoStep::TakeAway
                | UndoStep::KeepTarget
                | UndoStep::RemoveDirectory
        );
        if !moves {
            return Ok(None);
        }
        if target == ObjectState::Other {
            return Ok(managers.owner(&op.path).map(OwnerClaim::Owned));
        }
        let Some(parent) = self.parent_of(&op.path)? else { return Ok(None) };
        Ok(self.writer_of(op, &parent)?.map(OwnerClaim::Owned))
    }

    /// Ignores the run's own object. The package may now have a directory of the run.
    fn writer_of(&self, op: &Op, parent: &Dir) -> Result<Option<String>, Cause> {
        let (Some(managers), Some(seen)) = (self.managers, parent.look(op.path.name())?) else {
            return Ok(None);
        };
        let is_of_run = match &op.new {
            Some(new) if new.file_type == 'd' => op.kind == OpKind::Attr,
            Some(new) => is_same_inode(parent, &seen, new.inode)?,
            None => false,
        };
        let since = &self.journal.run_record.time;
        Ok(if is_of_run { None } else { managers.writer(&op.path, since) })
    }

    pub(crate) fn is_written_since(&self, op: &Op, parent: &Dir) -> Result<bool, Cause> {
        Ok(!op.db && self.writer_of(op, parent)?.is_some())
    }

    pub(crate) fn claim_on_protected(&self, op: &Op, is_there: bool) -> Option<OwnerClaim> {
        let managers = self.managers.filter(|_| !op.db)?;
        if is_there {
            managers.writer(&op.path, &self.journal.run_record.time).map(OwnerClaim::Owned)
        } else {
            managers.former_owner(&op.path, &|package| self.ends(package)).map(OwnerClaim::TakenAway)
        }
    }

    fn ends(&self, package: &PkgInst) -> bool {
        let named = places::package(package);
        let physical = self.root.resolver().locate_object(&named).unwrap_or(named);
        let is_it = |op: &Op| op.db && op.kind == OpKind::Delete && op.path == physical;
        self.journal.ops.iter().any(is_it)
    }

    pub(crate) fn leave_to(&mut self, claim: &OwnerClaim, op: &Op) -> Result<(), Cause> {
        let mut place = None;
        if let Some(parent) = self.parent_of(&op.path)?
            && let Some((stage, name)) = self.staged_old(op)?
        {
            let kept = self.put_beside(op, &stage, &name, &parent)?;
            self.forget_if_directory(op);
            place = Some(self.root.show(&parent.at(&kept)));
        }
        self.notes.push(claim.note(&self.show(op), place));
        Ok(())
    }

    pub(crate) fn staged_old(&mut self, op: &Op) -> Result<Option<StagedObject>, Cause> {
        match op.kind {
            OpKind::Replace | OpKind::Delete | OpKind::Tree => {
                let target = self.target_state(op)?;
                let is_old = self.stage_state(op, target)? == ObjectState::Old;
                if is_old { self.old_place(op).map(Some) } else { Ok(None) }
            }
            OpKind::Protect if op.old.is_some() => {
                let (stage, name) = self.staged(op)?;
                let is_there = stage.look(&name)?.is_some();
                Ok(is_there.then_some((stage, name)))
            }
            _ => Ok(None),
        }
    }
}

impl OwnerClaim {
    pub(crate) fn note(&self, shown: &str, place: Option<String>) -> String {
        let left = match self {
            Self::Owned(by) => format!("{shown} belongs to {by} now and stays"),
            Self::TakenAway(by) => format!("{by} no longer has {shown}; it is not restored"),
        };
        match place {
            Some(place) => format!("{left}; the version from before the run is kept as {place}"),
            None => left,
        }
    }
}
