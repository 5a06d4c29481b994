//! What a run that died may have left running, and the lock that says whether something is.

use std::time::{Duration, Instant};

use super::{ProcessIdentity, ScriptError};
use crate::package::{Mode, ObjectPath};
use crate::root::{Dir, Lock, LockError, Root, RootError};

/// The lock file, below [`DIRECTORY`].
const NAME: &[u8] = b"script.lock";

/// Where the program keeps what is its own.
const DIRECTORY: [&[u8]; 3] = [b"var", b"sadm", b"patchadm"];

/// How long the second process of a dead run may take to end its script and go.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a new run waits: recovery has come before it, so only the end of a process may be under way.
const MOMENT: Duration = Duration::from_secs(1);

/// The lock `var/sadm/patchadm/script.lock`: as long as it is held, no script of another run is at work on the root.
#[derive(Debug)]
pub struct ScriptLock {
    /// Held until this value goes.
    _lock: Lock,
}

impl ScriptLock {
    /// Takes it for a new run.
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

/// For recovery, before anything is undone: takes the lock of scripts, once the second process of the dead run has
/// ended its script or, where that process is gone too, after ending what is left of the script: `unfinished` is the run
/// and the process that its record describes. Only processes whose own environment names that run are ended.
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

/// The directory of the lock, made where it is missing.
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
