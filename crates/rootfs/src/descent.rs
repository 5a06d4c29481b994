//! Walks through directory trees of any depth: [`Descent`], removal, size. Neither stack nor descriptors grow with the
//! depth. Symbolic links are removed, never followed; other mounts are never entered. In a bind mount each `..` costs
//! time by the depth, so a removal moves deep directories up to its top.

use std::collections::VecDeque;

use patchadm_svr4::package::Mode;
use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;

use crate::dir::SomeEntries;
use crate::{Dir, FileType, Interrupt, ObjectStatus, Result, again, never, random};

const HELD: usize = 8;

/// The deepest level whose path messages show; deeper levels show this one's.
const SHOWN: usize = 64;

/// Below this level, a removal moves directories up.
const DEEPEST_IN_PLACE: usize = 256;

/// The most bytes of names that a removal holds of all directories on the way down, and the most of one directory
/// below full ones. Other names in a directory are listed later.
const MOST_HELD: usize = 64 << 20;
const LEAST_HELD: usize = 64 << 10;

struct Level {
    name: Vec<u8>,
    /// Identifies the directory on the way back through `..`.
    seen: ObjectStatus,
    /// False if this name would make the path too long.
    is_in_path: bool,
}

/// The way down to a directory. At most eight of its directories are open.
pub struct Descent<'a> {
    above: &'a Dir,
    levels: Vec<Level>,
    open: VecDeque<Dir>,
}

impl<'a> Descent<'a> {
    pub fn below(above: &'a Dir) -> Self {
        Self { above, levels: Vec::new(), open: VecDeque::new() }
    }

    pub fn here(&self) -> &Dir {
        self.open.back().unwrap_or(self.above)
    }

    /// `dir` must be `name` in the current directory.
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

    /// Returns the name of the directory left, or `None` at the beginning. Fails if the directory was moved meanwhile.
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

/// Opens the directory above `left`, and checks that it is the expected one.
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

struct Emptying<'a> {
    descent: Descent<'a>,
    top: Option<Dir>,
    /// The mount and file system to stay on.
    on: (u64, (u32, u32)),
    /// The remaining names of each directory.
    rest: Vec<ListedPart>,
    /// The bytes of all names in `rest`.
    held: usize,
    most_held: usize,
    removed: u64,
    moved: u64,
}

/// A part of a directory that is to be removed.
struct ListedPart {
    /// The next one last; true if it may be a directory.
    names: Vec<(Vec<u8>, bool)>,
    bytes: usize,
    is_all: bool,
    /// The number of objects that had been removed or moved before.
    done_before: u64,
}

impl Dir {
    /// Removes a name with everything below it; a missing name is fine. Symbolic links are not followed. Mounts below
    /// it stay, with the directories that lead to them; from a great depth these move up.
    pub fn remove_tree(&self, name: &[u8]) -> Result<()> {
        self.remove_tree_counted(name).map(drop)
    }

    /// Returns the number of removed objects.
    pub fn remove_tree_counted(&self, name: &[u8]) -> Result<u64> {
        self.remove_tree_until(name, &never)
    }

    /// Fails with EINTR once a signal came; a part of the tree is left then.
    pub fn remove_tree_until(&self, name: &[u8], interrupt: Interrupt<'_>) -> Result<u64> {
        match self.look(name)? {
            None => Ok(0),
            Some(seen) if seen.file_type == FileType::Directory => self.empty_and_remove(name, interrupt),
            Some(_) => self.remove(name).map(|()| 1),
        }
    }

    /// Returns the bytes occupied by a name and everything below it, without files that have other names and without
    /// mounts. A missing name occupies none.
    pub fn allocated_below(&self, name: &[u8]) -> Result<u64> {
        let on = place(&self.itself()?);
        let mut bytes = 0_u64;
        self.walk(name, |here, name, seen| {
            let is_directory = seen.file_type == FileType::Directory;
            if is_directory || seen.links < 2 {
                bytes = bytes.saturating_add(seen.allocated);
            }
            if is_directory && place(seen) == on { here.dir(name).map(Some) } else { Ok(None) }
        })?;
        Ok(bytes)
    }

    /// Fails if an object at or below a name is immutable or append-only. A missing name is fine.
    pub fn must_be_removable(&self, name: &[u8]) -> Result<()> {
        let on = place(&self.itself()?);
        self.walk(name, |here, name, seen| {
            if seen.flag().is_some()
                && let Some(error) = here.flagged("remove", name)
            {
                return Err(error);
            }
            if seen.file_type != FileType::Directory || place(seen) != on {
                return Ok(None);
            }
            match here.dir(name) {
                // A directory without access rights gets them when it is removed.
                Err(error) if error.is_refused_access() || error.is_not_found() => Ok(None),
                opened => opened.map(Some),
            }
        })
    }

    /// Calls `visit` with each object and its directory; `visit` returns directories to enter, opened.
    fn walk(
        &self,
        name: &[u8],
        mut visit: impl FnMut(&Self, &[u8], &ObjectStatus) -> Result<Option<Self>>,
    ) -> Result<()> {
        let mut descent = Descent::below(self);
        let mut rest: Vec<Vec<Vec<u8>>> = vec![vec![name.to_vec()]];
        while let Some(names) = rest.last_mut() {
            let Some(name) = names.pop() else {
                rest.pop();
                if !rest.is_empty() {
                    descent.leave()?;
                }
                continue;
            };
            let here = descent.here();
            let Some(seen) = here.look(&name)? else { continue };
            if let Some(dir) = visit(here, &name, &seen)? {
                rest.push(dir.names()?);
                descent.enter(&name, dir)?;
            }
        }
        Ok(())
    }

    /// Removes an [entry](Self::entries) like [`remove_tree`](Self::remove_tree), without a status call if the listing
    /// says that it is no directory.
    pub fn remove_entry(&self, (name, may_be_directory): &(Vec<u8>, bool)) -> Result<()> {
        if *may_be_directory { self.remove_tree(name) } else { self.remove(name) }
    }

    fn empty_and_remove(&self, name: &[u8], interrupt: Interrupt<'_>) -> Result<u64> {
        self.empty_and_remove_within(name, MOST_HELD, interrupt)
    }

    fn empty_and_remove_within(
        &self,
        name: &[u8],
        most_held: usize,
        interrupt: Interrupt<'_>,
    ) -> Result<u64> {
        let on = place(&self.itself()?);
        let mut emptying = Emptying {
            descent: Descent::below(self),
            top: None,
            on,
            rest: Vec::new(),
            held: 0,
            most_held,
            removed: 0,
            moved: 0,
        };
        emptying.enter(name)?;
        while let Some(rest) = emptying.rest.last_mut() {
            if interrupt().is_some() {
                return Err(self.error("remove", name, Errno::INTR));
            }
            match rest.names.pop() {
                Some((name, true)) => emptying.enter(&name)?,
                Some((name, false)) => emptying.remove(&name)?,
                None => emptying.leave()?,
            }
        }
        Ok(emptying.removed)
    }
}

impl Emptying<'_> {
    fn enter(&mut self, name: &[u8]) -> Result<()> {
        let here = self.descent.here();
        let dir = match here.dir(name) {
            Err(error) if error.is_not_found() || error.errno() == Some(Errno::LOOP) => {
                return self.remove(name);
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
        if place(&dir.itself()?) != self.on {
            return Ok(());
        }
        if !dir.is_writable() {
            dir.set_own_mode(Mode::of(0o700))?;
        }
        if self.rest.len() >= DEEPEST_IN_PLACE && self.moves_up(name) {
            return Ok(());
        }
        if self.rest.is_empty() {
            self.top = Some(dir.again()?);
        }
        let part = self.part_of(&dir)?;
        self.descent.enter(name, dir)?;
        self.hold(part);
        Ok(())
    }

    fn part_of(&self, dir: &Dir) -> Result<ListedPart> {
        let most = (self.most_held.saturating_sub(self.held) / 2).max(LEAST_HELD);
        let SomeEntries { entries: mut names, bytes, is_all } = dir.some_entries(most)?;
        names.reverse();
        Ok(ListedPart { names, bytes, is_all, done_before: self.removed + self.moved })
    }

    fn hold(&mut self, part: ListedPart) {
        self.held = self.held.saturating_add(part.bytes);
        self.rest.push(part);
    }

    /// Moves a directory to the top, where it is emptied later. Returns false if that fails.
    fn moves_up(&mut self, name: &[u8]) -> bool {
        let (Some(top), Some(rest), Ok(number)) = (&self.top, self.rest.first_mut(), random()) else {
            return false;
        };
        let new_name = format!(".deep-{number:016x}").into_bytes();
        let is_moved = self.descent.here().move_to(name, top, &new_name).is_ok();
        if is_moved {
            rest.is_all = false;
            self.moved += 1;
        }
        is_moved
    }

    fn leave(&mut self) -> Result<()> {
        let Some(part) = self.rest.pop() else { return Ok(()) };
        self.held = self.held.saturating_sub(part.bytes);
        // If nothing was removed, the remaining entries stay as well.
        if !part.is_all && self.removed + self.moved > part.done_before {
            let next = self.part_of(self.descent.here())?;
            self.hold(next);
            return Ok(());
        }
        let Some(name) = self.descent.leave()? else { return Ok(()) };
        self.removed += u64::from(self.descent.here().remove_dir(&name)?);
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Result<()> {
        self.descent.here().remove(name)?;
        self.removed += 1;
        Ok(())
    }
}

fn place(seen: &ObjectStatus) -> (u64, (u32, u32)) {
    (seen.mount, seen.file_system)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;
    use crate::Root;
    use patchadm_svr4::package::ObjectPath;

    fn top(path: &Path) -> Dir {
        Root::open(path).unwrap().dir(&ObjectPath::root()).unwrap()
    }

    /// Nests directories, each containing a file beside the next directory.
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
    fn a_tree_with_an_immutable_file_is_refused_by_its_name_and_flag() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        nest(&top, 10);
        top.must_be_removable(b"d").unwrap();
        top.must_be_removable(b"missing").unwrap();
        fs::write(dir.path().join("d/d/kept"), "").unwrap();
        let chattr = |option: &str| {
            let done =
                std::process::Command::new("chattr").arg(option).arg(dir.path().join("d/d/kept")).output();
            done.is_ok_and(|done| done.status.success())
        };
        if !chattr("+i") {
            return;
        }
        let refused = top.must_be_removable(b"d").unwrap_err().to_string();
        let tried = top.dir(b"d").unwrap().dir(b"d").unwrap().remove(b"kept").unwrap_err().to_string();
        chattr("-i");
        for error in [refused, tried] {
            assert!(error.ends_with("d/d/kept is immutable; `chattr -i` clears the flag"), "{error}");
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
    fn deep_directories_are_removed_from_the_top_with_all_that_is_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        nest(&top, 3000);
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 270).then_some(15);
        top.remove_tree_until(b"d", &interrupt).unwrap_err();
        let names = top.dir(b"d").unwrap().names().unwrap();
        assert!(names.iter().any(|name| name.starts_with(b".deep-")), "moved up: {names:?}");
        top.remove_tree(b"d").unwrap();
        nest(&top, 3000);
        assert_eq!(top.remove_tree_counted(b"d").unwrap(), 3001 + 3);
        assert!(top.names().unwrap().is_empty());
    }

    #[test]
    fn wide_directories_are_removed_in_parts_and_few_names_of_each_are_held() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        let mut below = dir.path().join("tree");
        let mut count = 0;
        for _ in 0..3 {
            fs::create_dir(&below).unwrap();
            for number in 0..1_500 {
                fs::write(below.join(format!("{number:060}")), "").unwrap();
            }
            count += 1_501;
            below.push("z");
        }
        let tree = top.dir(b"tree").unwrap();
        let part = tree.some_entries(LEAST_HELD).unwrap();
        assert!(part.entries.len() < 600 && part.bytes <= LEAST_HELD && !part.is_all, "{part:?}");
        assert_eq!(tree.some_entries(0).unwrap().entries.len(), 1);
        let all = tree.some_entries(MOST_HELD).unwrap();
        assert!(all.entries == tree.entries().unwrap() && all.is_all);
        assert_eq!(top.empty_and_remove_within(b"tree", 0, &never).unwrap(), count);
        assert!(top.names().unwrap().is_empty());
    }

    #[test]
    fn a_signal_ends_a_removal_and_the_next_one_removes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let top = top(dir.path());
        nest(&top, 1000);
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 500).then_some(15);
        let error = top.remove_tree_until(b"d", &interrupt).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::INTR), "{error}");
        assert!(top.look(b"d").unwrap().is_some());
        top.remove_tree(b"d").unwrap();
        assert!(top.names().unwrap().is_empty());
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
        assert_eq!(top.remove_tree_counted(b"tree").unwrap(), 5);
        assert_eq!(top.names().unwrap(), [b"theirs".to_vec()]);
        assert!(at("theirs/kept").exists());
        top.remove_tree(b"nothing").unwrap();
    }
}
