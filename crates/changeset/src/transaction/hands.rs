//! Doing and undoing one op: each is one atomic rename (or one change of the attributes of an object that stays).
//!
//! Doing follows the plan and looks at what came out. Undoing looks first: what stands at the target and in the stage
//! decides, by the table of [`undo`], so that recovery may itself be cut at any point and begin again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use rustix::io::Errno;

use super::attributes::{may_have_back, set_attributes, without_rights};
use super::dirs::Dirs;
use super::error::Cause;
use super::identity::{State, is_old_untouched, is_same_inode, is_seen_untouched, is_there, state, state_of};
use super::means::{Means, is_one_object};
use super::rebuild::rebuild;
use super::sites::reopen;
use crate::format::journal::{Identity, Journal, Op, OpKind};
use crate::package::rule::holds;
use crate::package::{Inode, ObjectPath};
use crate::root::{Dir, FileType, Root, RootError};

/// What undoing an op does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// It is as before.
    Nothing,
    /// Target and stage change places.
    Exchange,
    /// What is in the stage goes (back) to the target, where nothing is.
    PutBack,
    /// What is at the target goes into the stage.
    TakeAway,
    /// What is in the stage is somebody else's: it is kept beside the target.
    KeepStaged,
    /// What is at the target is somebody else's work on the new object: it is kept under another name.
    KeepTarget,
    /// The new directory is removed if it is empty.
    RemoveDirectory,
    /// Somebody else's object is left where it is.
    Leave,
    /// The old object is made again from the undo archive.
    Rebuild,
}

/// The recovery table: what to do for an op of a run that is rolled back, from what is seen.
#[allow(clippy::match_same_arms)] // in the order of the table, so that the two can be read side by side
pub(super) fn undo(op: &Op, target: State, stage: State) -> Undo {
    use State::{New, NewTouched, None, Old, Other};
    let empty_directory = !op.whole && op.new.as_ref().is_some_and(|new| new.file_type == 'd');
    match (op.kind, target, stage) {
        (OpKind::Replace | OpKind::Delete, Old, NewTouched | Other) => Undo::KeepStaged,
        (OpKind::Replace | OpKind::Delete, None, Old) => Undo::PutBack,
        (OpKind::Replace | OpKind::Delete, New | NewTouched | Other, Old) => Undo::Exchange,
        (OpKind::Replace, Other | None, New | NewTouched | Other) => Undo::Leave,
        (OpKind::Replace, New | NewTouched, Other) => Undo::KeepStaged,
        (OpKind::Replace, New | NewTouched | Other | None, None) | (OpKind::Delete, None, None) => {
            Undo::Rebuild
        }
        (OpKind::Add, New | NewTouched, None) if empty_directory => Undo::RemoveDirectory,
        (OpKind::Add, New, None) => Undo::TakeAway,
        (OpKind::Add, NewTouched, None) if op.whole => Undo::TakeAway,
        (OpKind::Add, NewTouched, _) => Undo::KeepTarget,
        (OpKind::Add, Other | Old, _) | (OpKind::Delete, Other, None) => Undo::Leave,
        _ => Undo::Nothing,
    }
}

/// The hands of a run: its stages, and the directories of its targets.
pub(super) struct Hands<'a> {
    pub(super) root: &'a Root,
    pub(super) journal: &'a Journal,
    pub(super) dirs: Dirs,
    pub(super) stages: Vec<Dir>,
    /// The directories in them, by domain and name: held, so that nobody who owns a directory above puts others there.
    within: BTreeMap<(usize, String), Rc<Dir>>,
    /// The directory that was last found to be the one of the plan.
    known: Option<(Rc<Dir>, Inode)>,
    /// Old objects that have neither set-id bits nor file capabilities, by their names in the stage, as far as it is known.
    pub(super) plain: HashSet<&'a str>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

impl<'a> Hands<'a> {
    /// Opens the stages of a journal; an error, before anything is touched, if one is not there.
    pub(super) fn open(root: &'a Root, journal: &'a Journal) -> Result<Self, Cause> {
        let run = &journal.head.header.run;
        let stages =
            journal.domains.iter().enumerate().map(|(index, domain)| reopen(root, domain, index, run));
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
            notes: Vec::new(),
        })
    }

    /// Makes the file systems of all domains durable, that of the journal last.
    pub(super) fn sync(&self) -> Result<(), Cause> {
        self.stages.iter().rev().try_for_each(Dir::sync_file_system).map_err(Cause::from)
    }

    /// The directory of the stage that an op uses, and its name there.
    pub(super) fn staged(&mut self, op: &Op) -> Result<(Rc<Dir>, Vec<u8>), Cause> {
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

    pub(super) fn show(&self, op: &Op) -> String {
        self.root.show(&op.path)
    }

    /// The directory of an object of the run; see [`Dirs::parent_or_blocked`]. The run itself may have made something
    /// else of a directory.
    pub(super) fn parent_of(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>, Cause> {
        let ops = &self.journal.ops;
        self.dirs
            .parent_or_blocked(path, |dir| ops.iter().any(|op| op.path == *dir || dir.is_below(&op.path)))
    }

    /// What the file system of an op can do.
    pub(super) fn means(&self, op: &Op) -> Means {
        self.journal.domains.get(op.domain).map_or(Means { exchange: true, no_replace: true }, Means::of)
    }

    /// Does an op.
    pub(super) fn forward(&mut self, op: &Op) -> Result<(), Cause> {
        if matches!(op.kind, OpKind::Rmdir | OpKind::Held) {
            return Ok(());
        }
        let parent = self.dirs.parent(&op.path)?.ok_or_else(|| Cause::Changed(self.show(op)))?;
        self.must_be_the_directory(&parent, op)?;
        let (name, means) = (op.path.name(), self.means(op));
        match op.kind {
            OpKind::Add => {
                let (stage, staged) = self.staged(op)?;
                let placed = means.place(&stage, &staged, &parent, name);
                placed.map_err(|error| self.in_the_way(op, &parent, error))?;
            }
            OpKind::Replace if !means.exchange => self.replace_over(op, &parent)?,
            OpKind::Replace => {
                let (stage, staged) = self.staged(op)?;
                let exchanged = stage.exchange(&staged, &parent, name);
                exchanged.map_err(|error| self.in_the_way(op, &parent, error))?;
                self.forget_if_directory(op);
                if !is_as_planned(&stage, &staged, op)? {
                    stage.exchange(&staged, &parent, name)?;
                    return Err(Cause::Changed(self.show(op)));
                }
            }
            OpKind::Delete => {
                let (stage, staged) = self.staged(op)?;
                let taken = means.take(&parent, name, &stage, &staged);
                taken.map_err(|error| self.in_the_way(op, &parent, error))?;
                self.forget_if_directory(op);
                if !is_as_planned(&stage, &staged, op)? {
                    means.place(&stage, &staged, &parent, name)?;
                    return Err(Cause::Changed(self.show(op)));
                }
            }
            OpKind::Move => {
                let (to, to_name) = self.other_end(op)?;
                let placed = means.place(&parent, name, &to, &to_name);
                placed.map_err(|error| self.in_the_way(op, &parent, error))?;
            }
            OpKind::Attr => {
                if let (Some(old), Some(new)) = (&op.old, &op.new) {
                    set_attributes(&parent, name, old, new)
                        .map_err(|cause| cause.or_changed(self.show(op)))?;
                }
            }
            OpKind::Rmdir | OpKind::Held => {}
        }
        Ok(())
    }

    /// Whether a directory is the one that the plan was made for; asked once for each that is opened.
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

    /// A rename that finds something in its way, or nothing where something was, met somebody else.
    pub(super) fn in_the_way(&self, op: &Op, parent: &Dir, error: RootError) -> Cause {
        match error.errno() {
            Some(Errno::EXIST) => Cause::Appeared(self.show(op)),
            Some(Errno::NOENT) => Cause::Changed(self.show(op)),
            _ => Cause::apart(error, parent),
        }
    }

    pub(super) fn forget_if_directory(&mut self, op: &Op) {
        let is_directory =
            |identity: &Option<Identity>| identity.as_ref().is_some_and(|id| id.file_type == 'd');
        if is_directory(&op.old) || is_directory(&op.new) {
            self.dirs.forget();
        }
    }

    fn other_end(&mut self, op: &Op) -> Result<(Rc<Dir>, Vec<u8>), Cause> {
        let to = op.to.as_ref().ok_or_else(|| Cause::Internal("a move without its end".to_owned()))?;
        let dir = self.dirs.parent(to)?.ok_or_else(|| Cause::Changed(self.root.show(to)))?;
        Ok((dir, to.name().to_vec()))
    }

    /// Whether nobody wrote to an old object through an open descriptor since it was saved.
    pub(super) fn is_still_as_saved(&mut self, op: &Op) -> Result<bool, Cause> {
        if !matches!(op.kind, OpKind::Replace | OpKind::Delete) {
            return Ok(true);
        }
        if self.is_without_exchange(op) {
            self.plain.remove(op.stage.as_str());
            return self.is_second_name_as_saved(op);
        }
        let (stage, staged) = self.staged(op)?;
        let (Some(old), Some(seen)) = (&op.old, stage.look(&staged)?) else { return Ok(false) };
        // Somebody may have given it such bits since the survey.
        if seen.mode.is_set_id() {
            self.plain.remove(op.stage.as_str());
        }
        Ok(is_seen_untouched(&stage, &staged, &seen, old)?)
    }

    /// Undoes an op, whatever state it is in.
    pub(super) fn back(&mut self, op: &Op) -> Result<(), Cause> {
        match op.kind {
            // What is held is put back as a whole, in an order of its own.
            OpKind::Rmdir | OpKind::Held => Ok(()),
            OpKind::Move => self.move_back(op),
            OpKind::Attr => self.attributes_back(op),
            OpKind::Add | OpKind::Replace | OpKind::Delete => self.object_back(op),
        }
    }

    fn object_back(&mut self, op: &Op) -> Result<(), Cause> {
        // An edited object takes two steps, one that is rebuilt up to four.
        for _ in 0..6 {
            self.finish_placing(op)?;
            let target = self.target_state(op)?;
            let next = undo(op, target, self.stage_state(op, target)?);
            if next == Undo::Nothing {
                return Ok(());
            }
            if !self.step_back(op, next)? {
                return Ok(());
            }
        }
        Err(Cause::Changed(self.show(op)))
    }

    pub(super) fn target_state(&mut self, op: &Op) -> Result<State, Cause> {
        match self.parent_of(&op.path)? {
            Some(dir) => Ok(state_of(&dir, op.path.name(), op)?),
            None => Ok(State::None),
        }
    }

    pub(super) fn stage_state(&mut self, op: &Op, target: State) -> Result<State, Cause> {
        let (stage, staged) = self.staged(op)?;
        let staged = state_of(&stage, &staged, op)?;
        if self.is_without_exchange(op) { self.behind(op, target, staged) } else { Ok(staged) }
    }

    /// One step; false when nothing more is to be done for the op.
    fn step_back(&mut self, op: &Op, next: Undo) -> Result<bool, Cause> {
        let (stage, staged) = self.staged(op)?;
        let parent = self.parent_of(&op.path)?;
        let shown = self.show(op);
        let Some(parent) = parent else {
            if next == Undo::PutBack {
                // Somebody moved the directory away, and what the run put there with it.
                return Err(Cause::NoPlace { stage: self.root.show(stage.path()) });
            }
            self.notes.push(format!("{shown}: its directory is gone; left as it is"));
            return Ok(false);
        };
        let (name, means) = (op.path.name(), self.means(op));
        match next {
            Undo::Exchange if !means.exchange => self.put_over(op, &parent)?,
            Undo::Exchange => {
                self.with_ballast(|| stage.exchange(&staged, &parent, name))?;
                self.forget_if_directory(op);
            }
            Undo::PutBack => {
                let (stage, staged) = self.old_place(op)?;
                self.with_ballast(|| means.place(&stage, &staged, &parent, name))?;
                self.forget_if_directory(op);
                if op.kind == OpKind::Replace {
                    self.notes.push(format!("{shown} had been removed by somebody else; it is back"));
                }
            }
            Undo::TakeAway => {
                self.with_ballast(|| means.take(&parent, name, &stage, &staged))?;
                self.forget_if_directory(op);
            }
            Undo::KeepStaged => self.keep(op, &stage, &staged, &parent)?,
            Undo::KeepTarget => {
                self.keep(op, &parent, name, &parent)?;
                return Ok(false);
            }
            Undo::RemoveDirectory => {
                if !parent.remove_dir(name)? {
                    self.notes.push(format!("{shown} is not empty and stays"));
                }
                self.dirs.forget();
                return Ok(false);
            }
            Undo::Leave => {
                self.notes.push(format!("{shown} was changed by somebody else; it is left as it is"));
                return Ok(false);
            }
            Undo::Rebuild => {
                let is_whole = rebuild(self.root, self.journal, op, &stage, &staged)?;
                stage.sync_file_system()?;
                let but = if is_whole { "" } else { ", without its file capabilities or integrity digests" };
                self.notes.push(format!("{shown} was made again from the undo archive{but}"));
            }
            Undo::Nothing => return Ok(false),
        }
        Ok(true)
    }

    /// Keeps somebody else's object as `PATH.edited-<run>`.
    pub(super) fn keep(&mut self, op: &Op, from: &Dir, name: &[u8], parent: &Dir) -> Result<(), Cause> {
        let mut number = 1;
        loop {
            let kept = self.kept_name(op, number);
            match self.means(op).place(from, name, parent, &kept) {
                Err(error) if error.errno() == Some(Errno::EXIST) && number < 1000 => number += 1,
                other => {
                    other?;
                    self.note_kept(op, parent, &kept);
                    return Ok(());
                }
            }
        }
    }

    /// The name under which somebody else's object is kept; another one for each number.
    pub(super) fn kept_name(&self, op: &Op, number: usize) -> Vec<u8> {
        let mut kept = op.path.name().to_vec();
        kept.extend_from_slice(format!(".edited-{}", self.journal.head.header.run).as_bytes());
        if number > 1 {
            kept.extend_from_slice(format!(".{number}").as_bytes());
        }
        kept
    }

    pub(super) fn note_kept(&mut self, op: &Op, parent: &Dir, kept: &[u8]) {
        let place = self.root.show(&parent.at(kept));
        self.notes
            .push(format!("{} was edited in the meantime; that version is kept as {place}", self.show(op)));
    }

    /// A rename back into a directory may need a block on a full disk: then the ballast is given up.
    pub(super) fn with_ballast(&self, step: impl Fn() -> crate::root::Result<()>) -> Result<(), Cause> {
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
        let is_there = state(&other, to.name(), op.old.as_ref(), None)? == State::Old;
        if is_gone && is_there {
            self.with_ballast(|| self.means(op).place(&other, to.name(), &parent, op.path.name()))?;
        }
        Ok(())
    }

    /// Each attribute that is as the run made it becomes what it was; any other value is somebody else's.
    fn attributes_back(&mut self, op: &Op) -> Result<(), Cause> {
        let (Some(parent), Some(old), Some(new)) = (self.parent_of(&op.path)?, &op.old, &op.new) else {
            return Ok(());
        };
        // A directory is looked at field by field in any case: in a copied root it is another one.
        let is_it = match parent.look(op.path.name())? {
            Some(seen) if old.file_type == 'd' => seen.file_type == FileType::Directory,
            _ => is_there(&parent, op.path.name(), old)?,
        };
        if !is_it {
            return Ok(());
        }
        if holds("journal.attr.bytes", may_have_back(&parent, op.path.name(), old)?) {
            return set_attributes(&parent, op.path.name(), new, old);
        }
        let shown = self.show(op);
        self.notes.push(format!(
            "{shown} has other content than before: it gets neither its owner nor set-id bits back"
        ));
        set_attributes(&parent, op.path.name(), new, &without_rights(old, new))
    }

    /// Does again what a committed run must have done and the disk lost; true if there was something.
    pub(super) fn redo(&mut self, op: &Op) -> Result<bool, Cause> {
        let (target, stage) = match op.kind {
            OpKind::Add | OpKind::Replace | OpKind::Delete => {
                let target = self.target_state(op)?;
                (target, self.stage_state(op, target)?)
            }
            OpKind::Move | OpKind::Attr | OpKind::Rmdir | OpKind::Held => return Ok(false),
        };
        let lost = matches!(
            (op.kind, target, stage),
            (OpKind::Replace, State::Old, State::New)
                | (OpKind::Add, State::None, State::New)
                | (OpKind::Delete, State::Old, State::None)
        );
        if lost {
            self.forward(op)?;
            self.notes.push(format!(
                "{}: the change was durable and had got lost; it is made again",
                self.show(op)
            ));
        }
        Ok(lost)
    }
}

/// Whether what came out of a target is what the plan was made for.
pub(super) fn is_as_planned(stage: &Dir, name: &[u8], op: &Op) -> Result<bool, Cause> {
    match &op.old {
        Some(old) => Ok(is_old_untouched(stage, name, old)?),
        None => Ok(false),
    }
}
