use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Inode, ObjectStatus, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The attributes with which an object is shown; `None` shows its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownAttributes {
    pub mode: Option<Mode>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct ShownPlace {
    pub(crate) directory: Arc<OwnedFd>,
    pub(crate) name: Vec<u8>,
}

/// By name; `None` if no object is shown.
pub(crate) type ShownDirectory = BTreeMap<Vec<u8>, Option<ShownPlace>>;

/// The names at which other objects are shown, by physical path.
#[derive(Debug, Default)]
pub struct ShownNames {
    directories: HashMap<ObjectPath, ShownDirectory>,
    attributes: HashMap<(Inode, (u32, u32)), ShownAttributes>,
    places: HashMap<ObjectPath, Arc<OwnedFd>>,
}

impl ShownNames {
    pub fn hide(&mut self, path: &ObjectPath) {
        self.set(path, None);
    }

    /// Shows at `path` the object that is `name` in a directory, which `open` opens unless it is open.
    pub(crate) fn show_in<E>(
        &mut self,
        path: &ObjectPath,
        (directory, name): (&ObjectPath, &[u8]),
        open: impl FnOnce() -> Result<OwnedFd, E>,
    ) -> Result<(), E> {
        let known = self.places.get(directory).cloned();
        let open = known.map_or_else(|| open().map(Arc::new), Ok)?;
        self.places.insert(directory.clone(), open.clone());
        self.set(path, Some(ShownPlace { directory: open, name: name.to_vec() }));
        Ok(())
    }

    /// Applies to all names of the object.
    pub fn set_attributes(&mut self, seen: &ObjectStatus, attributes: ShownAttributes) {
        self.attributes.insert((seen.inode, seen.file_system), attributes);
    }

    /// Returns the names that a directory shows, given the `names` that it really has.
    pub fn names(&self, directory: &ObjectPath, mut names: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let Some(shown) = self.directories.get(directory) else { return names };
        names.retain(|name| !shown.contains_key(name));
        names.extend(shown.iter().filter(|(_, place)| place.is_some()).map(|(name, _)| name.clone()));
        names
    }

    fn set(&mut self, path: &ObjectPath, place: Option<ShownPlace>) {
        let directory = path.parent().unwrap_or_else(ObjectPath::root);
        self.directories.entry(directory).or_default().insert(path.name().to_vec(), place);
    }

    pub(crate) fn directory(&self, directory: &ObjectPath) -> Option<&ShownDirectory> {
        self.directories.get(directory)
    }

    pub(crate) fn attributes(&self, seen: &ObjectStatus) -> Option<&ShownAttributes> {
        self.attributes.get(&(seen.inode, seen.file_system))
    }
}
