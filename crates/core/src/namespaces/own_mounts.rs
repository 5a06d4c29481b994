//! The private file systems of an enclosure: processes, devices, and an empty directory.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags};

use super::bind::{attach, copy_of_host, make_read_only};
use super::failure::EnclosureError;
use super::place::{find, mount_of, open_inside, path_of};
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

/// The devices of the host that exist inside, if the host has them.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// The device that is the controlling terminal of whoever opens it.
const TERMINAL: &str = "tty";

/// The symbolic links among the devices.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const CLOSED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Mounts the list of the processes inside. Returns whether it is that of the host, because the kernel refuses a private
/// one.
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

/// Mounts an empty directory.
pub(super) fn mount_nothing(place: &OsStr, point: &OwnedFd) -> Result<(), EnclosureError> {
    let mounted = mount_new("tmpfs", point, CLOSED | MountFlags::RDONLY, c"mode=0700,size=4k");
    mounted.map_err(|errno| EnclosureError::failed("mount", place.display(), errno))
}

/// Mounts the devices, with some further files beside them.
pub(super) fn mount_devices(
    top: &OwnedFd,
    (place, point): (&OsStr, &OwnedFd),
    (files, shared_memory): (&[(OsString, Vec<u8>)], Option<u64>),
    has_terminal: bool,
) -> Result<(), EnclosureError> {
    let failed = |error: &dyn Display| EnclosureError::failed("prepare", place.display(), error);
    mount_new("tmpfs", point, MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0755,size=1m")
        .map_err(|errno| failed(&errno))?;
    let mounted = find(top, place)?.ok_or_else(|| failed(&Errno::NOENT))?.fd;
    let dir = Dir::of_host(&path_of(&mounted)).map_err(|error| failed(&error))?;
    let devices = || DEVICES.into_iter().chain(has_terminal.then_some(TERMINAL));
    lay_out(&dir, devices(), files).map_err(|error| failed(&error))?;
    for name in devices() {
        bind_device(&mounted, name).map_err(|errno| failed(&format!("{name}: {errno}")))?;
    }
    let below = |name: &str| open_inside(&mounted, OsStr::new(name)).and_then(|fd| fd.ok_or(Errno::NOENT));
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    below("pts")
        .and_then(|pts| mount_new("devpts", &pts, MountFlags::NOSUID | MountFlags::NOEXEC, options))
        .map_err(|errno| failed(&format!("pts: {errno}")))?;
    let options = shared_memory.map_or(String::new(), |bytes| format!(",size={bytes}"));
    let options = CString::new(format!("mode=1777{options}")).map_err(|error| failed(&error))?;
    below("shm")
        .and_then(|shm| mount_new("tmpfs", &shm, MountFlags::NOSUID | MountFlags::NODEV, &options))
        .map_err(|errno| failed(&format!("shm: {errno}")))
}

/// Makes the directories, links and files, and an empty file for each device.
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

/// Mounts a device of the host over the file of its name. If the host lacks the device, the file stays empty.
fn bind_device(devices: &OwnedFd, name: &str) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = match rustix::mount::open_tree(CWD, format!("/dev/{name}"), flags) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let point = open_inside(devices, OsStr::new(name))?.ok_or(Errno::NOENT)?;
    attach(&copy, &point)
}

/// Mounts a new file system.
fn mount_new(kind: &str, point: &OwnedFd, flags: MountFlags, options: &CStr) -> Result<(), Errno> {
    rustix::mount::mount(kind, path_of(point), kind, flags, options)
}
