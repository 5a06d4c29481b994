//! Running procedure scripts safely.
//!
//! A [`ScriptHost`] is a second process of the program, made for one run. It holds `script.lock`, has a private directory
//! with the tools that scripts expect, and runs one script after another as [`ScriptCall`]s say. Each script has a process
//! group of its own, clean descriptors, umask 022 and exactly the environment it is given. One that runs unprivileged, or that
//! asks questions, has a session of its own and never the caller's terminal. When the program dies, in
//! whatever way, the second process notices, ends the script with everything that descends from it and removes the
//! directory; when both die, [`end_leftovers`] ends what names the run in its environment at the next start. So no script
//! runs on while its work is being undone.
//!
//! Beside it stand the pure parts of the protocol between engine and scripts: [`environment`], [`protocol`], and the class
//! action scripts of the [`standard`] classes.
//!
//! It knows nothing of plans and packages, decides neither which scripts run nor what follows from their results, and undoes
//! nothing. Processes that a script leaves behind on purpose (such as a daemon started by a
//! postinstall) live on if the scripts end by themselves; their later output is heard with that of the next script.
//! If both processes are killed, the private directory stays, under a name that nothing uses again.

mod channel;
mod child;
pub mod environment;
mod host;
mod processes;
pub mod protocol;
pub mod standard;
mod supervisor;
mod tools;
pub mod trust;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use patchadm_rootfs::{LockError, LockHolder, RootError};

pub use child::enter_session;
pub use host::{ScriptHost, ScriptHostSettings};
pub(crate) use processes::boot_id;
pub use processes::{ScriptLock, end_leftovers};
pub use supervisor::supervise;
pub use tools::{ScriptTool, ToolProgram};

/// The argument that makes the program the second process, which then only runs [`supervise`].
pub const SUPERVISOR: &str = "__scripts";

/// The argument that makes the program a process that enters a session of its own and becomes a script, which only runs
/// [`enter_session`].
pub const SESSION: &str = "__session";

/// The path at which a tree may have this program for scripts, if the program entered it from outside.
pub const PROGRAM_INSIDE: &str = "/.program";

/// A script to run, with its circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// The name used in messages, for example `preinstall` or `i.none`.
    pub name: String,
    /// The script file. sh(1) runs it, so it needs neither `#!` nor execute permission.
    pub file: PathBuf,
    /// The arguments of the script.
    pub arguments: Vec<OsString>,
    /// The complete environment of the script.
    pub environment: Vec<(OsString, OsString)>,
    /// The user who runs the script.
    pub user: RunAs,
    /// The working directory, which that user must be able to enter.
    pub directory: PathBuf,
    /// The standard input of the script.
    pub input: ScriptInput,
    /// True if the shell traces each command (`sh -x`).
    pub trace: bool,
    /// The wall-clock time limit; `None` means no limit.
    pub limit: Option<Duration>,
}

/// The user who runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// The caller of the program.
    Caller,
    /// If the caller is root: the account that [`trust::ScriptUser::unprivileged`] finds. Otherwise the caller.
    Unprivileged,
}

/// The standard input of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptInput {
    /// `/dev/null`, an empty input.
    Nothing,
    /// The terminal that is the standard input of the program, by way of a pseudo-terminal: the script reads what is typed,
    /// and what it prints there is escaped. The key that interrupts the program still does so, and that ends the script.
    /// If standard input is no terminal, the same as [`ScriptInput::Caller`].
    Terminal,
    /// The standard input of the program as it is.
    Caller,
    /// A file with these bytes.
    Bytes(Vec<u8>),
}

/// The two output streams of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// The standard output.
    Out,
    /// The standard error.
    Err,
}

/// Receives the events of a running script.
pub trait ScriptListener {
    /// Called when the process exists and has done nothing yet; it starts when this returns. After an error, it is
    /// ended without having started.
    fn began(&mut self, process: &ProcessIdentity) -> io::Result<()>;
    /// Receives output of the script, in pieces of any size.
    fn heard(&mut self, stream: OutputStream, bytes: &[u8]);
    /// Returns whether the script should be ended. Called ten times a second.
    fn interrupted(&mut self) -> bool;
}

/// The identity of a script's process, which finds it again after a crash and never mistakes another process for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id, which is also that of its group.
    pub group: i32,
    /// The boot of the machine that the process belongs to (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The start of the process, in clock ticks since that boot (field 22 of proc(5) `stat`).
    pub start_time: u64,
}

/// The end of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptEnd {
    /// By itself, with this code; [`protocol::ExitMeaning`] says what it means.
    Exited(i32),
    /// It was killed by this signal, sent from elsewhere.
    Signalled(i32),
    /// It exceeded its time limit and was ended with its group.
    TimedOut,
    /// It was ended with its group because [`ScriptListener::interrupted`] asked for it.
    Interrupted,
}

/// The reasons why a script could not be run, started or followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Scripts of another run are at work on the root.
    #[error("{path} is locked by {holder}: scripts of another run are at work")]
    Locked {
        /// The path of the lock file.
        path: String,
        /// The holder of the lock.
        holder: String,
    },
    /// A call on the root or on the private directory failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The second process of the program could not be started.
    #[error("cannot start {} to run scripts: {source}", .executable.display())]
    Executable {
        /// The program that was to be started.
        executable: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The second process could not set up its directory or tools.
    #[error("cannot prepare for scripts: {0}")]
    Preparation(String),
    /// The second process ended or sent nonsense; the script's group has been ended.
    #[error("the process that runs scripts was lost: {0}")]
    Lost(io::Error),
    /// The input of the script could not be made.
    #[error("cannot make the input of script {name}: {source}")]
    Input {
        /// The name of the script.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The user who should run the script cannot read it.
    #[error("script {name} cannot be read by user {uid}: {} is closed to it", .path.display())]
    Unreadable {
        /// The name of the script.
        name: String,
        /// The user who should run it.
        uid: u32,
        /// The first closed directory on the way to the script, or the script itself.
        path: PathBuf,
    },
    /// The script could not be started.
    #[error("cannot start script {name}: {reason}")]
    Start {
        /// The name of the script.
        name: String,
        /// The obstacle.
        reason: String,
    },
    /// [`ScriptListener::began`] refused, so the script was not started.
    #[error("script {name} was not begun: {source}")]
    NotBegun {
        /// The name of the script.
        name: String,
        /// The error returned by the listener.
        source: io::Error,
    },
    /// No account exists for scripts that must not run as root.
    #[error("no user {} exists to run unprivileged scripts", trust::CANDIDATES.join(", "))]
    NoUser,
    /// The processes of a left-over script cannot be ended.
    #[error("process group {0} of an interrupted run does not end")]
    Immortal(i32),
}

impl From<LockError> for ScriptError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { path, holder } => Self::Locked { path, holder: LockHolder::describe(&holder) },
            LockError::Root(error) => Self::Root(error),
        }
    }
}

/// Returns the search path of scripts: the tools of the script host, then the classic command path (pkgadd(1M)), then
/// `/bin`, which is a directory of its own on some systems.
pub fn search_path(tools: &Path) -> OsString {
    let mut path = tools.as_os_str().to_owned();
    path.push(OsStr::new(":/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin:/bin"));
    path
}
