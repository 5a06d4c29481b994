use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{
    FileType, FlaggedObject, ObjectStatus, Result, Root, RootError, again, each_entry, each_entry_from_here,
    optional,
};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;

/// Their syncfs reports no errors, or they have no owners.
const UNSUPPORTED: [(u64, &str); 7] = [
    (0x6969, "is on NFS, which patchadm does not support"),
    (0x6573_5546, "is on FUSE, which patchadm does not support"),
    (0x0102_1997, "is on 9p, which patchadm does not support"),
    (0xff53_4d42, "is on CIFS, which patchadm does not support"),
    (0xfe53_4d42, "is on SMB, which patchadm does not support"),
    (0x4d44, "is on a FAT file system, which has no owners and modes"),
    (0x0027_e0eb, "is a control group, not a place for files"),
];

/// A directory of a root, held open; names in it are single components. Reading is in `look`, writing in `write`.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: ObjectPath,
    root: Root,
    /// True if files in it may be records; their owners are checked on opening.
    has_records: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Available to the caller.
    pub bytes: u64,
    pub size: u64,
    /// Objects that can still be made; `None` if the file system has no such limit.
    pub inodes: Option<u64>,
    /// In bytes.
    pub unit: u64,
}

impl FreeSpace {
    /// Returns the bytes that downloads and unpacked files leave on a file system of this size: a fiftieth, but at least
    /// 4 MiB and at most 512 MiB.
    pub fn reserve_of(size: u64) -> u64 {
        (size / 50).clamp(4 << 20, 512 << 20)
    }

    /// Returns the bytes beside the reserve.
    pub fn beside_reserve(&self) -> u64 {
        self.bytes.saturating_sub(Self::reserve_of(self.size))
    }
}

/// The bytes that a held entry takes besides its name, with those for sorting.
const PER_ENTRY: usize = 64;

/// Names of a directory, each with true if it may be a directory.
#[derive(Debug)]
pub(crate) struct SomeEntries {
    pub(crate) entries: Vec<(Vec<u8>, bool)>,
    pub(crate) bytes: usize,
    /// True if the directory has no others.
    pub(crate) is_all: bool,
}

impl Root {
    /// Opens the directory at a *physical* path: no component may be a symbolic link. The descriptor can be synced.
    pub fn dir(&self, physical: &ObjectPath) -> Result<Dir> {
        Dir::entered(self.open_directory(physical)?, physical.clone(), self.clone())
    }

    pub fn dir_if_there(&self, physical: &ObjectPath) -> Result<Option<Dir>> {
        optional(self.dir(physical))
    }

    /// Like [`dir_if_there`](Self::dir_if_there), for the place of an object, which may be beyond a link
    /// ([`Resolver::locate_object`](super::Resolver::locate_object)): no directory is there.
    pub fn dir_of_object(&self, physical: &ObjectPath) -> Result<Option<Dir>> {
        match self.dir_if_there(physical) {
            Err(error) if error.errno() == Some(Errno::LOOP) => Ok(None),
            opened => opened,
        }
    }
}

impl Dir {
    pub(crate) fn new(fd: OwnedFd, path: ObjectPath, root: Root) -> Self {
        let has_records = root.guard().is_some_and(|guard| guard.holds_records(&path));
        Self { fd, path, root, has_records }
    }

    /// Wraps an opened directory. On a guarded root, a directory of records must belong to the superuser.
    pub(crate) fn entered(fd: OwnedFd, path: ObjectPath, root: Root) -> Result<Self> {
        if let Some(guard) = root.guard() {
            guard.directory(&root, &fd, &path)?;
        }
        Ok(Self::new(fd, path, root))
    }

    /// Checks the owner of an opened file if it is a record. Returns the status if that was needed.
    pub(crate) fn look_at_record(&self, name: &[u8], file: impl AsFd) -> Result<Option<ObjectStatus>> {
        match self.root.guard() {
            Some(guard) if self.has_records => guard.file(&self.root, &self.at(name), file),
            _ => Ok(None),
        }
    }

    pub(crate) fn has_records(&self) -> bool {
        self.has_records
    }

    pub(crate) fn shown_as(self, path: ObjectPath) -> Self {
        Self { path, ..self }
    }

    /// Opens a directory of the host as a root of its own.
    pub fn of_host(path: &Path) -> Result<Self> {
        Root::open(path)?.dir(&ObjectPath::root())
    }

    pub fn path(&self) -> &ObjectPath {
        &self.path
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Refuses a symbolic link.
    pub fn dir(&self, name: &[u8]) -> Result<Self> {
        self.must_be_single(name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = self.place(name).and_then(|(directory, there)| {
            again(|| rustix::fs::openat(directory, there, flags, Mode::empty()))
        });
        let fd = opened.map_err(|errno| self.error("open", name, errno))?;
        Self::entered(fd, self.at(name), self.root.clone())
    }

    /// Makes this directory a root, whatever its path leads to by now. Its changes pass the same door.
    pub fn into_root(self) -> Root {
        let Self { fd, path, root, .. } = self;
        root.of_opened(fd, &path)
    }

    pub fn again(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(|error| self.io_error("open", b"", &error))?;
        Ok(Self::new(fd, self.path.clone(), self.root.clone()))
    }

    pub fn names(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.entries()?.into_iter().map(|(name, _)| name).collect())
    }

    pub fn names_that_are(&self, filter: impl Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let entries = self.entries_that_are(filter)?;
        Ok(entries.into_iter().map(|(name, _)| name).collect())
    }

    /// Returns the sorted names of a directory that was just opened, with types if the listing states them. Only the
    /// first call returns them.
    pub fn first_listing(&mut self) -> Result<Vec<(Vec<u8>, Option<FileType>)>> {
        self.first_listing_of(|_| true)
    }

    /// Like [`first_listing`](Self::first_listing), of some names.
    pub fn first_listing_of(
        &mut self,
        filter: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<(Vec<u8>, Option<FileType>)>> {
        let mut found = Vec::new();
        let list = |visit: &mut dyn FnMut(&[u8], rustix::fs::FileType)| {
            each_entry_from_here(&self.fd, |name, listed| {
                visit(name, listed);
                Ok(())
            })
        };
        self.each_shown(list, |name, listed| {
            if filter(name) {
                found.push((name.to_vec(), FileType::of_listed(listed)));
            }
        })?;
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// Sorted. Empty on a file system whose listings do not state types.
    pub fn directories(&self) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        self.each_name(|name, file_type| {
            if file_type == rustix::fs::FileType::Directory {
                found.push(name.to_vec());
            }
        })?;
        found.sort();
        Ok(found)
    }

    /// Sorted; true if the entry may be a directory according to the listing.
    pub fn entries(&self) -> Result<Vec<(Vec<u8>, bool)>> {
        self.entries_that_are(|_| true)
    }

    fn entries_that_are(&self, filter: impl Fn(&[u8]) -> bool) -> Result<Vec<(Vec<u8>, bool)>> {
        use rustix::fs::FileType::{Directory, Unknown};
        let mut found = Vec::new();
        self.each_name(|name, file_type| {
            if filter(name) {
                found.push((name.to_vec(), matches!(file_type, Directory | Unknown)));
            }
        })?;
        found.sort();
        Ok(found)
    }

    /// Returns entries with at most this many bytes in all, but at least one, sorted.
    pub(crate) fn some_entries(&self, most: usize) -> Result<SomeEntries> {
        use rustix::fs::FileType::{Directory, Unknown};
        let (mut found, mut bytes, is_full) = (Vec::new(), 0_usize, Cell::new(false));
        let list = |visit: &mut dyn FnMut(&[u8], rustix::fs::FileType)| {
            let listed = each_entry(&self.fd, |name, listed| {
                visit(name, listed);
                // Nobody reads the rest.
                if is_full.get() { Err(Errno::CANCELED) } else { Ok(()) }
            });
            if is_full.get() { Ok(()) } else { listed }
        };
        self.each_shown(list, |name, file_type| {
            let with_name = bytes.saturating_add(name.len() + PER_ENTRY);
            if is_full.get() || with_name > most && !found.is_empty() {
                is_full.set(true);
                return;
            }
            bytes = with_name;
            found.push((name.to_vec(), matches!(file_type, Directory | Unknown)));
        })?;
        found.sort();
        Ok(SomeEntries { entries: found, bytes, is_all: !is_full.get() })
    }

    fn each_name(&self, visit: impl FnMut(&[u8], rustix::fs::FileType)) -> Result<()> {
        let list = |visit: &mut dyn FnMut(&[u8], rustix::fs::FileType)| {
            each_entry(&self.fd, |name, listed| {
                visit(name, listed);
                Ok(())
            })
        };
        self.each_shown(list, visit)
    }

    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.must_be_single(name)?;
        let target = self
            .place(name)
            .and_then(|(directory, there)| again(|| rustix::fs::readlinkat(directory, there, Vec::new())))
            .map_err(|errno| self.error("read the link", name, errno))?;
        Ok(target.into_bytes())
    }

    pub fn space(&self) -> Result<FreeSpace> {
        let stat = again(|| rustix::fs::fstatvfs(&self.fd))
            .map_err(|errno| self.error("read the free space of", b"", errno))?;
        let free = if self.root.is_privileged() { stat.f_bfree } else { stat.f_bavail };
        Ok(FreeSpace {
            bytes: free.saturating_mul(stat.f_frsize),
            size: stat.f_blocks.saturating_mul(stat.f_frsize),
            inodes: (stat.f_files > 0).then_some(stat.f_favail),
            unit: stat.f_frsize.max(1),
        })
    }

    /// Fails if writing this many bytes would take the reserve of the file system. Unknown space is enough.
    pub fn must_have_room(&self, bytes: u64) -> Result<()> {
        let seen = self.space()?;
        let wanted = bytes.saturating_add(FreeSpace::reserve_of(seen.size));
        if seen.size == 0 || seen.bytes >= wanted {
            return Ok(());
        }
        let shown = self.root.show(self.path());
        let directory =
            shown.strip_suffix('/').filter(|shown| !shown.is_empty()).unwrap_or(&shown).to_owned();
        Err(RootError::NoRoom { directory, unit: "bytes", free: seen.bytes, wanted })
    }

    /// Returns the type of the file system: the magic number of statfs(2).
    pub fn file_system_magic(&self) -> Result<u64> {
        let stat = again(|| rustix::fs::fstatfs(&self.fd))
            .map_err(|errno| self.error("examine the file system of", b"", errno))?;
        #[allow(clippy::cast_sign_loss)] // a bit pattern
        Ok(stat.f_type as u64 & 0xffff_ffff)
    }

    /// Returns the reason why nothing on its file system is changed: the rest of a sentence about the directory.
    pub fn unsupported(&self) -> Result<Option<&'static str>> {
        let magic = self.file_system_magic()?;
        Ok(UNSUPPORTED.iter().find(|(unsupported, _)| *unsupported == magic).map(|(_, reason)| *reason))
    }

    /// Returns true if new objects inherit a project id from the directory (`FS_PROJINHERIT_FL`), so that nothing can
    /// be renamed into it from elsewhere. Returns false if the file system has no such flags.
    pub fn hands_down_project(&self) -> bool {
        const PROJECT_INHERIT: u32 = 0x2000_0000;
        rustix::fs::ioctl_getflags(&self.fd).is_ok_and(|flags| flags.bits() & PROJECT_INHERIT != 0)
    }

    pub fn is_writable(&self) -> bool {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::accessat(&self.fd, ".", access, AtFlags::EACCESS).is_ok()
    }

    /// Returns true if the file system, or the mount that leads to the directory, is read-only.
    pub fn is_read_only(&self) -> Result<bool> {
        let stat = again(|| rustix::fs::fstatvfs(&self.fd))
            .map_err(|errno| self.error("examine the file system of", b"", errno))?;
        Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    }

    /// Returns the path of `name` in the directory, or its own path for an empty name.
    pub fn at(&self, name: &[u8]) -> ObjectPath {
        // A name that forms no path (too long in total) is shown by its directory; the call on it fails anyway.
        if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name).unwrap_or_else(|_| self.path.clone())
        }
    }

    /// Returns the error (EEXIST) for replacing an object at `name` that must stay.
    pub fn refused(&self, name: &[u8]) -> RootError {
        self.error("replace", name, Errno::EXIST)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(crate) fn show(&self, name: &[u8]) -> String {
        self.root.show(&self.at(name))
    }

    /// Checks that `name` is a single component, so that a call with it cannot leave this directory.
    pub(crate) fn must_be_single(&self, name: &[u8]) -> Result<()> {
        let is_single = !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| b"/\0".contains(byte));
        if holds("root.single-name", is_single) {
            return Ok(());
        }
        let name = name.escape_ascii().to_string();
        Err(RootError::Name { name, directory: self.root.show(&self.path) })
    }

    pub(crate) fn error(&self, action: &'static str, name: &[u8], errno: Errno) -> RootError {
        let flagged = if errno == Errno::PERM { self.flagged(action, name) } else { None };
        flagged.unwrap_or_else(|| RootError::Call { action, path: self.show(name), errno })
    }

    /// Returns the error for an immutable or append-only object, or for an object in such a directory.
    pub(crate) fn flagged(&self, action: &'static str, name: &[u8]) -> Option<RootError> {
        let flag_of = |seen: Option<ObjectStatus>| seen.and_then(|seen| seen.flag());
        let own = ObjectStatus::at(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let (flagged, (flag, letter)) = match flag_of(own) {
            Some(flag) => (self.show(name), flag),
            None => (self.show(b""), flag_of(ObjectStatus::of_file(&self.fd).ok())?),
        };
        let flagged = FlaggedObject { action, path: self.show(name), flagged, flag, letter };
        Some(RootError::Flagged(Box::new(flagged)))
    }

    pub(crate) fn io_error(&self, action: &'static str, name: &[u8], error: &io::Error) -> RootError {
        self.error(action, name, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
