//! The groups of one task, from their making to their removal.

use std::time::{Duration, Instant};

use patchadm_core::namespaces::EnclosureProcess;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

use super::hierarchies::{GroupController, GroupPlace, HierarchyVersion, places_here};

/// The beginning of the names of all groups; the name of the task follows.
const PREFIX: &str = "patchadm-";

/// The longest file of a group that is read.
const LARGEST: u64 = 64 << 10;

/// How long is waited until the kernel lets a group go whose last process has ended, and how long between two tries.
const LONGEST_END: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

/// The most that the kernel takes as a limit of processes.
const MOST_PROCESSES: u64 = 4 << 20;

/// The limits that groups hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    /// The bytes of memory.
    pub(crate) memory: Option<u64>,
    /// The number of processes.
    pub(crate) processes: Option<u64>,
}

impl GroupLimits {
    const fn of(self, controller: GroupController) -> Option<u64> {
        match controller {
            GroupController::Memory => self.memory,
            GroupController::Processes => self.processes,
        }
    }
}

/// The limit that the processes of a group ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupOverrun {
    /// They wanted more memory than this, in bytes: the most that they had.
    Memory(u64),
    /// There were to be more processes than this.
    Processes(u64),
}

/// The groups of one task; removed when this is dropped, as soon as no process is in them.
#[derive(Debug, Default)]
pub(crate) struct TaskGroup {
    limits: GroupLimits,
    parts: Vec<GroupPart>,
}

impl TaskGroup {
    /// Makes groups that hold these limits, as far as this process may make them.
    pub(crate) fn make(task: &str, limits: GroupLimits) -> Self {
        let is_wanted = |controller: &GroupController| limits.of(*controller).is_some();
        let wanted: Vec<GroupController> = GroupController::ALL.into_iter().filter(is_wanted).collect();
        let made = places_here(&wanted)
            .into_iter()
            .filter_map(|place| GroupPart::make(&place, task, limits).ok()?);
        Self { limits, parts: made.collect() }
    }

    /// Puts a process into the groups, with all that it will start. A group that does not take it is given up.
    pub(crate) fn take(&mut self, process: u32) {
        self.parts.retain(|part| matches!(part.put("cgroup.procs", u64::from(process)), Ok(true)));
    }

    /// Tells whether a group holds this limit.
    pub(crate) fn holds(&self, controller: GroupController) -> bool {
        self.parts.iter().any(|part| part.controllers.contains(&controller))
    }

    /// Returns the limit that the processes ran into, if they did.
    pub(crate) fn overrun(&self) -> Option<GroupOverrun> {
        let part_with = |controller| self.parts.iter().find(|part| part.controllers.contains(&controller));
        let ran_into =
            |part: &&GroupPart, controller| part.refusals(controller).is_some_and(|count| count > 0);
        if let Some(part) =
            part_with(GroupController::Memory).filter(|part| ran_into(part, GroupController::Memory))
        {
            let limit = self.limits.memory.unwrap_or_default();
            return Some(GroupOverrun::Memory(part.most_memory().unwrap_or(limit)));
        }
        part_with(GroupController::Processes)
            .filter(|part| ran_into(part, GroupController::Processes))
            .map(|_| GroupOverrun::Processes(self.limits.processes.unwrap_or_default()))
    }
}

/// A group in one hierarchy.
#[derive(Debug)]
struct GroupPart {
    version: HierarchyVersion,
    controllers: Vec<GroupController>,
    above: Dir,
    name: String,
    dir: Dir,
}

impl GroupPart {
    /// Makes a group; none where the kernel does not tell that a limit was run into.
    fn make(place: &GroupPlace, task: &str, limits: GroupLimits) -> Result<Option<Self>, RootError> {
        let above = Dir::of_host(&place.directory)?;
        let name = format!("{PREFIX}{task}");
        let dir = above.make_dir(name.as_bytes(), Mode::of(0o755))?;
        let part = Self { version: place.version, controllers: place.controllers.clone(), above, name, dir };
        for &controller in &part.controllers {
            let limit = limits.of(controller).unwrap_or(u64::MAX);
            if !part.limit(controller, limit)? || part.refusals(controller) != Some(0) {
                return Ok(None);
            }
        }
        Ok(Some(part))
    }

    /// Sets a limit; tells whether there is such a limit. What would be written to the swap area instead counts as well, where
    /// the kernel counts it.
    fn limit(&self, controller: GroupController, limit: u64) -> Result<bool, RootError> {
        match (controller, self.version) {
            (GroupController::Processes, _) => {
                // Those that make the sandbox are in the group, and are not the task's.
                self.put("pids.max", limit.saturating_add(EnclosureProcess::makers()).min(MOST_PROCESSES))
            }
            (GroupController::Memory, HierarchyVersion::One) => {
                let is_set = self.put("memory.limit_in_bytes", limit)?;
                let _ = self.put("memory.memsw.limit_in_bytes", limit);
                Ok(is_set)
            }
            (GroupController::Memory, HierarchyVersion::Two) => {
                let _ = self.put("memory.swap.max", 0);
                self.put("memory.max", limit)
            }
        }
    }

    /// Returns how often the kernel had to refuse something because of a limit.
    fn refusals(&self, controller: GroupController) -> Option<u64> {
        let (file, word) = match (controller, self.version) {
            (GroupController::Processes, _) => ("pids.events", "max"),
            // How many processes were killed.
            (GroupController::Memory, HierarchyVersion::One) => ("memory.oom_control", "oom_kill"),
            // How often this very limit was in the way: processes are killed for want of memory of the machine, too.
            (GroupController::Memory, HierarchyVersion::Two) => ("memory.events", "oom"),
        };
        let text = self.text(file)?;
        let mut words = text.lines().filter_map(|line| line.split_once(' '));
        words.find(|(name, _)| *name == word)?.1.trim_end().parse().ok()
    }

    /// Returns the most memory that the group had.
    fn most_memory(&self) -> Option<u64> {
        let file = match self.version {
            HierarchyVersion::One => "memory.max_usage_in_bytes",
            HierarchyVersion::Two => "memory.peak",
        };
        self.text(file)?.trim_end().parse().ok()
    }

    fn text(&self, file: &str) -> Option<String> {
        String::from_utf8(self.dir.read_regular(file.as_bytes(), LARGEST).ok()??).ok()
    }

    /// Writes a number to a file; tells whether there is such a file.
    fn put(&self, file: &str, number: u64) -> Result<bool, RootError> {
        let Some(mut file) = self.dir.open_writable(file.as_bytes())? else { return Ok(false) };
        file.put(number.to_string().as_bytes())?;
        Ok(true)
    }
}

impl Drop for GroupPart {
    fn drop(&mut self) {
        let until = Instant::now() + LONGEST_END;
        // What stays is removed by the next task or run.
        while matches!(self.above.remove_dir(self.name.as_bytes()), Ok(false)) && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Removes the groups of tasks of the bulk build with this identity that `is_abandoned` means; one with a process in it stays.
pub(crate) fn remove_abandoned_groups(id: &str, is_abandoned: impl Fn(&[u8]) -> bool) {
    let begin = format!("{PREFIX}{id}.").into_bytes();
    for place in places_here(&GroupController::ALL) {
        let Ok(above) = Dir::of_host(&place.directory) else { continue };
        for name in above.names_that_are(|name| name.starts_with(&begin)).unwrap_or_default() {
            if name.get(PREFIX.len()..).is_some_and(&is_abandoned) {
                // What cannot be removed stays for the next time.
                let _ = above.remove_dir(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A directory with the files of a group, as the kernel makes them.
    fn model(version: HierarchyVersion, files: &[(&str, &str)]) -> (tempfile::TempDir, GroupPart) {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("patchadm-1.2");
        fs::create_dir(&group).unwrap();
        for (name, text) in files {
            fs::write(group.join(name), text).unwrap();
        }
        let above = Dir::of_host(dir.path()).unwrap();
        let controllers = GroupController::ALL.to_vec();
        let name = "patchadm-1.2".to_owned();
        let part = GroupPart { version, controllers, above, name, dir: Dir::of_host(&group).unwrap() };
        (dir, part)
    }

    fn written(dir: &Path, file: &str) -> String {
        fs::read_to_string(dir.join("patchadm-1.2").join(file)).unwrap()
    }

    fn group(part: GroupPart) -> TaskGroup {
        let limits = GroupLimits { memory: Some(1000), processes: Some(20) };
        TaskGroup { limits, parts: vec![part] }
    }

    #[test]
    fn a_group_of_version_2_gets_its_limits_and_tells_what_ran_into_them() {
        let files = [
            ("memory.max", ""),
            ("memory.swap.max", ""),
            ("pids.max", ""),
            ("cgroup.procs", ""),
            ("memory.events", "low 0\nhigh 0\nmax 4\noom 0\noom_kill 1\noom_group_kill 0\n"),
            ("pids.events", "max 0\n"),
            ("memory.peak", "990\n"),
        ];
        let (dir, part) = model(HierarchyVersion::Two, &files);
        assert!(part.limit(GroupController::Memory, 1000).unwrap());
        assert!(part.limit(GroupController::Processes, 20).unwrap());
        let texts = ["memory.max", "memory.swap.max", "pids.max"].map(|file| written(dir.path(), file));
        // Those of ours are no processes of the task.
        let most = (20 + EnclosureProcess::makers()).to_string();
        assert_eq!(texts, ["1000", "0", &most]);
        let mut group = group(part);
        group.take(77);
        assert_eq!(written(dir.path(), "cgroup.procs"), "77");
        assert!(group.holds(GroupController::Memory) && group.holds(GroupController::Processes));
        // One was killed, and not because of this limit.
        assert_eq!(group.overrun(), None);
        fs::write(dir.path().join("patchadm-1.2/pids.events"), "max 3\n").unwrap();
        assert_eq!(group.overrun(), Some(GroupOverrun::Processes(20)));
        fs::write(dir.path().join("patchadm-1.2/memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert_eq!(group.overrun(), Some(GroupOverrun::Memory(990)));
        // The kernel removes the files of a group with it.
        drop(dir);
    }

    #[test]
    fn a_group_of_version_1_gets_its_limits_and_tells_what_ran_into_them() {
        let files = [
            ("memory.limit_in_bytes", ""),
            ("memory.memsw.limit_in_bytes", ""),
            ("pids.max", ""),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            ("pids.events", "max 0\n"),
            ("memory.max_usage_in_bytes", "1000\n"),
        ];
        let (dir, part) = model(HierarchyVersion::One, &files);
        assert!(part.limit(GroupController::Memory, 1000).unwrap());
        let limits = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        assert_eq!(limits.map(|file| written(dir.path(), file)), ["1000", "1000"]);
        let group = group(part);
        assert_eq!(group.overrun(), Some(GroupOverrun::Memory(1000)));
        drop(dir);
    }

    #[test]
    fn a_group_that_takes_no_process_holds_nothing() {
        let (_dir, part) = model(HierarchyVersion::Two, &[]);
        let mut group = group(part);
        group.take(77);
        assert!(!group.holds(GroupController::Memory));
        assert_eq!(group.overrun(), None);
    }
}
