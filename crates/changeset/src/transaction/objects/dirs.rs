//! A cache of open directories of a root.

use std::collections::HashMap;
use std::rc::Rc;

use rustix::io::Errno;

use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, FileType, Result, Root};
use patchadm_svr4::package::ObjectPath;

/// The most directories held open at once. A process may have few descriptors (1,024 by default), and work in path
/// order needs few directories at a time.
const MOST: usize = 24;

/// A cache of open directories by physical path.
#[derive(Debug)]
pub(crate) struct Dirs {
    root: Root,
    open: HashMap<ObjectPath, Rc<Dir>>,
}

impl Dirs {
    pub(crate) fn new(root: &Root) -> Self {
        Self { root: root.clone(), open: HashMap::new() }
    }

    /// Opens the directory at a physical path. Returns `None` if it is missing or the path now leads through a
    /// symbolic link.
    pub(crate) fn get(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>> {
        if let Some(dir) = self.open.get(path) {
            return Ok(Some(dir.clone()));
        }
        let opened = match self.root.dir_if_there(path) {
            // If the process may open only few files (ulimit -n), it continues with fewer directories held open.
            Err(error) if matches!(error.errno(), Some(Errno::MFILE | Errno::NFILE)) => {
                self.open.clear();
                self.root.dir_if_there(path)
            }
            opened => opened,
        };
        let opened = match opened {
            // The path now contains a symbolic link.
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

    /// Opens the directory that holds an object.
    pub(crate) fn parent(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>> {
        let Some(parent) = path.parent_bytes() else { return Ok(None) };
        if let Some(dir) = self.open.get(parent) {
            return Ok(Some(dir.clone()));
        }
        path.parent().map_or(Ok(None), |parent| self.get(&parent))
    }

    /// Opens the directory that holds an object, or returns `None` if it is gone. If something else (for example a
    /// symbolic link) has taken its place, the object may still be in the directory, so nothing can be concluded or
    /// given up: that is an error, unless `may_be_other` allows the directory to be something else.
    pub(crate) fn parent_or_blocked(
        &mut self,
        path: &ObjectPath,
        may_be_other: impl Fn(&ObjectPath) -> bool,
    ) -> std::result::Result<Option<Rc<Dir>>, Cause> {
        if let Some(dir) = self.parent(path)? {
            return Ok(Some(dir));
        }
        // Starts from the lowest directory that is still a directory: an object in the place of one above it hides the
        // rest.
        let Some(mut known) = path.parent() else { return Ok(None) };
        let mut names = Vec::new();
        while may_be_other(&known) {
            names.push(known.name().to_vec());
            let Some(above) = known.parent() else { break };
            known = above;
        }
        let mut dir = match self.root.dir(&known) {
            Ok(dir) => dir,
            Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(None),
            Err(_) => return Err(Cause::Changed(self.root.show(&known))),
        };
        for name in names.iter().rev() {
            dir = match dir.dir(name) {
                Ok(dir) => dir,
                Err(error) if error.is_not_found() || error.errno() == Some(Errno::LOOP) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Some(Rc::new(dir)))
    }

    /// Closes all directories, because names above them may have changed.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }
}

/// Returns whether a hint can be replaced: it is neither a directory, which may not be empty, nor a file that the
/// caller may not read. A hint that cannot be replaced stays, and no longer fits the object it was made for.
pub(crate) fn is_replaceable_hint(dir: &Dir, name: &[u8]) -> Result<bool> {
    Ok(match dir.look(name)? {
        Some(seen) if seen.file_type == FileType::Directory => false,
        Some(seen) if seen.file_type == FileType::Regular => match dir.open_seen(name) {
            Err(error) if error.errno() == Some(Errno::ACCESS) => false,
            Err(error) => return Err(error),
            Ok(_) => true,
        },
        Some(_) | None => true,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    /// Returns whether the directory of `/web/new/tool` is found after a run made `/web/new`.
    fn found(root: &Root) -> std::result::Result<bool, Cause> {
        let of_run = |path: &ObjectPath| *path == at("/web/new");
        Dirs::new(root).parent_or_blocked(&at("/web/new/tool"), of_run).map(|dir| dir.is_some())
    }

    #[test]
    fn a_directory_of_the_run_is_gone_or_something_else_only_where_the_one_above_is_there() {
        let place = tempfile::tempdir().unwrap();
        let [web, new] = ["web", "web/new"].map(|name| place.path().join(name));
        fs::create_dir_all(&new).unwrap();
        let root = Root::open(place.path()).unwrap();
        assert!(found(&root).unwrap());
        fs::remove_dir(&new).unwrap();
        assert!(!found(&root).unwrap(), "gone");
        fs::write(&new, "a file").unwrap();
        assert!(!found(&root).unwrap(), "a file");
        fs::rename(&web, place.path().join("moved")).unwrap();
        symlink("moved", &web).unwrap();
        let error = found(&root).unwrap_err();
        assert!(matches!(&error, Cause::Changed(path) if path.ends_with("/web")), "{error}");
    }
}
