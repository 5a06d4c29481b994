//! The objects of the live tree, put into the stage: copied to a directory of the stage's own first, then each moved to its
//! place by one rename.

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
use patchadm_rootfs::{Dir, FileType, LiveKind, Root};
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
        let stage = &self.stage.root;
        self.empty_scratch()?;
        let scratch = stage.elsewhere(&stage.physical_path()?.join(".patchadm-stage/refresh"))?;
        let taken = decided.outcomes.iter().filter(|(_, outcome)| outcome.is_taken());
        let taken: Vec<&TreeObject> = taken.filter_map(|(path, _)| decided.live.object(path)).collect();
        self.copy(&scratch, &taken)?;
        for (path, _) in decided.outcomes.iter().rev().filter(|(_, outcome)| outcome.is_deleted()) {
            remove(stage, path)?;
        }
        for object in &taken {
            put(stage, &scratch, object)?;
        }
        for object in taken.iter().rev().filter(|object| object.live.is_directory()) {
            self.give(object)?;
        }
        for (path, _) in decided.outcomes.iter().filter(|(_, outcome)| **outcome == Outcome::TakeTime) {
            if let Some(object) = decided.live.object(path) {
                parent(stage, path)?.set_mtime(path.name(), object.live.mtime)?;
            }
        }
        Ok(stage.dir(&ObjectPath::root())?.sync_file_system()?)
    }

    /// Makes the directory for copies, or empties the one that an interrupted refresh left.
    fn empty_scratch(&self) -> Result<(), StageError> {
        let own = &self.stage.own;
        if own.look(SCRATCH)?.is_none() {
            drop(own.make_dir(SCRATCH, Mode::of(0o700))?);
            return Ok(own.sync()?);
        }
        let place = self.stage.root.dir(&own.at(SCRATCH))?;
        for name in place.names()? {
            place.remove_tree(&name)?;
        }
        Ok(())
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
    fn give(&self, object: &TreeObject) -> Result<(), StageError> {
        let (root, stage, path) = (self.root, &self.stage.root, &object.path);
        let changing = |root: &Root| StageError::Changing(root.show(path));
        let status = parent(root, path)?.look(path.name())?.ok_or_else(|| changing(root))?;
        let above = parent(stage, path)?;
        let made = above.look(path.name())?.ok_or_else(|| changing(stage))?;
        let attributes =
            Attributes { status: &status, xattrs: &object.live.xattrs, has_mode: true, owners: self.owners };
        CopiedObject::Name(&above, path.name()).give(&attributes, &made)?;
        Ok(())
    }
}

fn parent(root: &Root, path: &ObjectPath) -> Result<Dir, StageError> {
    Ok(root.dir(&path.parent().unwrap_or_else(ObjectPath::root))?)
}

fn remove(stage: &Root, path: &ObjectPath) -> Result<(), StageError> {
    let above = parent(stage, path)?;
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
fn put(stage: &Root, scratch: &Root, object: &TreeObject) -> Result<(), StageError> {
    let TreeObject { path, live, .. } = object;
    let above = parent(stage, path)?;
    let there = above.look(path.name())?;
    let is_directory = there.as_ref().is_some_and(|seen| seen.file_type == FileType::Directory);
    if live.is_directory() {
        if !is_directory {
            above.remove(path.name())?;
            drop(above.make_dir(path.name(), Mode::of(0o700))?);
        }
        return Ok(());
    }
    if is_directory && !above.remove_dir(path.name())? {
        return Err(StageError::Changing(stage.show(path)));
    }
    Ok(parent(scratch, path)?.replace(path.name(), &above, path.name())?)
}
