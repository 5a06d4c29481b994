//! Parts of the host's tree mounted inside, and made read-only.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};

use super::enclosure::JudgedDirectory;
use super::failure::EnclosureError;
use super::mount_table::MountTable;
use super::place::{mount_of, open_inside, path_of};
use patchadm_rootfs::ObjectStatus;

/// Copies the mounts at and below an open file. The copy is not visible anywhere yet.
pub(super) fn copy_of(file: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(file, "", flags)
}

/// Copies the mounts at and below a path of the host. Links do not lead out of `below`, which is the directory that was
/// judged, if one was.
pub(super) fn copy_of_host(
    below: &OsStr,
    path: &OsStr,
    judged: &[JudgedDirectory],
) -> Result<OwnedFd, EnclosureError> {
    let shown = || std::path::Path::new(below).join(path.to_string_lossy().trim_start_matches('/'));
    let failed = |error: &dyn Display| EnclosureError::failed("mount", shown().display(), error);
    let opened =
        rustix::fs::openat(CWD, below, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let directory = opened.map_err(|errno| failed(&errno))?;
    must_be_judged(judged, below, &directory)?;
    let file = open_inside(directory, path).map_err(|errno| failed(&errno))?;
    let file = file.ok_or_else(|| failed(&Errno::NOENT))?;
    copy_of(&file).map_err(|errno| failed(&errno))
}

/// Refuses an open directory that is another one than the caller has judged under its path.
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

/// Puts a copy where an open file is.
pub(super) fn attach(copy: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(copy, "", place, "", flags)
}

/// Makes a mount of the tree `top`, and all mounts on top of it, read-only. Their other restrictions stay in force.
pub(super) fn make_read_only(top: &OwnedFd, mount: u64) -> Result<(), EnclosureError> {
    let table =
        MountTable::read().map_err(|error| EnclosureError::failed("read", "/proc/self/mountinfo", error))?;
    for entry in table.tree_of(mount) {
        let point = OsStr::from_bytes(&entry.point);
        let file = match open_inside(top, point) {
            Ok(Some(file)) => file,
            // Nobody inside writes to a mount that is gone or that the caller cannot reach.
            Ok(None) | Err(Errno::ACCESS) => continue,
            Err(errno) => return Err(EnclosureError::failed("find the mount", point.display(), errno)),
        };
        // Below another mount, it cannot be reached either.
        if mount_of(&file)? != entry.id {
            continue;
        }
        let flags = MountFlags::BIND | MountFlags::RDONLY | entry.flags;
        rustix::mount::mount_remount(path_of(&file), flags, "")
            .map_err(|errno| EnclosureError::failed("make read-only", point.display(), errno))?;
    }
    Ok(())
}
