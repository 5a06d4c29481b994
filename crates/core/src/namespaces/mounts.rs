//! The mounts of an enclosure, and the mount table, which tells which mounts to make read-only.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags};

use crate::namespaces::enclosure::{EnclosureError, JudgedDirectory, Layers};
use patchadm_rootfs::{Dir, ObjectStatus, ProcBounds, ProcLines, RootError};
use patchadm_svr4::package::{Mode, unescape};

/// Copies the mounts at and below an open file. The copy is not attached yet.
pub(super) fn copy_of(file: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(file, "", flags)
}

/// Copies the mounts at and below a host path. Links do not lead out of `below`, which must be the checked directory,
/// if any.
pub(super) fn copy_of_host(
    below: &OsStr,
    path: &OsStr,
    judged: &[JudgedDirectory],
) -> Result<OwnedFd, EnclosureError> {
    let shown = || Path::new(below).join(path.to_string_lossy().trim_start_matches('/'));
    let failed = |error: &dyn Display| EnclosureError::failed("mount", shown().display(), error);
    let opened =
        rustix::fs::openat(CWD, below, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Bits::empty());
    let directory = opened.map_err(|errno| failed(&errno))?;
    must_be_judged(judged, below, &directory)?;
    let file = open_inside(directory, path).map_err(|errno| failed(&errno))?;
    let file = file.ok_or_else(|| failed(&Errno::NOENT))?;
    copy_of(&file).map_err(|errno| failed(&errno))
}

/// Fails if the directory at a path is not the one that the caller has checked.
pub(super) fn must_be_judged(
    judged: &[JudgedDirectory],
    path: &OsStr,
    opened: impl AsFd,
) -> Result<(), EnclosureError> {
    let Some(judged) = judged.iter().find(|judged| judged.path == path) else { return Ok(()) };
    let seen = ObjectStatus::of(opened, || path.to_string_lossy().into_owned());
    let seen = seen.map_err(|error| EnclosureError::Failed(error.to_string()))?;
    if (seen.file_system, seen.inode.number) == (judged.file_system, judged.inode) {
        return Ok(());
    }
    Err(EnclosureError::failed("enter", path.display(), "another directory was put in its place"))
}

pub(super) fn attach(copy: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(copy, "", place, "", flags)
}

/// Makes a mount of the tree `top`, and all mounts on top of it, read-only. Keeps their other flags.
pub(super) fn make_read_only(top: &OwnedFd, mount: u64) -> Result<(), EnclosureError> {
    let table =
        MountTable::read().map_err(|error| EnclosureError::failed("read", "/proc/self/mountinfo", error))?;
    for entry in table.tree_of(mount) {
        let point = OsStr::from_bytes(&entry.point);
        let file = match open_inside(top, point) {
            Ok(Some(file)) => file,
            // Gone, or unreachable for the caller: nobody inside writes to it.
            Ok(None) | Err(Errno::ACCESS) => continue,
            Err(errno) => return Err(EnclosureError::failed("find the mount", point.display(), errno)),
        };
        // Hidden below another mount.
        if mount_of(&file)? != entry.id {
            continue;
        }
        let flags = MountFlags::BIND | MountFlags::RDONLY | entry.flags;
        rustix::mount::mount_remount(path_of(&file), flags, "")
            .map_err(|errno| EnclosureError::failed("make read-only", point.display(), errno))?;
    }
    Ok(())
}

pub(super) fn mount_of_layers(layers: &Layers) -> Result<OwnedFd, EnclosureError> {
    let lower = layers.lower.iter().map(opened).collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (opened(&layers.upper)?, opened(&layers.work)?);
    let failed = |errno: Errno| match errno {
        // Independent of the requested layers.
        Errno::PERM | Errno::ACCESS | Errno::NODEV | Errno::NOSYS => {
            EnclosureError::OverlayRefused(errno.to_string())
        }
        errno => EnclosureError::NoOverlay(format!("{}: {errno}", layers.upper.display())),
    };
    // Paths through descriptors have no characters to escape.
    let lower: Vec<String> = lower.iter().map(|dir| path_of(dir).display().to_string()).collect();
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    let set = |name: &str, value: &str| {
        rustix::mount::fsconfig_set_string(overlay.as_fd(), name, value).map_err(failed)
    };
    set("lowerdir", &lower.join(":"))?;
    set("upperdir", &path_of(&upper).display().to_string())?;
    set("workdir", &path_of(&work).display().to_string())?;
    // `userxattr`: user namespaces may write these attributes, so a layer serves both kinds of callers. `volatile`: the
    // upper layer is disposable, and unmounting must not wait for the disk.
    for option in ["userxattr", "volatile"] {
        rustix::mount::fsconfig_set_flag(overlay.as_fd(), option).map_err(failed)?;
    }
    rustix::mount::fsconfig_create(overlay.as_fd()).map_err(failed)?;
    rustix::mount::fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(failed)
}

fn opened(path: &OsString) -> Result<OwnedFd, EnclosureError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Bits::empty())
        .map_err(|errno| EnclosureError::failed("open", path.display(), errno))
}

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

const TERMINAL: &str = "tty";

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Mounts the list of processes. Returns true if it is the host's because the kernel refuses a private one.
pub(super) fn mount_processes(top: &OwnedFd, place: &OsStr, point: &OwnedFd) -> Result<bool, EnclosureError> {
    match mount_new("proc", point, CLOSED, c"") {
        Ok(()) => return Ok(false),
        Err(Errno::PERM) => {}
        Err(errno) => return Err(EnclosureError::failed("mount", place.display(), errno)),
    }
    let copy = copy_of_host(OsStr::new("/"), OsStr::new("proc"), &[])?;
    attach(&copy, point).map_err(|errno| EnclosureError::failed("mount", place.display(), errno))?;
    make_read_only(top, mount_of(&copy)?)?;
    Ok(true)
}

pub(super) fn mount_nothing(place: &OsStr, point: &OwnedFd) -> Result<(), EnclosureError> {
    let mounted = mount_new("tmpfs", point, CLOSED | MountFlags::RDONLY, c"mode=0700,size=4k");
    mounted.map_err(|errno| EnclosureError::failed("mount", place.display(), errno))
}

pub(super) fn mount_devices(
    top: &OwnedFd,
    (place, point): (&OsStr, &OwnedFd),
    (files, shared_memory): (&[(OsString, Vec<u8>)], Option<u64>),
    has_terminal: bool,
) -> Result<(), EnclosureError> {
    let failed = |error: &dyn Display| EnclosureError::failed("prepare", place.display(), error);
    mount_new("tmpfs", point, MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0755,size=1m,nr_inodes=1024")
        .map_err(|errno| failed(&errno))?;
    let mounted = find(top, place)?.ok_or_else(|| failed(&Errno::NOENT))?.fd;
    let dir = Dir::of_host(&path_of(&mounted)).map_err(|error| failed(&error))?;
    let devices = || DEVICES.into_iter().chain(has_terminal.then_some(TERMINAL));
    lay_out(&dir, devices(), files).map_err(|error| failed(&error))?;
    for name in devices() {
        bind_device(&mounted, name).map_err(|errno| failed(&format!("{name}: {errno}")))?;
    }
    let below = |name: &str| open_inside(&mounted, OsStr::new(name)).and_then(|fd| fd.ok_or(Errno::NOENT));
    let options = c"newinstance,ptmxmode=0666,mode=0620,max=256";
    below("pts")
        .and_then(|pts| mount_new("devpts", &pts, MountFlags::NOSUID | MountFlags::NOEXEC, options))
        .map_err(|errno| failed(&format!("pts: {errno}")))?;
    // An empty file takes memory of the kernel.
    let options = shared_memory.map_or(String::new(), |bytes| format!(",size={bytes},nr_inodes=65536"));
    let options = CString::new(format!("mode=1777{options}")).map_err(|error| failed(&error))?;
    below("shm")
        .and_then(|shm| mount_new("tmpfs", &shm, MountFlags::NOSUID | MountFlags::NODEV, &options))
        .map_err(|errno| failed(&format!("shm: {errno}")))
}

fn lay_out(
    dir: &Dir,
    devices: impl Iterator<Item = &'static str>,
    files: &[(OsString, Vec<u8>)],
) -> Result<(), RootError> {
    for name in ["pts", "shm"] {
        dir.make_dir(name.as_bytes(), Mode::of(0o755))?;
    }
    for (name, target) in LINKS {
        dir.make_symlink(name.as_bytes(), target.as_bytes())?;
    }
    for name in devices {
        dir.create(name.as_bytes())?;
    }
    for (name, text) in files {
        let mut file = dir.create(name.as_bytes())?;
        file.put(text)?;
        file.set_mode(Mode::of(0o644))?;
    }
    Ok(())
}

/// Binds a host device to the file of its name. If the host lacks the device, the file stays empty.
fn bind_device(devices: &OwnedFd, name: &str) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = match rustix::mount::open_tree(CWD, format!("/dev/{name}"), flags) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let point = open_inside(devices, OsStr::new(name))?.ok_or(Errno::NOENT)?;
    attach(&copy, &point)
}

fn mount_new(kind: &str, point: &OwnedFd, flags: MountFlags, options: &CStr) -> Result<(), Errno> {
    rustix::mount::mount(kind, path_of(point), kind, flags, options)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableEntry {
    pub(super) id: u64,
    pub(super) parent: u64,
    pub(super) point: Vec<u8>,
    /// A new mount must keep these flags, or the kernel refuses it.
    pub(super) flags: MountFlags,
}

/// In kernel order: a mount on top of another one comes later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountTable(Vec<TableEntry>);

impl MountTable {
    pub(super) fn read() -> io::Result<Self> {
        Self::of(ProcLines::open(Path::new("/proc/self/mountinfo"), ProcBounds::MOUNTS, &|| false)?)
    }

    fn of(mut lines: ProcLines<'_, impl Read>) -> io::Result<Self> {
        let mut entries = Vec::new();
        while let Some(line) = lines.next_line()? {
            entries.extend(entry_of(line));
        }
        Ok(Self(entries))
    }

    /// Returns a mount and all mounts on top of it, at any depth, itself first.
    pub(super) fn tree_of(&self, top: u64) -> Vec<&TableEntry> {
        let mut known = vec![top];
        let mut found: Vec<&TableEntry> = self.0.iter().filter(|entry| entry.id == top).collect();
        loop {
            let is_next = |entry: &&TableEntry| known.contains(&entry.parent) && !known.contains(&entry.id);
            let next: Vec<&TableEntry> = self.0.iter().filter(is_next).collect();
            if next.is_empty() {
                return found;
            }
            known.extend(next.iter().map(|entry| entry.id));
            found.extend(next);
        }
    }

    /// Returns the outermost mount points strictly below a path.
    pub(super) fn points_below(&self, top: u64, path: &[u8]) -> Vec<Vec<u8>> {
        let is_below = |point: &[u8], path: &[u8]| {
            let path = if path == b"/" { &b""[..] } else { path };
            point.strip_prefix(path).is_some_and(|rest| rest.len() > 1 && rest.starts_with(b"/"))
        };
        let points = self.tree_of(top).into_iter().map(|entry| entry.point.clone());
        let mut points: Vec<Vec<u8>> = points.filter(|point| is_below(point, path)).collect();
        points.sort();
        points.dedup();
        let all = points.clone();
        points.retain(|point| !all.iter().any(|outer| is_below(point, outer)));
        points
    }
}

fn entry_of(line: &[u8]) -> Option<TableEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let point = unescape(fields.nth(2)?);
    let flags = fields.next()?.split(|&byte| byte == b',').map(flag_of).collect();
    Some(TableEntry { id, parent, point, flags })
}

fn flag_of(option: &[u8]) -> MountFlags {
    match option {
        b"ro" => MountFlags::RDONLY,
        b"nosuid" => MountFlags::NOSUID,
        b"nodev" => MountFlags::NODEV,
        b"noexec" => MountFlags::NOEXEC,
        b"nosymfollow" => MountFlags::NOSYMFOLLOW,
        _ => MountFlags::empty(),
    }
}

#[derive(Debug)]
pub(super) struct FoundPlace {
    pub(super) fd: OwnedFd,
    pub(super) path: OsString,
}

/// Opens a path inside the tree `top`; symbolic links stay inside.
pub(super) fn open_inside(top: impl AsFd, place: &OsStr) -> Result<Option<OwnedFd>, Errno> {
    let relative = place.as_bytes().iter().position(|&byte| byte != b'/');
    let relative = relative.and_then(|at| place.as_bytes().get(at..)).unwrap_or(b".");
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| {
        rustix::fs::openat2(top.as_fd(), relative, flags, Bits::empty(), resolve)
    });
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(super) fn find(top: &OwnedFd, place: &OsStr) -> Result<Option<FoundPlace>, EnclosureError> {
    let failed = |error: &dyn Display| EnclosureError::failed("find the mount point", place.display(), error);
    let Some(fd) = open_inside(top, place).map_err(|errno| failed(&errno))? else { return Ok(None) };
    let path = std::fs::read_link(path_of(&fd)).map_err(|error| failed(&error))?.into_os_string();
    Ok(Some(FoundPlace { fd, path }))
}

pub(super) fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

pub(super) fn mount_of(fd: &OwnedFd) -> Result<u64, EnclosureError> {
    let seen = ObjectStatus::of(fd, || path_of(fd).display().to_string());
    seen.map(|seen| seen.mount).map_err(|error| EnclosureError::Failed(error.to_string()))
}

/// Makes a missing directory or empty file for `owner`, only on one of the mounts `own`.
pub(super) fn make(
    top: &OwnedFd,
    place: &OsStr,
    is_directory: bool,
    (own, owner): (&[u64], Option<(u32, u32)>),
) -> Result<(), EnclosureError> {
    let shown = || place.display().to_string();
    let refused = |reason: &dyn Display| EnclosureError::failed("make the mount point", shown(), reason);
    let (above, names) = nearest(top, place).map_err(|errno| refused(&errno))?;
    if !own.contains(&mount_of(&above)?) {
        return Err(refused(&"it is missing, and this part of the tree is read-only"));
    }
    let mut dir = Dir::of_host(&path_of(&above)).map_err(|error| refused(&reason_of(&error)))?;
    let Some((last, between)) = names.split_last() else { return Ok(()) };
    let given = |dir: &Dir, name: &OsString| match owner {
        Some((uid, gid)) => dir.set_owner(name.as_bytes(), Some(uid), Some(gid)),
        None => Ok(()),
    };
    for name in between {
        let made = dir.make_dir(name.as_bytes(), Mode::of(0o755)).and_then(|made| {
            given(&dir, name)?;
            Ok(made)
        });
        dir = made.map_err(|error| refused(&reason_of(&error)))?;
    }
    let made = if is_directory {
        dir.make_dir(last.as_bytes(), Mode::of(0o755)).map(drop)
    } else {
        dir.create(last.as_bytes()).map(drop)
    };
    made.and_then(|()| given(&dir, last)).map_err(|error| refused(&reason_of(&error)))
}

/// Returns the reason of an error, without the path, which means nothing to other processes.
fn reason_of(error: &RootError) -> String {
    error.errno().map_or_else(|| error.to_string(), |errno| errno.to_string())
}

fn nearest(top: &OwnedFd, place: &OsStr) -> Result<(OwnedFd, Vec<OsString>), Errno> {
    let parts = Path::new(place).components().filter(|part| *part != Component::RootDir);
    let mut there: Vec<OsString> = parts.map(|part| part.as_os_str().to_owned()).collect();
    let mut missing = Vec::new();
    loop {
        let above: PathBuf = there.iter().collect();
        if let Some(fd) = open_inside(top, above.as_os_str())? {
            missing.reverse();
            return Ok((fd, missing));
        }
        missing.push(there.pop().ok_or(Errno::NOENT)?);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const TABLE: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        22 21 0:5 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
        40 21 8:1 / / ro,nosymfollow - ext4 /dev/sda1 rw\n\
        41 40 0:5 / /proc rw,nosuid - proc proc rw\n\
        42 40 8:2 / /usr/pkg rw - ext4 /dev/sda2 rw\n\
        43 42 8:3 / /usr/pkg/a\\040b rw - ext4 /dev/sda3 rw\n\
        44 43 8:3 / /usr/pkg/a\\040b/c rw - ext4 /dev/sda3 rw\n\
        45 40 8:3 / /usr/pkgsrc rw - ext4 /dev/sda3 rw\n\
        rubbish\n";

    #[test]
    fn the_mounts_that_stand_on_one_are_told_from_those_under_it() {
        let table = MountTable::of(ProcLines::of(TABLE, ProcBounds::MOUNTS, &|| false)).unwrap();
        let ids = |top| table.tree_of(top).iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(ids(40), [40, 41, 42, 45, 43, 44]);
        assert_eq!(ids(22), [22]);
        assert_eq!(table.tree_of(22)[0].flags, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC);
        assert_eq!(table.tree_of(40)[0].flags, MountFlags::RDONLY | MountFlags::NOSYMFOLLOW);
    }

    #[test]
    fn of_the_points_below_a_path_the_outermost_count() {
        let table = MountTable::of(ProcLines::of(TABLE, ProcBounds::MOUNTS, &|| false)).unwrap();
        let below = |path: &[u8]| table.points_below(40, path);
        assert_eq!(below(b"/usr/pkg"), [b"/usr/pkg/a b".to_vec()]);
        assert_eq!(below(b"/usr"), [b"/usr/pkg".to_vec(), b"/usr/pkgsrc".to_vec()]);
        assert_eq!(below(b"/").len(), 3);
        assert!(below(b"/usr/p").is_empty());
    }

    fn opened(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Bits::empty()).unwrap()
    }

    #[test]
    fn no_link_and_no_way_up_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        symlink("/etc", tree.join("absolute")).unwrap();
        symlink("../../../outside", tree.join("etc/up")).unwrap();
        let top = opened(&tree);
        let path = |place: &str| find(&top, OsStr::new(place)).unwrap().map(|found| found.path);
        assert_eq!(path("/absolute"), Some(tree.join("etc").into()));
        assert_eq!(path("//etc/../../../etc/"), Some(tree.join("etc").into()));
        assert_eq!(path("/etc/up"), None);
        assert_eq!(path("/../../outside"), None);
        assert_eq!(path("/"), Some(tree.into()));
    }

    #[test]
    fn a_missing_place_is_made_with_what_leads_to_it_and_only_on_mounts_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("usr")).unwrap();
        let top = opened(dir.path());
        let own = [mount_of(&top).unwrap()];
        make(&top, OsStr::new("/usr/src/a/b"), true, (&own, None)).unwrap();
        make(&top, OsStr::new("/usr/file"), false, (&own, None)).unwrap();
        assert!(dir.path().join("usr/src/a/b").is_dir() && dir.path().join("usr/file").is_file());
        let refused = make(&top, OsStr::new("/usr/other"), true, (&[], None)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot make the mount point /usr/other: it is missing, and this part of the tree is read-only"
        );
        let behind = make(&top, OsStr::new("/usr/file/x"), true, (&own, None)).unwrap_err();
        assert!(behind.to_string().starts_with("cannot make the mount point /usr/file/x: "), "{behind}");
    }
}
