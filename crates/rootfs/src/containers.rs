//! The trees that contain roots of containers: directories of container engines, and overlayfs except that of `/`. Root
//! in a container wrote them, so owners prove nothing there. The location of a directory decides, not its path:
//! symbolic links and bind mounts give the same answer. A tree that no mount table shows is unknown.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{ForeignTree, Result, Root, RootError, TreeWay, again, mounts};
use crate::mounts::{Mount, Place, below, parse, place_of};
use patchadm_svr4::package::rule;

const ENGINE_DIRECTORIES: [&str; 6] = [
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/machines",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/run/containers",
];

/// As mount tables name them: by the kernel, by old kernels, by the FUSE program.
const OVERLAYS: [&[u8]; 3] = [b"overlay", b"overlayfs", b"fuse.fuse-overlayfs"];

impl Root {
    pub fn container_tree(&self) -> Result<Option<ForeignTree>> {
        container_tree(self.fd(), self.prefix().as_os_str().as_bytes())
    }
}

/// Returns the container tree that an open directory or file is in, if any. `named` is its path as given.
pub(crate) fn container_tree(opened: impl AsFd, named: &[u8]) -> Result<Option<ForeignTree>> {
    let table = mounts::table()?;
    let table = parse(&table);
    let found = Location::of(opened)?;
    let root = Root::open(Path::new("/"))?;
    let (major, minor) = root.seen()?.file_system;
    let mount = Location::of(root.fd())?.mount;
    let system = SystemRoot { mount, device: format!("{major}:{minor}").into_bytes() };
    let mut engines = Vec::new();
    for directory in ENGINE_DIRECTORIES {
        if let Some(fd) = opened_directory(directory) {
            engines.push((directory, Location::of(&fd)?));
        }
    }
    let engine = engine_of(&table, (&found, named), &system, &engines);
    Ok(engine.or_else(|| overlay_of(&table, &found, &system)))
}

fn not_read(path: &str, error: &std::io::Error) -> RootError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootError::Call { action: "read", path: path.to_owned(), errno }
}

/// Follows links. A missing or unreachable directory contains no root.
fn opened_directory(path: &str) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    again(|| rustix::fs::open(path, flags, Mode::empty())).ok()
}

/// Mount and path of an object as this process sees them, with all links resolved.
struct Location {
    mount: u64,
    path: Vec<u8>,
}

impl Location {
    fn of(opened: impl AsFd) -> Result<Self> {
        let number = opened.as_fd().as_raw_fd();
        let shown = format!("/proc/self/fdinfo/{number}");
        let text = std::fs::read_to_string(&shown).map_err(|error| not_read(&shown, &error))?;
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        let mount = id.ok_or(RootError::Call { action: "read", path: shown, errno: Errno::NODATA })?;
        let path = std::fs::read_link(format!("/proc/self/fd/{number}"));
        let path = path.map_err(|error| not_read("/proc/self/fd", &error))?;
        Ok(Self { mount, path: path.into_os_string().into_encoded_bytes() })
    }
}

/// The mount of `/`, and its device as mount tables write it.
struct SystemRoot {
    mount: u64,
    device: Vec<u8>,
}

/// Returns the engine whose directory contains a root, by its path or by a mount of part of its file system.
fn engine_of(
    table: &[Mount],
    (root, named): (&Location, &[u8]),
    system: &SystemRoot,
    engines: &[(&str, Location)],
) -> Option<ForeignTree> {
    let is_here = root.mount == system.mount || table.iter().any(|mount| mount.id == root.mount);
    let place = place_of(table, root.mount, &root.path);
    let found = engines.iter().find(|(_, engine)| {
        // The path of a directory in another mount namespace belongs to that namespace.
        let is_below = is_here && below(&root.path, &engine.path).is_some();
        let is_seen = || place.as_ref().is_some_and(|place| is_seen_in(table, place, system, engine));
        !rule::holds("root.container.engine", !(is_below || is_seen()))
    });
    found.map(|(directory, engine)| ForeignTree::Engine {
        directory: (*directory).to_owned(),
        way: way_into(table, (root, named), directory, engine),
    })
}

fn way_into(
    table: &[Mount],
    (root, named): (&Location, &[u8]),
    directory: &str,
    engine: &Location,
) -> TreeWay {
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    if below(named, directory.as_bytes()).is_some() {
        return TreeWay::Named;
    }
    if below(&root.path, directory.as_bytes()).is_some() {
        return TreeWay::Physical(text(&root.path));
    }
    if below(&root.path, &engine.path).is_some() {
        return TreeWay::Link(text(&engine.path));
    }
    let mount = table.iter().find(|mount| mount.id == root.mount);
    mount.map_or(TreeWay::Named, |mount| TreeWay::Mount(text(&mount.point)))
}

/// Returns true if a place is in the directory of an engine, or in a mount below it. A mount that contains `/` itself
/// does not count: showing the whole machine to an engine does not make it a container.
fn is_seen_in(table: &[Mount], place: &Place, system: &SystemRoot, engine: &Location) -> bool {
    let home = place_of(table, system.mount, b"/");
    let within = table.iter().filter(|mount| below(&mount.point, &engine.path).is_some());
    let areas = within.map(|mount| Place { device: mount.device.clone(), path: mount.root.clone() });
    let is_in = |area: &Place, place: &Place| area.contains(&place.device, &place.path);
    areas
        .chain(place_of(table, engine.mount, &engine.path))
        .any(|area| is_in(&area, place) && !home.as_ref().is_some_and(|home| is_in(&area, home)))
}

/// Returns the overlayfs that contains a root, directly or through further mounts, except that of `/`.
fn overlay_of(table: &[Mount], root: &Location, system: &SystemRoot) -> Option<ForeignTree> {
    let mut next = root.mount;
    // A mount has fewer ancestors than the table has lines.
    for _ in table {
        let mount = table.iter().find(|mount| mount.id == next)?;
        let is_foreign = OVERLAYS.contains(&&*mount.kind) && mount.device != system.device;
        if !rule::holds("root.container.overlay", !is_foreign) {
            let mount_point = String::from_utf8_lossy(&mount.point).into_owned();
            return Some(ForeignTree::Overlay { mount_point });
        }
        if mount.id == system.mount || mount.parent == mount.id {
            return None;
        }
        next = mount.parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        22 21 8:2 /@ /data rw - btrfs /dev/sda2 rw\n\
        30 21 0:40 / /var/lib/docker/overlay2/a/merged rw - overlay overlay rw,lowerdir=/l\n\
        31 21 0:40 / /mnt/a\\040copy rw - overlay overlay rw,lowerdir=/l\n\
        32 31 8:1 /srv/shared /mnt/a\\040copy/srv rw - ext4 /dev/sda1 rw\n\
        33 21 8:1 /var/lib/machines/web /mnt/web rw - ext4 /dev/sda1 rw\n\
        34 21 7:0 / /var/lib/machines/image rw - ext4 /dev/loop0 rw\n\
        35 21 7:0 / /mnt/image rw - ext4 /dev/loop0 rw\n\
        36 21 8:1 / /var/lib/machines/all rw - ext4 /dev/sda1 rw\n\
        37 21 0:41 / /mnt/fuse rw - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0,group_id=0\n";

    fn at(mount: u64, path: &str) -> Location {
        Location { mount, path: path.as_bytes().to_vec() }
    }

    /// Looks at a machine whose Docker directory is a link to another file system.
    fn found(mount: u64, path: &str) -> Option<String> {
        let table = parse(TABLE);
        let system = SystemRoot { mount: 21, device: b"8:1".to_vec() };
        let engines =
            [("/var/lib/docker", at(22, "/data/docker")), ("/var/lib/machines", at(21, "/var/lib/machines"))];
        let root = at(mount, path);
        let found = engine_of(&table, (&root, path.as_bytes()), &system, &engines);
        found.or_else(|| overlay_of(&table, &root, &system)).map(|found| match found {
            ForeignTree::Engine { directory, way } => format!("{directory}{way}"),
            ForeignTree::Overlay { mount_point } => format!("overlay {mount_point}"),
            ForeignTree::Named => unreachable!(),
        })
    }

    #[test]
    fn a_root_in_the_directory_of_an_engine_is_found_by_path_link_and_mount() {
        let is_in = |mount, path| found(mount, path).unwrap_or_default();
        assert_eq!(is_in(21, "/var/lib/machines/web"), "/var/lib/machines");
        assert_eq!(is_in(21, "/var/lib/machines"), "/var/lib/machines");
        assert_eq!(
            is_in(22, "/data/docker/btrfs/subvolumes/a"),
            "/var/lib/docker (which leads to /data/docker)"
        );
        let bound = "/var/lib/machines (by what is mounted on /mnt/web)";
        assert_eq!(is_in(33, "/mnt/web/opt/zone"), bound, "a bind mount of a container");
        let image = "/var/lib/machines (by what is mounted on /mnt/image)";
        assert_eq!(is_in(35, "/mnt/image"), image, "the file system of a container");
        for (mount, path) in [
            (21, "/var/lib"),
            (21, "/"),
            (21, "/var/lib/machinesque/a"),
            (21, "/srv/zone"),
            (22, "/data"),
            (22, "/data/dockers/a"),
        ] {
            assert_eq!(found(mount, path), None, "{path}");
        }
        assert_eq!(found(99, "/var/lib/machines/web"), None, "a path of another mount namespace");
    }

    #[test]
    fn a_root_on_or_within_an_overlay_that_is_not_that_of_the_system_is_found() {
        assert_eq!(found(31, "/mnt/a copy").unwrap(), "overlay /mnt/a copy");
        assert_eq!(found(31, "/mnt/a copy/opt/zone").unwrap(), "overlay /mnt/a copy");
        assert_eq!(
            found(32, "/mnt/a copy/srv/zone").unwrap(),
            "overlay /mnt/a copy",
            "what is mounted in it"
        );
        assert_eq!(found(37, "/mnt/fuse/zone").unwrap(), "overlay /mnt/fuse");
        let table = parse(
            b"50 40 0:60 / / rw - overlay overlay rw\n51 50 8:1 /v /srv rw - ext4 /dev/sda1 rw\n\
            52 50 0:60 /srv /other rw - overlay overlay rw\n53 51 0:61 / /srv/inner rw - overlay overlay rw\n",
        );
        let system = SystemRoot { mount: 50, device: b"0:60".to_vec() };
        let found = |mount, path| overlay_of(&table, &at(mount, path), &system);
        assert_eq!(found(50, "/opt/zone"), None, "at home in a container");
        assert_eq!(found(51, "/srv/zone"), None);
        assert_eq!(found(52, "/other/zone"), None, "the overlayfs of / under another name");
        let inner = ForeignTree::Overlay { mount_point: "/srv/inner".to_owned() };
        assert_eq!(found(53, "/srv/inner/zone"), Some(inner));
    }

    #[test]
    fn where_a_directory_is_agrees_with_its_status() {
        let root = Root::open(Path::new("/proc")).unwrap();
        let location = Location::of(root.fd()).unwrap();
        assert_eq!(location.path, b"/proc");
        assert_eq!(location.mount, root.seen().unwrap().mount);
        assert_eq!(Root::open(Path::new("/")).unwrap().container_tree().unwrap(), None);
    }
}
