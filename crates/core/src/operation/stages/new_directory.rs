//! The directory of a stage in the making: new or empty before, and gone or empty again after a failure.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;

use super::error::StageError;
use super::nesting::way_to;
use super::other_writer::other_writer;
use super::own_files::{own_directory, physical_path, remove_own_files};
use super::tree::key;
use super::walk::Walk;
use patchadm_inputs::stage::{DIRECTORY, Scope, UNFINISHED};
use patchadm_rootfs::{Dir, ObjectStatus, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The access control list that a directory hands down to new entries.
const HANDED_DOWN: &[u8] = b"system.posix_acl_default";

/// The mode of a stage whose root others can enter.
const OPEN: u32 = 0o755;

/// The mode of any other one, and of a stage of the superuser in the making.
const PRIVATE: u32 = 0o700;

/// The rights of the owner of a stage, who keeps them.
const OWN: u32 = 0o700;

/// The right of others to enter a directory.
const ENTER: u32 = 0o001;

/// A directory that becomes a stage.
pub(super) struct NewDirectory {
    tree: Root,
    /// The directory above and the name, if the directory was made.
    made: Option<(Dir, Vec<u8>)>,
    /// The mode that it gets when everything is in it. Until then nobody else enters a stage of the superuser:
    /// a user to whom a copied directory belongs could exchange those in it for others and read what comes into them.
    mode: Mode,
    /// The directory itself, or the one in which it was made, before anything was made.
    nearest: ObjectStatus,
}

impl NewDirectory {
    /// Makes the directory, or takes an existing empty one. Its changes pass the door of the root. Refuses a path below one
    /// of the scope before making it.
    pub(super) fn make(root: &Root, path: &Path, scope: &Scope) -> Result<Self, StageError> {
        let shown = || path.display().to_string();
        let absolute = std::path::absolute(path).map_err(|_| StageError::NotEmpty(shown()))?;
        match root.elsewhere(&absolute) {
            Ok(tree) => {
                let top = tree.dir(&ObjectPath::root())?;
                if !top.names()?.is_empty() {
                    return Err(StageError::NotEmpty(shown()));
                }
                must_lie_outside(root, scope, &tree, path)?;
                must_be_alone(&tree)?;
                forget_list(&top);
                let nearest = top.itself()?;
                let mode = Mode::of(nearest.mode.bits() & !closed_bits(root)?);
                if root.is_privileged() {
                    top.set_own_mode(Mode::of(PRIVATE))?;
                }
                Ok(Self { tree, made: None, mode, nearest })
            }
            Err(error) if error.errno() == Some(Errno::NOTDIR) => Err(StageError::NotEmpty(shown())),
            Err(error) if !error.is_not_found() => Err(error.into()),
            Err(missing) => {
                let (Some(above), Some(name)) = (absolute.parent(), absolute.file_name()) else {
                    return Err(missing.into());
                };
                let above = root.elsewhere(above)?;
                must_lie_outside(root, scope, &above, path)?;
                let place = above.dir(&ObjectPath::root())?;
                let nearest = place.itself()?;
                let name = name.as_bytes().to_vec();
                let mode = if root.is_privileged() { PRIVATE } else { OPEN };
                let made = place.make_dir(&name, Mode::of(mode)).map_err(|error| match error.errno() {
                    // The name is a dangling link, or another process was quicker.
                    Some(Errno::EXIST) => StageError::NotEmpty(shown()),
                    _ => error.into(),
                })?;
                forget_list(&made);
                let tree = made.into_root();
                let mode = Mode::of(OPEN & !closed_bits(root)?);
                Ok(Self { tree, made: Some((place, name)), mode, nearest })
            }
        }
    }

    /// Lets others enter, if they can enter the root.
    pub(super) fn open_up(&self) -> Result<(), StageError> {
        self.set_mode(self.mode)
    }

    fn set_mode(&self, mode: Mode) -> Result<(), StageError> {
        let top = self.tree.dir(&ObjectPath::root())?;
        if top.itself()?.mode != mode {
            top.set_own_mode(mode)?;
            top.sync()?;
        }
        Ok(())
    }

    /// Returns the tree of the directory.
    pub(super) fn tree(&self) -> &Root {
        &self.tree
    }

    /// Makes the stage's own files, with the one that marks it as unfinished.
    pub(super) fn begin(&self) -> Result<Dir, StageError> {
        let own = self.tree.dir(&ObjectPath::root())?.make_dir(DIRECTORY, Mode::of(0o700))?;
        own.create(UNFINISHED)?.sync()?;
        own.sync()?;
        Ok(own)
    }

    /// Opens the stage's own files.
    pub(super) fn own_files(&self) -> Result<Dir, StageError> {
        let shown = || self.tree.prefix().display().to_string();
        own_directory(&self.tree)?.ok_or_else(|| StageError::Changing(shown()))
    }

    /// Refuses a directory that lies inside a staged path because of a bind mount of something below it.
    pub(super) fn must_not_be_met(&self, root: &Root, walk: &Walk, scope: &Scope) -> Result<(), StageError> {
        if let Some(met) = walk.met.iter().find(|met| key(&met.status) == key(&self.nearest)) {
            return Err(nested(self.tree.prefix(), &met.path));
        }
        // The root directory itself is no object of a walk through all of it; neither is anything mounted below it.
        let top = root.dir(&ObjectPath::root())?.itself()?;
        if scope.is_all() && key(&top) == key(&self.nearest) {
            return Err(nested(self.tree.prefix(), &ObjectPath::root()));
        }
        Ok(())
    }

    /// Removes everything from the directory.
    pub(super) fn empty(&self) -> Result<(), StageError> {
        let top = self.tree.dir(&ObjectPath::root())?;
        // The mark of an unfinished stage goes last.
        for name in top.names()?.iter().filter(|name| *name != DIRECTORY) {
            top.remove_tree(name)?;
        }
        remove_own_files(&self.tree).map(drop)
    }

    /// Does work with the directory, and removes it if that fails.
    pub(super) fn or_remove<T>(
        self,
        work: impl FnOnce(&Self) -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        let done = work(&self);
        if done.is_err() {
            // The earlier error is reported; remaining files show that the stage is unfinished.
            let _ = self.empty();
            let _ = match &self.made {
                Some((above, name)) => above.remove_dir(name).map(drop).map_err(StageError::from),
                None => self.set_mode(self.nearest.mode),
            };
        }
        done
    }
}

/// Returns the rights that a stage of a root does not give: none, or all of group and others if there is a directory on the way
/// to the root, or the root itself, that others cannot enter. They would read in the stage what is closed to them.
fn closed_bits(root: &Root) -> Result<u32, StageError> {
    let path = physical_path(root)?;
    for directory in std::iter::once(path.clone()).chain(path.ancestors()) {
        // One that the caller may not open is passed by its right to enter, which is that of others.
        let Ok(directory) = Dir::of_host(Path::new(OsStr::from_bytes(directory.as_bytes()))) else {
            continue;
        };
        if directory.itself()?.mode.bits() & ENTER == 0 {
            return Ok(0o077);
        }
    }
    Ok(0)
}

/// Closes a stage to whom the root is closed by now, and the directories above its staged paths likewise. Nothing is opened: what
/// has come into the stage meanwhile may not be for everybody.
pub(super) fn close_like_root(root: &Root, stage: &Root, scope: &Scope) -> Result<(), StageError> {
    let close = |directory: &Dir, bits: u32| {
        let mode = directory.itself()?.mode.bits();
        if mode & bits != mode {
            directory.set_own_mode(Mode::of(mode & bits))?;
            directory.sync()?;
        }
        Ok::<(), StageError>(())
    };
    close(&stage.dir(&ObjectPath::root())?, !closed_bits(root)?)?;
    let above: BTreeSet<ObjectPath> = scope.paths().iter().flat_map(ObjectPath::ancestors).collect();
    for path in above.iter().filter(|path| !path.relative().is_empty()) {
        if let (Some(live), Some(staged)) = (root.dir_if_there(path)?, stage.dir_if_there(path)?) {
            close(&staged, live.itself()?.mode.bits() | OWN)?;
        }
    }
    Ok(())
}

/// Refuses a place with a staged path on the way to it.
fn must_lie_outside(root: &Root, scope: &Scope, place: &Root, stage: &Path) -> Result<(), StageError> {
    let way = way_to(&physical_path(place)?)?;
    for path in scope.paths().iter().filter(|path| !path.relative().is_empty()) {
        let staged = root.dir_if_there(path);
        // The walk reports what is not a directory.
        let Ok(Some(staged)) = staged else { continue };
        if way.contains(&key(&staged.itself()?)) {
            return Err(nested(stage, path));
        }
    }
    Ok(())
}

/// Refuses to the superuser a directory in which somebody else may write.
fn must_be_alone(tree: &Root) -> Result<(), StageError> {
    if !tree.is_privileged() {
        return Ok(());
    }
    match other_writer(tree, false, false)? {
        None => Ok(()),
        Some(foreign) => Err(StageError::NotAlone(foreign)),
    }
}

fn nested(stage: &Path, path: &ObjectPath) -> StageError {
    StageError::Nested { stage: stage.display().to_string(), path: path.to_string() }
}

/// Removes the list that every copy would inherit.
fn forget_list(top: &Dir) {
    // Most directories have none, and most file systems without support for it say so.
    let _ = top.remove_xattr(b"", HANDED_DOWN);
}
