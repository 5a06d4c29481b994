//! The places where groups can be made, as the kernel lists the memberships and mounts of this process.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use patchadm_svr4::package::unescape;

/// What a group limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupController {
    Memory,
    /// Processes and threads.
    Processes,
}

impl GroupController {
    pub(super) const ALL: [Self; 2] = [Self::Memory, Self::Processes];

    /// The name of the kernel for it.
    const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
        }
    }

    /// Tells whether it is in a list.
    fn is_in(self, list: &str, separator: char) -> bool {
        list.trim_end().split(separator).any(|word| word == self.word())
    }
}

/// The version of a hierarchy of groups: they have other files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HierarchyVersion {
    One,
    Two,
}

/// A directory in which groups with these controllers can be made, if this process may write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupPlace {
    pub(super) version: HierarchyVersion,
    pub(super) directory: PathBuf,
    pub(super) controllers: Vec<GroupController>,
}

/// Returns the places for groups with these controllers; none where the kernel lists none.
pub(super) fn places_here(wanted: &[GroupController]) -> Vec<GroupPlace> {
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let handed_down = |group: &Path| fs::read_to_string(group.join("cgroup.subtree_control"));
    places_of((&memberships, &mounts), wanted, |group| handed_down(group).unwrap_or_default())
}

/// Returns the places in these lists, in the forms of cgroups(7) and proc(5). `handed_down` returns the controllers that a group
/// of version 2 has for the groups in it.
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

/// Returns the group of this process in the hierarchy of version 1 with this controller.
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

/// Returns the nearest group of version 2, from the one of this process upwards, that hands down most of these controllers: its
/// own is usually none of them, since a group with processes hands down nothing.
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

/// The mount of a hierarchy.
struct HierarchyMount {
    /// The group that is its top.
    root: PathBuf,
    point: PathBuf,
    kind: Vec<u8>,
    /// The options of the file system; those of version 1 have its controllers.
    options: String,
}

impl HierarchyMount {
    fn of_line(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let path = |field: &[u8]| PathBuf::from(OsString::from_vec(unescape(field)));
        let (root, point) = (path(fields.nth(3)?), path(fields.next()?));
        // Behind the optional fields: the type, the source and the options.
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let kind = fields.next().filter(|kind| kind.starts_with(b"cgroup"))?.to_vec();
        let options = String::from_utf8_lossy(fields.nth(1)?).into_owned();
        Some(Self { root, point, kind, options })
    }

    /// Returns the directory of a group; none if it is outside of what is mounted.
    fn directory_of(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(&self.root).ok()?;
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_plain.then(|| self.point.join(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use GroupController::{Memory, Processes};

    fn place(version: HierarchyVersion, directory: &str, controllers: &[GroupController]) -> GroupPlace {
        GroupPlace { version, directory: directory.into(), controllers: controllers.to_vec() }
    }

    /// A system with version 1 alone, as a machine of a continuous test has it.
    const SEPARATE: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory\n\
        39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    /// A system with version 2 alone, as distributions have it.
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
