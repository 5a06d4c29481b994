//! The host directory of undo archives outside a root (`-B`, `undo_dir`). Anyone who can write there could replace undo
//! data.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::operation::failure::Failure;
use patchadm_rootfs::{Dir, Root, RootError, may_others_write, strange_above};
use patchadm_svr4::package::{ObjectPath, rule};
use patchadm_svr4::places;

/// Must exist, writable for the caller and nobody else.
pub(in crate::operation) fn must_be_usable(host: &Root, directory: &Path) -> Result<(), Failure> {
    let dir = open(host, directory)?;
    if !dir.is_writable() {
        return Err(wrong(directory, "cannot be written to"));
    }
    must_be_of_its_owner(&dir, directory)?;
    if is_movable(host, directory)? { Err(wrong(directory, MOVABLE)) } else { Ok(()) }
}

pub(in crate::operation) const MOVABLE: &str =
    "lies below a directory that another user can change and could move away";

/// True if another user can rename the directory or a parent.
pub(in crate::operation) fn is_movable(host: &Root, directory: &Path) -> Result<bool, RootError> {
    let relative = directory.strip_prefix("/").unwrap_or(directory);
    Ok(strange_above(&host.prefix().join(relative))?.is_some())
}

/// For an existing archive directory: nobody else may write to it.
pub(in crate::operation) fn must_be_private(host: &Root, directory: &[u8]) -> Result<(), Failure> {
    let directory = Path::new(OsStr::from_bytes(if directory.is_empty() { b"/" } else { directory }));
    must_be_of_its_owner(&open(host, directory)?, directory)
}

/// For stages: patches applied there need undo data inside, even when the stage is live.
pub(in crate::operation) fn must_be_inside_stage(root: &Root, directory: &Path) -> Result<(), Failure> {
    if !is_stage(root)? {
        return Ok(());
    }
    let is_inside = Root::open(directory)?.physical_path()?.starts_with(root.physical_path()?);
    if is_inside {
        Ok(())
    } else {
        Err(wrong(directory, "is outside the stage, and undo data of a stage stays in it"))
    }
}

pub(in crate::operation) fn is_stage(root: &Root) -> Result<bool, Failure> {
    let identity = places::stage_identity();
    let own = root.dir_if_there(&identity.parent().unwrap_or_else(ObjectPath::root))?;
    Ok(own.is_some_and(|own| own.look(identity.name()).is_ok_and(|seen| seen.is_some())))
}

fn open(host: &Root, directory: &Path) -> Result<Dir, Failure> {
    let Ok(path) = ObjectPath::new(directory.as_os_str().as_bytes()) else {
        return Err(wrong(directory, "is not an absolute path without `..`"));
    };
    let dir = host.dir_if_there(&host.resolver().locate_dir(&path)?)?;
    dir.ok_or_else(|| wrong(directory, "is not a directory"))
}

fn must_be_of_its_owner(dir: &Dir, directory: &Path) -> Result<(), Failure> {
    if rule::holds("archive.outside.writers", is_of_its_owner(dir)?) {
        return Ok(());
    }
    let reason = "is writable by others, who could replace the undo data";
    Err(wrong(directory, reason))
}

/// True if only the superuser and the caller can change names. A sticky bit is not enough.
fn is_of_its_owner(dir: &Dir) -> Result<bool, Failure> {
    let seen = dir.itself()?;
    let is_owner = seen.uid == 0 || dir.is_own()?;
    let group_is_root = seen.gid == 0 || !dir.root().is_privileged();
    Ok(is_owner && !may_others_write(dir, seen.mode.bits(), group_is_root))
}

fn wrong(directory: &Path, reason: &'static str) -> Failure {
    Failure::BackoutDirectory { path: directory.to_owned(), reason }
}
