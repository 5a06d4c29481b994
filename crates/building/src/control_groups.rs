//! Control groups that limit memory and processes of a task, in cgroup version 1 or 2.
//!
//! Without permission to make one, the task's watcher measures instead. The next task or run removes groups of killed
//! ones.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use patchadm_core::namespaces::EnclosureProcess;
use patchadm_rootfs::{Dir, ProcBounds, ProcLines, RootError};
use patchadm_svr4::package::{Mode, unescape};

const PREFIX: &str = "patchadm-";

const LARGEST: u64 = 64 << 10;

/// Time for the kernel to release a group after its last process, and the pause between two tries.
const LONGEST_END: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

const MOST_PROCESSES: u64 = 4 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    pub(crate) memory: Option<u64>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupOverrun {
    /// Peak in bytes.
    Memory(u64),
    Processes(u64),
}

/// The control groups of one task, removed on drop.
#[derive(Debug, Default)]
pub(crate) struct TaskGroup {
    limits: GroupLimits,
    parts: Vec<GroupPart>,
}

impl TaskGroup {
    pub(crate) fn make(task: &str, limits: GroupLimits) -> Self {
        let is_wanted = |controller: &GroupController| limits.of(*controller).is_some();
        let wanted: Vec<GroupController> = GroupController::ALL.into_iter().filter(is_wanted).collect();
        let made = places_here(&wanted)
            .into_iter()
            .filter_map(|place| GroupPart::make(&place, task, limits).ok()?);
        Self { limits, parts: made.collect() }
    }

    /// Puts a process and its future children into the groups, and gives up a group that rejects it.
    pub(crate) fn take(&mut self, process: u32) {
        self.parts.retain(|part| matches!(part.put("cgroup.procs", u64::from(process)), Ok(true)));
    }

    pub(crate) fn holds(&self, controller: GroupController) -> bool {
        self.parts.iter().any(|part| part.controllers.contains(&controller))
    }

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

#[derive(Debug)]
struct GroupPart {
    version: HierarchyVersion,
    controllers: Vec<GroupController>,
    above: Dir,
    name: String,
    dir: Dir,
}

impl GroupPart {
    /// Makes a group. Returns `None` if the kernel does not report refusals.
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

    /// Sets a limit, including swap if the kernel accounts for it. Returns false if the kernel has no such limit.
    fn limit(&self, controller: GroupController, limit: u64) -> Result<bool, RootError> {
        match (controller, self.version) {
            (GroupController::Processes, _) => {
                // The processes that make the sandbox are in the group, but do not count.
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

    fn refusals(&self, controller: GroupController) -> Option<u64> {
        let (file, word) = match (controller, self.version) {
            (GroupController::Processes, _) => ("pids.events", "max"),
            // The number of killed processes.
            (GroupController::Memory, HierarchyVersion::One) => ("memory.oom_control", "oom_kill"),
            // Refusals by this limit: processes are also killed if the machine runs out of memory.
            (GroupController::Memory, HierarchyVersion::Two) => ("memory.events", "oom"),
        };
        let text = self.text(file)?;
        let mut words = text.lines().filter_map(|line| line.split_once(' '));
        words.find(|(name, _)| *name == word)?.1.trim_end().parse().ok()
    }

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

    fn put(&self, file: &str, number: u64) -> Result<bool, RootError> {
        let Some(mut file) = self.dir.open_writable(file.as_bytes())? else { return Ok(false) };
        file.put(number.to_string().as_bytes())?;
        Ok(true)
    }
}

impl Drop for GroupPart {
    fn drop(&mut self) {
        let until = Instant::now() + LONGEST_END;
        // The next task or run removes what is left.
        while matches!(self.above.remove_dir(self.name.as_bytes()), Ok(false)) && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
    }
}

pub(crate) fn remove_abandoned_groups(id: &str, is_abandoned: impl Fn(&[u8]) -> bool) {
    let begin = format!("{PREFIX}{id}.").into_bytes();
    for place in places_here(&GroupController::ALL) {
        let Ok(above) = Dir::of_host(&place.directory) else { continue };
        for name in above.names_that_are(|name| name.starts_with(&begin)).unwrap_or_default() {
            if name.get(PREFIX.len()..).is_some_and(&is_abandoned) {
                // The next call removes what is left.
                let _ = above.remove_dir(&name);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupController {
    Memory,
    Processes,
}

impl GroupController {
    pub(super) const ALL: [Self; 2] = [Self::Memory, Self::Processes];

    const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
        }
    }

    fn is_in(self, list: &str, separator: char) -> bool {
        list.trim_end().split(separator).any(|word| word == self.word())
    }
}

/// The cgroup version of a hierarchy; file names differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HierarchyVersion {
    One,
    Two,
}

/// A directory in which this process may make groups with these controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupPlace {
    pub(super) version: HierarchyVersion,
    pub(super) directory: PathBuf,
    controllers: Vec<GroupController>,
}

fn places_here(wanted: &[GroupController]) -> Vec<GroupPlace> {
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = own_mounts().unwrap_or_default();
    let handed_down = |group: &Path| fs::read_to_string(group.join("cgroup.subtree_control"));
    places_of((&memberships, &mounts), wanted, |group| handed_down(group).unwrap_or_default())
}

fn own_mounts() -> io::Result<Vec<u8>> {
    let mut lines = ProcLines::open(Path::new("/proc/self/mountinfo"), ProcBounds::MOUNTS, &|| false)?;
    let mut mounts = Vec::new();
    while let Some(line) = lines.next_line()? {
        mounts.extend_from_slice(line);
        mounts.push(b'\n');
    }
    Ok(mounts)
}

/// Parses lists in the formats of cgroups(7) and proc(5).
fn places_of(
    (memberships, mounts): (&str, &[u8]),
    wanted: &[GroupController],
    handed_down: impl Fn(&Path) -> String,
) -> Vec<GroupPlace> {
    let mounts: Vec<HierarchyMount> =
        mounts.split(|&byte| byte == b'\n').filter_map(HierarchyMount::of_line).collect();
    let mut places: Vec<GroupPlace> = Vec::new();
    let mut missing = Vec::new();
    for &controller in wanted {
        let Some(directory) = own_group_of_version_1(memberships, &mounts, controller) else {
            missing.push(controller);
            continue;
        };
        match places.iter_mut().find(|place| place.directory == directory) {
            Some(place) => place.controllers.push(controller),
            None => places.push(GroupPlace {
                version: HierarchyVersion::One,
                directory,
                controllers: vec![controller],
            }),
        }
    }
    places.extend(place_of_version_2(memberships, &mounts, &missing, handed_down));
    places
}

fn own_group_of_version_1(
    memberships: &str,
    mounts: &[HierarchyMount],
    controller: GroupController,
) -> Option<PathBuf> {
    let group = memberships.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        controller.is_in(controllers, ',').then_some(group)
    })?;
    let has_it = |mount: &&HierarchyMount| mount.kind == b"cgroup" && controller.is_in(&mount.options, ',');
    mounts.iter().filter(has_it).find_map(|mount| mount.directory_of(group))
}

/// Returns the nearest version 2 group upwards that enables most of these controllers for its children. The group of
/// this process usually enables none, because a group with processes cannot.
fn place_of_version_2(
    memberships: &str,
    mounts: &[HierarchyMount],
    wanted: &[GroupController],
    handed_down: impl Fn(&Path) -> String,
) -> Option<GroupPlace> {
    let group = memberships.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut of_version_2 = mounts.iter().filter(|mount| mount.kind == b"cgroup2");
    let (top, own) =
        of_version_2.find_map(|mount| Some((mount.point.as_path(), mount.directory_of(group)?)))?;
    let mut best: Option<GroupPlace> = None;
    for directory in own.ancestors().take_while(|directory| directory.starts_with(top)) {
        let list = handed_down(directory);
        let controllers: Vec<GroupController> =
            wanted.iter().copied().filter(|controller| controller.is_in(&list, ' ')).collect();
        if controllers.len() > best.as_ref().map_or(0, |best| best.controllers.len()) {
            let (version, directory) = (HierarchyVersion::Two, directory.to_owned());
            best = Some(GroupPlace { version, directory, controllers });
        }
    }
    best
}

struct HierarchyMount {
    root: PathBuf,
    point: PathBuf,
    kind: Vec<u8>,
    /// Contains the controllers in version 1.
    options: String,
}

impl HierarchyMount {
    fn of_line(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let path = |field: &[u8]| PathBuf::from(OsString::from_vec(unescape(field)));
        let (root, point) = (path(fields.nth(3)?), path(fields.next()?));
        // The fields after the optional ones: type, source, options.
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let kind = fields.next().filter(|kind| kind.starts_with(b"cgroup"))?.to_vec();
        let options = String::from_utf8_lossy(fields.nth(1)?).into_owned();
        Some(Self { root, point, kind, options })
    }

    fn directory_of(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(&self.root).ok()?;
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_plain.then(|| self.point.join(below))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use GroupController::{Memory, Processes};

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
        assert!(part.limit(Memory, 1000).unwrap());
        assert!(part.limit(Processes, 20).unwrap());
        let texts = ["memory.max", "memory.swap.max", "pids.max"].map(|file| written(dir.path(), file));
        // Our own processes do not count as the task's.
        let most = (20 + EnclosureProcess::makers()).to_string();
        assert_eq!(texts, ["1000", "0", &most]);
        let mut group = group(part);
        group.take(77);
        assert_eq!(written(dir.path(), "cgroup.procs"), "77");
        assert!(group.holds(Memory) && group.holds(Processes));
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
        assert!(part.limit(Memory, 1000).unwrap());
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
        assert!(!group.holds(Memory));
        assert_eq!(group.overrun(), None);
    }

    fn place(version: HierarchyVersion, directory: &str, controllers: &[GroupController]) -> GroupPlace {
        GroupPlace { version, directory: directory.into(), controllers: controllers.to_vec() }
    }

    /// A system with version 1 only, like a machine for continuous integration.
    const SEPARATE: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory\n\
        39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    /// A system with version 2 only, like those of distributions.
    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    fn places(memberships: &str, mounts: &str, down: &[(&str, &str)]) -> Vec<GroupPlace> {
        let handed_down = |group: &Path| {
            let found = down.iter().find(|(directory, _)| Path::new(directory) == group);
            found.map(|(_, list)| (*list).to_owned()).unwrap_or_default()
        };
        places_of((memberships, mounts.as_bytes()), &GroupController::ALL, handed_down)
    }

    #[test]
    fn each_hierarchy_of_version_1_has_a_group_of_this_process() {
        let found = places("8:pids:/\n4:memory:/jobs/7\n0::/\n", SEPARATE, &[]);
        let one = |directory, controller| place(HierarchyVersion::One, directory, &[controller]);
        assert_eq!(
            found,
            [one("/sys/fs/cgroup/memory/jobs/7", Memory), one("/sys/fs/cgroup/pids", Processes)]
        );
    }

    #[test]
    fn controllers_of_one_hierarchy_share_a_group() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/both rw - cgroup cgroup rw,memory,pids\n";
        let found = places("4:memory,pids:/a\n", mounts, &[]);
        assert_eq!(found, [place(HierarchyVersion::One, "/sys/fs/cgroup/both/a", &[Memory, Processes])]);
    }

    #[test]
    fn the_nearest_group_of_version_2_that_hands_both_controllers_down_is_the_place() {
        let slice = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice";
        let memberships = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n";
        let down = [(slice, "memory pids\n"), ("/sys/fs/cgroup", "cpu memory pids\n")];
        assert_eq!(
            places(memberships, UNIFIED, &down),
            [place(HierarchyVersion::Two, slice, &[Memory, Processes])]
        );
        let down = [(slice, "pids\n"), ("/sys/fs/cgroup", "cpu memory pids\n")];
        let both = [place(HierarchyVersion::Two, "/sys/fs/cgroup", &[Memory, Processes])];
        assert_eq!(places(memberships, UNIFIED, &down), both);
        assert_eq!(
            places(memberships, UNIFIED, &[(slice, "pids\n")]),
            [place(HierarchyVersion::Two, slice, &[Processes])]
        );
        assert_eq!(places(memberships, UNIFIED, &[]), []);
    }

    #[test]
    fn a_group_that_is_not_mounted_here_is_no_place() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let down = [("/sys/fs/cgroup", "memory pids\n")];
        assert_eq!(places("0::/docker/other\n", mounts, &down), []);
        assert_eq!(places("0::/../other\n", UNIFIED, &down), []);
        let own = [place(HierarchyVersion::Two, "/sys/fs/cgroup", &[Memory, Processes])];
        assert_eq!(places("0::/docker/abc\n", mounts, &down), own);
        assert_eq!(places("", "", &[]), []);
    }
}
