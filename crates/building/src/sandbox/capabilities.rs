//! Users of a sandbox, and the capabilities that their commands keep.

use crate::ids::BUILD_ID;

/// Bits of capabilities(7): `chown`, `dac_override`, `fowner`, `fsetid`, `kill`, `setgid`, `setuid`, `sys_chroot`.
const OF_INSTALLATION: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 18;

/// For root in a build, in the user namespace of the sandbox: also `setpcap`, `net_bind_service`, `setfcap`.
const OF_ROOT: u64 = OF_INSTALLATION | 1 << 8 | 1 << 10 | 1 << 31;

/// User ids of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildUser {
    /// First ids inside: root's, or the caller's own if there are no others.
    First,
    Build,
    /// The first ids, with the rights that an installation needs.
    Installer,
}

impl BuildUser {
    pub(crate) fn id(self) -> u32 {
        if self == Self::Build { BUILD_ID } else { 0 }
    }
}

pub(super) fn capabilities_of(user: BuildUser) -> u64 {
    match user {
        BuildUser::First => OF_ROOT,
        BuildUser::Build => 0,
        BuildUser::Installer => OF_INSTALLATION,
    }
}
