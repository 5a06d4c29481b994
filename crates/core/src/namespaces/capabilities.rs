//! The rights of an unprivileged user inside a user namespace of their own: enough to mount, until the command starts.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, set_capabilities,
};

/// Maps the caller into the new user namespace: under their own ids, or as root.
pub(super) fn map_caller((uid, gid): (u32, u32), as_root: bool) -> io::Result<()> {
    let (inside_uid, inside_gid) = if as_root { (0, 0) } else { (uid, gid) };
    tell_kernel("self", "setgroups", "deny")?;
    tell_kernel("self", "uid_map", &format!("{inside_uid} {uid} 1"))?;
    tell_kernel("self", "gid_map", &format!("{inside_gid} {gid} 1"))
}

/// Writes to a file of a process in `/proc`.
#[allow(clippy::disallowed_methods)] // these are questions to the kernel, not files of a disk
pub(super) fn tell_kernel(process: &str, name: &str, text: &str) -> io::Result<()> {
    std::fs::write(Path::new("/proc").join(process).join(name), text)
}

/// Passes the capabilities of this process on to the program that it starts next.
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

/// Lets go of all capabilities of this process but these, of those that it has.
pub(super) fn keep_only(kept: u64) -> io::Result<()> {
    let CapabilitySets { permitted, .. } = capabilities(None)?;
    let kept = permitted.intersection(CapabilitySet::from_bits_retain(kept));
    clear_ambient_capability_set()?;
    let inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?)
}

/// Passes nothing on any more: the program that is started next has the capabilities of its user.
pub(super) fn keep_for_oneself() -> io::Result<()> {
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    clear_ambient_capability_set()?;
    Ok(set_capabilities(None, CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })?)
}
