//! The objects of the live tree, put into the stage: copied to a directory of the stage's own first, then each moved to its
//! place by one rename.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::decided::DecidedRefresh;
use crate::operation::stages::attributes::{Attributes, CopiedObject};
use crate::operation::stages::copy::Copier;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::Stage;
use crate::operation::stages::tree::TreeObject;
use crate::operation::stages::walk::{MetObject, Walk};
use crate::three_way::Outcome;
use patchadm_inputs::stage::SCRATCH;
use patchadm_rootfs::{Dir, FileType, Inode, LiveKind, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// A stage into which objects of its root are brought.
pub(super) struct RefreshedStage<'a> {
    pub(super) root: &'a Root,
    pub(super) stage: &'a Stage,
    /// Whether objects come with their owners, set-id bits and attributes of the system. In the stage of another user a set-id
    /// program would stay as it is now, whatever becomes of the live one.
    pub(super) owners: bool,
    /// Asked between objects which signal wants this to end.
    pub(super) interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

impl RefreshedStage<'_> {
    /// Removes what goes from the stage, and puts in what comes.
    pub(super) fn bring(&self, decided: &DecidedRefresh) -> Result<(), StageError> {
        let scratch = self.empty_scratch()?.into_root();
        let taken = decided.outcomes.iter().filter(|(_, outcome)| outcome.is_taken());
        let taken: Vec<&TreeObject> = taken.filter_map(|(path, _)| decided.live.object(path)).collect();
        self.copy(&scratch, &taken)?;
        let mut place = StagedPlaces { stage: &self.stage.root, directories: decided.directories.clone() };
        for (path, _) in decided.outcomes.iter().rev().filter(|(_, outcome)| outcome.is_deleted()) {
            place.remove(path)?;
        }
        for object in &taken {
            place.put(&scratch, object)?;
        }
        for object in taken.iter().rev().filter(|object| object.live.is_directory()) {
            self.give(&place, object)?;
        }
        for (path, _) in decided.outcomes.iter().filter(|(_, outcome)| **outcome == Outcome::TakeTime) {
            if let Some(object) = decided.live.object(path) {
                place.above(path)?.set_mtime(path.name(), object.live.mtime)?;
            }
        }
        Ok(self.stage.root.dir(&ObjectPath::root())?.sync_file_system()?)
    }

    /// Makes the directory for copies, or empties the one that an interrupted refresh left.
    fn empty_scratch(&self) -> Result<Dir, StageError> {
        let own = &self.stage.own;
        if own.look(SCRATCH)?.is_none() {
            let place = own.make_dir(SCRATCH, Mode::of(0o700))?;
            own.sync()?;
            return Ok(place);
        }
        let place = own.dir(SCRATCH)?;
        for name in place.names()? {
            place.remove_tree(&name)?;
        }
        Ok(place)
    }

    /// Copies what comes, except for directories, and compares the copies with what the decisions were based on.
    fn copy(&self, scratch: &Root, taken: &[&TreeObject]) -> Result<(), StageError> {
        let root = self.root;
        let is_whole = AtomicBool::new(true);
        let copier =
            Copier { root, stage: scratch, interrupt: self.interrupt, owners: self.owners, is_whole };
        let mut walk = Walk::default();
        for object in taken.iter().filter(|object| !object.live.is_directory()) {
            let path = &object.path;
            let changing = || StageError::Changing(root.show(path));
            let status = parent(root, path)?.look(path.name())?.ok_or_else(changing)?;
            if status.inode != object.live.inode || status.ctime != object.live.ctime {
                return Err(changing());
            }
            copier.make_way(path)?;
            let is_file = matches!(object.live.kind, LiveKind::Regular { .. });
            let live = (!is_file).then(|| object.live.clone());
            walk.met.push(MetObject { path: path.clone(), status, live });
        }
        let copied = copier.copy(walk)?;
        let expected = taken.iter().filter(|object| !object.live.is_directory());
        for (object, copy) in expected.zip(&copied.objects) {
            if object.path != copy.path || object.live.kind != copy.live.kind {
                return Err(StageError::Changing(root.show(&object.path)));
            }
        }
        Ok(())
    }

    /// Sets the attributes that a directory has in the live tree.
    fn give(&self, place: &StagedPlaces<'_>, object: &TreeObject) -> Result<(), StageError> {
        let (root, path) = (self.root, &object.path);
        let changing = || StageError::Changing(root.show(path));
        let status = parent(root, path)?.look(path.name())?.ok_or_else(changing)?;
        let directory = place.directory(path)?;
        let attributes =
            Attributes { status: &status, xattrs: &object.live.xattrs, has_mode: true, owners: self.owners };
        CopiedObject::Directory(&directory).give(&attributes, &directory.itself()?)?;
        Ok(())
    }
}

fn parent(root: &Root, path: &ObjectPath) -> Result<Dir, StageError> {
    Ok(root.dir(&path.parent().unwrap_or_else(ObjectPath::root))?)
}

/// The stage while objects come and go. A user to whom a part of the live tree belongs owns that part of the stage, too, and
/// may exchange directories in it: so each is the one that the decisions are about, or one that was made since.
struct StagedPlaces<'a> {
    stage: &'a Root,
    directories: BTreeMap<ObjectPath, Inode>,
}

impl StagedPlaces<'_> {
    /// Opens the directory of a path.
    fn above(&self, path: &ObjectPath) -> Result<Dir, StageError> {
        self.directory(&path.parent().unwrap_or_else(ObjectPath::root))
    }

    /// Opens a directory. One above the staged paths, which no decision is about, is any directory.
    fn directory(&self, path: &ObjectPath) -> Result<Dir, StageError> {
        let opened = self.stage.dir(path)?;
        match self.directories.get(path) {
            Some(known) if *known != opened.itself()?.inode => Err(self.changing(path)),
            _ => Ok(opened),
        }
    }

    fn remove(&self, path: &ObjectPath) -> Result<(), StageError> {
        let above = self.above(path)?;
        let Some(seen) = above.look(path.name())? else { return Ok(()) };
        if seen.file_type == FileType::Directory {
            // Files that were made in it meanwhile stay, and the directory with them.
            above.remove_dir(path.name())?;
        } else {
            above.remove(path.name())?;
        }
        Ok(())
    }

    /// Puts an object in its place. An object of another type there is removed first.
    fn put(&mut self, scratch: &Root, object: &TreeObject) -> Result<(), StageError> {
        let TreeObject { path, live, .. } = object;
        let above = self.above(path)?;
        let there = above.look(path.name())?;
        let is_directory = there.as_ref().is_some_and(|seen| seen.file_type == FileType::Directory);
        if live.is_directory() {
            if !is_directory {
                above.remove(path.name())?;
                let made = above.make_dir(path.name(), Mode::of(0o700))?;
                self.directories.insert(path.clone(), made.itself()?.inode);
            }
            return Ok(());
        }
        if is_directory && !above.remove_dir(path.name())? {
            return Err(self.changing(path));
        }
        Ok(parent(scratch, path)?.replace(path.name(), &above, path.name())?)
    }

    fn changing(&self, path: &ObjectPath) -> StageError {
        StageError::Changing(self.stage.show(path))
    }
}
