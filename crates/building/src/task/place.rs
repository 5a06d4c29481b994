//! The directory of a task: its layer, its work directories, and two locks that show its use.
//!
//! A task leaves it to the next one, with the parts that no build can change: file systems are slow at making
//! directories shortly after removing others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use patchadm_core::namespaces::HeldLock;
use patchadm_rootfs::{Dir, FileType, Interrupt, Lock, LockError, RootError, Timestamp, never, random};
use patchadm_svr4::package::Mode;
use rustix::io::Errno;

use crate::control_groups::{GroupLimits, TaskGroup, remove_abandoned_groups};
use crate::sandbox::TaskGrowth;
use crate::tree_copy::each_below;
use crate::work::{PROGRAM, build_directory, made_private};

/// Made for each task: its layer, and directories that its build writes to.
const OF_TASK: [&str; 3] = ["upper", "work", "out"];

/// Left empty for the next task: the work directory of overlayfs, and those that builds cannot write to.
const KEPT: [&str; 3] = ["scratch", "packages", "distfiles"];

/// The tree with mount points in which packing sees its directories. Nobody writes to it.
pub(super) const VIEW: &str = "view";
const VIEWED: [&str; 4] = ["proc", "out", "made", "results"];

/// Held while making a directory until it has an owner, and while finding those without.
const MAKING: &[u8] = b"tasks.lock";

/// In names of directories left for the next task.
const IDLE: &str = ".idle.";

pub(crate) const OWNER: &[u8] = b"owner";

/// Held by all processes in the sandbox.
const INSIDE: &[u8] = b"inside";

/// Its file time stores the task's growth in KiB while space is scarce: setting a time needs no free space.
const GROWN: &[u8] = b"grown";
const NEW_GROWN: &[u8] = b"grown.new";

/// The largest time that every file system can store: a TiB in KiB.
const LARGEST_GROWN: i64 = 1 << 30;

/// A task with less growth in the last seconds does not have to give way.
const LEAST_GROWTH: u64 = 1 << 20;

const PAUSE: Duration = Duration::from_millis(2);

/// Time for an ending task to remove its build's files. The next run removes the rest.
pub(super) const LONGEST_REMOVAL: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct TaskPlace {
    tasks: Dir,
    name: Vec<u8>,
    pub(crate) path: PathBuf,
    pub(crate) dir: Dir,
    owner: Lock,
    /// Set once the task has to end.
    pub(super) is_ended: Arc<AtomicBool>,
}

impl TaskPlace {
    pub(crate) fn make(build_dir: &Path, id: &str) -> Result<Self, LockError> {
        let above = build_directory(build_dir)?;
        let tasks = made_private(&above, b"tasks")?;
        let name = new_name(id)?;
        let making = take_soon(&above, MAKING)?;
        let is_made = !take_idle(&tasks, id, &name)?;
        let dir = if is_made { tasks.make_dir(&name, Mode::of(0o755))? } else { tasks.dir(&name)? };
        let owner = Lock::take_file(&dir, OWNER, PROGRAM, |_| false)?;
        drop(making);
        for part in KEPT.into_iter().chain([VIEW]).filter(|_| is_made).chain(OF_TASK) {
            dir.make_dir(part.as_bytes(), Mode::of(0o755))?;
        }
        if is_made {
            let view = dir.dir(VIEW.as_bytes())?;
            for place in VIEWED {
                view.make_dir(place.as_bytes(), Mode::of(0o755))?;
            }
        }
        // Only complete ones are seen: the time of a new file would be a large growth.
        drop(dir.create(NEW_GROWN)?);
        dir.set_mtime(NEW_GROWN, Timestamp::whole(0))?;
        dir.rename(NEW_GROWN, GROWN)?;
        let path = crate::work::host_path(&build_dir.join("tasks"), &name);
        Ok(Self { tasks, name, path, dir, owner, is_ended: Arc::default() })
    }

    /// Removes an object that the build may have filled.
    fn clear(&self, above: &Dir, name: &[u8]) -> Result<(), RootError> {
        remove_within_time(above, name, &self.is_ended)
    }

    /// Tells other tasks of this growth. Returns true if this one has to give way: free space is below the reserve, and
    /// no running task grew more.
    pub(super) fn gives_way(&self, growth: TaskGrowth) -> bool {
        self.tell_growth(growth.bytes);
        let own = ((growth.bytes >> 10).min(LARGEST_GROWN.unsigned_abs()), &*self.name);
        growth.is_decisive
            && growth.bytes >= LEAST_GROWTH
            && self.growths_of_others().iter().all(|(grown, name)| (*grown, &**name) < own)
    }

    /// Records growth for comparison by other tasks. On failure, they see the previous one.
    pub(super) fn tell_growth(&self, bytes: u64) {
        let kib = i64::try_from(bytes >> 10).unwrap_or(i64::MAX).min(LARGEST_GROWN);
        let _ = self.dir.set_mtime(GROWN, Timestamp::whole(kib));
    }

    fn growths_of_others(&self) -> Vec<(u64, Vec<u8>)> {
        let names = self.tasks.directories().unwrap_or_default();
        let others = names.into_iter().filter(|name| *name != self.name && is_owned(&self.tasks, name));
        let grown = |name: &Vec<u8>| self.tasks.dir(name).ok()?.look(GROWN).ok()?;
        let growth = |name: Vec<u8>| Some((u64::try_from(grown(&name)?.mtime.seconds).ok()?, name));
        others.filter_map(growth).collect()
    }

    pub(super) fn build_dir(&self) -> PathBuf {
        self.path.ancestors().nth(2).unwrap_or(&self.path).to_owned()
    }

    pub(crate) fn part(&self, part: &str) -> PathBuf {
        self.path.join(part)
    }

    pub(crate) fn empty(&self, part: &str) -> Result<Dir, RootError> {
        if KEPT.contains(&part) && self.dir.look(part.as_bytes())?.is_some() {
            let dir = self.dir.dir(part.as_bytes())?;
            for name in dir.names()? {
                self.clear(&dir, &name)?;
            }
            return Ok(dir);
        }
        self.clear(&self.dir, part.as_bytes())?;
        self.dir.make_dir(part.as_bytes(), Mode::of(0o755))
    }

    pub(crate) fn inside(&self) -> HeldLock {
        HeldLock { directory: self.path.clone().into(), name: "inside".into() }
    }

    /// Makes the task's control groups, and removes abandoned ones of the bulk build.
    pub(crate) fn control_group(&self, limits: GroupLimits) -> TaskGroup {
        let id = self.name.split(|&byte| byte == b'.').next().unwrap_or_default();
        remove_abandoned_groups(&String::from_utf8_lossy(id), |task| !is_owned(&self.tasks, task));
        TaskGroup::make(&String::from_utf8_lossy(&self.name), limits)
    }

    pub(crate) fn wait_until_empty(&self) -> Result<(), LockError> {
        take_soon(&self.dir, INSIDE).map(drop)
    }

    pub(crate) fn reopen(failed: Dir, path: &Path, name: &[u8]) -> Result<Self, LockError> {
        let dir = failed.dir(name)?;
        let owner = Lock::take_file(&dir, OWNER, PROGRAM, |_| false)?;
        let (name, path) = (name.to_vec(), crate::work::host_path(path, name));
        Ok(Self { tasks: failed, name, path, dir, owner, is_ended: Arc::default() })
    }

    pub(crate) fn move_to(self, to: &Dir, name: &[u8]) -> Result<(), RootError> {
        self.tasks.move_to(&self.name, to, name)
    }

    /// Leaves the directory to the bulk build's next task on this machine. The run removes it at the end.
    pub(crate) fn leave(self, build_dir: &Path, id: &str) -> Result<(), LockError> {
        for name in self.dir.names()? {
            let part = str::from_utf8(&name).unwrap_or_default();
            if KEPT.contains(&part) {
                self.empty(part)?;
            } else if part != VIEW && ![OWNER, INSIDE].contains(&&*name) {
                self.clear(&self.dir, &name)?;
            }
        }
        let idle = [idle_prefix(id).as_bytes(), format!("{:016x}", random()?).as_bytes()].concat();
        let _making = take_soon(&build_directory(build_dir)?, MAKING)?;
        self.tasks.move_to(&self.name, &self.tasks, &idle)?;
        drop(self.owner);
        Ok(())
    }

    pub(crate) fn remove(self) -> Result<(), RootError> {
        self.clear(&self.tasks, &self.name)
    }
}

fn new_name(id: &str) -> Result<Vec<u8>, RootError> {
    Ok(format!("{id}.{:016x}", random()?).into_bytes())
}

fn idle_prefix(id: &str) -> String {
    format!("{id}{IDLE}")
}

/// Renames an idle directory, if there is one. The caller holds the lock for making.
fn take_idle(tasks: &Dir, id: &str, name: &[u8]) -> Result<bool, RootError> {
    let prefix = idle_prefix(id);
    let idle = tasks.names_that_are(|name| name.starts_with(prefix.as_bytes()))?;
    match idle.first() {
        Some(idle) => tasks.move_to(idle, tasks, name).map(|()| true),
        None => Ok(false),
    }
}

/// Removes idle directories of a bulk build on this machine. The next call removes the rest.
pub(crate) fn remove_idle(build_dir: &Path, id: &str) -> Result<(), LockError> {
    let above = build_directory(build_dir)?;
    if above.look(b"tasks")?.is_none() {
        return Ok(());
    }
    let tasks = above.dir(b"tasks")?;
    let mut taken = Vec::new();
    let making = take_soon(&above, MAKING)?;
    loop {
        let name = new_name(id)?;
        if !take_idle(&tasks, id, &name)? {
            break;
        }
        taken.push(name);
    }
    drop(making);
    for name in taken {
        let _ = remove_all(&tasks, &name);
    }
    Ok(())
}

pub(crate) fn take_soon(dir: &Dir, lock: &[u8]) -> Result<Lock, LockError> {
    Lock::take_file(dir, lock, PROGRAM, |_| {
        std::thread::sleep(PAUSE);
        true
    })
}

/// Takes a lock that another task holds while it removes something. An ending task does not wait.
pub(super) fn take_unless_ended(dir: &Dir, lock: &[u8], is_ended: &AtomicBool) -> Result<Lock, LockError> {
    Lock::take_file(dir, lock, PROGRAM, |_| {
        std::thread::sleep(PAUSE);
        must_end(is_ended).is_none()
    })
}

/// Removes ownerless task directories and control groups of this bulk build, until a signal. The next call continues.
pub(crate) fn remove_abandoned(
    build_dir: &Path,
    id: &str,
    interrupt: Interrupt<'_>,
) -> Result<(), LockError> {
    let above = build_directory(build_dir)?;
    if above.look(b"tasks")?.is_none() {
        return Ok(());
    }
    remove_idle(build_dir, id)?;
    let tasks = above.dir(b"tasks")?;
    remove_abandoned_groups(id, |task| !is_owned(&tasks, task));
    let making = take_soon(&above, MAKING)?;
    let is_abandoned = |name: &Vec<u8>| {
        // Idle directories belong to their bulk builds.
        if name.windows(IDLE.len()).any(|part| part == IDLE.as_bytes()) {
            return false;
        }
        let Ok(dir) = tasks.dir(name) else { return false };
        ![OWNER, INSIDE].iter().any(|lock| Lock::is_file_held(&dir, lock).unwrap_or(true))
    };
    let abandoned: Vec<Vec<u8>> = tasks.directories()?.into_iter().filter(is_abandoned).collect();
    drop(making);
    // An abandoned directory never gets an owner again.
    for name in abandoned {
        let _ = remove_all_until(&tasks, &name, interrupt);
    }
    Ok(())
}

/// True if a task's process lives. Its directory exists before its first group and until after the last.
fn is_owned(tasks: &Dir, task: &[u8]) -> bool {
    match tasks.look(task) {
        Ok(None) => false,
        _ => tasks.dir(task).map_or(true, |dir| Lock::is_file_held(&dir, OWNER).unwrap_or(true)),
    }
}

/// Returns the signal if the task has to end.
pub(super) fn must_end(is_ended: &AtomicBool) -> Option<i32> {
    is_ended.load(Ordering::Relaxed).then_some(rustix::process::Signal::TERM.as_raw())
}

/// Removes what a build may have filled; an ending task takes a few seconds at most.
pub(crate) fn remove_within_time(above: &Dir, name: &[u8], is_ended: &AtomicBool) -> Result<(), RootError> {
    let began = Instant::now();
    let is_long = || began.elapsed() > LONGEST_REMOVAL;
    remove_all_until(above, name, &|| must_end(is_ended).filter(|_| is_long()))
}

/// Empties the work directory of an overlay. After a volatile mount, the kernel refuses to mount the layer again while its
/// mark exists.
pub(crate) fn forget_mount(scratch: &Path) -> Result<(), RootError> {
    let scratch = Dir::of_host(scratch)?;
    scratch.names()?.iter().try_for_each(|name| remove_all(&scratch, name))
}

/// Includes directories that the owner may not enter.
pub(crate) fn remove_all(above: &Dir, name: &[u8]) -> Result<(), RootError> {
    remove_all_until(above, name, &never)
}

pub(super) fn remove_all_until(above: &Dir, name: &[u8], interrupt: Interrupt<'_>) -> Result<(), RootError> {
    match above.remove_tree_until(name, interrupt) {
        Err(error) if error.is_refused_access() => {
            match open_all(above, name, interrupt) {
                // Directories that are still closed after too many names are refused below.
                Err(RootError::TooLarge { .. }) => {}
                opened => opened?,
            }
            above.remove_tree_until(name, interrupt).map(drop)
        }
        other => other.map(drop),
    }
}

fn open_all(above: &Dir, name: &[u8], interrupt: Interrupt<'_>) -> Result<(), RootError> {
    above.set_mode(name, Mode::of(0o700))?;
    each_below(&above.dir(name)?, |above, name, seen| {
        if interrupt().is_some() {
            return Err(RootError::Call {
                action: "remove",
                path: above.root().show(&above.at(name)),
                errno: Errno::INTR,
            });
        }
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
        remove_abandoned(dir.path(), "id", &|| Some(15)).unwrap();
        assert!(dead.exists(), "a signal has come");
        remove_abandoned(dir.path(), "id", &never).unwrap();
        assert!(!dead.exists() && living.path.exists());
        let path = living.path.clone();
        living.wait_until_empty().unwrap();
        living.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn of_the_tasks_on_a_full_disk_the_one_that_grew_most_gives_way_and_the_others_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let make = || TaskPlace::make(dir.path(), "id").unwrap();
        let tasks = [make(), make(), make()];
        let growth = |mib: u64, is_decisive| TaskGrowth { bytes: mib << 20, is_decisive };
        for (task, mib) in tasks.iter().zip([300, 500, 20]) {
            assert!(!task.gives_way(growth(mib, false)), "there is enough space");
        }
        let of_all = |grown: [u64; 3]| {
            let each = tasks.iter().zip(grown).map(|(task, mib)| task.gives_way(growth(mib, true)));
            each.collect::<Vec<_>>()
        };
        assert_eq!(of_all([300, 500, 20]), [false, true, false]);
        assert_eq!(of_all([300, 500, 21]), [false, true, false], "until it is gone, no other one has to end");
        let [first, second, third] = tasks;
        second.remove().unwrap();
        assert!(!third.gives_way(growth(21, true)) && first.gives_way(growth(300, true)));
        // A finished or killed task is no reason to go on.
        first.tell_growth(0);
        assert!(third.gives_way(growth(21, true)));
        let killed = dir.path().join("tasks/id.killed");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("grown"), "").unwrap();
        assert!(third.gives_way(growth(21, true)));
        assert!(
            !third.gives_way(TaskGrowth { bytes: 1 << 19, is_decisive: true }),
            "it takes next to nothing"
        );
    }

    #[test]
    fn a_task_leaves_its_directory_to_the_next_one_without_anything_that_a_build_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let make = || TaskPlace::make(dir.path(), "id").unwrap();
        let objects = |top: &Path| {
            let mut seen = Vec::new();
            each_below::<RootError>(&Dir::of_host(top).unwrap(), |above, name, found| {
                seen.push((above.at(name).to_string(), found.mode));
                Ok(true)
            })
            .unwrap();
            seen
        };
        let first = make();
        let (fresh, packages) = (objects(&first.path), fs::metadata(first.part("packages")).unwrap());
        fs::write(first.part("packages").join("one.pkg"), "").unwrap();
        fs::create_dir_all(first.part("scratch").join("work/deep")).unwrap();
        fs::create_dir_all(first.part("made").join("deep")).unwrap();
        fs::set_permissions(first.part("upper"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(first.part("work").join("file"), "").unwrap();
        let path = first.path.clone();
        first.leave(dir.path(), "id").unwrap();
        // No other task takes it, and cleaning for another build leaves it there.
        let other = TaskPlace::make(dir.path(), "other").unwrap();
        remove_abandoned(dir.path(), "other", &never).unwrap();
        other.remove().unwrap();
        let next = make();
        assert!(!path.exists() && objects(&next.path) == fresh);
        let inode = |metadata: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(metadata);
        assert_eq!(inode(&fs::metadata(next.part("packages")).unwrap()), inode(&packages));
        let beside = make();
        beside.leave(dir.path(), "id").unwrap();
        next.leave(dir.path(), "id").unwrap();
        remove_idle(dir.path(), "id").unwrap();
        assert_eq!(fs::read_dir(dir.path().join("tasks")).unwrap().count(), 0);
    }
}
