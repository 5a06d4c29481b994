//! Files that are being written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FallocateFlags, Mode as Bits, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::{ChangeCall, ObjectStatus, Result, Root, RootChange, RootError, again};
use crate::Timestamp;
use patchadm_svr4::package::{Mode, ObjectPath};

/// A file of the root, open for reading and writing; every change passes the door.
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

    /// Returns its physical path inside the root.
    pub fn path(&self) -> &ObjectPath {
        &self.path
    }

    /// Returns the root it belongs to.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Tells whether owners can be set, because the caller is the superuser.
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

    /// Wraps an I/O error of [`Write`] as an error of this file.
    pub fn write_error(&self, error: &io::Error) -> RootError {
        self.error("write", Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Shares the blocks of `source` if the file system can; returns false if the bytes must be copied.
    pub fn clone_of(&self, source: &File) -> Result<bool> {
        match self.change(ChangeCall::Write, "clone", || rustix::fs::ioctl_ficlone(&self.file, source)) {
            Ok(()) => Ok(true),
            Err(error) => match error.errno() {
                Some(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::PERM) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Reserves `size` bytes, so that a full disk shows at once. File systems without that ability are tolerated.
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

    /// Reserves `size` bytes without changing the length of the file; failures are ignored.
    pub fn reserve_beyond(&self, size: u64) -> Result<()> {
        let reserved = self.change(ChangeCall::Allocate, "reserve space for", || {
            rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size)
        });
        match reserved {
            Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::NOSYS)) => Ok(()),
            other => other,
        }
    }

    /// Writes all bytes at the current position.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|error| self.write_error(&error))
    }

    /// Writes all bytes at `offset`.
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

    /// Writes as many of these bytes at `offset` as one call takes, and returns their number.
    pub fn put_some(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let step = self.step(ChangeCall::Write);
        Ok(self.root.door().make(step, || rustix::io::pwrite(&self.file, bytes, offset))?)
    }

    /// Reads the bytes that one call returns at `offset`, and returns their number: 0 at the end of the file.
    pub fn get_into(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(again(|| rustix::io::pread(&self.file, &mut *buffer, offset))?)
    }

    /// Reads `length` bytes at `offset`, or fewer at the end of the file.
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

    /// Cuts or extends the file to `size` bytes and continues writing there.
    pub fn set_size(&mut self, size: u64) -> Result<()> {
        self.change(ChangeCall::Truncate, "cut", || rustix::fs::ftruncate(&self.file, size))?;
        self.file.seek(SeekFrom::Start(size)).map_err(|error| self.write_error(&error))?;
        Ok(())
    }

    /// Asks the system to start writing these bytes to the disk, without waiting. This is advice: it makes nothing
    /// durable, and errors show at the next sync.
    pub fn begin_write_back(&self, offset: u64, length: u64) {
        // Bytes that are not on the disk yet are sent there first; they stay in memory until they arrive.
        let _ =
            rustix::fs::fadvise(&self.file, offset, NonZeroU64::new(length), rustix::fs::Advice::DontNeed);
    }

    /// Returns its status.
    pub fn look(&self) -> Result<ObjectStatus> {
        ObjectStatus::of_file(&self.file).map_err(|errno| self.error("look at", errno))
    }

    /// Returns its size in bytes.
    pub fn size(&self) -> Result<u64> {
        let stat = again(|| rustix::fs::fstat(&self.file)).map_err(|errno| self.error("look at", errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// Returns to the beginning, to read what was written.
    pub fn rewind(&mut self) -> Result<()> {
        self.file.rewind().map_err(|error| self.write_error(&error))
    }

    /// Sets owner and group of a new file. Call it first: chown(2) clears set-id bits and file capabilities.
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<()> {
        self.change(ChangeCall::SetOwner, "set the owner of", || {
            rustix::fs::fchown(&self.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        })
    }

    /// Sets the permission bits.
    pub fn set_mode(&self, mode: Mode) -> Result<()> {
        self.change(ChangeCall::SetMode, "set the mode of", || {
            rustix::fs::fchmod(&self.file, Bits::from_raw_mode(mode.bits()))
        })
    }

    /// Sets an extended attribute.
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

    /// Waits until no other process has this file locked, and locks it: an open-file-description lock (fcntl(2)) that
    /// ends with this value.
    pub fn lock(&self) -> Result<()> {
        let lock = write_lock();
        again(|| {
            let locked = fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&lock)).map(drop);
            locked.map_err(|errno| Errno::from_raw_os_error(errno as i32))
        })
        .map_err(|errno| self.error("lock", errno))
    }

    /// Locks this file in the same way unless another process has it locked; returns whether it is locked now.
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

    /// Makes content and size durable. Afterwards the bytes survive a power cut; [`super::Dir::sync`] makes the name
    /// durable.
    pub fn sync(&self) -> Result<()> {
        self.change(ChangeCall::Sync, "sync", || rustix::fs::fdatasync(&self.file))
    }
}

/// Returns a write lock over the whole of a file.
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

/// Makes both times of utimensat(2) from one.
pub(crate) fn timestamps(time: Timestamp) -> Timestamps {
    let spec = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: spec, last_modification: spec }
}
