//! Replaces objects without exchange. Before publication, each old object durably gets a second name, `.old`, in the
//! stage; the new one is renamed over it, and undo renames `.old` back. An object without a second name is copied;
//! later writes through open descriptors are then lost.
//!
//! In the recovery table ([`undo_step`](super::op_runner::undo_step)), `.old` stands for the object that an exchange would
//! have staged:
//!
//! | target | staged | `.old` | is the row |
//! | --- | --- | --- | --- |
//! | old | any | any | old / staged: not yet, or already undone |
//! | new, new* | any | old | new / old |
//! | other, none | new | any | other / new: changed before the switch reached it |
//! | other, none | none | old | other / old |
//!
//! An object put at the target between check and rename is lost; only an exchange could keep it.

use std::rc::Rc;

use rustix::io::Errno;

use crate::format::journal::{Identity, Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::objects::copies::copy_object;
use crate::transaction::objects::identity::{ObjectState, identity, is_old_untouched, state_of};
use crate::transaction::objects::names::{Dirs, RenameSupport, is_one_object, link};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout::{LayoutItem, StageLayout};
use crate::transaction::switch::op_runner::{OpRunner, is_as_planned};
use patchadm_rootfs::{Dir, FileType, Root};

impl OpRunner<'_> {
    pub(crate) fn is_without_exchange(&self, op: &Op) -> bool {
        op.kind == OpKind::Replace && !self.rename_support(op).exchange
    }

    /// The second name if there is one, otherwise the place of the new object.
    pub(crate) fn old_place(&mut self, op: &Op) -> Result<(Rc<Dir>, Vec<u8>), Cause> {
        let (stage, staged) = self.staged(op)?;
        let second = second_name(&staged);
        let has_second = self.is_without_exchange(op) && stage.look(&second)?.is_some();
        Ok((stage, if has_second { second } else { staged }))
    }

    pub(crate) fn replace_over(&mut self, op: &Op, parent: &Dir) -> Result<(), Cause> {
        let (stage, staged) = self.staged(op)?;
        let name = op.path.name();
        if !is_as_planned(parent, name, op)? {
            return Err(Cause::Changed(self.show(op)));
        }
        stage.replace(&staged, parent, name).map_err(|error| self.in_the_way(op, parent, error))?;
        if self.is_second_name_as_saved(op)? { Ok(()) } else { Err(Cause::Changed(self.show(op))) }
    }

    /// Copies, and ops of runs with scripts, cannot show changes; the latter are undone from safety copies.
    pub(crate) fn is_second_name_as_saved(&mut self, op: &Op) -> Result<bool, Cause> {
        let (stage, staged) = self.staged(op)?;
        let second = second_name(&staged);
        if op.copy.is_some() || stage.look(&second)?.is_none() {
            return Ok(true);
        }
        is_as_planned(&stage, &second, op)
    }

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

    /// Keeps anything but the staged new object.
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

    /// The object was placed by two names and never lost the first, so it counts as not placed.
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

pub(crate) fn link_old_objects(
    root: &Root,
    domains: &OpenDomains,
    layout: &mut StageLayout<'_>,
) -> Result<(), Cause> {
    let mut dirs = Dirs::new(root);
    for item in &mut layout.items {
        let domain = domains.get(item.op.domain)?;
        if item.op.kind != OpKind::Replace
            || item.inside.is_some()
            || RenameSupport::of(&domain.entry).exchange
        {
            continue;
        }
        let changed = || Cause::Changed(root.show(&item.op.path));
        let dir = dirs.parent(&item.op.path)?.ok_or_else(changed)?;
        give_second_name(item, &dir, if item.op.db { &domain.records } else { &domain.objects })?;
    }
    Ok(())
}

fn give_second_name(item: &mut LayoutItem<'_>, dir: &Dir, stage: &Dir) -> Result<(), Cause> {
    let changed = |item: &LayoutItem<'_>| Cause::Changed(dir.root().show(&item.op.path));
    let name = item.op.path.name().to_vec();
    let second = item.op.old_stage();
    let second = second.rsplit('/').next().unwrap_or_default().as_bytes();
    let Some(old) = item.op.old.clone() else { return Err(changed(item)) };
    if !is_old_untouched(dir, &name, &old)? {
        return Err(changed(item));
    }
    if link(dir, &name, stage, second).map_err(|error| Cause::apart(error, dir))? {
        return if is_old_untouched(stage, second, &old)? { Ok(()) } else { Err(changed(item)) };
    }
    let copy = copied(dir, &name, stage, second, &old)?.ok_or_else(|| changed(item))?;
    item.op.copy = Some(Box::new(copy));
    Ok(())
}

fn copied(
    dir: &Dir,
    name: &[u8],
    stage: &Dir,
    second: &[u8],
    old: &Identity,
) -> Result<Option<Identity>, Cause> {
    let digest = copy_object(dir, name, stage, second)?;
    let Some(seen) = stage.look(second)? else { return Ok(None) };
    if (seen.uid, seen.gid, seen.mode.bits()) != (old.uid, old.gid, old.mode) {
        let reason = "can neither be linked nor be copied with its owner, so it could not be restored";
        return Err(Cause::Unsupported { path: dir.root().show(&dir.at(name)), reason });
    }
    let is_whole = old.b3.is_none() || old.b3 == digest.map(Into::into);
    let steady = is_old_untouched(dir, name, old)?;
    let copy = Identity { inode: seen.inode, ..old.clone() };
    Ok((is_whole && steady && identity(&seen, None, None).mtime == old.mtime).then_some(copy))
}
