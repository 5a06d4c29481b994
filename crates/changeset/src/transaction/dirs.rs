//! Directories of a root, opened once and held while they are needed.

use std::collections::HashMap;
use std::rc::Rc;

use rustix::io::Errno;

use super::error::Cause;
use crate::package::ObjectPath;
use crate::root::{Dir, Result, Root};

/// More directories than this are not held open at once: a process may have few descriptors (1,024 by default), and
/// what comes in the order of its paths needs few directories at a time.
const MOST: usize = 24;

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
        let opened = match self.root.dir_if_there(path) {
            // Who may open few files only (ulimit -n) goes on with fewer held open.
            Err(error) if matches!(error.errno(), Some(Errno::MFILE | Errno::NFILE)) => {
                self.open.clear();
                self.root.dir_if_there(path)
            }
            opened => opened,
        };
        let opened = match opened {
            // Somebody put a symbolic link on the way.
            Err(error) if error.errno() == Some(Errno::LOOP) => None,
            opened => opened?,
        };
        let Some(dir) = opened else { return Ok(None) };
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

    /// The directory of an object; none if it is gone. Where somebody else put something in its place, a symbolic link
    /// for one, the object may be in the directory still: then nothing can be said, and nothing may be given up. That
    /// is an error, unless `may_be_other` says that the directory may be something else.
    pub(super) fn parent_or_blocked(
        &mut self,
        path: &ObjectPath,
        may_be_other: impl Fn(&ObjectPath) -> bool,
    ) -> std::result::Result<Option<Rc<Dir>>, Cause> {
        if let Some(dir) = self.parent(path)? {
            return Ok(Some(dir));
        }
        let Some(parent) = path.parent() else { return Ok(None) };
        match self.root.dir(&parent) {
            Ok(dir) => Ok(Some(Rc::new(dir))),
            Err(error) if error.errno() == Some(Errno::NOENT) || may_be_other(&parent) => Ok(None),
            Err(_) => Err(Cause::Changed(self.root.show(&parent))),
        }
    }

    /// Forgets all directories: names above them may have changed.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }
}
