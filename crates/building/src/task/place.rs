//! The directory of one task: its layer, its working directories, and two locks that tell who uses it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_core::namespaces::HeldLock;
use patchadm_rootfs::{Dir, FileType, Lock, LockError, RootError, random};
use patchadm_svr4::package::Mode;

use crate::control_groups::{GroupLimits, TaskGroup, remove_abandoned_groups};
use crate::tree_walk::each_below;
use crate::work::{PROGRAM, host_directory, made_private};

/// The directories of a task: its layer and that of overlayfs, and what is mounted.
const PARTS: [&str; 6] = ["upper", "scratch", "work", "out", "packages", "distfiles"];

/// The lock, beside the directories of tasks, of who makes one until it has an owner, and of who looks which have none.
const MAKING: &[u8] = b"tasks.lock";

/// The lock of the process of the task.
pub(crate) const OWNER: &[u8] = b"owner";

/// The lock that is shared by what runs in the sandbox.
const INSIDE: &[u8] = b"inside";

/// How long is waited between two looks whether everything inside has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// The directory of one task, for as long as it is used.
#[derive(Debug)]
pub(crate) struct TaskPlace {
    /// The directory that it is in.
    tasks: Dir,
    name: Vec<u8>,
    /// Its path on this machine.
    pub(crate) path: PathBuf,
    /// The directory.
    pub(crate) dir: Dir,
    _owner: Lock,
}

impl TaskPlace {
    /// Makes the directory of a task of the bulk build with this identity.
    pub(crate) fn make(build_dir: &Path, id: &str) -> Result<Self, LockError> {
        let above = host_directory(build_dir)?;
        let tasks = made_private(&above, b"tasks")?;
        let name = format!("{id}.{:016x}", random()?).into_bytes();
        let making = take_soon(&above, MAKING)?;
        let dir = tasks.make_dir(&name, Mode::of(0o755))?;
        let owner = Lock::take_file(&dir, OWNER, PROGRAM, |_| false)?;
        drop(making);
        for part in PARTS {
            dir.make_dir(part.as_bytes(), Mode::of(0o755))?;
        }
        let path = crate::work::host_path(&build_dir.join("tasks"), &name);
        Ok(Self { tasks, name, path, dir, _owner: owner })
    }

    /// Returns the path of a part.
    pub(crate) fn part(&self, part: &str) -> PathBuf {
        self.path.join(part)
    }

    /// Makes a part anew, and empty.
    pub(crate) fn empty(&self, part: &str) -> Result<Dir, RootError> {
        remove_all(&self.dir, part.as_bytes())?;
        self.dir.make_dir(part.as_bytes(), Mode::of(0o755))
    }

    /// Returns the lock that what runs inside holds.
    pub(crate) fn inside(&self) -> HeldLock {
        HeldLock { directory: self.path.clone().into(), name: "inside".into() }
    }

    /// Makes the control groups of the task, and removes those that tasks of the same bulk build have left.
    pub(crate) fn control_group(&self, limits: GroupLimits) -> TaskGroup {
        let id = self.name.split(|&byte| byte == b'.').next().unwrap_or_default();
        remove_abandoned_groups(&String::from_utf8_lossy(id), |task| !is_owned(&self.tasks, task));
        TaskGroup::make(&String::from_utf8_lossy(&self.name), limits)
    }

    /// Waits until nothing runs inside any more.
    pub(crate) fn wait_until_empty(&self) -> Result<(), LockError> {
        take_soon(&self.dir, INSIDE).map(drop)
    }

    /// Opens the directory of a failed build that was kept, for whoever enters it.
    pub(crate) fn reopen(failed: Dir, path: &Path, name: &[u8]) -> Result<Self, LockError> {
        let dir = failed.dir(name)?;
        let owner = Lock::take_file(&dir, OWNER, PROGRAM, |_| false)?;
        Ok(Self {
            tasks: failed,
            name: name.to_vec(),
            path: crate::work::host_path(path, name),
            dir,
            _owner: owner,
        })
    }

    /// Moves the directory elsewhere, on the same file system.
    pub(crate) fn move_to(self, to: &Dir, name: &[u8]) -> Result<(), RootError> {
        self.tasks.move_to(&self.name, to, name)
    }

    /// Removes the directory.
    pub(crate) fn remove(self) -> Result<(), RootError> {
        remove_all(&self.tasks, &self.name)
    }
}

/// Takes a lock as soon as nobody else holds it.
pub(crate) fn take_soon(dir: &Dir, lock: &[u8]) -> Result<Lock, LockError> {
    Lock::take_file(dir, lock, PROGRAM, |_| {
        std::thread::sleep(PAUSE);
        true
    })
}

/// Removes the directories of tasks that nobody owns any more, and the control groups of those of the bulk build with this
/// identity. What cannot be removed stays for the next time.
pub(crate) fn remove_abandoned(build_dir: &Path, id: &str) -> Result<(), LockError> {
    let above = host_directory(build_dir)?;
    if above.look(b"tasks")?.is_none() {
        return Ok(());
    }
    let tasks = above.dir(b"tasks")?;
    remove_abandoned_groups(id, |task| !is_owned(&tasks, task));
    let making = take_soon(&above, MAKING)?;
    let is_abandoned = |name: &Vec<u8>| {
        let Ok(dir) = tasks.dir(name) else { return false };
        ![OWNER, INSIDE].iter().any(|lock| Lock::is_file_held(&dir, lock).unwrap_or(true))
    };
    let abandoned: Vec<Vec<u8>> = tasks.directories()?.into_iter().filter(is_abandoned).collect();
    drop(making);
    // What has no owner now never has one again.
    for name in abandoned {
        let _ = remove_all(&tasks, &name);
    }
    Ok(())
}

/// Tells whether the process of a task lives. Its directory is there before any group of it is, and until the last one is gone.
fn is_owned(tasks: &Dir, task: &[u8]) -> bool {
    match tasks.look(task) {
        Ok(None) => false,
        _ => tasks.dir(task).map_or(true, |dir| Lock::is_file_held(&dir, OWNER).unwrap_or(true)),
    }
}

/// Removes a directory with all below it, also with directories that their owner may not enter.
pub(crate) fn remove_all(above: &Dir, name: &[u8]) -> Result<(), RootError> {
    match above.remove_tree(name) {
        Err(error) if error.is_refused_access() => {
            open_all(above, name)?;
            above.remove_tree(name)
        }
        other => other,
    }
}

/// Gives the owner of directories all rights.
fn open_all(above: &Dir, name: &[u8]) -> Result<(), RootError> {
    above.set_mode(name, Mode::of(0o700))?;
    each_below(&above.dir(name)?, |above, name, seen| {
        if seen.file_type == FileType::Directory {
            above.set_mode(name, Mode::of(0o700))?;
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_place_of_a_task_that_has_ended_is_removed_and_that_of_a_living_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let living = TaskPlace::make(dir.path(), "id").unwrap();
        let dead = dir.path().join("tasks/id.0");
        fs::create_dir_all(dead.join("scratch/work/deep")).unwrap();
        fs::set_permissions(dead.join("scratch/work"), fs::Permissions::from_mode(0o0)).unwrap();
        remove_abandoned(dir.path(), "id").unwrap();
        assert!(!dead.exists() && living.path.exists());
        let path = living.path.clone();
        living.wait_until_empty().unwrap();
        living.remove().unwrap();
        assert!(!path.exists());
    }
}
