//! Runs and undoes single ops: each is one atomic rename or attribute change. Undoing looks first and follows the table
//! in [`undo_step`], so that recovery can be repeated.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use rustix::io::Errno;

use crate::format::journal::{Identity, Journal, Op, OpKind};
use crate::format::undo_files::{StoredIdentity, StoredName};
use crate::transaction::archive::rebuild::rebuild_object;
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::{
    may_have_back, set_attributes, set_kept_capability, without_rights,
};
use crate::transaction::objects::identity::{
    ObjectState, is_old_untouched, is_same_inode, is_seen_untouched, is_there, state, state_of,
};
use crate::transaction::objects::names::{Dirs, RenameSupport, is_one_object, name_put_aside};
use crate::transaction::settings::PackageManagers;
use crate::transaction::stage::domains::reopen_stage;
use crate::transaction::tree::survey::refused;
use patchadm_rootfs::{Dir, FileType, Inode, ObjectStatus, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;

/// Holds stage and target directories open.
pub(crate) struct OpRunner<'a> {
    pub(crate) root: &'a Root,
    pub(crate) journal: &'a Journal,
    pub(crate) dirs: Dirs,
    pub(crate) stages: Vec<Dir>,
    /// Directories inside stages, held open so that a parent's owner cannot swap them.
    within: BTreeMap<(usize, String), Rc<Dir>>,
    known: Option<(Rc<Dir>, Inode)>,
    pub(crate) plain: HashSet<String>,
    pub(crate) unchanged: BTreeMap<StoredName, StoredIdentity>,
    keeps_objects: bool,
    /// `None` in the running command, which keeps package managers out.
    pub(crate) managers: Option<&'a dyn PackageManagers>,
    pub(crate) notes: Vec<String>,
}

impl<'a> OpRunner<'a> {
    /// Fails before any change if a stage is missing.
    pub(crate) fn open(root: &'a Root, journal: &'a Journal) -> Result<Self, Cause> {
        let run = &journal.head.header.run;
        let stages =
            journal.domains.iter().enumerate().map(|(index, domain)| reopen_stage(root, domain, index, run));
        let stages: Vec<Dir> = stages.collect::<Result<_, _>>()?;
        for (stage, domain) in stages.iter().zip(&journal.domains) {
            if stage.look(b"o")?.is_none() || stage.look(b"db")?.is_none() {
                return Err(Cause::DomainMissing { top: root.show(&domain.top), run: run.clone() });
            }
        }
        Ok(Self {
            root,
            journal,
            dirs: Dirs::new(root),
            stages,
            within: BTreeMap::new(),
            known: None,
            plain: HashSet::new(),
            unchanged: BTreeMap::new(),
            keeps_objects: journal.archives.iter().any(|archive| archive.files.is_some()),
            managers: None,
            notes: Vec::new(),
        })
    }

    pub(crate) fn sync(&self) -> Result<(), Cause> {
        self.stages.iter().rev().try_for_each(Dir::sync_file_system).map_err(Cause::from)
    }

    pub(crate) fn staged(&mut self, op: &Op) -> Result<(Rc<Dir>, Vec<u8>), Cause> {
        let (within, name) = op.stage.split_once('/').unwrap_or(("o", &op.stage));
        let stage =
            self.stages.get(op.domain).ok_or_else(|| Cause::Internal("a domain is missing".to_owned()))?;
        let key = (op.domain, within.to_owned());
        let dir = match self.within.entry(key) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => free.insert(Rc::new(stage.dir(within.as_bytes())?)).clone(),
        };
        Ok((dir, name.as_bytes().to_vec()))
    }

    pub(crate) fn show(&self, op: &Op) -> String {
        self.root.show(&op.path)
    }

    /// See [`Dirs::parent_or_blocked`]. The run itself may have replaced a directory.
    pub(crate) fn parent_of(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>, Cause> {
        let ops = &self.journal.ops;
        self.dirs
            .parent_or_blocked(path, |dir| ops.iter().any(|op| op.path == *dir || dir.is_below(&op.path)))
    }

    pub(crate) fn rename_support(&self, op: &Op) -> RenameSupport {
        self.journal
            .domains
            .get(op.domain)
            .map_or(RenameSupport { exchange: true, no_replace: true }, RenameSupport::of)
    }

    pub(crate) fn run_op(&mut self, op: &Op) -> Result<(), Cause> {
        if matches!(op.kind, OpKind::Rmdir | OpKind::Protect) {
            return Ok(());
        }
        let parent = self.dirs.parent(&op.path)?.ok_or_else(|| Cause::Changed(self.show(op)))?;
        self.must_be_the_directory(&parent, op)?;
        let (name, support) = (op.path.name(), self.rename_support(op));
        match op.kind {
            OpKind::Add => {
                let (stage, staged) = self.staged(op)?;
                let placed = support.place(&stage, &staged, &parent, name);
                placed.map_err(|error| self.in_the_way(op, &parent, error))?;
            }
            OpKind::Replace if !support.exchange => self.replace_over(op, &parent)?,
            OpKind::Replace | OpKind::Tree => {
                let (stage, staged) = self.staged(op)?;
                let exchanged = stage.exchange(&staged, &parent, name);
                exchanged.map_err(|error| self.no_exchange(op, &parent, error))?;
                self.forget_if_directory(op);
                if !is_as_planned(&stage, &staged, op)? {
                    stage.exchange(&staged, &parent, name)?;
                    return Err(Cause::Changed(self.show(op)));
                }
            }
            OpKind::Delete => {
                let (stage, staged) = self.staged(op)?;
                let taken = support.take(&parent, name, &stage, &staged);
                taken.map_err(|error| self.in_the_way(op, &parent, error))?;
                self.forget_if_directory(op);
                if !is_as_planned(&stage, &staged, op)? {
                    support.place(&stage, &staged, &parent, name)?;
                    return Err(Cause::Changed(self.show(op)));
                }
            }
            OpKind::Move => {
                let (to, to_name) = self.other_end(op)?;
                let placed = support.place(&parent, name, &to, &to_name);
                placed.map_err(|error| self.in_the_way(op, &parent, error))?;
            }
            OpKind::Attr => {
                if let (Some(old), Some(new)) = (&op.old, &op.new) {
                    set_attributes(&parent, name, old, new)
                        .map_err(|cause| cause.or_changed(self.show(op)))?;
                }
            }
            OpKind::Rmdir | OpKind::Protect => {}
        }
        Ok(())
    }

    fn must_be_the_directory(&mut self, parent: &Rc<Dir>, op: &Op) -> Result<(), Cause> {
        let Some(expected) = op.parent else { return Ok(()) };
        if self.known.as_ref().is_some_and(|(known, inode)| Rc::ptr_eq(known, parent) && *inode == expected) {
            return Ok(());
        }
        if !is_same_inode(parent, &parent.itself()?, expected)? {
            return Err(Cause::Changed(self.root.show(parent.path())));
        }
        self.known = Some((parent.clone(), expected));
        Ok(())
    }

    /// EEXIST or ENOENT means that someone else interfered.
    pub(crate) fn in_the_way(&self, op: &Op, parent: &Dir, error: RootError) -> Cause {
        match error.errno() {
            Some(Errno::EXIST) => Cause::Appeared(self.show(op)),
            Some(Errno::NOENT) => Cause::Changed(self.show(op)),
            _ => Cause::apart(error, parent),
        }
    }

    fn no_exchange(&self, op: &Op, parent: &Dir, error: RootError) -> Cause {
        match op.kind {
            OpKind::Tree => refused(self.root, &op.path, error),
            _ => self.in_the_way(op, parent, error),
        }
    }

    pub(crate) fn forget_if_directory(&mut self, op: &Op) {
        let is_directory =
            |identity: &Option<Box<Identity>>| identity.as_ref().is_some_and(|id| id.file_type == 'd');
        if is_directory(&op.old) || is_directory(&op.new) {
            self.dirs.forget();
        }
    }

    fn other_end(&mut self, op: &Op) -> Result<(Rc<Dir>, Vec<u8>), Cause> {
        let to = op.to.as_ref().ok_or_else(|| Cause::Internal("an incomplete move".to_owned()))?;
        let dir = self.dirs.parent(to)?.ok_or_else(|| Cause::Changed(self.root.show(to)))?;
        Ok((dir, to.name().to_vec()))
    }

    /// A process may have written through an open descriptor.
    pub(crate) fn is_still_as_saved(&mut self, op: &Op) -> Result<bool, Cause> {
        if !matches!(op.kind, OpKind::Replace | OpKind::Delete) {
            return Ok(true);
        }
        if self.is_without_exchange(op) {
            self.plain.remove(op.stage.as_str());
            return self.is_second_name_as_saved(op);
        }
        let (stage, staged) = self.staged(op)?;
        let (Some(old), Some(seen)) = (&op.old, stage.look(&staged)?) else { return Ok(false) };
        // It may have got such bits since the survey.
        if seen.mode.is_set_id() {
            self.plain.remove(op.stage.as_str());
        }
        let is_unchanged = is_seen_untouched(&stage, &staged, &seen, old)?;
        if is_unchanged && self.keeps_objects {
            self.note_unchanged(op, &staged, &seen);
        }
        Ok(is_unchanged)
    }

    /// Notes the status of an unchanged object that keeps bits and names, to detect later changes.
    fn note_unchanged(&mut self, op: &Op, staged: &[u8], seen: &ObjectStatus) {
        let keeps_bits = seen.mode.bits() & 0o6111 == 0 || self.plain.contains(op.stage.as_str());
        let stays = keeps_bits && seen.links == 1;
        if stays && !op.db && seen.file_type == FileType::Regular {
            let name = String::from_utf8_lossy(staged).into_owned();
            self.unchanged.insert(StoredName { directory: op.domain, name }, StoredIdentity::of(seen));
        }
    }

    pub(crate) fn undo_op(&mut self, op: &Op) -> Result<(), Cause> {
        match op.kind {
            // Safety copies have their own order.
            OpKind::Rmdir | OpKind::Protect => Ok(()),
            OpKind::Move => self.move_back(op),
            OpKind::Attr => self.attributes_back(op),
            OpKind::Add | OpKind::Replace | OpKind::Delete | OpKind::Tree => self.object_back(op),
        }
    }

    fn object_back(&mut self, op: &Op) -> Result<(), Cause> {
        // An edited object takes two steps, a rebuilt one up to four.
        for _ in 0..6 {
            self.finish_placing(op)?;
            let target = self.target_state(op)?;
            let next = undo_step(op, target, self.stage_state(op, target)?);
            if next == UndoStep::Nothing {
                return Ok(());
            }
            if let Some(by) = self.claim_on(op, target, next)? {
                return self.leave_to(&by, op);
            }
            if !self.step_back(op, next)? {
                return Ok(());
            }
        }
        Err(Cause::Changed(self.show(op)))
    }

    pub(crate) fn target_state(&mut self, op: &Op) -> Result<ObjectState, Cause> {
        match self.parent_of(&op.path)? {
            Some(dir) => Ok(state_of(&dir, op.path.name(), op)?),
            None => Ok(ObjectState::None),
        }
    }

    pub(crate) fn stage_state(&mut self, op: &Op, target: ObjectState) -> Result<ObjectState, Cause> {
        let (stage, staged) = self.staged(op)?;
        let staged = state_of(&stage, &staged, op)?;
        if self.is_without_exchange(op) { self.state_behind(op, target, staged) } else { Ok(staged) }
    }

    /// False once nothing is left to do.
    fn step_back(&mut self, op: &Op, next: UndoStep) -> Result<bool, Cause> {
        let (stage, staged) = self.staged(op)?;
        let parent = self.parent_of(&op.path)?;
        let shown = self.show(op);
        let Some(parent) = parent else {
            if next == UndoStep::PutBack {
                // The directory was moved away with the run's objects.
                return Err(Cause::NoPlace { stage: self.root.show(stage.path()) });
            }
            self.notes.push(format!("{shown}: its directory is gone; left unchanged"));
            return Ok(false);
        };
        let (name, support) = (op.path.name(), self.rename_support(op));
        match next {
            UndoStep::Exchange if !support.exchange => self.put_old_over(op, &parent)?,
            UndoStep::Exchange => {
                self.with_ballast(|| stage.exchange(&staged, &parent, name))?;
                self.forget_if_directory(op);
            }
            UndoStep::PutBack => {
                let (stage, staged) = self.old_place(op)?;
                self.with_ballast(|| support.place(&stage, &staged, &parent, name))?;
                self.forget_if_directory(op);
                if matches!(op.kind, OpKind::Replace | OpKind::Tree) {
                    self.notes.push(format!("{shown} was removed by another process; it is restored"));
                }
            }
            UndoStep::TakeAway => {
                self.with_ballast(|| support.take(&parent, name, &stage, &staged))?;
                self.forget_if_directory(op);
            }
            UndoStep::KeepStaged => self.keep_object(op, &stage, &staged, &parent)?,
            UndoStep::KeepTarget => {
                self.keep_object(op, &parent, name, &parent)?;
                return Ok(false);
            }
            UndoStep::RemoveDirectory => {
                if !parent.remove_dir(name)? {
                    self.notes.push(format!("{shown} is not empty and was kept"));
                }
                self.dirs.forget();
                return Ok(false);
            }
            UndoStep::Leave => {
                self.notes.push(format!("{shown} was changed by another process; it is left unchanged"));
                return Ok(false);
            }
            UndoStep::Rebuild if op.kind == OpKind::Tree => return Err(Cause::TreeLost(shown)),
            UndoStep::Rebuild => {
                let is_whole = rebuild_object(self.root, self.journal, op, &stage, &staged)?;
                stage.sync_file_system()?;
                let but = if is_whole { "" } else { ", without its file capabilities or integrity digests" };
                self.notes.push(format!("{shown} was restored from the undo archive{but}"));
            }
            UndoStep::Nothing => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn keep_object(
        &mut self,
        op: &Op,
        from: &Dir,
        name: &[u8],
        parent: &Dir,
    ) -> Result<(), Cause> {
        let kept = self.put_beside(op, from, name, parent)?;
        self.note_kept(op, parent, &kept);
        Ok(())
    }

    pub(crate) fn put_beside(
        &mut self,
        op: &Op,
        from: &Dir,
        name: &[u8],
        parent: &Dir,
    ) -> Result<Vec<u8>, Cause> {
        let mut number = 1;
        loop {
            let kept = self.kept_name(op, number);
            match self.rename_support(op).place(from, name, parent, &kept) {
                Err(error) if error.errno() == Some(Errno::EXIST) && number < 1000 => number += 1,
                other => return Ok(other.map(|()| kept)?),
            }
        }
    }

    pub(crate) fn kept_name(&self, op: &Op, number: usize) -> Vec<u8> {
        name_put_aside(op.path.name(), &self.journal.head.header.run, number)
    }

    pub(crate) fn note_kept(&mut self, op: &Op, parent: &Dir, kept: &[u8]) {
        let place = self.root.show(&parent.at(kept));
        self.notes
            .push(format!("{} was edited in the meantime; that version is kept as {place}", self.show(op)));
    }

    /// A rename may need a directory block: without space, gives up the ballast.
    pub(crate) fn with_ballast(&self, step: impl Fn() -> patchadm_rootfs::Result<()>) -> Result<(), Cause> {
        match step() {
            Err(error) if error.is_no_space() => {
                for stage in &self.stages {
                    stage.remove(b"ballast")?;
                    stage.sync_file_system()?;
                }
                Ok(step()?)
            }
            other => Ok(other?),
        }
    }

    fn move_back(&mut self, op: &Op) -> Result<(), Cause> {
        let Some(to) = &op.to else { return Ok(()) };
        let (Some(parent), Some(other)) = (self.parent_of(&op.path)?, self.parent_of(to)?) else {
            return Ok(());
        };
        let is_gone = parent.look(op.path.name())?.is_none()
            || is_one_object(&parent, op.path.name(), &other, to.name())?;
        let is_there = state(&other, to.name(), op.old.as_deref(), None)? == ObjectState::Old;
        if is_gone && is_there {
            self.with_ballast(|| self.rename_support(op).place(&other, to.name(), &parent, op.path.name()))?;
        }
        Ok(())
    }

    /// Foreign values stay.
    fn attributes_back(&mut self, op: &Op) -> Result<(), Cause> {
        let (Some(parent), Some(old), Some(new)) = (self.parent_of(&op.path)?, &op.old, &op.new) else {
            return Ok(());
        };
        // Directories are compared field by field: a copied root has others.
        let is_it = match parent.look(op.path.name())? {
            Some(seen) if old.file_type == 'd' => seen.file_type == FileType::Directory,
            _ => is_there(&parent, op.path.name(), old, new)?,
        };
        if !is_it || self.is_written_since(op, &parent)? {
            return Ok(());
        }
        if holds("journal.attr.bytes", may_have_back(&parent, op.path.name(), old)?) {
            set_attributes(&parent, op.path.name(), new, old)?;
            return set_kept_capability(&parent, op.path.name(), old, new);
        }
        let shown = self.show(op);
        self.notes.push(format!(
            "{shown} has different content than before: its owner and set-id bits are not restored"
        ));
        set_attributes(&parent, op.path.name(), new, &without_rights(old, new))
    }

    /// For an op that the disk lost. Returns true if there was one.
    pub(crate) fn redo_op(&mut self, op: &Op) -> Result<bool, Cause> {
        let (target, stage) = match op.kind {
            OpKind::Add | OpKind::Replace | OpKind::Delete | OpKind::Tree => {
                let target = self.target_state(op)?;
                (target, self.stage_state(op, target)?)
            }
            OpKind::Move | OpKind::Attr | OpKind::Rmdir | OpKind::Protect => return Ok(false),
        };
        let lost = matches!(
            (op.kind, target, stage),
            (OpKind::Replace | OpKind::Tree, ObjectState::Old, ObjectState::New)
                | (OpKind::Add, ObjectState::None, ObjectState::New)
                | (OpKind::Delete, ObjectState::Old, ObjectState::None)
        );
        if lost {
            self.run_op(op)?;
            self.notes.push(format!("{}: a committed change was lost; it is repeated", self.show(op)));
        }
        Ok(lost)
    }
}

pub(crate) fn is_as_planned(stage: &Dir, name: &[u8], op: &Op) -> Result<bool, Cause> {
    match &op.old {
        Some(_) if op.kind == OpKind::Tree => Ok(state_of(stage, name, op)? == ObjectState::Old),
        Some(old) => Ok(is_old_untouched(stage, name, old)?),
        None => Ok(false),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UndoStep {
    Nothing,
    Exchange,
    PutBack,
    TakeAway,
    /// Keep the foreign staged object beside the target.
    KeepStaged,
    KeepTarget,
    RemoveDirectory,
    Leave,
    Rebuild,
}

/// The recovery table: rolls back an operation by what is found at its target and in the stage.
#[allow(clippy::match_same_arms)] // in the order of the table, so that the two can be read side by side
pub(crate) fn undo_step(op: &Op, target: ObjectState, stage: ObjectState) -> UndoStep {
    use ObjectState::{New, NewTouched, None, Old, Other};
    let empty_directory = !op.whole && op.new.as_ref().is_some_and(|new| new.file_type == 'd');
    match (op.kind, target, stage) {
        (OpKind::Replace | OpKind::Delete | OpKind::Tree, Old, NewTouched | Other) => UndoStep::KeepStaged,
        (OpKind::Replace | OpKind::Delete | OpKind::Tree, None, Old) => UndoStep::PutBack,
        (OpKind::Replace | OpKind::Delete | OpKind::Tree, New | NewTouched | Other, Old) => {
            UndoStep::Exchange
        }
        (OpKind::Tree, Other | None, New | NewTouched) => UndoStep::Leave,
        // The old directory exists nowhere, not even in an archive.
        (OpKind::Tree, New | NewTouched | Other | None, _) => UndoStep::Rebuild,
        (OpKind::Replace, Other | None, New | NewTouched | Other) => UndoStep::Leave,
        (OpKind::Replace, New | NewTouched, Other) => UndoStep::KeepStaged,
        (OpKind::Replace, New | NewTouched | Other | None, None) | (OpKind::Delete, None, None) => {
            UndoStep::Rebuild
        }
        (OpKind::Add, New | NewTouched, None) if empty_directory => UndoStep::RemoveDirectory,
        (OpKind::Add, New, None) => UndoStep::TakeAway,
        (OpKind::Add, NewTouched, None) if op.whole => UndoStep::TakeAway,
        (OpKind::Add, NewTouched, _) => UndoStep::KeepTarget,
        (OpKind::Add, Other | Old, _) | (OpKind::Delete, Other, None) => UndoStep::Leave,
        _ => UndoStep::Nothing,
    }
}
