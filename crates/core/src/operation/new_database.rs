//! The package database of a root that has none yet, or only parts of it: made for the first package, and removed again if
//! that could not be installed.

use super::failure::Failure;
use super::session::may_change;
use patchadm_inputs::database::{RecordView, installed};
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;
use patchadm_svr4::places::own_directory;

/// The lock of the root, which the command itself makes.
const LOCK: &[u8] = b".lockfile";

#[derive(Debug)]
pub(super) struct NewDatabase {
    /// The directories that were made, by physical path, each after those above it.
    made: Vec<ObjectPath>,
    /// True if nothing of this program existed before.
    is_first: bool,
}

impl NewDatabase {
    /// Makes the missing directories. Removes those that were made if one cannot be made.
    pub(super) fn make(root: &Root) -> Result<Self, Failure> {
        may_change(root)?;
        let own = root.resolver().locate_dir(&own_directory())?;
        let mut new = Self { made: Vec::new(), is_first: root.dir_if_there(&own)?.is_none() };
        for path in [places::install(), places::packages(), places::patches()] {
            if let Err(failure) = new.directories(root, &path) {
                new.remove_empty(root);
                return Err(failure);
            }
        }
        Ok(new)
    }

    fn directories(&mut self, root: &Root, path: &ObjectPath) -> Result<(), Failure> {
        let physical = root.resolver().locate_dir(path)?;
        if root.dir_if_there(&physical)?.is_some() {
            return Ok(());
        }
        let Some(parent) = path.parent() else { return Ok(()) };
        self.directories(root, &parent)?;
        let physical = root.resolver().locate(path)?;
        let parent = physical.parent().unwrap_or_else(ObjectPath::root);
        root.dir(&parent)?.make_dir(physical.name(), Mode::of(0o755))?;
        self.made.push(physical);
        Ok(())
    }

    /// Removes what was made, and what undone runs left in it, unless something is recorded there. The caller must hold the
    /// lock. What cannot be removed stays: the earlier failure is reported.
    pub(super) fn remove(self, root: &Root) {
        if self.is_unused(root).unwrap_or(false) {
            let _ = self.remove_own(root);
        }
        self.remove_empty(root);
    }

    fn is_unused(&self, root: &Root) -> Result<bool, Failure> {
        let view = RecordView::live(root);
        let is_made = self.is_first && self.made.iter().any(|path| path.name() == places::packages().name());
        Ok(is_made && view.look(&places::contents())?.is_none() && installed::packages(&view)?.is_empty())
    }

    fn remove_own(&self, root: &Root) -> Result<(), Failure> {
        let own = root.resolver().locate_dir(&own_directory())?;
        if let Some(parent) = own.parent()
            && let Some(parent) = root.dir_if_there(&parent)?
        {
            parent.remove_tree(own.name())?;
        }
        let install = root.resolver().locate_dir(&places::install())?;
        if self.made.contains(&install) {
            root.dir(&install)?.remove(LOCK)?;
        }
        Ok(())
    }

    pub(super) fn remove_empty(&self, root: &Root) {
        for path in self.made.iter().rev() {
            let parent = path.parent().and_then(|parent| root.dir_if_there(&parent).ok().flatten());
            // A directory that stays holds objects of other programs.
            let _ = parent.map(|parent| parent.remove_dir(path.name()));
        }
    }
}

/// Opens a directory, behind links as well. Makes it, with those above it, if it is missing.
pub(super) fn made_directory(root: &Root, place: &ObjectPath) -> Result<Dir, RootError> {
    let physical = root.resolver().locate_dir(place)?;
    if let Some(dir) = root.dir_if_there(&physical)? {
        return Ok(dir);
    }
    let Some(parent) = physical.parent() else { return root.dir(&physical) };
    let above = made_directory(root, &parent)?;
    let made = above.make_dir(physical.name(), Mode::of(0o755))?;
    above.sync()?;
    Ok(made)
}
