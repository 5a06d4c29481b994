//! What the inside has for itself beside mounts and processes: network, host name and queues, and the rights that remain.

use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};
use rustix::thread::CapabilitySet;

use super::enclosure::{EnclosedCommand, Isolation, ProcessLimit};
use super::failure::EnclosureError;
use super::settings::refusal;
use crate::process::refuse_keys_and_user_namespaces;

/// Gives this process what the inside has for itself.
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
    }
    if isolation.has_own_network {
        bring_up_loopback()
            .map_err(|errno| EnclosureError::failed("bring up", "the loopback device", errno))?;
    }
    Ok(())
}

/// Brings up the loopback device of a new network: it is the first one, and it is down.
fn bring_up_loopback() -> Result<(), Errno> {
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    // The protocol 0 is that of links and routes.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, kind, flags, None)?;
    rustix::net::send(&socket, &loopback_request(), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], rustix::net::RecvFlags::empty())?;
    // Behind the header of 16 bytes stands the error, negative.
    let code = answer.get(..length).and_then(|answer| answer.get(16..20));
    let code = code.and_then(|code| <[u8; 4]>::try_from(code).ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-code)) }
}

/// Returns the message `RTM_NEWLINK` of rtnetlink(7) that brings up the device with the number 1.
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

/// Keeps programs from giving more rights to this process and all that it starts, the keys of a user who is the caller outside
/// from them, and all capabilities of a user namespace of their own.
pub(super) fn gain_no_rights() -> Result<(), EnclosureError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| EnclosureError::failed("give up", "the rights of set-id programs", errno))?;
    refuse_keys_and_user_namespaces()
        .map_err(|error| EnclosureError::failed("refuse", "keys and user namespaces", error))
}

/// Lets go of all capabilities but these, for this process and all that it starts.
pub(super) fn keep_capabilities(kept: u64) -> Result<(), EnclosureError> {
    for bit in 0..u64::BITS {
        if kept & (1 << bit) != 0 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel has no more of them.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(EnclosureError::failed("give up", "capabilities", errno)),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Sets the limits and the urgency of this process, which all that it starts inherit.
pub(super) fn restrict(command: &EnclosedCommand) -> Result<(), EnclosureError> {
    for limit in &command.limits {
        let (resource, most) = match *limit {
            ProcessLimit::ProcessorTime(seconds) => (Resource::Cpu, seconds),
            ProcessLimit::FileSize(bytes) => (Resource::Fsize, bytes),
            ProcessLimit::CoreDump(bytes) => (Resource::Core, bytes),
        };
        let most = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, most)
            .map_err(|errno| EnclosureError::failed("set", "the limits of processes", errno))?;
    }
    if command.niceness != 0 {
        rustix::process::nice(command.niceness)
            .map_err(|errno| EnclosureError::failed("set", "the urgency", errno))?;
    }
    Ok(())
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
}
