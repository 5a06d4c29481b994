//! An enclosure as a value passed between processes: its mounts, its command, and how it ended.

use std::ffi::{OsStr, OsString};
use std::fmt;

use serde::{Deserialize, Serialize};

use patchadm_rootfs::ObjectStatus;

/// A command and its surroundings. Paths are bytes, as the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    pub tree: EnclosureTree,
    /// Host directories that the caller has checked. Anyone who may rename a directory could have replaced one since.
    pub judged: Vec<JudgedDirectory>,
    /// Missing mount points are made in the tree only if it is writable.
    pub access: Access,
    /// In mount order.
    pub mounts: Vec<EnclosedMount>,
    /// Held as long as any process is inside.
    pub locks: Vec<HeldLock>,
    /// Maps the caller to id 0 inside.
    pub as_root: bool,
    /// Ids of a further user namespace, which owns none of the mounts and so cannot change them. `None`: the command
    /// stays in the namespace that owns the mounts.
    pub ids: Option<OwnIds>,
    pub isolation: Isolation,
    pub command: EnclosedCommand,
}

/// A directory of the host. Building fails if its path no longer leads to the one that the caller has checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedDirectory {
    /// As a tree, the base of a mount or the directory of a lock names it.
    pub path: OsString,
    /// Major and minor device number.
    pub file_system: (u32, u32),
    pub inode: u64,
}

impl JudgedDirectory {
    pub fn of(path: impl Into<OsString>, seen: &ObjectStatus) -> Self {
        Self { path: path.into(), file_system: seen.file_system, inode: seen.inode.number }
    }
}

/// Source of `/` inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureTree {
    /// A host directory with everything mounted below it.
    Host(OsString),
    Layers(Layers),
}

/// Directories stacked by overlayfs. Each must come from this program, which uses the same options for all: a deletion
/// in one layer must count for the layers above it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Read-only directories, the uppermost first; at least one.
    pub lower: Vec<OsString>,
    /// Gets all changes. They are not durable, even after fsync inside.
    pub upper: OsString,
    /// An empty directory on the file system of `upper`, for overlayfs alone. It serves one mount.
    pub work: OsString,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// A private network with the loopback device only.
    pub has_own_network: bool,
    /// Also gives the inside its own queues and semaphores.
    pub host_name: Option<String>,
    /// No program inside gains rights: set-id bits have no effect, and user namespaces are refused.
    pub gains_no_rights: bool,
    /// Remaining capabilities, as bits of capabilities(7); `None` for all.
    pub capabilities: Option<u64>,
}

/// Ids of a user namespace that owns nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnIds {
    pub users: Vec<IdMapping>,
    pub groups: Vec<IdMapping>,
}

impl OwnIds {
    /// Returns the user and group outside that are 0 inside, if any.
    pub fn root(&self) -> Option<(u32, u32)> {
        let outside = |ids: &[IdMapping]| ids.iter().find(|ids| ids.inside == 0).map(|ids| ids.outside);
        Some((outside(&self.users)?, outside(&self.groups)?))
    }

    /// Returns a user outside for whom the kernel counts the resources of a namespace with these ids, which the process
    /// with this number makes. Namespaces made by other processes have other users; `None` if there are no further ids.
    pub(super) fn owner(&self, process: u32) -> Option<u32> {
        let most = self.users.iter().max_by_key(|ids| ids.count).filter(|ids| ids.count > 1)?;
        most.outside.checked_add(process % most.count)
    }
}

/// A range of ids, as in `user_namespaces(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosedCommand {
    /// A task for the first process instead of a command: it needs no program inside and no further process.
    pub own_work: Option<ChosenWork>,
    /// Possible programs with their arguments; the first one that exists inside runs.
    pub choices: Vec<Vec<OsString>>,
    /// The complete environment; its `PATH` finds programs without a slash in their names.
    pub environment: Vec<(OsString, OsString)>,
    /// Possible working directories; the first one that exists inside counts, otherwise `/`.
    pub directories: Vec<OsString>,
    pub umask: u32,
    /// User and group of the command if the caller is the superuser; `None` for those of the caller.
    pub user: Option<(u32, u32)>,
    pub limits: Vec<ProcessLimit>,
    /// Added to the niceness of the caller: 0 to 19.
    pub niceness: i32,
}

/// A task that the first process of an enclosure performs itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenWork {
    pub name: String,
    /// Program of the host, of the same version as this one; `None` for this one.
    pub program: Option<OsString>,
}

impl EnclosedCommand {
    /// Returns the host program to start as the first process.
    pub(super) fn first_program(&self) -> &OsStr {
        let chosen = self.own_work.as_ref().and_then(|work| work.program.as_deref());
        chosen.unwrap_or_else(|| OsStr::new("/proc/self/exe"))
    }

    /// Returns the initial environment of the first process: empty unless it performs a task itself.
    pub(super) fn environment_of_work(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        let own = self.own_work.as_ref().map(|_| self.environment.iter());
        own.into_iter().flatten().map(|(name, value)| (name, value))
    }
}

/// A limit of each process inside, see setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessLimit {
    /// Seconds.
    ProcessorTime(u64),
    /// Bytes.
    FileSize(u64),
    /// Bytes.
    CoreDump(u64),
    /// Bytes.
    LockedMemory(u64),
    /// The soft limit changes only if it is higher.
    OpenFiles(u64),
    /// Processes and threads of one user inside. Not set if the kernel also counts those of other enclosures.
    Processes(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// All of its mounts are read-only.
    ReadOnly,
    /// Mounts are as the host has them.
    ReadWrite,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosedMount {
    /// Path inside. Symbolic links in it are followed, and never lead out.
    pub place: OsString,
    pub source: MountSource,
    pub missing: MissingPlace,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A host directory or file with everything mounted below it.
    Host {
        /// Links in `path` do not lead out of this directory.
        below: OsString,
        path: OsString,
        access: Access,
        /// True for a part of the tree: missing mount points are made in it, and mounts below the place stay visible,
        /// read-only.
        is_own: bool,
    },
    /// The processes of the enclosure; if the kernel refuses that, those of the host, read-only.
    Processes,
    /// The usual devices except disks.
    Devices {
        /// Further files with their content.
        files: Vec<(OsString, Vec<u8>)>,
        /// Bytes; `None` for the default of the kernel, half of the memory.
        shared_memory: Option<u64>,
        /// Includes `/dev/tty`, the controlling terminal.
        has_terminal: bool,
    },
    /// An empty, read-only directory.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingPlace {
    /// Make it if possible, otherwise fail.
    Made,
    LeftOut,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnclosureTerminal {
    /// The caller's terminal and session. `is_interactive`: input and output are the terminal, so the command may be in
    /// its foreground.
    Shared { is_interactive: bool },
    /// A session without a terminal. A terminal of the caller gets the output as escaped text.
    None,
    /// A pseudo-terminal if the standard input of the caller is a terminal; otherwise none.
    Own,
}

/// A lock file, locked in shared mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    pub directory: OsString,
    pub name: OsString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureEnd {
    Exited(i32),
    Signalled(i32),
    /// This signal killed the first process, and with it everything inside.
    Lost(i32),
}

impl fmt::Display for EnclosureEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exit {code}"),
            Self::Signalled(signal) | Self::Lost(signal) => write!(formatter, "signal {signal}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureNote {
    /// The mount point was a symbolic link, or behind one.
    Link {
        named: String,
        /// The actual mount point.
        meant: String,
    },
    Made(String),
    /// The kernel refuses a private list of processes, so the host's is visible, read-only.
    HostProcesses,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnclosureError {
    #[error("namespaces are not allowed here: {0}")]
    NotAllowed(String),
    /// The directory for changes is on a file system that overlayfs cannot use.
    #[error("overlay file systems are not possible here: {0}")]
    NoOverlay(String),
    /// The kernel has no overlayfs, or the caller may not mount one.
    #[error("overlay file systems are refused: {0}")]
    OverlayRefused(String),
    #[error("{0}")]
    Failed(String),
    #[error("{0}: not found inside")]
    NotFound(String),
    #[error("{program}: {reason}")]
    NotExecutable { program: String, reason: String },
}

impl EnclosureError {
    pub(super) fn failed(action: &str, path: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Failed(format!("cannot {action} {path}: {error}"))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FirstOrder {
    Prepare {
        enclosure: Box<Enclosure>,
        is_superuser: bool,
        session: EnclosureSession,
        /// The number of the first process outside.
        number: u32,
    },
    GoOn,
    Start {
        in_front: bool,
    },
    Signal(i32),
    Continue {
        in_front: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EnclosureSession {
    OfCaller,
    Own,
    Terminal,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FirstAnswer {
    /// Everything is mounted; the new user namespace waits for its id maps.
    WantsIds,
    Ready(Vec<EnclosureNote>),
    Failed(EnclosureError),
    Stopped(i32),
    Ended(EnclosureEnd),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_of_several_processes_have_several_owners_among_their_ids() {
        let ids = |users: &[(u32, u32, u32)]| OwnIds {
            users: users
                .iter()
                .map(|&(inside, outside, count)| IdMapping { inside, outside, count })
                .collect(),
            groups: Vec::new(),
        };
        let range = ids(&[(0, 100_000, 2_000)]);
        assert_eq!([4_711, 4_712].map(|process| range.owner(process)), [Some(100_711), Some(100_712)]);
        assert_eq!(ids(&[(0, 0, 1), (1, 1, 65_536)]).owner(65_535), Some(65_536));
        assert_eq!(ids(&[(1_000, 1_000, 1)]).owner(4_711), None, "it has no other id");
    }
}
