//! The locks of other programs over files of a root, such as the frontend lock of dpkg.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;

use super::lock::{errno_of, is_current, set, whole_file};
use super::{Dir, FileType, LockError, LockHolder, Root, RootError, again, optional};
use patchadm_svr4::package::ObjectPath;

/// The lock file of another program, locked for writing until the value is dropped.
///
/// An open-file-description lock over the whole file: it conflicts with the fcntl locks that such programs take. The file is
/// neither made nor written to.
#[derive(Debug)]
pub struct ForeignLock {
    file: File,
}

impl Drop for ForeignLock {
    /// Releases the lock at once: a process being started may share the open file for a moment longer.
    fn drop(&mut self) {
        let _ = set(&self.file, libc::F_UNLCK);
    }
}

impl ForeignLock {
    /// Tells whether something is at the path of a lock file.
    pub fn is_there(root: &Root, path: &ObjectPath) -> Result<bool, RootError> {
        let Some(directory) = directory_of(root, path)? else { return Ok(false) };
        Ok(directory.look(path.name())?.is_some())
    }

    /// Locks a file, without waiting. Returns `None` if the file does not exist, if the caller may not write to it, or if
    /// it is locked for the caller ([`Root::with_held_locks`]). Anything but a regular file is refused unopened.
    pub fn take(root: &Root, path: &ObjectPath) -> Result<Option<Self>, LockError> {
        if root.is_lock_held(path) {
            return Ok(None);
        }
        let Some(directory) = directory_of(root, path)? else { return Ok(None) };
        let name = path.name();
        loop {
            let Some(file) = open(&directory, name)? else { return Ok(None) };
            match set(&file, libc::F_WRLCK) {
                Ok(()) if is_current(&directory, name, &file)? => return Ok(Some(Self { file })),
                // The file was replaced between open and lock: the lock is on a file that is no longer there.
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    return Err(LockError::Held { path: directory.show(name), holder: holder(&file) });
                }
                Err(errno) => return Err(directory.error("lock", name, errno).into()),
            }
        }
    }
}

fn directory_of(root: &Root, path: &ObjectPath) -> Result<Option<Dir>, RootError> {
    let Some(above) = path.parent() else { return Ok(None) };
    root.dir_if_there(&root.resolver().locate_dir(&above)?)
}

/// Opens a lock file; `None` if it does not exist, or if the caller may not write to it.
fn open(directory: &Dir, name: &[u8]) -> Result<Option<File>, RootError> {
    let wrong = || directory.error("lock", name, Errno::INVAL);
    match directory.look(name)? {
        None => return Ok(None),
        Some(seen) if seen.file_type != FileType::Regular => return Err(wrong()),
        Some(_) => {}
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd: OwnedFd = match again(|| rustix::fs::openat(directory.fd(), name, flags, Bits::empty())) {
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => return Ok(None),
        opened => match optional(opened.map_err(|errno| directory.error("open", name, errno)))? {
            Some(fd) => fd,
            None => return Ok(None),
        },
    };
    let seen = rustix::fs::fstat(&fd).map_err(|errno| directory.error("look at", name, errno))?;
    match rustix::fs::FileType::from_raw_mode(seen.st_mode) {
        rustix::fs::FileType::RegularFile => Ok(Some(File::from(fd))),
        _ => Err(wrong()),
    }
}

/// Returns the process that the system names as the holder of a lock over a file.
fn holder(file: &File) -> LockHolder {
    let Ok(mut lock) = whole_file(libc::F_WRLCK) else { return LockHolder::default() };
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(errno_of);
    let is_held = asked.is_ok() && libc::c_int::from(lock.l_type) != libc::F_UNLCK;
    // A holder in another PID namespace, or of an open-file-description lock, has no number.
    match u32::try_from(lock.l_pid) {
        Ok(process) if is_held && process > 0 => LockHolder::of_process(process),
        _ => LockHolder::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> (tempfile::TempDir, Root, ObjectPath) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/other")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root, ObjectPath::new(b"/var/lib/other/lock").unwrap())
    }

    #[test]
    fn a_lock_file_that_is_not_there_is_not_made_and_one_that_is_held_for_the_caller_not_locked() {
        let (dir, root, path) = stage();
        let file = dir.path().join("var/lib/other/lock");
        assert!(ForeignLock::take(&root, &path).unwrap().is_none());
        assert!(!ForeignLock::is_there(&root, &path).unwrap() && !file.exists());
        std::fs::write(&file, "theirs\n").unwrap();
        let first = ForeignLock::take(&root, &path).unwrap();
        assert!(first.is_some() && ForeignLock::is_there(&root, &path).unwrap());
        let Err(LockError::Held { path: told, holder }) = ForeignLock::take(&root, &path) else {
            panic!("two at once");
        };
        assert_eq!((told, holder.describe().as_str()), (root.show(&path), "another process"));
        let called = root.clone().with_held_locks(vec![path.clone()]);
        assert!(ForeignLock::take(&called, &path).unwrap().is_none());
        drop(first);
        assert!(ForeignLock::take(&root, &path).unwrap().is_some());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "theirs\n");
    }

    #[test]
    fn a_link_a_pipe_and_a_directory_are_no_lock_files() {
        let (dir, root, path) = stage();
        let file = dir.path().join("var/lib/other/lock");
        std::fs::write(dir.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("/secret", &file).unwrap();
        assert!(matches!(ForeignLock::take(&root, &path), Err(LockError::Root(_))));
        std::fs::remove_file(&file).unwrap();
        let directory = root.dir(&path.parent().unwrap()).unwrap();
        directory.make_node(b"lock", FileType::Pipe, (0, 0)).unwrap();
        assert!(matches!(ForeignLock::take(&root, &path), Err(LockError::Root(_))));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(matches!(ForeignLock::take(&root, &path), Err(LockError::Root(_))));
    }
}
