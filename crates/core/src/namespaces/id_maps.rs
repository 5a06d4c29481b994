//! The ids of a user namespace that owns none of the mounts: entered by the first process, given by its caller.

use std::fmt::Write as _;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::io::Errno;

use super::capabilities::tell_kernel;
use super::enclosure::{IdMapping, OwnIds};
use super::failure::EnclosureError;
use super::settings::refusal;

/// Enters a new user namespace. All mounts, and everything else that this process has for itself, stay in the hands of the
/// one before.
pub(super) fn leave_the_mounts(is_superuser: bool) -> Result<(), EnclosureError> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| {
        refusal("unshare(CLONE_NEWUSER)", Errno::from_raw_os_error(errno as i32), is_superuser)
    })
}

/// Says which ids there are in the new user namespace of a child.
pub(super) fn give(process: u32, ids: &OwnIds, is_superuser: bool) -> Result<(), EnclosureError> {
    for (name, mappings) in [("uid_map", &ids.users), ("gid_map", &ids.groups)] {
        tell_kernel(&process.to_string(), name, &lines_of(mappings)).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::PERM);
            match mappings.iter().find(|ids| ids.outside != ids.inside) {
                Some(ids) if errno == Errno::PERM => EnclosureError::NotAllowed(format!(
                    "{name}: the ids {} to {} are not available here",
                    ids.outside,
                    ids.outside.saturating_add(ids.count.saturating_sub(1))
                )),
                _ => refusal(name, errno, is_superuser),
            }
        })?;
    }
    Ok(())
}

fn lines_of(mappings: &[IdMapping]) -> String {
    mappings.iter().fold(String::new(), |mut lines, ids| {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{} {} {}", ids.inside, ids.outside, ids.count);
        lines
    })
}

/// Becomes a user and group of this namespace, without any further group. Whoever was root has no capability then.
pub(super) fn become_user((uid, gid): (u32, u32)) -> Result<(), EnclosureError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let failed =
        |errno: nix::errno::Errno| EnclosureError::failed("change to", "the ids of the command", errno);
    setgroups(&[]).map_err(failed)?;
    setresgid(gid, gid, gid).map_err(failed)?;
    setresuid(uid, uid, uid).map_err(failed)
}

/// Becomes the first user and group of this namespace; where that is root, without any further group.
pub(super) fn become_first(ids: &OwnIds) -> Result<(), EnclosureError> {
    let first = |ids: &[IdMapping]| ids.first().map_or(0, |ids| ids.inside);
    let (uid, gid) = (Uid::from_raw(first(&ids.users)), Gid::from_raw(first(&ids.groups)));
    let failed = |errno: nix::errno::Errno| EnclosureError::failed("change to", "the ids inside", errno);
    if uid.is_root() {
        setgroups(&[]).map_err(failed)?;
    }
    setresgid(gid, gid, gid).map_err(failed)?;
    setresuid(uid, uid, uid).map_err(failed)
}
