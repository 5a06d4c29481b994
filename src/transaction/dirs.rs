//! Directories of a root, opened once and held while they are needed.

use std::collections::HashMap;
use std::rc::Rc;

use rustix::io::Errno;

use crate::package::ObjectPath;
use crate::root::{Dir, Result, Root};

/// More directories than this are not held open at once: a process has few descriptors by default (1,024).
const MOST: usize = 200;

/// A cache of open directories by physical path.
#[derive(Debug)]
pub(super) struct Dirs {
    root: Root,
    open: HashMap<ObjectPath, Rc<Dir>>,
}

impl Dirs {
    pub(super) fn new(root: &Root) -> Self {
        Self { root: root.clone(), open: HashMap::new() }
    }

    /// The directory at a physical path; none if it is not there, or somebody put a symbolic link on the way.
    pub(super) fn get(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>> {
        if let Some(dir) = self.open.get(path) {
            return Ok(Some(dir.clone()));
        }
        let found = match self.root.dir_if_there(path) {
            Err(error) if error.errno() == Some(Errno::LOOP) => None,
            found => found?,
        };
        let Some(dir) = found else { return Ok(None) };
        if self.open.len() >= MOST {
            self.open.clear();
        }
        let dir = Rc::new(dir);
        self.open.insert(path.clone(), dir.clone());
        Ok(Some(dir))
    }

    /// The directory of an object.
    pub(super) fn parent(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>> {
        match path.parent() {
            Some(parent) => self.get(&parent),
            None => Ok(None),
        }
    }

    /// Forgets all directories: names above them may have changed.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }
}
