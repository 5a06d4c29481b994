//! Directories laid over each other by overlayfs, as a mount that no path leads to yet.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::enclosure::Layers;
use super::failure::EnclosureError;
use super::place::path_of;

/// Lays directories over each other.
pub(super) fn mount_of_layers(layers: &Layers) -> Result<OwnedFd, EnclosureError> {
    let lower = layers.lower.iter().map(opened).collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (opened(&layers.upper)?, opened(&layers.work)?);
    let failed = |errno: Errno| match errno {
        // What it is asked for does not matter.
        Errno::PERM | Errno::ACCESS | Errno::NODEV | Errno::NOSYS => {
            EnclosureError::OverlayRefused(errno.to_string())
        }
        errno => EnclosureError::NoOverlay(format!("{}: {errno}", layers.upper.display())),
    };
    // Through open descriptors, no character of a path has a meaning of its own.
    let lower: Vec<String> = lower.iter().map(|dir| path_of(dir).display().to_string()).collect();
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    let set = |name: &str, value: &str| {
        rustix::mount::fsconfig_set_string(overlay.as_fd(), name, value).map_err(failed)
    };
    set("lowerdir", &lower.join(":"))?;
    set("upperdir", &path_of(&upper).display().to_string())?;
    set("workdir", &path_of(&work).display().to_string())?;
    // What is deleted is noted in attributes that a user namespace may write, too: a layer serves both kinds of callers. The
    // upper one is thrown away, or can be made again: nothing waits for the disk, and above all not the end of the mount, which
    // would wait for everything that is being written to that file system.
    for option in ["userxattr", "volatile"] {
        rustix::mount::fsconfig_set_flag(overlay.as_fd(), option).map_err(failed)?;
    }
    rustix::mount::fsconfig_create(overlay.as_fd()).map_err(failed)?;
    rustix::mount::fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(failed)
}

fn opened(path: &OsString) -> Result<OwnedFd, EnclosureError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| EnclosureError::failed("open", path.display(), errno))
}
