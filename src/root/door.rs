//! What every change of a root passes: one point where a test can count, fail or stop.

use std::fmt;

use rustix::io::Errno;

use crate::package::ObjectPath;

/// The mutating system calls there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A file is made (`O_EXCL`).
    Create,
    /// An existing file is opened for writing.
    OpenWrite,
    /// A directory is made.
    MakeDirectory,
    /// A symbolic link is made.
    MakeSymlink,
    /// A pipe or device is made.
    MakeNode,
    /// A hard link is made.
    MakeLink,
    /// Space is reserved.
    Allocate,
    /// Bytes are written.
    Write,
    /// A file is cut to a length.
    Truncate,
    /// Owner and group are set.
    SetOwner,
    /// Permission bits are set.
    SetMode,
    /// An extended attribute is set or removed.
    SetXattr,
    /// Times are set.
    SetTimes,
    /// Two names are exchanged.
    Exchange,
    /// A name is moved to where nothing is.
    Move,
    /// A name is moved over another one.
    Rename,
    /// A name is removed.
    Unlink,
    /// An empty directory is removed.
    RemoveDirectory,
    /// A file or directory is made durable.
    Sync,
    /// A whole file system is made durable.
    SyncFileSystem,
}

/// One change that is about to be made.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// Which call.
    pub call: Call,
    /// On what; for a rename the name it leaves.
    pub path: &'a ObjectPath,
}

/// Looks at each change before it is made; an error is returned in place of making it.
type Watcher = dyn Fn(&Step<'_>) -> Result<(), Errno> + Send + Sync;

/// The point that all changes pass. By default it lets everything through.
#[derive(Default)]
pub struct Door {
    watcher: Option<Box<Watcher>>,
}

impl Door {
    /// A door that asks `watcher` before every change.
    pub fn watched(watcher: impl Fn(&Step<'_>) -> Result<(), Errno> + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Box::new(watcher)) }
    }

    pub(in crate::root) fn pass(&self, call: Call, path: &ObjectPath) -> Result<(), Errno> {
        match &self.watcher {
            Some(watcher) => watcher(&Step { call, path }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("watched", &self.watcher.is_some()).finish()
    }
}
