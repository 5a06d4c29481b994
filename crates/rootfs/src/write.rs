//! Changes names and attributes in a directory: one system call each, each through the door.

use rustix::fs::{AtFlags, Mode as Bits, OFlags, RenameFlags, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::file::timestamps;
use super::{
    ChangeCall, Dir, FileType, ObjectStatus, Result, RootChange, WritableFile, again, optional, random,
};
use crate::{RootError, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The largest number of attempts to open a file that comes and goes.
const MOST_TRIES: usize = 100;

impl Dir {
    /// Changes `name`.
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

    /// Changes `name` and another name, in the same directory or another one.
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

    /// Changes this directory itself.
    fn change_itself<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        self.make(call, action, b"", None, work)
    }

    /// Changes an attribute of `name`, or of this directory for an empty name.
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
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.change(ChangeCall::Create, "create", name, || {
            rustix::fs::openat(self.fd(), name, flags, Bits::RUSR | Bits::WUSR)
        })?;
        Ok(WritableFile::new(fd.into(), self.at(name), self.root().clone()))
    }

    /// Opens an existing file for reading and writing, or returns `None` if it is missing. Anything but a regular file
    /// is refused unopened. A file with further names, which may belong to anyone, is first replaced by a copy.
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

    /// Replaces a file by a copy of itself, so that its other names keep the current content.
    fn part(&self, name: &[u8], seen: &ObjectStatus) -> Result<()> {
        let beside = format!(".patchadm-{:016x}", random()?).into_bytes();
        let mut source = self.open_regular(name)?;
        let mut copy = self.create(&beside)?;
        let made =
            std::io::copy(&mut source, &mut copy).map_err(|error| copy.write_error(&error)).and_then(|_| {
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

    /// Makes a symbolic link.
    pub fn make_symlink(&self, name: &[u8], target: &[u8]) -> Result<()> {
        self.change(ChangeCall::MakeSymlink, "make the symbolic link", name, || {
            rustix::fs::symlinkat(target, self.fd(), name)
        })
    }

    /// Makes a pipe, or a device with these numbers.
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

    /// Moves a name to a free one; otherwise fails with EEXIST.
    pub fn move_to(&self, name: &[u8], other: &Self, other_name: &[u8]) -> Result<()> {
        self.change_two(ChangeCall::Move, "move", name, (other, other_name), || {
            rustix::fs::renameat_with(self.fd(), name, other.fd(), other_name, RenameFlags::NOREPLACE)
        })
    }

    /// Renames `name` to `new_name` in this directory, replacing any existing object.
    pub fn rename(&self, name: &[u8], new_name: &[u8]) -> Result<()> {
        self.change_two(ChangeCall::Rename, "rename", name, (self, new_name), || {
            rustix::fs::renameat(self.fd(), name, self.fd(), new_name)
        })
    }

    /// Renames `name` to `other_name` in another directory, replacing any existing object. If both are names of one
    /// object, nothing happens (rename(2)).
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

    /// Removes an empty directory; returns false if it is not empty or busy (a mount point).
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

    /// Sets owner and group of `name` itself, a new object. chown(2) clears set-id bits and file capabilities: an object
    /// whose bytes stay gets its owner from [`OpenObject::set_rights`](super::OpenObject::set_rights).
    pub fn set_owner(&self, name: &[u8], uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        self.change(ChangeCall::SetOwner, "set the owner of", name, || {
            rustix::fs::chownat(self.fd(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Sets the permission bits of `name` itself. A symbolic link, which has none, fails with ELOOP, regardless of the
    /// earlier type of `name`.
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

    /// Sets the permission bits of this directory.
    pub fn set_own_mode(&self, mode: Mode) -> Result<()> {
        self.change_itself(ChangeCall::SetMode, "set the mode of", || {
            rustix::fs::fchmod(self.fd(), Bits::from_raw_mode(mode.bits()))
        })
    }

    /// Sets owner and group of this directory.
    pub fn set_own_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        self.change_itself(ChangeCall::SetOwner, "set the owner of", || {
            rustix::fs::fchown(self.fd(), uid, gid)
        })
    }

    /// Sets the modification time of this directory; the access time becomes the same.
    pub fn set_own_mtime(&self, mtime: Timestamp) -> Result<()> {
        let times = timestamps(mtime);
        self.change_itself(ChangeCall::SetTimes, "set the time of", || {
            rustix::fs::futimens(self.fd(), &times)
        })
    }

    /// Sets the modification time of `name` itself; the access time becomes the same.
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

    /// Makes the names of this directory durable.
    ///
    /// Afterwards, no power cut undoes an earlier rename in this directory; the content of files is not covered.
    pub fn sync(&self) -> Result<()> {
        self.change_itself(ChangeCall::Sync, "sync", || rustix::fs::fsync(self.fd()))
    }

    /// Makes the whole file system of this directory durable, and reports write errors on it since this handle was
    /// opened.
    pub fn sync_file_system(&self) -> Result<()> {
        self.change_itself(ChangeCall::SyncFileSystem, "sync the file system of", || {
            rustix::fs::syncfs(self.fd())
        })
    }
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
