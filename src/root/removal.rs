//! Removing a directory with everything below it, however deep it is.
//!
//! Neither the stack nor the descriptors grow with the depth: who nests directories tens of thousands deep, which costs
//! nothing, must not stop whoever tidies up. The way back up is `..`, believed only where it leads to the directory that
//! was left. Symbolic links are removed, never followed, and what is on another mount is never entered.

use std::collections::VecDeque;

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;

use super::{Dir, FileType, Result, Seen, again};
use crate::package::Mode;

/// Directories on the way down that are held open; those above them are found again by `..`.
const HELD: usize = 8;

/// The path of a directory that is deeper than this many levels is shown as that of the last one that is not.
const SHOWN: usize = 64;

/// A directory that is being emptied.
struct Level {
    /// Its name in the directory above.
    name: Vec<u8>,
    /// What it is, so that `..` is known to lead to it.
    seen: Seen,
    /// Whether its name is part of the path of its [`Dir`], which ends where it would be too long to be of use.
    is_in_path: bool,
    /// What is still in it, the next one last: names, each with whether it may be a directory.
    rest: Vec<(Vec<u8>, bool)>,
}

/// The way down to the directory that is being emptied.
struct Descent<'a> {
    /// The directory that holds the first level.
    above: &'a Dir,
    /// The mount and file system that is not left.
    on: (u64, (u32, u32)),
    levels: Vec<Level>,
    /// The directories of the last levels.
    open: VecDeque<Dir>,
}

impl Dir {
    /// Removes a name with everything below it; nothing happens where it is not there. Symbolic links are removed, not
    /// followed. What is mounted below it stays, with the directories that lead there.
    pub fn remove_tree(&self, name: &[u8]) -> Result<()> {
        if !self.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            return self.remove(name);
        }
        let on = place(&self.itself()?);
        let mut descent = Descent { above: self, on, levels: Vec::new(), open: VecDeque::new() };
        descent.enter(name)?;
        while let Some(level) = descent.levels.last_mut() {
            match level.rest.pop() {
                Some((name, true)) => descent.enter(&name)?,
                Some((name, false)) => descent.here().remove(&name)?,
                None => descent.leave()?,
            }
        }
        Ok(())
    }

    /// Opens the directory above the one of `level`, which must be `expected`.
    fn back_to(&self, expected: &Level, level: &Level) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = again(|| rustix::fs::openat(self.fd(), "..", flags, Bits::empty()))
            .map_err(|errno| self.error("leave", b"", errno))?;
        let path = self.path().parent().filter(|_| level.is_in_path).unwrap_or_else(|| self.path().clone());
        let dir = Self::new(fd, path, self.root().clone());
        let seen = dir.itself()?;
        if place(&seen) != place(&expected.seen) || seen.inode != expected.seen.inode {
            // Somebody moved it while it was emptied.
            return Err(self.error("leave", b"", Errno::AGAIN));
        }
        Ok(dir)
    }
}

impl Descent<'_> {
    /// The directory that is being emptied, or the one above all.
    fn here(&self) -> &Dir {
        self.open.back().unwrap_or(self.above)
    }

    /// Goes down into a directory, or removes what is none.
    fn enter(&mut self, name: &[u8]) -> Result<()> {
        let here = self.here();
        let dir = match here.dir(name) {
            Err(error) if error.is_not_found() || error.errno() == Some(Errno::LOOP) => {
                return here.remove(name);
            }
            Err(error) if error.errno() == Some(Errno::ACCESS) => {
                if here.look(name)?.is_none_or(|seen| place(&seen) != self.on) {
                    return Ok(());
                }
                // A directory without rights for its owner (0000) can be emptied by its owner once it has them.
                here.set_mode(name, Mode::of(0o700))?;
                here.dir(name)?
            }
            other => other?,
        };
        let seen = dir.itself()?;
        if place(&seen) != self.on {
            return Ok(());
        }
        if !dir.is_writable() {
            dir.set_own_mode(Mode::of(0o700))?;
        }
        let mut rest = dir.entries()?;
        rest.reverse();
        let dir = if self.levels.len() < SHOWN { dir } else { dir.shown_as(here.path().clone()) };
        let is_in_path = dir.path() != here.path();
        self.levels.push(Level { name: name.to_vec(), seen, is_in_path, rest });
        self.open.push_back(dir);
        if self.open.len() > HELD {
            self.open.pop_front();
        }
        Ok(())
    }

    /// Goes back up and removes the directory that was emptied; one that holds something mounted stays.
    fn leave(&mut self) -> Result<()> {
        let (Some(level), Some(emptied)) = (self.levels.pop(), self.open.pop_back()) else { return Ok(()) };
        if let Some(above) = self.levels.last()
            && self.open.is_empty()
        {
            self.open.push_back(emptied.back_to(above, &level)?);
        }
        self.here().remove_dir(&level.name).map(drop)
    }
}

/// The mount and the file system that something is on.
fn place(seen: &Seen) -> (u64, (u32, u32)) {
    (seen.mount, seen.file_system)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;
    use crate::package::ObjectPath;
    use crate::root::Root;

    fn top(path: &Path) -> Dir {
        Root::open(path).unwrap().dir(&ObjectPath::root()).unwrap()
    }

    /// Nests directories, each with a file beside the next one.
    fn nest(top: &Dir, depth: usize) {
        let mut dir = top.make_dir(b"d", Mode::of(0o755)).unwrap();
        for level in 0..depth {
            if level % 1000 == 0 {
                drop(dir.create(b"file").unwrap());
            }
            dir = dir.make_dir(b"d", Mode::of(0o755)).unwrap().shown_as(ObjectPath::root());
        }
    }

    #[test]
    fn sixty_thousand_nested_directories_are_removed_with_few_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        nest(&top, 60_000);
        std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || {
                top.remove_tree(b"d").unwrap();
                assert!(top.names().unwrap().is_empty());
            })
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn links_are_removed_and_not_followed_and_a_closed_directory_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("tree/closed/below")).unwrap();
        fs::create_dir(at("theirs")).unwrap();
        fs::write(at("theirs/kept"), "").unwrap();
        symlink("../theirs", at("tree/link")).unwrap();
        symlink("../../../theirs", at("tree/closed/below/link")).unwrap();
        fs::set_permissions(at("tree/closed"), fs::Permissions::from_mode(0o000)).unwrap();
        let top = top(dir.path());
        top.remove_tree(b"tree").unwrap();
        assert_eq!(top.names().unwrap(), [b"theirs".to_vec()]);
        assert!(at("theirs/kept").exists());
        top.remove_tree(b"nothing").unwrap();
    }
}
