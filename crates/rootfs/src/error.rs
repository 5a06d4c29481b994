//! The reasons why an operation on a root failed.

use std::io;

use rustix::io::Errno;

use super::Untrusted;

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
    /// A system call failed, because an attribute of a file or directory forbids it to everybody.
    #[error("{0}")]
    Flagged(Box<FlaggedObject>),
    /// A name is not a single component: empty, `.`, `..`, or with a slash or a NUL byte. A call with it could reach an
    /// object outside its directory.
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
    /// No `/proc` is mounted, and the system call on this path needs it.
    #[error("cannot {action} {path}: /proc is not mounted; `mount -t proc proc /proc` mounts it")]
    NoProc {
        /// The attempted action, as a verb.
        action: &'static str,
        /// The path, with the prefix of the root.
        path: String,
    },
    /// A file is larger than the limit for reading it whole.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The path, with the prefix of the root.
        path: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A user other than the superuser may change the records of the root.
    #[error("{0}")]
    Untrusted(Box<Untrusted>),
}

/// A system call that an attribute of a file or directory forbids to everybody.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {flagged} {flag}; chattr -{letter} takes that away")]
pub struct FlaggedObject {
    /// The attempted action, as a verb.
    pub action: &'static str,
    /// The path, with the prefix of the root.
    pub path: String,
    /// The path that has the attribute: the same, or that of its directory.
    pub flagged: String,
    /// The attribute, as the end of a sentence.
    pub flag: &'static str,
    /// The letter that chattr(1) has for it.
    pub letter: char,
}

impl RootError {
    /// Returns the error of a system call whose path leads through `/proc/self/fd`: ENOENT where no `/proc` is mounted is
    /// no word about the object.
    pub(crate) fn through_proc(self) -> Self {
        match self {
            Self::Call { action, path, errno: Errno::NOENT } if !is_proc_mounted() => {
                Self::NoProc { action, path }
            }
            other => other,
        }
    }

    /// Returns the error number of a failed system call.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            Self::Name { .. } => Some(Errno::INVAL),
            Self::NoOpenat2(_) => Some(Errno::NOSYS),
            // Not ENOENT: the object itself is there.
            Self::NoProc { .. } => Some(Errno::NODEV),
            Self::Loop(_) => Some(Errno::LOOP),
            Self::TooLarge { .. } => Some(Errno::FBIG),
            Self::Untrusted(_) | Self::Flagged(_) => Some(Errno::PERM),
        }
    }

    /// Tells whether the caller lacks permission for the operation.
    pub fn is_refused_access(&self) -> bool {
        // Nobody may do what an attribute forbids.
        !matches!(self, Self::Flagged(_)) && matches!(self.errno(), Some(Errno::ACCESS | Errno::PERM))
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

/// Tells whether this process can see its own descriptors in `/proc`.
pub(crate) fn is_proc_mounted() -> bool {
    std::path::Path::new("/proc/self/fd").exists()
}

/// Returns the C library's text for an error, without its number.
fn errno_text(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Turns a "not found" error into `None`.
pub(crate) fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
