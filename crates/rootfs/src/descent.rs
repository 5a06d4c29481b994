//! A descent into a tree of any depth, with few open directories.
//!
//! Only the last directories on the way are kept open. The way back up to the others is `..`, which must lead to the
//! directory that was left.

use std::collections::VecDeque;

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;

use super::{Dir, ObjectStatus, Result, again};

/// The directories kept open on the way; those above are found again through `..`.
const HELD: usize = 8;

/// The deepest level that is shown in paths; below it, the path of that level is shown.
const SHOWN: usize = 64;

/// A directory on the way.
struct Level {
    /// Its name in the directory above.
    name: Vec<u8>,
    /// Its status, so that `..` can be checked.
    seen: ObjectStatus,
    /// Whether its name is part of the path of its [`Dir`], which ends before it becomes too long.
    is_in_path: bool,
}

/// The way down to a directory; at most eight of its directories are open.
pub struct Descent<'a> {
    /// The directory in which the way begins.
    above: &'a Dir,
    levels: Vec<Level>,
    /// The directories of the last levels.
    open: VecDeque<Dir>,
}

impl<'a> Descent<'a> {
    /// Begins a way in a directory.
    pub fn below(above: &'a Dir) -> Self {
        Self { above, levels: Vec::new(), open: VecDeque::new() }
    }

    /// Returns the current directory.
    pub fn here(&self) -> &Dir {
        self.open.back().unwrap_or(self.above)
    }

    /// Goes on to `dir`, which is `name` in the current directory.
    pub fn enter(&mut self, name: &[u8], dir: Dir) -> Result<()> {
        let seen = dir.itself()?;
        let dir = if self.levels.len() < SHOWN { dir } else { dir.shown_as(self.here().path().clone()) };
        let is_in_path = dir.path() != self.here().path();
        self.levels.push(Level { name: name.to_vec(), seen, is_in_path });
        self.open.push_back(dir);
        if self.open.len() > HELD {
            self.open.pop_front();
        }
        Ok(())
    }

    /// Goes back to the directory above. Returns the name of the directory left, or `None` at the beginning. Fails if
    /// the directory has been moved.
    pub fn leave(&mut self) -> Result<Option<Vec<u8>>> {
        let (Some(level), Some(left)) = (self.levels.pop(), self.open.pop_back()) else { return Ok(None) };
        if let Some(above) = self.levels.last()
            && self.open.is_empty()
        {
            self.open.push_back(back_to(above, &left, &level)?);
        }
        Ok(Some(level.name))
    }
}

/// Opens the directory above `left`, which must be `expected`.
fn back_to(expected: &Level, left: &Dir, level: &Level) -> Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = again(|| rustix::fs::openat(left.fd(), "..", flags, Bits::empty()))
        .map_err(|errno| left.error("leave", b"", errno))?;
    let path = left.path().parent().filter(|_| level.is_in_path).unwrap_or_else(|| left.path().clone());
    let dir = Dir::new(fd, path, left.root().clone());
    let seen = dir.itself()?;
    if (seen.mount, seen.file_system, seen.inode)
        != (expected.seen.mount, expected.seen.file_system, expected.seen.inode)
    {
        // It was moved while it was open.
        return Err(left.error("leave", b"", Errno::AGAIN));
    }
    Ok(dir)
}
