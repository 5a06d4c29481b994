//! An enclosure as a value that one process passes to the other: what is visible inside, what runs there, and how it ends.

use std::ffi::{OsStr, OsString};
use std::fmt;

use serde::{Deserialize, Serialize};

use patchadm_rootfs::ObjectStatus;

/// A command and everything that it will see. Paths are bytes, as the system has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// The source of `/` inside.
    pub tree: EnclosureTree,
    /// Directories of the host that the caller has judged. Whoever may rename one could put another one under its path since.
    pub judged: Vec<JudgedDirectory>,
    /// The access to the tree. Missing mount points are made in it only if it can be written to.
    pub access: Access,
    /// The mounts inside, in this order.
    pub mounts: Vec<Mount>,
    /// Locks that are held as long as any process is inside.
    pub locks: Vec<HeldLock>,
    /// True if the caller has the id 0 inside.
    pub as_root: bool,
    /// The users and groups inside, where the command has a user namespace that owns none of the mounts: whatever its rights
    /// are, it can change none of them. `None`: the command is in the namespace in which the mounts were made.
    pub ids: Option<OwnIds>,
    /// Private resources beside mounts and processes.
    pub isolation: Isolation,
    /// The command that runs inside.
    pub command: EnclosedCommand,
}

/// A directory of the host that is the one that the caller has seen, or else the enclosure is not built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedDirectory {
    /// Its path, as a tree, the base of a mount or the directory of a lock names it.
    pub path: OsString,
    /// The numbers of its device.
    pub file_system: (u32, u32),
    /// Its inode.
    pub inode: u64,
}

impl JudgedDirectory {
    /// Returns the directory at this path as it was seen.
    pub fn of(path: impl Into<OsString>, seen: &ObjectStatus) -> Self {
        Self { path: path.into(), file_system: seen.file_system, inode: seen.inode.number }
    }
}

/// The source of `/` inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureTree {
    /// A directory of the host, with everything mounted below it.
    Host(OsString),
    /// Directories of the host, laid over each other by overlayfs.
    Layers(Layers),
}

/// Directories that overlayfs lays over each other. All must be made and mounted by this program, which uses the same options
/// for each: what one of them deletes or replaces is so for those above it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// The directories that nobody changes, the uppermost first; at least one.
    pub lower: Vec<OsString>,
    /// The directory that gets all changes. They are not made durable, whoever asks for it inside.
    pub upper: OsString,
    /// An empty directory on the same file system, for overlayfs alone. It serves one mount.
    pub work: OsString,
}

/// Private resources beside mounts and processes, and restrictions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// True if its network is one of its own, with nothing but the loopback device.
    pub has_own_network: bool,
    /// The host name inside, which then also has queues and semaphores of its own.
    pub host_name: Option<String>,
    /// True if no program inside gives its caller more rights: set-id bits have no effect, and nobody makes a user namespace.
    pub gains_no_rights: bool,
    /// The capabilities that remain, as bits of capabilities(7); `None` for all.
    pub capabilities: Option<u64>,
}

/// The users and groups of a user namespace that owns nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnIds {
    /// The user ids.
    pub users: Vec<IdMapping>,
    /// The group ids.
    pub groups: Vec<IdMapping>,
}

impl OwnIds {
    /// Returns the user and group outside that are 0 inside; `None` where nobody is.
    pub fn root(&self) -> Option<(u32, u32)> {
        let outside = |ids: &[IdMapping]| ids.iter().find(|ids| ids.inside == 0).map(|ids| ids.outside);
        Some((outside(&self.users)?, outside(&self.groups)?))
    }
}

/// Successive ids inside, and the ids of the caller that they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first id inside.
    pub inside: u32,
    /// The first id of the caller.
    pub outside: u32,
    /// How many there are.
    pub count: u32,
}

/// A command, run inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosedCommand {
    /// A work that the first process does itself in place of a command: it needs no program inside, and no process of its own.
    pub own_work: Option<ChosenWork>,
    /// The possible programs, each with its arguments: the first one that exists inside runs.
    pub choices: Vec<Vec<OsString>>,
    /// The complete environment; programs without a slash in their names are searched along its `PATH`.
    pub environment: Vec<(OsString, OsString)>,
    /// The possible working directories: the first one that exists inside counts, otherwise `/`.
    pub directories: Vec<OsString>,
    /// The file mode creation mask.
    pub umask: u32,
    /// The user and group under whose ids it runs, where the caller is the superuser; `None` for those of the caller.
    pub user: Option<(u32, u32)>,
    /// The limits of each of its processes.
    pub limits: Vec<ProcessLimit>,
    /// How much less urgent than the caller it is: 0 to 19.
    pub niceness: i32,
}

/// A work that the first process of an enclosure does itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenWork {
    /// Its name.
    pub name: String,
    /// The program of the host that does it, of the same version as this one; `None` for this one.
    pub program: Option<OsString>,
}

impl EnclosedCommand {
    /// Returns the program of the host that the first process is.
    pub(super) fn first_program(&self) -> &OsStr {
        let chosen = self.own_work.as_ref().and_then(|work| work.program.as_deref());
        chosen.unwrap_or_else(|| OsStr::new("/proc/self/exe"))
    }

    /// Returns the environment in which the first process begins: that of a work which it does itself, else none.
    pub(super) fn environment_of_work(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        let own = self.own_work.as_ref().map(|_| self.environment.iter());
        own.into_iter().flatten().map(|(name, value)| (name, value))
    }
}

/// A limit of each process inside, as setrlimit(2) has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessLimit {
    /// The seconds of processor time.
    ProcessorTime(u64),
    /// The bytes of a file.
    FileSize(u64),
    /// The bytes of a core dump.
    CoreDump(u64),
}

/// Read or write access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Every mount of it is mounted read-only.
    ReadOnly,
    /// The mounts are as the host has them.
    ReadWrite,
}

/// Something mounted inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The path inside. Symbolic links in it are followed, and never lead out.
    pub place: OsString,
    /// The mounted files.
    pub source: MountSource,
    /// The reaction if the place does not exist.
    pub missing: MissingPlace,
}

/// The source of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A directory or file of the host, with everything mounted below it.
    Host {
        /// A directory of the host; links in `path` do not lead out of it.
        below: OsString,
        /// The path below that directory.
        path: OsString,
        /// The access to it.
        access: Access,
        /// True if it is a part of the tree: missing mount points are made in it, and mounts below the place stay visible,
        /// read-only.
        is_own: bool,
    },
    /// The processes of the enclosure; if the kernel refuses that, those of the host, read-only.
    Processes,
    /// The usual devices except disks.
    Devices {
        /// Further files beside them, each with its content.
        files: Vec<(OsString, Vec<u8>)>,
        /// The most bytes of shared memory; `None` for half of the machine's, which is what the kernel allows.
        shared_memory: Option<u64>,
        /// True if the controlling terminal, `/dev/tty`, is one of them.
        has_terminal: bool,
    },
    /// An empty directory that nobody can write to.
    Nothing,
}

/// The reaction to a missing mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingPlace {
    /// It is made if possible, otherwise refused.
    Made,
    /// Nothing is mounted.
    LeftOut,
    /// It is an error.
    Refused,
}

/// The terminal of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnclosureTerminal {
    /// The terminal itself, and the session of the caller. `is_interactive` says that input and output are the terminal, so
    /// that the command may be in its foreground.
    Shared {
        /// True if input and output are the terminal.
        is_interactive: bool,
    },
    /// Nothing: the command has a session of its own, without a terminal.
    None,
    /// A pseudo-terminal of its own if the standard input of the caller is a terminal; otherwise nothing.
    Own,
}

/// A lock file, locked together with other processes that hold it in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// The directory of the host with the file.
    pub directory: OsString,
    /// The name of the file.
    pub name: OsString,
}

/// The end of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureEnd {
    /// It ended by itself, with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// This signal ended the first process, and with it everything inside.
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

/// A remark on the mounts for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureNote {
    /// The place was a symbolic link, or behind one.
    Link {
        /// The place as it was named.
        named: String,
        /// The actual place, where it was mounted.
        meant: String,
    },
    /// The place did not exist and was made.
    Made(String),
    /// The kernel refuses a private list of processes. That of the host is visible, read-only.
    HostProcesses,
}

/// The reasons why a command did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnclosureError {
    /// The caller may not make namespaces.
    #[error("namespaces are not allowed here: {0}")]
    NotAllowed(String),
    /// Directories cannot be laid over each other here: the directory for changes is on the wrong file system.
    #[error("overlay file systems are not possible here: {0}")]
    NoOverlay(String),
    /// The kernel knows no overlay file systems, or does not let the caller mount one.
    #[error("overlay file systems are refused: {0}")]
    OverlayRefused(String),
    /// The tree could not be put together, or a process was not started or lost.
    #[error("{0}")]
    Failed(String),
    /// No program of this name exists inside.
    #[error("{0}: not found inside")]
    NotFound(String),
    /// The program exists and cannot be run.
    #[error("{program}: {reason}")]
    NotExecutable {
        /// The program.
        program: String,
        /// The error of the system.
        reason: String,
    },
}

impl EnclosureError {
    pub(super) fn failed(action: &str, path: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Failed(format!("cannot {action} {path}: {error}"))
    }
}

/// An order for the first process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FirstOrder {
    Prepare { enclosure: Box<Enclosure>, is_superuser: bool, session: EnclosureSession },
    GoOn,
    Start { in_front: bool },
    Signal(i32),
    Continue { in_front: bool },
}

/// The session of everything inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EnclosureSession {
    OfCaller,
    Own,
    Terminal,
}

/// An answer of the first process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FirstAnswer {
    /// Everything is mounted, and the process has a new user namespace: give it its ids.
    WantsIds,
    Ready(Vec<EnclosureNote>),
    Failed(EnclosureError),
    Stopped(i32),
    Ended(EnclosureEnd),
}
