//! The process that becomes the owner of a root: it gives up all rights, then starts the program anew.
//!
//! In between it cannot be traced, and afterwards the caller's memory is gone.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt as _;

use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, execveat, setgroups, setresgid, setresuid, setsid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities,
};

use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_core::process::{close_inherited, leave_session_keyring};

/// Becomes the user of the first three arguments (user, group, other groups) and starts the program anew with the
/// others. Returns only on failure.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let failed = |reason: String| Stop::Refused {
        exit: Exit::failed(ExitCause::NoRights),
        message: format!("cannot work as the owner of the root: {reason}\nnothing was changed"),
    };
    let mut words = call.arguments.iter();
    let mut number = || words.next().and_then(|word| word.to_str()?.parse::<u32>().ok());
    let (Some(uid), Some(gid)) = (number(), number()) else {
        return Err(failed("no user specified".to_owned()).into());
    };
    let groups = words.next().and_then(|word| word.to_str()).unwrap_or_default();
    let groups: Vec<Gid> =
        groups.split(',').filter_map(|group| group.parse().ok()).map(Gid::from_raw).collect();
    if uid == 0 {
        return Err(failed("it belongs to root".to_owned()).into());
    }
    let error = become_user(uid, gid, &groups, words.cloned().collect()).err();
    Err(failed(error.map_or_else(String::new, |error| error.to_string())).into())
}

fn become_user(uid: u32, gid: u32, groups: &[Gid], words: Vec<OsString>) -> io::Result<()> {
    close_inherited()?;
    // Open it now: after the change of user nothing below /proc/self may be opened before the new start.
    let program = rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    setsid()?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    give_up_bounds()?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    leave_session_keyring()?;
    let words = std::iter::once(OsString::from(PROGRAM)).chain(words);
    let arguments = words.map(|word| CString::new(word.into_vec())).collect::<Result<Vec<_>, _>>()?;
    let environment = std::env::vars_os()
        .map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')));
    let environment = environment.collect::<Result<Vec<_>, _>>()?;
    // The only call that starts a program by its descriptor.
    execveat(&program, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH)?;
    Ok(())
}

/// No program started from here on can have a capability again.
fn give_up_bounds() -> io::Result<()> {
    clear_ambient_capability_set()?;
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // The kernel knows no more of them.
            Err(Errno::INVAL) => break,
            // A caller without the permission has no such capability to lose by a change of user.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
