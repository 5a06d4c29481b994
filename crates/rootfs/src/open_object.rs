//! Objects of the root held by a descriptor that opens nothing (`O_PATH`).

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, Mode as Bits, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::{ChangeCall, Dir, FileType, ObjectStatus, Result, Root, RootChange, RootError, again, optional};
use crate::Sums;
use patchadm_svr4::package::{Mode, ObjectPath};

/// One object, independent of its name: the object checked is the one changed. For a symbolic link, the link itself is
/// held.
#[derive(Debug)]
pub struct OpenObject {
    fd: OwnedFd,
    path: ObjectPath,
    root: Root,
}

impl Dir {
    /// Gets hold of an object without opening it, or returns `None` if it is missing.
    pub fn hold(&self, name: &[u8]) -> Result<Option<OpenObject>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = self.place(name).and_then(|(directory, there)| {
            again(|| rustix::fs::openat(directory, there, flags, Bits::empty()))
        });
        let held = optional(held.map_err(|errno| self.error("open", name, errno)))?;
        Ok(held.map(|fd| OpenObject { fd, path: self.at(name), root: self.root().clone() }))
    }
}

impl OpenObject {
    /// Returns its status.
    pub fn look(&self) -> Result<ObjectStatus> {
        ObjectStatus::of_file(&self.fd).map_err(|errno| self.error("look at", errno))
    }

    /// Returns the sums of a regular file, or `None` for anything else, which is not opened. At most the initial
    /// number of bytes is read.
    pub fn sums(&self) -> Result<Option<Sums>> {
        let seen = self.look()?;
        if seen.file_type != FileType::Regular {
            return Ok(None);
        }
        let path = self.magic_path();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = again(|| rustix::fs::open(path.as_str(), flags, Bits::empty()))
            .map_err(|errno| self.error("open", errno).through_proc())?;
        let mut bytes = std::io::Read::take(File::from(file), seen.size.saturating_add(1));
        let sums = Sums::of(&mut bytes);
        sums.map(Some).map_err(|error| self.error("read", Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }

    /// Returns the value of an extended attribute, or `None` if there is none with this name.
    pub fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let (path, mut value) = (self.magic_path(), vec![0; 1 << 16]);
        match again(|| rustix::fs::getxattr(path.as_str(), key, value.as_mut_slice())) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.error("read an extended attribute of", errno).through_proc()),
        }
    }

    /// Sets owner and group of a new object; `None` keeps the current one. chown(2) clears set-id bits and file
    /// capabilities: an object whose bytes stay gets its owner from [`OpenObject::set_rights`].
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        self.change(ChangeCall::SetOwner, "set the owner of", || {
            rustix::fs::chownat(&self.fd, "", uid, gid, AtFlags::EMPTY_PATH)
        })
    }

    /// Sets the permission bits. A symbolic link has none: ELOOP.
    pub fn set_mode(&self, mode: Mode) -> Result<()> {
        if self.look()?.file_type == FileType::Symlink {
            return Err(self.error("set the mode of", Errno::LOOP));
        }
        // fchmod(2) takes no such descriptor, but its path leads to the object itself.
        let path = self.magic_path();
        self.change(ChangeCall::SetMode, "set the mode of", || {
            rustix::fs::chmod(path.as_str(), Bits::from_raw_mode(mode.bits()))
        })
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let path = self.magic_path();
        self.change(ChangeCall::SetXattr, "set an extended attribute of", || {
            rustix::fs::setxattr(path.as_str(), key, value, XattrFlags::empty())
        })
    }

    /// Removes an extended attribute.
    pub fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        let path = self.magic_path();
        self.change(ChangeCall::SetXattr, "remove an extended attribute of", || {
            rustix::fs::removexattr(path.as_str(), key)
        })
    }

    fn magic_path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    fn change<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        mut work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        let step = RootChange { call, root: self.root.prefix(), path: &self.path, other: None };
        again(|| self.root.door().make(step, &mut work))
            .map_err(|errno| self.error(action, errno).through_proc())
    }

    pub(crate) fn error(&self, action: &'static str, errno: Errno) -> RootError {
        RootError::Call { action, path: self.root.show(&self.path), errno }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_held_is_changed_and_never_what_took_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        fs::write(at("file"), "bytes\n").unwrap();
        fs::write(at("theirs"), "theirs\n").unwrap();
        fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o600)).unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let held = top.hold(b"file").unwrap().unwrap();
        fs::rename(at("file"), at("moved")).unwrap();
        symlink("theirs", at("file")).unwrap();
        held.set_mode(Mode::of(0o4711)).unwrap();
        assert_eq!((mode("moved"), mode("theirs")), (0o4711, 0o600));
        assert_eq!(held.sums().unwrap().unwrap().size, 6);
        let link = top.hold(b"file").unwrap().unwrap();
        assert_eq!(link.set_mode(Mode::of(0o644)).unwrap_err().errno(), Some(Errno::LOOP));
        assert_eq!((link.sums().unwrap(), mode("theirs")), (None, 0o600));
        assert!(top.hold(b"nothing").unwrap().is_none());
    }
}
