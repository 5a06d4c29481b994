//! Processes left running by a dead run, and the lock that shows whether there are any.

use std::time::{Duration, Instant};

use super::{ProcessIdentity, ScriptError};
use patchadm_rootfs::{Dir, Lock, LockError, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The name of the lock file, below [`DIRECTORY`].
const NAME: &[u8] = b"script.lock";

/// The directory of this program's own files.
const DIRECTORY: [&[u8]; 3] = [b"var", b"sadm", b"patchadm"];

/// The time the second process of a dead run may take to end its script and exit.
const PATIENCE: Duration = Duration::from_secs(15);

/// The time a new run waits. Recovery came first, so at most the end of a process can be under way.
const MOMENT: Duration = Duration::from_secs(1);

/// The lock `var/sadm/patchadm/script.lock`: while it is held, no script of another run works on the root.
#[derive(Debug)]
pub struct ScriptLock {
    /// The lock itself, released on drop.
    _lock: Lock,
}

impl ScriptLock {
    /// Takes the lock for a new run.
    pub(super) fn take(root: &Root) -> Result<Self, ScriptError> {
        Self::take_within(MOMENT, root)
    }

    fn take_within(time: Duration, root: &Root) -> Result<Self, ScriptError> {
        let dir = directory(root)?;
        let until = Instant::now() + time;
        let lock = Lock::take_file(&dir, NAME, "patchadm", |_| {
            std::thread::sleep(Duration::from_millis(50));
            Instant::now() < until
        });
        lock.map(|lock| Self { _lock: lock }).map_err(LockError::into)
    }
}

/// Takes the lock of scripts for recovery, before anything is undone. Waits until the second process of the dead run
/// has ended its script; if that process is gone too, ends the remains of the script first. `unfinished` names the
/// run and its recorded process. Only processes whose own environment names that run are ended.
pub fn end_leftovers(
    root: &Root,
    unfinished: Option<(&str, &ProcessIdentity)>,
) -> Result<ScriptLock, ScriptError> {
    let lock = ScriptLock::take_within(PATIENCE, root)?;
    if let Some((run, process)) = unfinished
        && !process.end(run).map_err(ScriptError::Lost)?
    {
        return Err(ScriptError::Immortal(process.group));
    }
    Ok(lock)
}

/// Opens the directory of the lock, and makes it if it is missing.
fn directory(root: &Root) -> Result<Dir, RootError> {
    let mut path = ObjectPath::root();
    let mut dir = root.dir(&path)?;
    for name in DIRECTORY {
        path = root.resolver().locate_dir(&dir.at(name))?;
        dir = match root.dir_if_there(&path)? {
            Some(dir) => dir,
            None => dir.make_dir(name, Mode::of(0o755))?,
        };
    }
    Ok(dir)
}
