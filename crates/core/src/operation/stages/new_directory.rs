//! The directory of a stage that is being made: new or empty before, and gone or empty again after a failure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::StageError;
use super::own_files::own_directory;
use super::walk::Walk;
use crate::stage::{DIRECTORY, Scope, UNFINISHED};
use patchadm_rootfs::{Dir, ObjectStatus, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The list that a directory hands down to what is made in it.
const HANDED_DOWN: &[u8] = b"system.posix_acl_default";

/// A directory that becomes a stage.
pub(super) struct NewDirectory {
    tree: Root,
    /// The directory above and the name, if the directory was made.
    made: Option<(Dir, Vec<u8>)>,
    /// The directories on the way to it, itself included, as they were before anything was made.
    way: Vec<ObjectStatus>,
    /// Itself, or the directory in which it was made.
    nearest: ObjectStatus,
}

impl NewDirectory {
    /// Makes the directory, or takes the empty one that is there. Its changes pass the door of the root.
    pub(super) fn make(root: &Root, path: &Path) -> Result<Self, StageError> {
        let shown = || path.display().to_string();
        let absolute = std::path::absolute(path).map_err(|_| StageError::NotEmpty(shown()))?;
        match root.elsewhere(&absolute) {
            Ok(tree) => {
                let top = tree.dir(&ObjectPath::root())?;
                if !top.names()?.is_empty() {
                    return Err(StageError::NotEmpty(shown()));
                }
                let (way, nearest) = (way_to(&tree)?, top.itself()?);
                forget_list(&top);
                Ok(Self { tree, made: None, way, nearest })
            }
            Err(error) if error.errno() == Some(rustix::io::Errno::NOTDIR) => {
                Err(StageError::NotEmpty(shown()))
            }
            Err(error) if !error.is_not_found() => Err(error.into()),
            Err(missing) => {
                let (Some(above), Some(name)) = (absolute.parent(), absolute.file_name()) else {
                    return Err(missing.into());
                };
                let above = root.elsewhere(above)?;
                let way = way_to(&above)?;
                let place = above.dir(&ObjectPath::root())?;
                let name = name.as_bytes().to_vec();
                let nearest = place.itself()?;
                let made = place.make_dir(&name, Mode::of(0o755)).map_err(|error| match error.errno() {
                    // A link that leads nowhere, or somebody else was quicker.
                    Some(rustix::io::Errno::EXIST) => StageError::NotEmpty(shown()),
                    _ => error.into(),
                })?;
                forget_list(&made);
                let tree = root.elsewhere(&absolute)?;
                Ok(Self { tree, made: Some((place, name)), way, nearest })
            }
        }
    }

    /// Returns its tree.
    pub(super) fn tree(&self) -> &Root {
        &self.tree
    }

    /// Makes its own files, with the one that says that it is unfinished.
    pub(super) fn begin(&self) -> Result<Dir, StageError> {
        let own = self.tree.dir(&ObjectPath::root())?.make_dir(DIRECTORY, Mode::of(0o700))?;
        own.create(UNFINISHED)?.sync()?;
        own.sync()?;
        Ok(own)
    }

    /// Opens its own files.
    pub(super) fn own_files(&self) -> Result<Dir, StageError> {
        let shown = || self.tree.prefix().display().to_string();
        own_directory(&self.tree)?.ok_or_else(|| StageError::Changing(shown()))
    }

    /// Refuses a directory that lies inside one of the staged paths, whatever way leads there.
    pub(super) fn must_not_be_met(&self, root: &Root, walk: &Walk, scope: &Scope) -> Result<(), StageError> {
        let place = |seen: &ObjectStatus| (seen.file_system, seen.inode.number);
        let is_top = |path: &ObjectPath| scope.paths().contains(path);
        let met = walk.met.iter().find(|met| {
            place(&met.status) == place(&self.nearest)
                || is_top(&met.path) && self.way.iter().any(|way| place(way) == place(&met.status))
        });
        if let Some(met) = met {
            return Err(self.nested(&met.path));
        }
        // The root directory itself is no object of a walk through all of it; what is mounted below it is none either.
        let top = root.dir(&ObjectPath::root())?.itself()?;
        if scope.is_all() && place(&top) == place(&self.nearest) {
            return Err(self.nested(&ObjectPath::root()));
        }
        Ok(())
    }

    fn nested(&self, path: &ObjectPath) -> StageError {
        StageError::Nested { stage: self.tree.prefix().display().to_string(), path: path.to_string() }
    }

    /// Removes everything from it.
    pub(super) fn empty(&self) -> Result<(), StageError> {
        let top = self.tree.dir(&ObjectPath::root())?;
        // What says that the stage is unfinished goes last.
        for name in top.names()?.iter().filter(|name| *name != DIRECTORY) {
            top.remove_tree(name)?;
        }
        Ok(top.remove_tree(DIRECTORY)?)
    }

    /// Does work with it, and removes it where that fails.
    pub(super) fn or_remove<T>(
        self,
        work: impl FnOnce(&Self) -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        let done = work(&self);
        if done.is_err() {
            // The error before it is the one to be told; what stays says that it is unfinished.
            let _ = self.empty();
            if let Some((above, name)) = &self.made {
                let _ = above.remove_dir(name);
            }
        }
        done
    }
}

/// Returns the directories on the way to a tree, itself included.
fn way_to(tree: &Root) -> Result<Vec<ObjectStatus>, StageError> {
    let path = super::own_files::physical_path(tree)?;
    let mut way = vec![tree.dir(&ObjectPath::root())?.itself()?];
    for above in path.ancestors() {
        // A directory that the caller may not open is none that is staged by the caller.
        if let Ok(above) = Dir::of_host(Path::new(OsStr::from_bytes(above.as_bytes()))) {
            way.push(above.itself()?);
        }
    }
    Ok(way)
}

/// Removes the list that would be handed down to every copy.
fn forget_list(top: &Dir) {
    // Most directories have none, and most file systems that cannot have one say so.
    let _ = top.remove_xattr(b"", HANDED_DOWN);
}
