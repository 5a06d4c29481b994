//! Rights inside: capabilities, ids, limits, network, host name; and the kernel settings that forbid namespaces.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, set_capabilities,
};

use crate::namespaces::enclosure::{
    EnclosedCommand, EnclosureError, IdMapping, Isolation, OwnIds, ProcessLimit,
};
use crate::process::refuse_keys_and_user_namespaces;

/// Maps the caller into the new user namespace: with the same ids, or as root.
pub(super) fn map_caller((uid, gid): (u32, u32), as_root: bool) -> io::Result<()> {
    let (inside_uid, inside_gid) = if as_root { (0, 0) } else { (uid, gid) };
    tell_kernel("self", "setgroups", "deny")?;
    tell_kernel("self", "uid_map", &format!("{inside_uid} {uid} 1"))?;
    tell_kernel("self", "gid_map", &format!("{inside_gid} {gid} 1"))
}

#[allow(clippy::disallowed_methods)] // these are questions to the kernel, not files of a disk
pub(super) fn tell_kernel(process: &str, name: &str, text: &str) -> io::Result<()> {
    std::fs::write(Path::new("/proc").join(process).join(name), text)
}

pub(super) fn hand_down() -> io::Result<()> {
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective, permitted, inheritable: permitted })?;
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if permitted.contains(capability) {
            match configure_capability_in_ambient_set(capability, true) {
                Err(Errno::INVAL) => break,
                other => other?,
            }
        }
    }
    Ok(())
}

pub(super) fn keep_only(kept: u64) -> io::Result<()> {
    let CapabilitySets { permitted, .. } = capabilities(None)?;
    let kept = permitted.intersection(CapabilitySet::from_bits_retain(kept));
    clear_ambient_capability_set()?;
    let inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?)
}

/// Keeps capabilities from the next program: it gets those of its user.
pub(super) fn keep_for_oneself() -> io::Result<()> {
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    clear_ambient_capability_set()?;
    Ok(set_capabilities(None, CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })?)
}

/// Enters a new user namespace. The mounts and all other resources still belong to the previous one.
///
/// The kernel also counts what is inside for the maker of the namespace. `owner` is that maker: otherwise everything
/// inside would share the limits of the superuser.
pub(super) fn leave_the_mounts(owner: Option<u32>, is_superuser: bool) -> Result<(), EnclosureError> {
    if let Some(owner) = owner {
        // Ids that are not available here are refused with their numbers when they are mapped.
        let _ = count_for(owner);
    }
    limit_queues()?;
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| {
        refusal("unshare(CLONE_NEWUSER)", Errno::from_raw_os_error(errno as i32), is_superuser)
    })?;
    lower_settings("sys/user", &OF_NAMESPACE);
    Ok(())
}

fn count_for(owner: u32) -> io::Result<()> {
    nix::unistd::seteuid(Uid::from_raw(owner))?;
    // The real id is still the superuser's, so the capabilities are not lost.
    let CapabilitySets { permitted, inheritable, .. } = capabilities(None)?;
    Ok(set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable })?)
}

/// Settings of a new user namespace: half of the kernel's default, or its former default.
const OF_NAMESPACE: [(&str, &str); 4] = [
    ("max_inotify_instances", "64"),
    ("max_inotify_watches", "8192"),
    ("max_fanotify_groups", "64"),
    ("max_fanotify_marks", "8192"),
];

/// Settings of a new namespace of queues and semaphores, whose memory no other limit bounds.
const OF_QUEUES: [(&str, &str); 2] = [("sem", "1000 32000 500 128"), ("msgmni", "64")];

/// Settings of a new network: its sockets share the memory for those of the machine. The numbers of the first two are
/// bytes. The third one bounds closed connections that wait for late packets, which no count of sockets has.
const OF_SOCKETS: [(&str, &str); 3] =
    [("tcp_rmem", "4096 131072 131072"), ("tcp_wmem", "4096 16384 131072"), ("tcp_max_tw_buckets", "4096")];

/// Lowers settings as far as the kernel has them and allows it.
fn lower_settings(directory: &str, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        let _ = tell_kernel(directory, name, value);
    }
}

const MOST_SIGNALS: u64 = 4096;

/// In bytes, a quarter of the kernel's default.
const MOST_QUEUED: u64 = 200 << 10;

/// Sets limits of a user that the next user namespace takes over for all of its users together.
fn limit_queues() -> Result<(), EnclosureError> {
    for (resource, most) in [(Resource::Sigpending, MOST_SIGNALS), (Resource::Msgqueue, MOST_QUEUED)] {
        // The user of the caller keeps a half.
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |own| most.min(own / 2));
        set_limit(resource, (most, most))?;
    }
    Ok(())
}

fn set_limit(resource: Resource, (soft, hard): (u64, u64)) -> Result<(), EnclosureError> {
    rustix::process::setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
        .map_err(|errno| EnclosureError::failed("set", "the limits of processes", errno))
}

const FIRST_VICTIM: i32 = 500;

/// Makes the kernel end this process and its children before others if it runs out of memory. If the caller is the
/// superuser, they cannot change that.
pub(super) fn yield_memory() {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok();
    if own.and_then(|own| own.trim().parse::<i32>().ok()).is_some_and(|own| own < FIRST_VICTIM) {
        // Without it, the largest process ends.
        let _ = tell_kernel("self", "oom_score_adj", &FIRST_VICTIM.to_string());
    }
}

/// Writes the id maps of a child's new user namespace.
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

pub(super) fn become_user((uid, gid): (u32, u32)) -> Result<(), EnclosureError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let failed =
        |errno: nix::errno::Errno| EnclosureError::failed("change to", "the ids of the command", errno);
    setgroups(&[]).map_err(failed)?;
    setresgid(gid, gid, gid).map_err(failed)?;
    setresuid(uid, uid, uid).map_err(failed)
}

/// Becomes the first user and group of this namespace; root also drops all other groups.
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

pub(super) fn isolate(isolation: &Isolation, is_superuser: bool) -> Result<(), EnclosureError> {
    let mut flags = CloneFlags::empty();
    if isolation.has_own_network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    if isolation.host_name.is_some() {
        flags |= CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    }
    if flags.is_empty() {
        return Ok(());
    }
    let refused = |call: &str, errno| refusal(call, errno, is_superuser);
    unshare(flags)
        .map_err(|errno| refused("unshare(CLONE_NEWNET)", Errno::from_raw_os_error(errno as i32)))?;
    if let Some(name) = &isolation.host_name {
        rustix::system::sethostname(name.as_bytes()).map_err(|errno| refused("sethostname", errno))?;
        lower_settings("sys/kernel", &OF_QUEUES);
    }
    if isolation.has_own_network {
        lower_settings("sys/net/ipv4", &OF_SOCKETS);
        bring_up_loopback()
            .map_err(|errno| EnclosureError::failed("bring up", "the loopback device", errno))?;
    }
    Ok(())
}

/// Brings up the loopback device of a new network.
fn bring_up_loopback() -> Result<(), Errno> {
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    // Protocol 0 is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, None)?;
    rustix::net::send(&socket, &loopback_request(), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], rustix::net::RecvFlags::empty())?;
    // The error follows the header of 16 bytes, negative.
    let code = answer.get(..length).and_then(|answer| answer.get(16..20));
    let code = code.and_then(|code| <[u8; 4]>::try_from(code).ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-code)) }
}

/// Returns `RTM_NEWLINK` (rtnetlink(7)) that brings up device 1, the loopback device.
fn loopback_request() -> Vec<u8> {
    const NEW_LINK: u16 = 16;
    const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
    const UP: u32 = 1;
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(1_i32.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message
}

/// Drops all ways to more rights for this process and its children: set-id programs, the caller's keys, and user
/// namespaces with all capabilities.
pub(super) fn gain_no_rights() -> Result<(), EnclosureError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| EnclosureError::failed("drop", "the rights of set-id programs", errno))?;
    refuse_keys_and_user_namespaces()
        .map_err(|error| EnclosureError::failed("refuse", "keys and user namespaces", error))
}

pub(super) fn keep_capabilities(kept: u64) -> Result<(), EnclosureError> {
    for bit in 0..u64::BITS {
        if kept & (1 << bit) != 0 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // No more capabilities exist.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(EnclosureError::failed("drop", "capabilities", errno)),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Sets limits and niceness, which children inherit.
pub(super) fn restrict(command: &EnclosedCommand) -> Result<(), EnclosureError> {
    for limit in &command.limits {
        let (resource, most) = match *limit {
            ProcessLimit::ProcessorTime(seconds) => (Resource::Cpu, seconds),
            ProcessLimit::FileSize(bytes) => (Resource::Fsize, bytes),
            ProcessLimit::CoreDump(bytes) => (Resource::Core, bytes),
            ProcessLimit::LockedMemory(bytes) => (Resource::Memlock, bytes),
            ProcessLimit::OpenFiles(number) => (Resource::Nofile, number),
            ProcessLimit::Processes(_) if !counts_processes_by_namespace() => continue,
            ProcessLimit::Processes(number) => (Resource::Nproc, number),
        };
        let own = rustix::process::getrlimit(resource);
        // A limit that is lower already cannot be raised.
        let most = own.maximum.map_or(most, |lower| most.min(lower));
        let soft = match limit {
            // Some programs close all files up to it.
            ProcessLimit::OpenFiles(_) => own.current.map_or(most, |soft| soft.min(most)),
            _ => most,
        };
        set_limit(resource, (soft, most))?;
    }
    if command.niceness != 0 {
        rustix::process::nice(command.niceness)
            .map_err(|errno| EnclosureError::failed("set", "the urgency", errno))?;
    }
    Ok(())
}

/// An older kernel counts the processes of a user in all namespaces together, so one build would refuse another its
/// processes.
fn counts_processes_by_namespace() -> bool {
    rustix::system::uname().release().to_str().is_ok_and(|release| version_of(release) >= (5, 14))
}

fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

const SETTINGS: &str = "/proc/sys";

/// Settings that can forbid namespaces, each with the value that does. Settings of user namespaces apply to
/// unprivileged users only.
const FORBIDDING: [(&str, &str, bool); 5] = [
    ("kernel.unprivileged_userns_clone", "0", true),
    ("user.max_user_namespaces", "0", true),
    ("user.max_mnt_namespaces", "0", false),
    ("user.max_pid_namespaces", "0", false),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", true),
];

/// Returns the error of a refused call, with the setting that forbids it, if found.
pub(super) fn refusal(call: &str, errno: Errno, is_superuser: bool) -> EnclosureError {
    let is_about_rights =
        [Errno::PERM, Errno::ACCESS, Errno::NOSPC, Errno::INVAL, Errno::NOSYS].contains(&errno);
    if !is_about_rights {
        return EnclosureError::Failed(format!("{call}: {errno}"));
    }
    let reason = forbidding_setting(Path::new(SETTINGS), is_superuser).unwrap_or_else(|| {
        if is_superuser && errno == Errno::PERM {
            return format!("{call}: {errno} (root needs the capability CAP_SYS_ADMIN for it)");
        }
        format!("{call}: {errno}")
    });
    EnclosureError::NotAllowed(reason)
}

/// Returns the setting that forbids the caller namespaces, if any. Nothing is tried: a seccomp filter may still refuse
/// them.
pub fn namespaces_forbidden() -> Option<String> {
    let is_superuser = rustix::process::geteuid().is_root();
    if !Path::new("/proc/self/ns/user").exists() {
        return Some("the kernel has no user namespaces".to_owned());
    }
    let has_rights = !is_superuser
        || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    if !has_rights {
        return Some("root does not have the capability CAP_SYS_ADMIN here".to_owned());
    }
    forbidding_setting(Path::new(SETTINGS), is_superuser)
}

fn forbidding_setting(settings: &Path, is_superuser: bool) -> Option<String> {
    FORBIDDING.iter().filter(|(.., is_for_users)| !is_superuser || !is_for_users).find_map(
        |(name, value, _)| {
            let text = std::fs::read_to_string(settings.join(name.replace('.', "/"))).ok()?;
            (text.trim() == *value).then(|| format!("the setting {name} is {value}"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_for_the_loopback_device_has_the_length_that_it_names() {
        let message = loopback_request();
        assert_eq!(message.len(), 32);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
        assert_eq!(message[20..24], 1_i32.to_ne_bytes());
    }

    #[test]
    fn the_setting_that_forbids_is_named_and_one_for_users_does_not_concern_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("kernel")).unwrap();
        std::fs::create_dir_all(dir.path().join("user")).unwrap();
        assert_eq!(forbidding_setting(dir.path(), false), None);
        std::fs::write(dir.path().join("kernel/apparmor_restrict_unprivileged_userns"), "1\n").unwrap();
        std::fs::write(dir.path().join("user/max_mnt_namespaces"), "4711\n").unwrap();
        let said = forbidding_setting(dir.path(), false).unwrap();
        assert_eq!(said, "the setting kernel.apparmor_restrict_unprivileged_userns is 1");
        assert_eq!(forbidding_setting(dir.path(), true), None);
        std::fs::write(dir.path().join("user/max_pid_namespaces"), "0\n").unwrap();
        assert_eq!(forbidding_setting(dir.path(), true).unwrap(), "the setting user.max_pid_namespaces is 0");
    }

    #[test]
    fn the_release_of_a_kernel_begins_with_its_version() {
        assert!(version_of("5.4.0-190-generic") < (5, 14));
        assert!(version_of("5.14.0-503.el9") >= (5, 14));
        assert_eq!(version_of("6.18-rc1"), (6, 18));
        assert_eq!(version_of("rubbish"), (0, 0));
    }

    #[test]
    fn what_has_nothing_to_do_with_rights_is_another_failure() {
        assert!(matches!(refusal("unshare", Errno::NOMEM, true), EnclosureError::Failed(_)));
        assert!(matches!(refusal("unshare", Errno::PERM, true), EnclosureError::NotAllowed(_)));
    }
}
