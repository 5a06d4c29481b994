//! Runs procedure scripts in a second process, the [`ScriptHost`], which holds `script.lock`. If the program dies, it
//! ends the script and its descendants; if both die, [`end_leftovers`] does at the next start. So no script runs while
//! its work is undone. Daemons that a script leaves behind live on.

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

/// Starts the program as the second process ([`supervise`]).
pub const SUPERVISOR: &str = "__scripts";

/// Starts the program to enter a session and become a script ([`enter_session`]).
pub const SESSION: &str = "__session";

/// Path of this program inside a tree that it entered from outside.
pub const PROGRAM_INSIDE: &str = "/.program";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// Used in messages, for example `preinstall` or `i.none`.
    pub name: String,
    /// sh(1) runs it, so it needs neither `#!` nor execute permission.
    pub file: PathBuf,
    pub arguments: Vec<OsString>,
    /// Complete.
    pub environment: Vec<(OsString, OsString)>,
    pub user: RunAs,
    /// The user must be able to enter it.
    pub directory: PathBuf,
    pub input: ScriptInput,
    /// Run with `sh -x`.
    pub trace: bool,
    /// Wall-clock time; `None` means no limit.
    pub limit: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAs {
    Caller,
    /// If the caller is root, the account that [`trust::ScriptUser::unprivileged`] finds; otherwise the caller.
    Unprivileged,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptInput {
    /// `/dev/null`.
    Nothing,
    /// A pseudo-terminal relayed to the terminal on standard input: output is escaped, and the interrupt key still
    /// interrupts the program, which ends the script. Without a terminal, the same as [`ScriptInput::Caller`].
    Terminal,
    /// The program's standard input.
    Caller,
    /// A file with these bytes.
    Bytes(Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    Out,
    Err,
}

pub trait ScriptListener {
    /// Called before the process has done anything. After an error, it is ended without having started.
    fn began(&mut self, process: &ProcessIdentity) -> io::Result<()>;
    /// Receives output in pieces of any size.
    fn heard(&mut self, stream: OutputStream, bytes: &[u8]);
    /// True ends the script. Called ten times a second.
    fn interrupted(&mut self) -> bool;
}

/// Identifies a process after a crash, without mistaking another one for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id, which is also that of its group.
    pub group: i32,
    /// See `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Clock ticks since that boot (field 22 of proc(5) `stat`).
    pub start_time: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptEnd {
    /// [`protocol::ExitMeaning`] interprets the code.
    Exited(i32),
    /// Killed by a signal from elsewhere.
    Signalled(i32),
    /// Ended with its group at its time limit.
    TimedOut,
    /// Ended with its group because of [`ScriptListener::interrupted`].
    Interrupted,
}

#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error("{path} is locked by {holder}: scripts of another run are running")]
    Locked { path: String, holder: String },
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("cannot start {} to run scripts: {source}", .executable.display())]
    Executable { executable: PathBuf, source: io::Error },
    #[error("cannot prepare for scripts: {0}")]
    Preparation(String),
    /// The second process ended or sent nonsense; the script's group has been ended.
    #[error("the process that runs scripts was lost: {0}")]
    Lost(io::Error),
    #[error("cannot make the input of script {name}: {source}")]
    Input { name: String, source: io::Error },
    #[error("script {name} cannot be read by user {uid}: {} is closed to it", .path.display())]
    Unreadable {
        name: String,
        uid: u32,
        /// The first closed directory on the way to the script, or the script itself.
        path: PathBuf,
    },
    #[error("cannot start script {name}: {reason}")]
    Start { name: String, reason: String },
    /// [`ScriptListener::began`] failed, so the script was not started.
    #[error("script {name} was not started: {source}")]
    NotBegun { name: String, source: io::Error },
    #[error("no user {} exists to run unprivileged scripts", trust::CANDIDATES.join(", "))]
    NoUser,
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

/// Returns the search path of scripts: tools, the classic command path (pkgadd(1M)), and `/bin`, a separate directory
/// on some systems.
pub fn search_path(tools: &Path) -> OsString {
    let mut path = tools.as_os_str().to_owned();
    path.push(OsStr::new(":/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin:/bin"));
    path
}
