//! Private names: objects under construction beside their place, and the leftovers of a killed program.
//!
//! An object under a private name is locked (flock(2)) by its maker until it has its name or is gone. The system
//! releases the lock no matter how the program dies. An unlocked object therefore has no maker any more, and the next
//! run of the same program in that directory removes it.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, Mode as Bits, OFlags, flock};
use rustix::io::Errno;

use super::{Dir, FileType, Result, WritableFile, again, random};
use patchadm_svr4::package::Mode;

/// The number of digits in a private name.
const DIGITS: usize = 16;

/// The attempts at a private name that another process removes at once, taking it for a leftover.
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

    /// Makes a file in the same way.
    pub fn create_private(&self, program: &str) -> Result<(Vec<u8>, WritableFile)> {
        self.private(program, |name| self.create(name))
    }

    /// Writes a file that replaces the one of this name by a rename of durable bytes. The name is durable once the
    /// directory is synced. Remains of a failure under the private name of `program` go with the next
    /// [`remove_leftovers`](Self::remove_leftovers).
    pub fn replace_file(&self, program: &str, name: &[u8], bytes: &[u8], mode: Mode) -> Result<()> {
        self.replace_written(program, name, |file| {
            file.put(bytes).and_then(|()| file.set_mode(mode)).and_then(|()| file.sync())
        })
    }

    /// Writes a file in the same way without waiting for the disk: after a power cut it may be cut short, or hold
    /// arbitrary bytes. For files whose readers detect that by a digest and can do without them.
    pub fn replace_cache(&self, program: &str, name: &[u8], bytes: &[u8], mode: Mode) -> Result<()> {
        self.replace_written(program, name, |file| file.put(bytes).and_then(|()| file.set_mode(mode)))
    }

    /// Writes a file as [`replace_file`](Self::replace_file) does, of what `write` writes, part by part.
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
            // The earlier error is the one to report.
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

    /// Removes the remains of killed runs of `program` in this directory: objects of the caller under a private name
    /// that no process has locked.
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

/// Locks a new object; returns false if another process takes it for a leftover. On a file system without such locks
/// there are no leftovers: nothing can be locked, so nothing is removed.
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
