//! Changes names, attributes and files of a root: one system call each, each through the door.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::fs::{
    AtFlags, FallocateFlags, Mode as Bits, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::{
    ChangeCall, Dir, FileType, ObjectStatus, Result, Root, RootChange, RootError, Timestamp, again, optional,
    random,
};

/// Limits the attempts to open a file that is removed and created again and again.
const MOST_TRIES: usize = 100;

/// The largest file that is copied to part it from its other names. No record opened for writing comes near it.
const LARGEST_PARTED: u64 = 256 << 20;

impl Dir {
    fn change<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        name: &[u8],
        work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        self.must_be_single(name)?;
        self.make(call, action, name, None, work)
    }

    fn change_two<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        name: &[u8],
        (other, other_name): (&Self, &[u8]),
        work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        self.must_be_single(name)?;
        other.must_be_single(other_name)?;
        self.make(call, action, name, Some(&other.at(other_name)), work).map_err(|error| match &error {
            // The attribute may be of the second name, or of its directory.
            RootError::Call { errno: Errno::PERM, .. } => other.flagged(action, other_name).unwrap_or(error),
            _ => error,
        })
    }

    fn change_itself<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        self.make(call, action, b"", None, work)
    }

    /// An empty name means this directory.
    fn change_either<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        name: &[u8],
        work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        if name.is_empty() {
            self.change_itself(call, action, work)
        } else {
            self.change(call, action, name, work)
        }
    }

    fn make<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        name: &[u8],
        other: Option<&ObjectPath>,
        mut work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        let (root, path) = (self.root(), &self.at(name));
        let step = RootChange { call, root: root.prefix(), path, other };
        again(|| root.door().make(step, &mut work)).map_err(|errno| self.error(action, name, errno))
    }

    /// Makes a new file, private until its mode is set.
    pub fn create(&self, name: &[u8]) -> Result<WritableFile> {
        self.create_as(name, Mode::of(0o600))
    }

    /// Makes a new file with this mode, without what the umask takes.
    pub fn create_as(&self, name: &[u8], mode: Mode) -> Result<WritableFile> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.change(ChangeCall::Create, "create", name, || {
            rustix::fs::openat(self.fd(), name, flags, Bits::from_raw_mode(mode.bits()))
        })?;
        Ok(WritableFile::new(fd.into(), self.at(name), self.root().clone()))
    }

    /// Opens a file for reading and writing; `None` if it is missing. Refuses anything but a regular file, unopened.
    /// Other names of the file may be anyone's, so it is first replaced by a copy; above 256 MiB it is refused with
    /// EFBIG.
    pub fn open_writable(&self, name: &[u8]) -> Result<Option<WritableFile>> {
        match self.look(name)? {
            None => return Ok(None),
            Some(seen) if seen.file_type != FileType::Regular => {
                return Err(self.error("write to", name, Errno::INVAL));
            }
            Some(seen) if seen.links > 1 => self.part(name, &seen)?,
            Some(_) => {}
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = optional(self.change(ChangeCall::OpenWrite, "open", name, || {
            let fd = rustix::fs::openat(self.fd(), name, flags, Bits::empty())?;
            let seen = rustix::fs::fstat(&fd)?;
            let is_file =
                rustix::fs::FileType::from_raw_mode(seen.st_mode) == rustix::fs::FileType::RegularFile;
            // Another file has been put there since the check.
            if is_file && seen.st_nlink <= 1 { Ok(fd) } else { Err(Errno::INVAL) }
        }))?;
        let Some(fd) = opened else { return Ok(None) };
        self.look_at_record(name, &fd)?;
        Ok(Some(WritableFile::new(fd.into(), self.at(name), self.root().clone())))
    }

    /// Opens a file for reading and writing like [`Dir::open_writable`], and makes it with `mode` if it is missing.
    pub fn open_or_create(&self, name: &[u8], mode: Mode) -> Result<WritableFile> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..MOST_TRIES {
            if let Some(file) = self.open_writable(name)? {
                return Ok(file);
            }
            let made = self.change(ChangeCall::OpenWrite, "open", name, || {
                rustix::fs::openat(self.fd(), name, flags, Bits::from_raw_mode(mode.bits()))
            });
            match made {
                Err(error) if error.errno() == Some(Errno::EXIST) => {}
                made => return Ok(WritableFile::new(made?.into(), self.at(name), self.root().clone())),
            }
        }
        Err(self.error("open", name, Errno::AGAIN))
    }

    /// Replaces a file by a copy of itself: its other names keep the current content.
    fn part(&self, name: &[u8], seen: &ObjectStatus) -> Result<()> {
        let too_large = || self.error("write to", name, Errno::FBIG);
        if seen.size > LARGEST_PARTED {
            return Err(too_large());
        }
        let beside = format!(".patchadm-{:016x}", random()?).into_bytes();
        let mut source = self.open_regular(name)?.take(LARGEST_PARTED + 1);
        let mut copy = self.create(&beside)?;
        let made =
            io::copy(&mut source, &mut copy).map_err(|error| copy.write_error(&error)).and_then(|copied| {
                // It has grown meanwhile.
                if copied > LARGEST_PARTED {
                    return Err(too_large());
                }
                if self.root().is_privileged() {
                    copy.set_owner(seen.uid, seen.gid)?;
                }
                copy.set_mode(seen.mode)?;
                copy.sync()?;
                self.rename(&beside, name)
            });
        if made.is_err() {
            // If the copy cannot be removed either, its name lets it be found.
            let _ = self.remove(&beside);
        }
        made
    }

    /// Makes a directory with exactly this mode, regardless of the umask.
    pub fn make_dir(&self, name: &[u8], mode: Mode) -> Result<Self> {
        self.change(ChangeCall::MakeDirectory, "make the directory", name, || {
            rustix::fs::mkdirat(self.fd(), name, Bits::from_raw_mode(mode.bits()))
        })?;
        // By its descriptor: a user who may write to this directory may have put another object under the name.
        let made = self.dir(name)?;
        if made.itself()?.mode != mode {
            made.set_own_mode(mode)?;
        }
        Ok(made)
    }

    pub fn make_symlink(&self, name: &[u8], target: &[u8]) -> Result<()> {
        self.change(ChangeCall::MakeSymlink, "make the symbolic link", name, || {
            rustix::fs::symlinkat(target, self.fd(), name)
        })
    }

    pub fn make_node(&self, name: &[u8], file_type: FileType, (major, minor): (u32, u32)) -> Result<()> {
        let (kind, device) = (file_type.as_listed(), rustix::fs::makedev(major, minor));
        self.change(ChangeCall::MakeNode, "make the node", name, || {
            rustix::fs::mknodat(self.fd(), name, kind, Bits::RUSR | Bits::WUSR, device)
        })
    }

    /// Makes `name` another name of `from_name` in `from`; a symbolic link is not followed.
    pub fn make_link(&self, name: &[u8], from: &Self, from_name: &[u8]) -> Result<()> {
        self.change_two(ChangeCall::MakeLink, "make the link", name, (from, from_name), || {
            rustix::fs::linkat(from.fd(), from_name, self.fd(), name, AtFlags::empty())
        })
    }

    /// Exchanges two existing names of any type.
    pub fn exchange(&self, name: &[u8], other: &Self, other_name: &[u8]) -> Result<()> {
        self.change_two(ChangeCall::Exchange, "exchange", name, (other, other_name), || {
            rustix::fs::renameat_with(self.fd(), name, other.fd(), other_name, RenameFlags::EXCHANGE)
        })
    }

    /// Fails with EEXIST if the name is taken.
    pub fn move_to(&self, name: &[u8], other: &Self, other_name: &[u8]) -> Result<()> {
        self.change_two(ChangeCall::Move, "move", name, (other, other_name), || {
            rustix::fs::renameat_with(self.fd(), name, other.fd(), other_name, RenameFlags::NOREPLACE)
        })
    }

    /// Replaces an existing object.
    pub fn rename(&self, name: &[u8], new_name: &[u8]) -> Result<()> {
        self.change_two(ChangeCall::Rename, "rename", name, (self, new_name), || {
            rustix::fs::renameat(self.fd(), name, self.fd(), new_name)
        })
    }

    /// Replaces an existing object. If both are names of one object, nothing happens (rename(2)).
    pub fn replace(&self, name: &[u8], other: &Self, other_name: &[u8]) -> Result<()> {
        self.change_two(ChangeCall::Rename, "rename", name, (other, other_name), || {
            rustix::fs::renameat(self.fd(), name, other.fd(), other_name)
        })
    }

    /// Removes a name other than a directory; a missing name is ignored.
    pub fn remove(&self, name: &[u8]) -> Result<()> {
        optional(self.change(ChangeCall::Unlink, "remove", name, || {
            rustix::fs::unlinkat(self.fd(), name, AtFlags::empty())
        }))
        .map(drop)
    }

    /// Returns false if the directory is not empty or busy (a mount point).
    pub fn remove_dir(&self, name: &[u8]) -> Result<bool> {
        let removed = self.change(ChangeCall::RemoveDirectory, "remove the directory", name, || {
            rustix::fs::unlinkat(self.fd(), name, AtFlags::REMOVEDIR)
        });
        match removed {
            Err(error) if matches!(error.errno(), Some(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY)) => {
                Ok(false)
            }
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(true),
            other => other.map(|()| true),
        }
    }

    /// Sets owner and group of `name` itself, a new object. chown(2) clears set-id bits and file capabilities: an
    /// object whose bytes stay gets its owner from [`OpenObject::set_rights`](crate::OpenObject::set_rights).
    pub fn set_owner(&self, name: &[u8], uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        self.change(ChangeCall::SetOwner, "set the owner of", name, || {
            rustix::fs::chownat(self.fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// A symbolic link has no mode: fails with ELOOP, whatever `name` was before.
    pub fn set_mode(&self, name: &[u8], mode: Mode) -> Result<()> {
        use std::os::fd::AsRawFd as _;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.change(ChangeCall::SetMode, "set the mode of", name, || {
            let fd = rustix::fs::openat(self.fd(), name, flags, Bits::empty())?;
            let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
            if kind == rustix::fs::FileType::Symlink {
                return Err(Errno::LOOP);
            }
            // fchmod(2) takes no such descriptor, but its path leads to the object itself.
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            rustix::fs::chmod(path, Bits::from_raw_mode(mode.bits()))
        })
        .map_err(RootError::through_proc)
    }

    pub fn set_own_mode(&self, mode: Mode) -> Result<()> {
        self.change_itself(ChangeCall::SetMode, "set the mode of", || {
            rustix::fs::fchmod(self.fd(), Bits::from_raw_mode(mode.bits()))
        })
    }

    pub fn set_own_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        self.change_itself(ChangeCall::SetOwner, "set the owner of", || {
            rustix::fs::fchown(self.fd(), uid, gid)
        })
    }

    pub fn set_own_mtime(&self, mtime: Timestamp) -> Result<()> {
        let times = timestamps(mtime);
        self.change_itself(ChangeCall::SetTimes, "set the time of", || {
            rustix::fs::futimens(self.fd(), &times)
        })
    }

    /// Sets the access time, too.
    pub fn set_mtime(&self, name: &[u8], mtime: Timestamp) -> Result<()> {
        let times = timestamps(mtime);
        self.change(ChangeCall::SetTimes, "set the time of", name, || {
            rustix::fs::utimensat(self.fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Sets an extended attribute of `name` itself (of this directory for an empty name).
    pub fn set_xattr(&self, name: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        let path = self.magic_path(name);
        self.change_either(ChangeCall::SetXattr, "set an extended attribute of", name, || {
            rustix::fs::lsetxattr(path.as_slice(), key, value, XattrFlags::empty())
        })
        .map_err(RootError::through_proc)
    }

    /// Removes an extended attribute of `name` itself (of this directory for an empty name).
    pub fn remove_xattr(&self, name: &[u8], key: &[u8]) -> Result<()> {
        let path = self.magic_path(name);
        self.change_either(ChangeCall::SetXattr, "remove an extended attribute of", name, || {
            rustix::fs::lremovexattr(path.as_slice(), key)
        })
        .map_err(RootError::through_proc)
    }

    /// Afterwards no power cut undoes an earlier rename in this directory. Content of files is not covered.
    pub fn sync(&self) -> Result<()> {
        self.change_itself(ChangeCall::Sync, "sync", || {
            rustix::fs::fsync(self.fd())?;
            // An XFS that has shut itself down loses the change and still answers 0. Only its next answers say EIO.
            rustix::fs::fstat(self.fd()).map(drop)
        })
    }

    /// Also reports write errors on the file system since this handle was opened.
    pub fn sync_file_system(&self) -> Result<()> {
        self.change_itself(ChangeCall::SyncFileSystem, "sync the file system of", || {
            rustix::fs::syncfs(self.fd())
        })
    }
}

/// Open for reading and writing; every change passes the door.
#[derive(Debug)]
pub struct WritableFile {
    file: File,
    path: ObjectPath,
    root: Root,
}

impl WritableFile {
    pub(crate) fn new(file: File, path: ObjectPath, root: Root) -> Self {
        Self { file, path, root }
    }

    pub fn path(&self) -> &ObjectPath {
        &self.path
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns true if owners can be set, because the caller is the superuser.
    pub fn is_privileged(&self) -> bool {
        self.root.is_privileged()
    }

    fn change<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        mut work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        again(|| self.root.door().make(self.step(call), &mut work)).map_err(|errno| self.error(action, errno))
    }

    fn step(&self, call: ChangeCall) -> RootChange<'_> {
        RootChange { call, root: self.root.prefix(), path: &self.path, other: None }
    }

    fn error(&self, action: &'static str, errno: Errno) -> RootError {
        RootError::Call { action, path: self.root.show(&self.path), errno }
    }

    pub fn write_error(&self, error: &io::Error) -> RootError {
        self.error("write", Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Shares blocks if the file system can; returns false if the bytes must be copied.
    pub fn clone_of(&self, source: &File) -> Result<bool> {
        match self.change(ChangeCall::Write, "clone", || rustix::fs::ioctl_ficlone(&self.file, source)) {
            Ok(()) => Ok(true),
            Err(error) => match error.errno() {
                Some(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::PERM) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Reserves bytes, so that a full disk shows at once. File systems without that ability are tolerated.
    pub fn reserve(&self, size: u64) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        let reserved = self.change(ChangeCall::Allocate, "reserve space for", || {
            rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, size)
        });
        match reserved {
            Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::NOSYS)) => Ok(()),
            other => other,
        }
    }

    /// Keeps the length of the file; ignores failures.
    pub fn reserve_beyond(&self, size: u64) -> Result<()> {
        let reserved = self.change(ChangeCall::Allocate, "reserve space for", || {
            rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size)
        });
        match reserved {
            Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::NOSYS)) => Ok(()),
            other => other,
        }
    }

    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|error| self.write_error(&error))
    }

    pub fn put_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let count =
                self.change(ChangeCall::Write, "write", || rustix::io::pwrite(&self.file, rest, at))?;
            if count == 0 {
                return Err(self.error("write", Errno::IO));
            }
            (rest, at) = (rest.get(count..).unwrap_or_default(), at + count as u64);
        }
        Ok(())
    }

    /// Writes as many bytes as one call takes.
    pub fn put_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let step = self.step(ChangeCall::Write);
        Ok(self.root.door().make(step, || rustix::io::pwrite(&self.file, bytes, offset))?)
    }

    /// Returns the number of bytes that one call read: 0 at the end of the file.
    pub fn get_into(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(again(|| rustix::io::pread(&self.file, &mut *buffer, offset))?)
    }

    /// Returns fewer bytes at the end of the file.
    pub fn get_at(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(self.error("read", Errno::from_io_error(&error).unwrap_or(Errno::IO)));
                }
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Continues writing at the new end.
    pub fn set_size(&mut self, size: u64) -> Result<()> {
        self.change(ChangeCall::Truncate, "cut", || rustix::fs::ftruncate(&self.file, size))?;
        self.file.seek(SeekFrom::Start(size)).map_err(|error| self.write_error(&error))?;
        Ok(())
    }

    /// Asks the system to start writing these bytes to the disk. This is advice: it makes nothing durable, and errors
    /// show at the next sync.
    pub fn begin_write_back(&self, offset: u64, length: u64) {
        // Bytes that are not on the disk yet are sent there first; they stay in memory until they arrive.
        let _ =
            rustix::fs::fadvise(&self.file, offset, NonZeroU64::new(length), rustix::fs::Advice::DontNeed);
    }

    pub fn look(&self) -> Result<ObjectStatus> {
        ObjectStatus::of_file(&self.file).map_err(|errno| self.error("look at", errno))
    }

    pub fn size(&self) -> Result<u64> {
        let stat = again(|| rustix::fs::fstat(&self.file)).map_err(|errno| self.error("look at", errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or_default())
    }

    pub fn rewind(&mut self) -> Result<()> {
        self.file.rewind().map_err(|error| self.write_error(&error))
    }

    /// Sets owner and group of a new file. Call it first: chown(2) clears set-id bits and file capabilities.
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<()> {
        self.change(ChangeCall::SetOwner, "set the owner of", || {
            rustix::fs::fchown(&self.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        })
    }

    pub fn set_mode(&self, mode: Mode) -> Result<()> {
        self.change(ChangeCall::SetMode, "set the mode of", || {
            rustix::fs::fchmod(&self.file, Bits::from_raw_mode(mode.bits()))
        })
    }

    pub fn set_xattr(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.change(ChangeCall::SetXattr, "set an extended attribute of", || {
            rustix::fs::fsetxattr(&self.file, key, value, XattrFlags::empty())
        })
    }

    /// Sets the modification time. Call it last.
    pub fn set_mtime(&self, mtime: Timestamp) -> Result<()> {
        let times = timestamps(mtime);
        self.change(ChangeCall::SetTimes, "set the time of", || rustix::fs::futimens(&self.file, &times))
    }

    /// Waits for an open-file-description lock (fcntl(2)), which ends with this value.
    pub fn lock(&self) -> Result<()> {
        let lock = write_lock();
        again(|| {
            let locked = fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&lock)).map(drop);
            locked.map_err(|errno| Errno::from_raw_os_error(errno as i32))
        })
        .map_err(|errno| self.error("lock", errno))
    }

    /// Returns false if another process holds the lock.
    pub fn try_lock(&self) -> Result<bool> {
        let lock = write_lock();
        let locked = again(|| {
            let locked = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock)).map(drop);
            locked.map_err(|errno| Errno::from_raw_os_error(errno as i32))
        });
        match locked {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            Err(errno) => Err(self.error("lock", errno)),
        }
    }

    /// Makes content and size durable; [`crate::Dir::sync`] makes the name durable.
    pub fn sync(&self) -> Result<()> {
        self.change(ChangeCall::Sync, "sync", || rustix::fs::fdatasync(&self.file))
    }
}

fn write_lock() -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

impl AsFd for WritableFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Write for WritableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.root.door().make(self.step(ChangeCall::Write), || rustix::io::write(&self.file, bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for WritableFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

fn timestamps(time: Timestamp) -> Timestamps {
    let spec = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: spec, last_modification: spec }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::{Root, RootError};

    #[test]
    fn the_mode_of_a_name_itself_is_set_and_never_that_of_what_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("directory")).unwrap();
        symlink("file", at("link")).unwrap();
        let root = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        for name in ["file", "directory"] {
            root.set_mode(name.as_bytes(), Mode::of(0)).unwrap();
            root.set_mode(name.as_bytes(), Mode::of(0o4711)).unwrap();
            assert_eq!(mode(name), 0o4711, "{name}, although nobody may open it");
        }
        let error = root.set_mode(b"link", Mode::of(0o600)).unwrap_err();
        assert_eq!((error.errno(), mode("file")), (Some(Errno::LOOP), 0o4711));
        assert!(root.set_mode(b"nothing", Mode::of(0o600)).unwrap_err().is_not_found());
    }

    #[test]
    fn a_file_with_other_names_is_parted_from_them_before_it_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("theirs"), "theirs\n").unwrap();
        fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(at("theirs"), at("log")).unwrap();
        let root = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        for text in ["OURS", "ours"] {
            root.open_or_create(b"log", Mode::of(0o644)).unwrap().put(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(at("theirs")).unwrap(), "theirs\n");
        assert_eq!(fs::read_to_string(at("log")).unwrap(), "oursrs\n", "what was there is kept");
        assert_eq!(fs::metadata(at("log")).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(root.names().unwrap(), [b"log".to_vec(), b"theirs".to_vec()]);
    }

    #[test]
    fn a_file_with_other_names_that_would_take_hours_to_copy_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        File::create(at("theirs")).unwrap().set_len(1 << 40).unwrap();
        fs::hard_link(at("theirs"), at("log")).unwrap();
        let root = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        assert_eq!(root.open_writable(b"log").unwrap_err().errno(), Some(Errno::FBIG));
        assert_eq!(root.names().unwrap(), [b"log".to_vec(), b"theirs".to_vec()]);
        // Without other names, nothing has to be copied.
        fs::remove_file(at("theirs")).unwrap();
        assert!(root.open_writable(b"log").unwrap().is_some());
    }

    #[test]
    fn what_is_not_a_single_name_reaches_nothing_beside_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("within")).unwrap();
        fs::write(dir.path().join("beside"), "theirs\n").unwrap();
        fs::write(dir.path().join("within/ours"), "ours\n").unwrap();
        let root = Root::open(&dir.path().join("within")).unwrap().dir(&ObjectPath::root()).unwrap();
        for name in [&b"../beside"[..], b"..", b".", b"", b"/etc/passwd", b"a/b", b"a\0b"] {
            let calls = [
                root.exchange(b"ours", &root, name),
                root.exchange(name, &root, b"ours"),
                root.move_to(b"ours", &root, name),
                root.replace(name, &root, b"new"),
                root.rename(b"ours", name),
                root.make_link(b"new", &root, name),
                root.make_symlink(name, b"x"),
                root.remove(name),
                root.remove_tree(name),
                root.remove_dir(name).map(drop),
                root.set_mode(name, Mode::of(0o4755)),
                root.set_owner(name, None, None),
                root.create(name).map(drop),
                root.open_or_create(name, Mode::of(0o644)).map(drop),
                root.make_dir(name, Mode::of(0o755)).map(drop),
                root.dir(name).map(drop),
                root.look(name).map(drop),
                root.read(name, 100).map(drop),
                root.read_link(name).map(drop),
            ];
            for (number, call) in calls.into_iter().enumerate() {
                assert!(matches!(call, Err(RootError::Name { .. })), "{number} {}", name.escape_ascii());
            }
        }
        assert_eq!(fs::read_to_string(dir.path().join("beside")).unwrap(), "theirs\n");
        assert_eq!(fs::read_to_string(dir.path().join("within/ours")).unwrap(), "ours\n");
    }

    #[test]
    fn what_is_no_regular_file_is_neither_written_to_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        root.make_node(b"pipe", FileType::Pipe, (0, 0)).unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        for name in ["pipe", "directory", "link"] {
            let error = root.open_or_create(name.as_bytes(), Mode::of(0o644)).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::INVAL), "{name}");
            assert!(root.open_regular(name.as_bytes()).is_err(), "{name}");
        }
        assert!(!dir.path().join("file").exists());
    }
}
