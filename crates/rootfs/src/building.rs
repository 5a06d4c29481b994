//! Objects under construction: new trees of files, and private names beside the final place. Nothing is durable before
//! [`Dir::sync_file_system`]. The maker locks a private object (flock(2)) until it has its final name; the system drops
//! the lock of a dead program, so [`Dir::remove_leftovers`] removes whatever is unlocked.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_svr4::package::Mode;
use rustix::fs::{FlockOperation, Mode as Bits, OFlags, flock};
use rustix::io::Errno;

use crate::{Dir, FileType, Result, RootError, Timestamp, WritableFile, again, random};

const DIRECTORY: u32 = 0o755;

#[derive(Debug)]
pub struct NewTree {
    top: Dir,
    made: BTreeSet<Vec<u8>>,
    last: Option<(Vec<u8>, Dir)>,
}

impl NewTree {
    pub fn below(top: Dir) -> Self {
        Self { top, made: BTreeSet::new(), last: None }
    }

    /// Begins a tree below a directory of the host, which is made, with those above it, if missing.
    pub fn at(path: &Path) -> Result<Self> {
        let (mut there, mut missing) = (path, Vec::new());
        loop {
            let error = match Dir::of_host(there) {
                Ok(dir) => {
                    missing.reverse();
                    return Ok(Self::below(Self::below(dir).directory(&missing.join(&b'/'))?));
                }
                Err(error) => error,
            };
            match (there.parent(), there.file_name()) {
                (Some(parent), Some(name)) if error.is_not_found() => {
                    missing.push(name.as_bytes());
                    there = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                }
                _ => return Err(error),
            }
        }
    }

    /// Makes a file, private until its mode is set, and its missing parents with mode 0755. `name` may have several
    /// components, none of them `..`. Parents that exist are never entered through a symbolic link.
    pub fn file(&mut self, name: &[u8]) -> Result<WritableFile> {
        let (above, name) = directory_and_name(name);
        self.enter(above)?.create(name)
    }

    pub fn write(&mut self, name: &[u8], bytes: &[u8], mode: Mode) -> Result<WritableFile> {
        let mut file = self.file(name)?;
        file.put(bytes)?;
        file.set_mode(mode)?;
        Ok(file)
    }

    /// Makes `name` another name of the file `from`, which is in the tree already.
    pub fn link(&mut self, from: &[u8], name: &[u8]) -> Result<()> {
        let (above, from) = directory_and_name(from);
        let source = self.enter(above)?.again()?;
        let (above, name) = directory_and_name(name);
        self.enter(above)?.make_link(name, &source, from)
    }

    /// Opens a directory below the top, and makes it if it is missing; an empty name means the top.
    pub fn directory(&mut self, name: &[u8]) -> Result<Dir> {
        self.enter(name)?.again()
    }

    /// Keeps the directory open for the next file.
    fn enter(&mut self, name: &[u8]) -> Result<&Dir> {
        let last = match self.last.take() {
            Some((last, dir)) if last == name => (last, dir),
            _ => (name.to_vec(), self.make(name)?),
        };
        Ok(&self.last.insert(last).1)
    }

    fn make(&mut self, name: &[u8]) -> Result<Dir> {
        let mut dir = self.top.again()?;
        let mut length = 0;
        for component in name.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
            if matches!(component, b"." | b"..") {
                return Err(dir.error("make", component, Errno::INVAL));
            }
            length = name.len().min(length + usize::from(length > 0) + component.len());
            let known = self.made.contains(name.get(..length).unwrap_or_default());
            dir = match if known { dir.dir(component) } else { dir.make_dir(component, Mode::of(DIRECTORY)) }
            {
                Err(error) if error.errno() == Some(Errno::EXIST) => dir.dir(component)?,
                made => {
                    self.made.insert(name.get(..length).unwrap_or_default().to_vec());
                    made?
                }
            };
        }
        Ok(dir)
    }

    pub fn date(&self, mtime: Timestamp) -> Result<()> {
        for path in self.made.iter().rev() {
            let mut parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
            let Some(name) = parts.pop() else { continue };
            let dir = parts.into_iter().try_fold(self.top.again()?, |dir, part| dir.dir(part))?;
            dir.set_mtime(name, mtime)?;
        }
        Ok(())
    }
}

fn directory_and_name(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (name.get(..slash).unwrap_or_default(), name.get(slash + 1..).unwrap_or_default()),
        None => (&b""[..], name),
    }
}

/// A directory under construction, which does not have its name yet.
#[derive(Debug)]
pub struct UnnamedDirectory {
    parent: Dir,
    private: Vec<u8>,
    name: Vec<u8>,
    pub tree: NewTree,
}

impl UnnamedDirectory {
    /// Begins the directory `name` of `parent`; `program` becomes part of its private name.
    pub fn begin(parent: &Dir, program: &str, name: &[u8]) -> Result<Self> {
        let parent = parent.again()?;
        let (private, dir) = parent.make_private(program)?;
        Ok(Self { parent, private, name: name.to_vec(), tree: NewTree::below(dir) })
    }

    /// Returns the path under its private name, which only its owner may enter.
    pub fn private_path(&self) -> PathBuf {
        let above =
            self.parent.root().prefix().join(OsStr::from_bytes(
                self.parent.path().as_bytes().strip_prefix(b"/").unwrap_or_default(),
            ));
        above.join(OsStr::from_bytes(&self.private))
    }

    /// Sets the times of all directories, and lets everyone read this one.
    pub fn close(&self, mtime: Timestamp) -> Result<()> {
        self.tree.date(mtime)?;
        self.parent.set_mode(&self.private, Mode::of(DIRECTORY))?;
        self.parent.set_mtime(&self.private, mtime)
    }

    /// Gives the directory its name. If the name is taken, exchanges the two if `replaces`; otherwise fails with
    /// EEXIST.
    pub fn publish(&self, replaces: bool) -> Result<()> {
        let Self { parent, private, name, .. } = self;
        match parent.move_to(private, parent, name) {
            Err(error) if is_beyond(&error) && parent.look(name)?.is_none() => {
                return parent.rename(private, name);
            }
            Err(error) if is_beyond(&error) && !replaces => {
                return Err(parent.error("move", private, Errno::EXIST));
            }
            Err(error) if replaces && (is_beyond(&error) || error.errno() == Some(Errno::EXIST)) => {}
            moved => return moved,
        }
        match parent.exchange(private, parent, name) {
            // For a moment, no object has the name.
            Err(error) if is_beyond(&error) => {
                parent.rename(name, &self.old())?;
                parent.rename(private, name)
            }
            exchanged => exchanged,
        }
    }

    fn old(&self) -> Vec<u8> {
        [&self.private, &b".old"[..]].concat()
    }
}

impl Drop for UnnamedDirectory {
    fn drop(&mut self) {
        // Objects that cannot be removed stay under a name that identifies them; an earlier error is the one to report.
        let _ = self.parent.remove_tree(&self.private);
        let _ = self.parent.remove_tree(&self.old());
    }
}

fn is_beyond(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

const DIGITS: usize = 16;

/// Limits the attempts at a private name, in case another process removes each as a leftover.
const TRIES: usize = 16;

impl Dir {
    /// Makes a directory under a private name of `program`. It stays locked while a descriptor of it is open.
    pub fn make_private(&self, program: &str) -> Result<(Vec<u8>, Self)> {
        self.private(program, |name| match self.make_dir(name, Mode::of(0o700)) {
            Ok(dir) => Ok(dir),
            Err(error) => {
                // It may have been made without getting its mode; the first error is the one to report.
                let _ = self.remove_dir(name);
                Err(error)
            }
        })
    }

    pub fn create_private(&self, program: &str) -> Result<(Vec<u8>, WritableFile)> {
        self.private(program, |name| self.create(name))
    }

    /// Replaces the file of this name by a rename of durable bytes. The name is durable once the directory is synced.
    /// The next [`remove_leftovers`](Self::remove_leftovers) clears up after a failure.
    pub fn replace_file(&self, program: &str, name: &[u8], bytes: &[u8], mode: Mode) -> Result<()> {
        self.replace_written(program, name, |file| {
            file.put(bytes).and_then(|()| file.set_mode(mode)).and_then(|()| file.sync())
        })
    }

    /// Like [`replace_file`](Self::replace_file), but does not wait for the disk: a power cut may leave a short file or
    /// arbitrary bytes. For files whose readers detect this by a digest and can do without them.
    pub fn replace_cache(&self, program: &str, name: &[u8], bytes: &[u8], mode: Mode) -> Result<()> {
        self.replace_written(program, name, |file| file.put(bytes).and_then(|()| file.set_mode(mode)))
    }

    /// Like [`replace_file`](Self::replace_file), for bytes that `write` writes part by part.
    pub fn replace_streamed(
        &self,
        program: &str,
        name: &[u8],
        mode: Mode,
        write: impl FnOnce(&mut WritableFile) -> io::Result<()>,
    ) -> Result<()> {
        self.replace_written(program, name, |file| {
            write(file).map_err(|error| file.write_error(&error))?;
            file.set_mode(mode)?;
            file.sync()
        })
    }

    fn replace_written(
        &self,
        program: &str,
        name: &[u8],
        write: impl FnOnce(&mut WritableFile) -> Result<()>,
    ) -> Result<()> {
        let (private, mut file) = self.create_private(program)?;
        let written = write(&mut file).and_then(|()| self.rename(&private, name));
        if written.is_err() {
            let _ = self.remove(&private);
        }
        written
    }

    fn private<T: AsFd>(&self, program: &str, make: impl Fn(&[u8]) -> Result<T>) -> Result<(Vec<u8>, T)> {
        let mut gone = None;
        for _ in 0..TRIES {
            let name = format!(".{program}-{:016x}", random()?).into_bytes();
            match make(&name) {
                Ok(made) if claim(&made) && self.look(&name)?.is_some() => return Ok((name, made)),
                Ok(_) => {}
                // Another process took it for a leftover before it could be opened.
                Err(error) if error.errno() == Some(Errno::NOENT) => gone = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(gone.unwrap_or_else(|| self.error("make a private name", b"", Errno::AGAIN)))
    }

    /// Removes objects of the caller that killed runs of `program` left here: private names that no process has locked.
    pub fn remove_leftovers(&self, program: &str) -> Result<()> {
        for name in self.names()?.into_iter().filter(|name| is_private(name, program)) {
            let Some(seen) = self.look(&name)? else { continue };
            let is_known = matches!(seen.file_type, FileType::Directory | FileType::Regular);
            if !is_known || seen.uid != rustix::process::geteuid().as_raw() {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = again(|| rustix::fs::openat(self.fd(), &*name, flags, Bits::empty()));
            if opened.is_ok_and(|opened| matches!(locked(&opened), Ok(()))) {
                self.remove_tree(&name)?;
            }
        }
        Ok(())
    }
}

/// Locks a new object. Returns false if another process is removing it as a leftover. On a file system without such
/// locks nothing counts as a leftover.
fn claim(made: &impl AsFd) -> bool {
    locked(made) != Err(Errno::WOULDBLOCK)
}

fn locked(file: &impl AsFd) -> std::result::Result<(), Errno> {
    again(|| flock(file, FlockOperation::NonBlockingLockExclusive))
}

fn is_private(name: &[u8], program: &str) -> bool {
    let digits = name.strip_prefix(b".").and_then(|rest| rest.strip_prefix(program.as_bytes()));
    let digits = digits.and_then(|rest| rest.strip_prefix(b"-")).unwrap_or_default();
    digits.len() == DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::{ChangeCall, Door, Root};
    use patchadm_svr4::package::ObjectPath;

    fn built(door: Door, at: &Path, replaces: bool) -> Result<()> {
        let parent = Root::open_with(at, door).unwrap().dir(&ObjectPath::root()).unwrap();
        let mut building = UnnamedDirectory::begin(&parent, "pkgmk", b"ACMEweb")?;
        building.tree.write(b"reloc/bin/httpd", b"new", Mode::of(0o755))?;
        building.tree.write(b"pkginfo", b"PKG=ACMEweb\n", Mode::of(0o644))?;
        building.close(Timestamp::whole(1000))?;
        building.publish(replaces)
    }

    #[test]
    fn a_directory_gets_its_name_as_a_whole_or_in_exchange_for_another() {
        let without_exchange = || {
            Door::watched(|step| match step.call {
                ChangeCall::Move | ChangeCall::Exchange => Err(Errno::INVAL),
                _ => Ok(()),
            })
        };
        for door in [Door::default, without_exchange] {
            let dir = tempfile::tempdir().unwrap();
            built(door(), dir.path(), false).unwrap();
            fs::write(dir.path().join("ACMEweb/old"), "").unwrap();
            let error = built(door(), dir.path(), false).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EXIST));
            assert!(dir.path().join("ACMEweb/old").exists());
            built(door(), dir.path(), true).unwrap();
            assert!(!dir.path().join("ACMEweb/old").exists());
            assert_eq!(fs::read(dir.path().join("ACMEweb/reloc/bin/httpd")).unwrap(), b"new");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays under a private name");
            let seen = fs::metadata(dir.path().join("ACMEweb/reloc")).unwrap();
            assert_eq!(seen.permissions().mode() & 0o7777, 0o755);
        }
    }

    #[test]
    fn what_could_not_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for call in [
            ChangeCall::Create,
            ChangeCall::Write,
            ChangeCall::SetMode,
            ChangeCall::Move,
            ChangeCall::MakeDirectory,
        ] {
            let full = move |step: &crate::RootChange<'_>| {
                if step.call == call { Err(Errno::NOSPC) } else { Ok(()) }
            };
            assert!(built(Door::watched(full), dir.path(), false).unwrap_err().is_no_space(), "{call:?}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{call:?}");
        }
    }

    #[test]
    fn a_file_goes_through_directories_and_never_through_a_link() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(dir.path().join("there")).unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let mut tree = NewTree::below(top);
        tree.write(b"there/file", b"x", Mode::of(0o600)).unwrap();
        for name in [&b"link/file"[..], b"there/../../file", b"./file"] {
            assert!(tree.file(name).is_err(), "{}", name.escape_ascii());
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(tree.file(b"there/file").is_err(), "nothing is written over");
        let mut deep = NewTree::at(&dir.path().join("there/is/more")).unwrap();
        deep.write(b"file", b"", Mode::of(0o600)).unwrap();
        assert!(dir.path().join("there/is/more/file").exists());
        assert!(NewTree::at(&dir.path().join("there/file/no/directory")).is_err());
    }
}

#[cfg(test)]
mod leftover_tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_replaces_the_one_before_and_leaves_nothing_else() {
        let at = tempfile::tempdir().unwrap();
        let dir = Dir::of_host(at.path()).unwrap();
        for text in ["one", "two"] {
            dir.replace_file("pkgmk", b"file", text.as_bytes(), Mode::of(0o644)).unwrap();
            assert_eq!(fs::read_to_string(at.path().join("file")).unwrap(), text);
        }
        assert!(dir.replace_file("pkgmk", b"..", b"", Mode::of(0o644)).is_err());
        assert_eq!(dir.names().unwrap().len(), 1);
    }

    #[test]
    fn what_nobody_holds_goes_and_all_else_stays() {
        let at = tempfile::tempdir().unwrap();
        let dir = Dir::of_host(at.path()).unwrap();
        let (held, _directory) = dir.make_private("pkgmk").unwrap();
        let (written, _file) = dir.create_private("pkgmk").unwrap();
        let (dead, gone) = dir.make_private("pkgmk").unwrap();
        gone.make_dir(b"reloc", Mode::of(0o755)).unwrap();
        drop(gone);
        for other in
            [".pkgmk-17", ".pkgmk-00112233445566fg", ".pkgtrans-0011223344556677", "pkgmk-0011223344556677"]
        {
            fs::write(at.path().join(other), "").unwrap();
        }
        dir.remove_leftovers("pkgmk").unwrap();
        let left = dir.names().unwrap();
        assert!(left.contains(&held) && left.contains(&written) && !left.contains(&dead), "{left:?}");
        assert_eq!(left.len(), 6);
    }

    #[test]
    fn what_another_process_removes_before_it_is_opened_is_made_again() {
        let at = tempfile::tempdir().unwrap();
        let dir = Dir::of_host(at.path()).unwrap();
        let tries = std::cell::Cell::new(0);
        let make = |name: &[u8]| {
            tries.set(tries.get() + 1);
            if tries.get() > 2 {
                dir.create(name)?;
            }
            dir.open_file(name).map(|(file, _)| file)
        };
        let made: Result<(Vec<u8>, fs::File)> = dir.private("run", make);
        assert!(dir.look(&made.unwrap().0).unwrap().is_some());
        assert_eq!(tries.get(), 3);
        let never = dir.private("run", |name: &[u8]| dir.open_file(name).map(|(file, _)| file));
        assert_eq!(never.unwrap_err().errno(), Some(Errno::NOENT));
    }
}
