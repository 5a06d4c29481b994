//! The process that becomes rpm for a database that somebody else may have made.
//!
//! It has no rights of the caller, starts no other process, and ends with the caller.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit, setsid,
};
use rustix::thread::set_no_new_privs;

/// The name under which a program starts itself to become rpm.
pub const RPM_PROCESS: &str = "__rpm";

/// Exit code of the process that could not become rpm; as of env(1).
pub(super) const OWN_FAILURE: i32 = 125;

/// Seconds of a processor, for the case that nobody else ends it.
pub(super) const MOST_SECONDS: u64 = 60;

const LARGEST_FILE: u64 = 1 << 30;
const MOST_MEMORY: u64 = 4 << 30;
const MOST_FILES: u64 = 256;

/// The words for [`become_rpm`] before the program and its arguments.
pub(super) fn first_words(user: Option<(u32, u32)>) -> Vec<String> {
    let (uid, gid) =
        user.map_or(("-".to_owned(), "-".to_owned()), |(uid, gid)| (uid.to_string(), gid.to_string()));
    vec![std::process::id().to_string(), uid, gid]
}

/// Becomes the program of the fourth word, with the arguments after it. The words before are the process of the caller,
/// user and group, or `-` twice. Returns only on failure.
///
/// For a process that was just started for this, without inherited descriptors.
pub fn become_rpm(words: &[OsString]) -> io::Error {
    let [parent, user, group, program, arguments @ ..] = words else {
        return io::Error::from(io::ErrorKind::InvalidInput);
    };
    let entered = number(parent).and_then(|parent| {
        let user = if user == "-" { None } else { Some((number(user)?, number(group)?)) };
        give_up_rights(parent, user)
    });
    match entered {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

fn number(word: &OsStr) -> io::Result<u32> {
    let number = word.to_str().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

fn give_up_rights(parent: u32, user: Option<(u32, u32)>) -> io::Result<()> {
    // The terminal of the caller is out of reach.
    setsid()?;
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, MOST_SECONDS)?;
    limit(Resource::Fsize, LARGEST_FILE)?;
    limit(Resource::As, MOST_MEMORY)?;
    limit(Resource::Nofile, MOST_FILES)?;
    set_no_new_privs(true)?;
    if let Some((uid, gid)) = user {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    // After the change of user, which would look at it.
    limit(Resource::Nproc, 0)?;
    // The change of user would clear it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_there = getppid().is_some_and(|now| u32::try_from(now.as_raw_pid()) == Ok(parent));
    if is_there { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
}

/// Never beyond the caller's own limit.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let own = getrlimit(resource).maximum;
    let most = Some(own.map_or(most, |own| own.min(most)));
    Ok(setrlimit(resource, Rlimit { current: most, maximum: most })?)
}
