//! Open directories, and renames in them, with substitutes for missing calls. Without `RENAME_NOREPLACE`, link(2) gives
//! the new name and fails on an existing one. A directory is renamed if its new name looks free: rename(2) only
//! replaces empty directories. In a private stage, a plain rename suffices.

use std::collections::HashMap;
use std::rc::Rc;

use rustix::io::Errno;

use crate::format::journal::{Domain, MissingRenameFlag};
use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, FileType, Result, Root, RootError};
use patchadm_svr4::package::ObjectPath;

/// Descriptors are few (1,024 by default), and work in path order needs few directories.
const MOST: usize = 24;

#[derive(Debug)]
pub(crate) struct Dirs {
    root: Root,
    open: HashMap<ObjectPath, Rc<Dir>>,
}

impl Dirs {
    pub(crate) fn new(root: &Root) -> Self {
        Self { root: root.clone(), open: HashMap::new() }
    }

    /// `None` if it is missing, or the physical path now leads through a symbolic link.
    pub(crate) fn get(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>> {
        if let Some(dir) = self.open.get(path) {
            return Ok(Some(dir.clone()));
        }
        let opened = match self.root.dir_if_there(path) {
            // At the limit of open files (ulimit -n), continue with fewer directories.
            Err(error) if matches!(error.errno(), Some(Errno::MFILE | Errno::NFILE)) => {
                self.open.clear();
                self.root.dir_if_there(path)
            }
            opened => opened,
        };
        let opened = match opened {
            // A symbolic link is on the path now.
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

    pub(crate) fn parent(&mut self, path: &ObjectPath) -> Result<Option<Rc<Dir>>> {
        let Some(parent) = path.parent_bytes() else { return Ok(None) };
        if let Some(dir) = self.open.get(parent) {
            return Ok(Some(dir.clone()));
        }
        path.parent().map_or(Ok(None), |parent| self.get(&parent))
    }

    /// `None` if the directory is gone. If something else took its place, the object may still be in it: that is an
    /// error, unless `may_be_other`.
    pub(crate) fn parent_or_blocked(
        &mut self,
        path: &ObjectPath,
        may_be_other: impl Fn(&ObjectPath) -> bool,
    ) -> std::result::Result<Option<Rc<Dir>>, Cause> {
        if let Some(dir) = self.parent(path)? {
            return Ok(Some(dir));
        }
        // An object in the place of a parent hides the rest, so start from the lowest directory.
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
            Err(_) => {
                // A link of another user has a message with advice.
                return Err(match self.root.resolver().locate_dir(&known) {
                    Err(error @ RootError::Untrusted(_)) => error.into(),
                    _ => Cause::Changed(self.root.show(&known)),
                });
            }
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

    /// Names above them may have changed.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }
}

/// A directory, or a file that the caller may not read, cannot be replaced; such a hint no longer fits its object.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenameSupport {
    pub(crate) exchange: bool,
    pub(crate) no_replace: bool,
}

impl RenameSupport {
    pub(crate) fn of(domain: &Domain) -> Self {
        let has = |lack| !domain.lacks.contains(&lack);
        Self { exchange: has(MissingRenameFlag::Exchange), no_replace: has(MissingRenameFlag::NoReplace) }
    }

    /// Moves to a free live name. EEXIST if taken, unless by the same object: then an interrupted attempt is finished.
    pub(crate) fn place(self, from: &Dir, name: &[u8], to: &Dir, to_name: &[u8]) -> Result<()> {
        if self.no_replace {
            return from.move_to(name, to, to_name);
        }
        let is_directory = from.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory);
        let linked = if is_directory { false } else { link(from, name, to, to_name)? };
        if linked {
            return from.remove(name);
        }
        if to.look(to_name)?.is_some() {
            return Err(to.refused(to_name));
        }
        from.replace(name, to, to_name)
    }

    /// Moves to a free staged name. EEXIST if taken, unless by the same object.
    pub(crate) fn take(self, from: &Dir, name: &[u8], stage: &Dir, staged: &[u8]) -> Result<()> {
        if self.no_replace {
            return from.move_to(name, stage, staged);
        }
        if stage.look(staged)?.is_none() {
            return from.replace(name, stage, staged);
        }
        if is_one_object(from, name, stage, staged)? {
            return from.remove(name);
        }
        Err(stage.refused(staged))
    }
}

/// For what the end of a run keeps beside an object.
pub(crate) fn name_put_aside(name: &[u8], run: &str, number: usize) -> Vec<u8> {
    let more = if number > 1 { format!(".{number}") } else { String::new() };
    [name, format!(".edited-{run}{more}").as_bytes()].concat()
}

/// EEXIST if another object has the name; false if a second name is impossible.
pub(crate) fn link(from: &Dir, name: &[u8], to: &Dir, to_name: &[u8]) -> Result<bool> {
    match to.make_link(to_name, from, name) {
        Ok(()) => Ok(true),
        Err(error) if cannot_link(&error) => Ok(false),
        Err(error) if error.errno() == Some(Errno::EXIST) && is_one_object(from, name, to, to_name)? => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// The file system has no links, none for such objects or no room, or `fs.protected_hardlinks` forbids them.
fn cannot_link(error: &RootError) -> bool {
    let hindrances = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::INVAL];
    error.errno().is_some_and(|errno| hindrances.contains(&errno))
}

pub(crate) fn is_one_object(a: &Dir, a_name: &[u8], b: &Dir, b_name: &[u8]) -> Result<bool> {
    let (a, b) = (a.look(a_name)?, b.look(b_name)?);
    Ok(a.zip(b).is_some_and(|(a, b)| a.inode == b.inode && a.file_system == b.file_system))
}

pub(crate) fn is_not_there(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Refuses a file system with neither `RENAME_NOREPLACE` nor links: an object made at the last moment could be lost.
pub(crate) fn probe_renames(stage: &Dir) -> std::result::Result<Vec<MissingRenameFlag>, Cause> {
    let (a, b, c) = (b"probe.a", b"probe.b", b"probe.c");
    drop(stage.create(a)?);
    drop(stage.create(b)?);
    let mut lacks = Vec::new();
    match stage.exchange(a, stage, b) {
        Err(error) if is_not_there(&error) => lacks.push(MissingRenameFlag::Exchange),
        other => other?,
    }
    match stage.move_to(a, stage, c) {
        Err(error) if is_not_there(&error) => {
            lacks.push(MissingRenameFlag::NoReplace);
            if !link(stage, a, stage, c)? {
                let reason =
                    "is on a file system that can neither link a file nor keep a rename from replacing one";
                return Err(Cause::Unsupported { path: stage.root().show(stage.path()), reason });
            }
        }
        other => other?,
    }
    for name in [a, b, c] {
        stage.remove(name)?;
    }
    Ok(lacks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

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
        if root.is_privileged() {
            std::os::unix::fs::lchown(&web, Some(1234), None).unwrap();
            let error = found(&root.wary_of_links()).unwrap_err();
            assert!(matches!(&error, Cause::Root(RootError::Untrusted(told)) if told.uid == 1234), "{error}");
        }
    }
}
