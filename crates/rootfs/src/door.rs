//! What every change of a root passes: one point where a test can count, fail, stop, and see what was really done.
//!
//! One pass is one system call, so a call that a signal interrupted passes again when it is made again. What does not
//! pass: the lock file and the record in it, which are no part of the state of a root, and what procedure scripts do.

use std::fmt;
use std::path::Path;

use rustix::io::Errno;

use crate::package::ObjectPath;

/// The mutating system calls there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeCall {
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

/// One change: about to be made, or just made.
#[derive(Clone, Copy, Debug)]
pub struct RootChange<'a> {
    /// Which call.
    pub call: ChangeCall,
    /// The root that the paths are in, as it was named. Undo archives outside it are below `/`
    /// ([`super::Root::elsewhere`]).
    pub root: &'a Path,
    /// On what, a physical path; for a rename the name it leaves, for a link the new name.
    pub path: &'a ObjectPath,
    /// The second path of a call on two names: where a name is moved to, what it is exchanged with, what it is a link
    /// of.
    pub other: Option<&'a ObjectPath>,
}

/// Looks at each change before it is made; an error is returned in place of making it.
type Watcher = dyn Fn(&RootChange<'_>) -> Result<(), Errno> + Send + Sync;

/// Looks at each change that was tried, with what the system said.
type Witness = dyn Fn(&RootChange<'_>, Result<(), Errno>) + Send + Sync;

/// The point that all changes pass. By default it lets everything through.
#[derive(Default)]
pub struct Door {
    watcher: Option<Box<Watcher>>,
    witness: Option<Box<Witness>>,
    for_many: bool,
}

impl Door {
    /// A door that asks `watcher` before every change. EINTR, too, is taken as the answer of the system: the call is
    /// tried again.
    pub fn watched(watcher: impl Fn(&RootChange<'_>) -> Result<(), Errno> + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Box::new(watcher)), witness: None, for_many: false }
    }

    /// Whether somebody looks at the changes, and so wants them in an order that does not change from run to run.
    pub(crate) fn is_watched(&self) -> bool {
        self.watcher.is_some() && !self.for_many
    }

    /// The same door for changes that several threads make side by side, in whatever order.
    #[must_use]
    pub fn for_many(self) -> Self {
        Self { for_many: true, ..self }
    }

    /// The same door; `witness` is told what became of every change that the watcher let through.
    #[must_use]
    pub fn witnessed(
        self,
        witness: impl Fn(&RootChange<'_>, Result<(), Errno>) + Send + Sync + 'static,
    ) -> Self {
        Self { witness: Some(Box::new(witness)), ..self }
    }

    /// Makes a change, or does not, as the watcher says.
    pub(crate) fn make<T>(
        &self,
        step: RootChange<'_>,
        work: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if let Some(watcher) = &self.watcher {
            watcher(&step)?;
        }
        let made = work();
        if let Some(witness) = &self.witness {
            witness(&step, made.as_ref().map(drop).map_err(|errno| *errno));
        }
        made
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("watched", &self.watcher.is_some())
            .field("witnessed", &self.witness.is_some())
            .field("for_many", &self.for_many)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::Root;

    /// A door that notes what passes it, as text, and refuses what `refused` says.
    fn noting(refused: fn(&RootChange<'_>) -> Result<(), Errno>) -> (Door, Arc<Mutex<Vec<String>>>) {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let kept = notes.clone();
        let door = Door::watched(refused).witnessed(move |step, made| {
            let other = step.other.map(|other| format!(" {other}")).unwrap_or_default();
            kept.lock().unwrap().push(format!("{:?} {}{other} {made:?}", step.call, step.path));
        });
        (door, notes)
    }

    #[test]
    fn a_witness_sees_both_names_and_what_became_of_each_change_that_was_tried() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let (door, notes) =
            noting(|step| if step.call == ChangeCall::Unlink { Err(Errno::IO) } else { Ok(()) });
        let root = Root::open_with(dir.path(), door).unwrap();
        let top = root.dir(&ObjectPath::root()).unwrap();
        let inner = top.dir(b"in").unwrap();
        drop(top.create(b"a").unwrap());
        top.make_link(b"b", &top, b"a").unwrap();
        top.move_to(b"b", &inner, b"c").unwrap();
        assert!(top.move_to(b"a", &inner, b"c").is_err());
        top.exchange(b"a", &inner, b"c").unwrap();
        assert_eq!(top.remove(b"a").unwrap_err().errno(), Some(Errno::IO), "as the watcher says");
        assert_eq!(
            *notes.lock().unwrap(),
            [
                "Create /a Ok(())",
                "MakeLink /b /a Ok(())",
                "Move /b /in/c Ok(())",
                "Move /a /in/c Err(Os { code: 17, kind: AlreadyExists, message: \"File exists\" })",
                "Exchange /a /in/c Ok(())",
            ]
        );
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        use std::sync::atomic::{AtomicBool, Ordering};
        static INTERRUPTED: AtomicBool = AtomicBool::new(false);
        let dir = tempfile::tempdir().unwrap();
        let (door, notes) =
            noting(
                |_| {
                    if INTERRUPTED.fetch_xor(true, Ordering::Relaxed) { Ok(()) } else { Err(Errno::INTR) }
                },
            );
        let root = Root::open_with(dir.path(), door).unwrap();
        let mut file = root.dir(&ObjectPath::root()).unwrap().create(b"a").unwrap();
        file.put(b"text").unwrap();
        file.put_at(b"b", 3).unwrap();
        file.sync().unwrap();
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"texb");
        assert_eq!(notes.lock().unwrap().len(), 4);
    }
}
