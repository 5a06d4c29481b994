//! The package database of a new root: made for the first package, and removed if that fails.

use super::failure::Failure;
use super::session::may_change;
use patchadm_inputs::database::{RecordView, installed};
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;
use patchadm_svr4::places::own_directory;

/// Made by the command itself.
const LOCK: &[u8] = b".lockfile";

#[derive(Debug)]
pub(super) struct NewDatabase {
    /// Physical paths, parents first.
    made: Vec<ObjectPath>,
    /// Nothing of this program existed before.
    is_first: bool,
}

impl NewDatabase {
    /// Removes them again on failure.
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

    /// Removes what was made, and remains of undone runs, unless something is recorded. The caller holds the lock.
    /// Failures are ignored: the earlier one is reported.
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

/// Opens a directory, through links; makes missing ones.
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
