//! The only door to the disk.
//!
//! A [`Root`] is the directory that `-R` names. Every path is resolved *inside* it: a symbolic link, a `..` or an
//! absolute target in the tree never leads out (openat2(2), `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS`). Changes are
//! made through [`Dir`] handles, by single system calls that pass [`Door`], so that a test can count them, fail
//! them or stop at one. No other module of the library writes to a root.
//!
//! This module knows nothing of packages: it speaks of files, directories and attributes.

#![allow(clippy::disallowed_methods)] // this is the door

mod accounts;
mod building;
mod cores;
mod descent;
mod dir;
mod door;
mod file;
mod guard;
mod leftover;
mod live;
mod lock;
mod look;
mod mounts;
mod open_object;
mod owner;
mod removal;
mod resolve;
mod sums;
mod untrusted;
mod way;
mod write;

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::package::{ObjectPath, unescape};
use guard::RecordGuard;

pub use accounts::accounts_of;
pub use building::{NewTree, UnnamedDirectory};
pub use cores::{cores, side_by_side};
pub use descent::Descent;
pub use dir::{Dir, FreeSpace};
pub use door::{ChangeCall, Door, RootChange};
pub use file::WritableFile;
pub use guard::RecordPlaces;
pub use live::{Digest, Inode, Live, LiveKind, Timestamp, Xattrs};
pub use lock::{Lock, LockError, LockHolder};
pub use look::{FileType, ObjectStatus, StillFile};
pub use open_object::OpenObject;
pub use owner::ForeignObject;
pub use resolve::Resolver;
pub use sums::{Hashing, Summing, Sums};
pub use untrusted::{Distrust, Untrusted};
pub use write::SpecialFile;

/// Values of packages, and those of the tree beside them.
mod package {
    pub(crate) use crate::{Inode, Live, LiveKind, Sums, Timestamp, Xattrs};
    pub(crate) use patchadm_svr4::package::*;
}

/// A directory under which packages are installed, opened once and held open.
#[derive(Clone, Debug)]
pub struct Root {
    fd: Arc<OwnedFd>,
    prefix: Arc<PathBuf>,
    door: Arc<Door>,
    privileged: bool,
    /// Checks who owns the records, where that matters.
    guard: Option<Arc<RecordGuard>>,
    /// Whether the caller trusts the owner of the root.
    trusted: bool,
    /// Whether the caller acts for the superuser.
    for_superuser: bool,
}

/// A failed operation on a root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A system call on a path failed.
    #[error("cannot {action} {path}: {}", errno_text(*.errno))]
    Call {
        /// The attempted action, as a verb: `open`, `rename`, …
        action: &'static str,
        /// The path, with the prefix of the root.
        path: String,
        /// The error number of the system.
        errno: Errno,
    },
    /// A name is not a single component: empty, `.`, `..`, or with a slash or a NUL byte. A call with it could reach
    /// something outside its directory.
    #[error("<{name}> is not the name of an object in {directory}")]
    Name {
        /// The name, with unprintable bytes escaped.
        name: String,
        /// The directory, with the prefix of the root.
        directory: String,
    },
    /// Symbolic links in the root form a loop.
    #[error("too many symbolic links on the way to {0}")]
    Loop(String),
    /// The kernel is too old.
    #[error("this kernel has no openat2 (Linux 5.6 or later is needed), so paths cannot be kept inside {0}")]
    NoOpenat2(String),
    /// A file is larger than the limit for reading it whole.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The path, with the prefix of the root.
        path: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Somebody other than the superuser may change the records of the root.
    #[error("{0}")]
    Untrusted(Box<Untrusted>),
}

impl RootError {
    /// Returns the error number of a failed system call.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            Self::Name { .. } => Some(Errno::INVAL),
            Self::NoOpenat2(_) => Some(Errno::NOSYS),
            Self::Loop(_) => Some(Errno::LOOP),
            Self::TooLarge { .. } => Some(Errno::FBIG),
            Self::Untrusted(_) => Some(Errno::PERM),
        }
    }

    /// Tells whether the file system, or the caller's quota, is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// Tells whether the object is missing.
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NOTDIR))
    }
}

impl From<RootError> for io::Error {
    fn from(error: RootError) -> Self {
        let kind = Self::from(error.errno().unwrap_or(Errno::IO)).kind();
        Self::new(kind, error)
    }
}

/// The result of an operation on a root.
pub type Result<T> = std::result::Result<T, RootError>;

/// Returns the C library's words for an error, without its number.
fn errno_text(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl Root {
    /// Opens the directory `path` as a root.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Door::default())
    }

    /// Opens a root whose changes pass through `door`.
    pub fn open_with(path: &Path, door: Door) -> Result<Self> {
        let shown = path.display().to_string();
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| RootError::Call { action: "open", path: shown.clone(), errno })?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat2(&fd, ".", flags, Mode::empty(), ResolveFlags::BENEATH) {
            Err(Errno::NOSYS) => return Err(RootError::NoOpenat2(shown)),
            Err(errno) => return Err(RootError::Call { action: "open", path: shown, errno }),
            Ok(_) => {}
        }
        let privileged = rustix::process::geteuid().is_root();
        Ok(Self {
            fd: Arc::new(fd),
            prefix: Arc::new(path.to_owned()),
            door: Arc::new(door),
            privileged,
            guard: None,
            trusted: false,
            for_superuser: false,
        })
    }

    /// Requires the records of the root to be the superuser's alone; others are refused before they are read.
    /// `is_named` states that the root is not the superuser's, whatever owners it shows.
    #[must_use]
    pub fn guarded(self, places: RecordPlaces, is_named: bool) -> Self {
        Self { guard: Some(Arc::new(RecordGuard::new(places, is_named))), ..self }
    }

    /// Trusts the owner of the root, as the caller said.
    #[must_use]
    pub fn trusted(self) -> Self {
        Self { guard: None, trusted: true, ..self }
    }

    /// Tells whether the caller trusts the owner of the root.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Marks that a process of the root's owner acts for the superuser.
    #[must_use]
    pub fn for_superuser(self) -> Self {
        Self { for_superuser: true, ..self }
    }

    /// Tells whether the policy of the running system limits that of the root: the caller is the superuser, or acts
    /// for it.
    pub fn is_bounded(&self) -> bool {
        self.privileged || self.for_superuser
    }

    /// Checks the record directories that every change uses, if the root is [`guarded`](Self::guarded).
    pub fn look_at_records(&self) -> Result<()> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.begin(self))
    }

    /// Returns owner and group of the root directory.
    pub fn owner(&self) -> Result<(u32, u32)> {
        self.seen().map(|seen| (seen.uid, seen.gid))
    }

    /// Tells whether the root directory is `/` of this process.
    pub fn is_system_itself(&self) -> Result<bool> {
        let (own, system) = (self.seen()?, Self::open(Path::new("/"))?.seen()?);
        let place = |seen: &ObjectStatus| (seen.inode, seen.file_system, seen.mount);
        Ok(place(&own) == place(&system))
    }

    /// Returns the path of the open root directory, with all links resolved.
    pub fn physical_path(&self) -> Result<PathBuf> {
        use std::os::fd::AsRawFd as _;
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        std::fs::read_link(&link).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            RootError::Call { action: "find the path of", path: self.shown_prefix(), errno }
        })
    }

    /// Returns the status of the root directory.
    pub(crate) fn seen(&self) -> Result<ObjectStatus> {
        ObjectStatus::of(&*self.fd, || self.shown_prefix())
    }

    pub(crate) fn shown_prefix(&self) -> String {
        self.prefix.display().to_string()
    }

    pub(crate) fn guard(&self) -> Option<&RecordGuard> {
        self.guard.as_deref()
    }

    /// Opens another directory of the host, whose changes pass the same door.
    pub fn elsewhere(&self, path: &Path) -> Result<Self> {
        let other = Self::open(path)?;
        Ok(Self { door: self.door.clone(), ..other })
    }

    /// Returns the path of the root as it was named.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Tells whether this is the root of the running system.
    pub fn is_system(&self) -> bool {
        self.prefix.as_path() == Path::new("/")
    }

    /// Returns a path of the root as a person would type it, with the prefix of the root.
    pub fn show(&self, path: &ObjectPath) -> String {
        if self.is_system() {
            return path.to_string();
        }
        format!("{}{}", self.prefix.display().to_string().trim_end_matches('/'), path)
    }

    /// Tells whether owners can be set, because the caller is the superuser.
    pub fn is_privileged(&self) -> bool {
        self.privileged
    }

    /// Returns the number of threads that work on the root: one if the order of changes is watched.
    pub fn workers(&self) -> usize {
        if self.door.is_watched() { 1 } else { cores() }
    }

    /// Tells whether the root directory belongs to the caller, so that an unprivileged caller may work on it.
    pub fn is_own(&self) -> Result<bool> {
        let seen = self.dir(&ObjectPath::root())?.itself()?;
        Ok(seen.uid == rustix::process::geteuid().as_raw())
    }

    /// Opens the directory at a *physical* path, in which no component may be a symbolic link. The descriptor is a
    /// full one, so that it can be synced.
    pub fn dir(&self, physical: &ObjectPath) -> Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let relative = if physical.relative().is_empty() { &b"."[..] } else { physical.relative() };
        let fd = again(|| rustix::fs::openat2(&*self.fd, relative, flags, Mode::empty(), resolve))
            .map_err(|errno| self.error("open", physical, errno))?;
        Dir::entered(fd, physical.clone(), self.clone())
    }

    /// Opens the directory at a physical path, or returns `None` if there is none.
    pub fn dir_if_there(&self, physical: &ObjectPath) -> Result<Option<Dir>> {
        optional(self.dir(physical))
    }

    /// Returns a resolver for client paths of this root.
    pub fn resolver(&self) -> Resolver<'_> {
        Resolver::new(self)
    }

    /// Reads a whole file of at most `limit` bytes, or returns `None` if it is missing. Symbolic links among its
    /// parents are followed inside the root.
    pub fn read(&self, path: &ObjectPath, limit: u64) -> Result<Option<Vec<u8>>> {
        let physical = self.resolver().locate(path)?;
        let Some(parent) = physical.parent() else {
            return Err(self.error("read", path, Errno::ISDIR));
        };
        match self.dir_if_there(&parent)? {
            Some(dir) => dir.read(physical.name(), limit),
            None => Ok(None),
        }
    }

    /// Returns the names in a directory, sorted, or `None` if it is missing.
    pub fn list(&self, path: &ObjectPath) -> Result<Option<Vec<Vec<u8>>>> {
        let physical = self.resolver().locate_dir(path)?;
        self.dir_if_there(&physical)?.map(|dir| dir.names()).transpose()
    }

    /// Returns the physical paths of all mount points inside the root, the root directory included.
    pub fn mount_points(&self) -> Result<Vec<ObjectPath>> {
        let failed = |error: &io::Error| {
            let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
            RootError::Call { action: "read", path: mounts::TABLE.to_owned(), errno }
        };
        let text = mounts::table().map_err(|error| failed(&error))?;
        let prefix = std::fs::canonicalize(&*self.prefix).map_err(|error| failed(&error))?;
        let mut found = vec![ObjectPath::root()];
        for line in text.split(|&b| b == b'\n') {
            let place = line.split(|&b| b == b' ').nth(4).map(unescape).unwrap_or_default();
            let inside = Path::new(OsStr::from_bytes(&place)).strip_prefix(&prefix).map(Path::to_path_buf);
            if let Ok(inside) = inside
                && let Ok(path) = ObjectPath::root().join(inside.as_os_str().as_bytes())
            {
                found.push(path);
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn error(&self, action: &'static str, path: &ObjectPath, errno: Errno) -> RootError {
        RootError::Call { action, path: self.show(path), errno }
    }
}

/// Tells whether a user has an account on this machine.
pub(crate) fn has_account(uid: u32) -> bool {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).is_ok_and(|user| user.is_some())
}

/// Turns a "not found" error into `None`.
pub(crate) fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn again<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
}

/// Returns sixty-four unguessable bits, for names that must be unique.
pub fn random() -> Result<u64> {
    let mut bytes = [0u8; 8];
    again(|| rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())).map_err(
        |errno| RootError::Call { action: "read random bytes from", path: "the kernel".to_owned(), errno },
    )?;
    Ok(u64::from_ne_bytes(bytes))
}
