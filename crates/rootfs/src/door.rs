//! The door: each system call that changes a root passes it, and so does its repetition after EINTR. A test can count
//! calls, fail them or stop at one. The lock file with its record and the actions of procedure scripts do not pass.

use std::fmt;
use std::path::Path;

use rustix::io::Errno;

use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeCall {
    /// With `O_EXCL`.
    Create,
    OpenWrite,
    MakeDirectory,
    MakeSymlink,
    MakeNode,
    MakeLink,
    Allocate,
    Write,
    Truncate,
    SetOwner,
    SetMode,
    SetXattr,
    SetTimes,
    Exchange,
    /// To a free name.
    Move,
    /// Over another name.
    Rename,
    Unlink,
    RemoveDirectory,
    Sync,
    SyncFileSystem,
}

#[derive(Clone, Copy, Debug)]
pub struct RootChange<'a> {
    pub call: ChangeCall,
    /// As it was named. Undo archives outside it are below `/` ([`super::Root::elsewhere`]).
    pub root: &'a Path,
    /// Physical. The old name of a rename, the new name of a link.
    pub path: &'a ObjectPath,
    /// The second name: the target of a move, the other name of an exchange, the source of a link.
    pub other: Option<&'a ObjectPath>,
}

type Watcher = dyn Fn(&RootChange<'_>) -> Result<(), Errno> + Send + Sync;

type Witness = dyn Fn(&RootChange<'_>, Result<(), Errno>) + Send + Sync;

#[derive(Default)]
pub struct Door {
    watcher: Option<Box<Watcher>>,
    witness: Option<Box<Witness>>,
    for_many: bool,
}

impl Door {
    /// Consults `watcher` before every change. If it answers EINTR, the call is repeated.
    pub fn watched(watcher: impl Fn(&RootChange<'_>) -> Result<(), Errno> + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Box::new(watcher)), witness: None, for_many: false }
    }

    /// Returns true if changes must come in the same order in every run.
    pub(crate) fn is_watched(&self) -> bool {
        self.watcher.is_some() && !self.for_many
    }

    /// Makes the same door for changes made by several threads side by side, in any order.
    #[must_use]
    pub fn for_many(self) -> Self {
        Self { for_many: true, ..self }
    }

    /// Makes the same door with a `witness`, which receives the result of every change that the watcher let through.
    #[must_use]
    pub fn witnessed(
        self,
        witness: impl Fn(&RootChange<'_>, Result<(), Errno>) + Send + Sync + 'static,
    ) -> Self {
        Self { witness: Some(Box::new(witness)), ..self }
    }

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
