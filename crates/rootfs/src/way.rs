//! The way to a root from outside: checks the owners of the symbolic links on its path.
//!
//! Directories above a root may belong to any user (`/tmp`, the workspace of a build), because the root is opened once.
//! But a foreign symbolic link among them would decide which root is changed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::calls::MOST_LINKS;
use super::{Distrust, FileType, ObjectStatus, Result, Root, RootError, again};
use patchadm_svr4::package::{ObjectPath, rule};

/// The magic number of proc(5), whose links only the kernel can follow.
const PROC: u64 = 0x9fa0;

/// Checks each symbolic link on the way to the directory of `root`: it must be the superuser's. Also fails if the way
/// now leads to another directory.
pub(crate) fn look_at_links(root: &Root) -> Result<()> {
    let failed = |errno| root.error("follow the way to", &ObjectPath::root(), errno);
    let mut at = open(None, b"/").map_err(failed)?;
    let (mut shown, mut links) = (PathBuf::from("/"), 0);
    let mut rest = parts(root.prefix());
    if root.prefix().is_relative() {
        at = open(None, b".").map_err(failed)?;
        shown = PathBuf::new();
    }
    while let Some(part) = rest.pop_front() {
        let next = open(Some(&at), part.as_bytes()).map_err(failed)?;
        let seen = ObjectStatus::of_file(&next).map_err(failed)?;
        if seen.file_type != FileType::Symlink {
            at = next;
            shown.push(&part);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(RootError::Loop(root.shown_prefix()));
        }
        if !rule::holds("root.way.link", seen.uid == 0) {
            let link = shown.join(&part).display().to_string();
            return Err(root.untrusted(link, seen.uid, Distrust::Link));
        }
        if is_of_proc(&next) {
            at = through(&at, part.as_bytes()).map_err(failed)?;
            shown.push(&part);
            continue;
        }
        let target = again(|| rustix::fs::readlinkat(&next, "", Vec::new())).map_err(failed)?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            at = open(None, b"/").map_err(failed)?;
            shown = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            rest.push_front(part);
        }
    }
    let (found, opened) = (ObjectStatus::of_file(&at).map_err(failed)?, root.seen()?);
    let is_same = (found.inode, found.file_system) == (opened.inode, opened.file_system);
    if is_same { Ok(()) } else { Err(failed(Errno::STALE)) }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let named = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().filter_map(named).collect()
}

/// Opens a name without following it, only to read its status.
fn open(at: Option<&OwnedFd>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    again(|| match at {
        Some(at) => rustix::fs::openat(at, name, flags, Mode::empty()),
        None => rustix::fs::open(name, flags, Mode::empty()),
    })
}

/// Opens the directory behind a link of proc(5).
fn through(at: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    again(|| rustix::fs::openat(at, name, flags, Mode::empty()))
}

fn is_of_proc(link: &OwnedFd) -> bool {
    #[allow(clippy::cast_sign_loss)] // a bit pattern
    rustix::fs::fstatfs(link).is_ok_and(|stat| stat.f_type as u64 & 0xffff_ffff == PROC)
}
