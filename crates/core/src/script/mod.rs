//! Running procedure scripts safely.
//!
//! A [`ScriptHost`] is a second process of the program, made for one run: it holds `script.lock`, has a private directory
//! with the tools that scripts expect, and runs one script after another as [`ScriptCall`]s say. Each script has a process
//! group of its own, clean descriptors, umask 022 and exactly the environment it is given. When the program dies, in
//! whatever way, the second process notices, ends the script with everything that descends from it and removes the
//! directory; when both die, [`end_leftovers`] ends what names the run in its environment at the next start. So no script
//! runs on while its work is being undone.
//!
//! Beside it stand the pure parts of the protocol between engine and scripts: [`environment`], [`response`],
//! [`protocol`] and the class action scripts of the [`standard`] classes.
//!
//! What it does not do: it knows nothing of plans and packages, it decides neither which scripts run nor what follows
//! from their results, and it undoes nothing. Processes that a script leaves behind on purpose (a daemon that a
//! postinstall starts) live on when the scripts end by themselves; their later output is heard with that of the next
//! script.
//! Where both processes are killed, the private directory stays, under a name that nothing uses again.

mod channel;
mod child;
pub mod environment;
mod leftovers;
mod namespace;
mod processes;
pub mod protocol;
pub mod response;
pub mod standard;
mod supervisor;
mod tools;
pub mod trust;
mod workshop;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::root::{LockError, LockHolder, RootError};

pub use leftovers::{ScriptLock, end_leftovers};
pub use supervisor::{close_inherited, supervise};
pub use workshop::{ScriptHost, ScriptHostSettings};

/// What the program is called as to be the second process: it then does nothing but [`supervise`].
pub const SUPERVISOR: &str = "__scripts";

/// One script to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// What messages call the script: `preinstall`, `i.none`.
    pub name: String,
    /// The script; sh(1) runs it, so that it needs neither `#!` nor permission to be executed.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Who runs it.
    pub user: RunAs,
    /// Where it starts; that user must be able to enter it.
    pub directory: PathBuf,
    /// What it reads.
    pub input: ScriptInput,
    /// Whether the shell shows each command (`sh -x`).
    pub trace: bool,
    /// How long it may take by the clock on the wall; none is for ever.
    pub limit: Option<Duration>,
}

/// Who runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// The caller.
    Caller,
    /// Where the caller is root: the account that [`trust::ScriptUser::unprivileged`] finds. Else the caller.
    Unprivileged,
}

/// What a script reads on its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptInput {
    /// `/dev/null`.
    Nothing,
    /// The terminal, or where there is none the standard input of the program. The script stays in the foreground group
    /// of the terminal, so the keys that end the program end it as well; the group is not its own, so when it is ended
    /// otherwise, only the shell and what descends from it is.
    Terminal,
    /// A file with these bytes.
    Bytes(Vec<u8>),
}

/// The two streams of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Who listens while a script runs.
pub trait ScriptListener {
    /// The process is made, but has not done anything yet; it begins when this returns. An error ends it unbegun.
    fn began(&mut self, process: &ProcessIdentity) -> io::Result<()>;
    /// The script said something, in pieces of any size.
    fn heard(&mut self, stream: OutputStream, bytes: &[u8]);
    /// Asked ten times a second: whether the script is to be ended.
    fn interrupted(&mut self) -> bool;
}

/// A script's process, such that it can be found again after a crash and never be mistaken for another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The number of the process; its group has the same one (a script that reads the terminal has no group).
    pub group: i32,
    /// Which start of the machine it belongs to (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// When it began, in clock ticks since that start (field 22 of proc(5) `stat`).
    pub start_time: u64,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptEnd {
    /// By itself, with this code; [`protocol::ExitMeaning`] says what it means.
    Exited(i32),
    /// By this signal, which came from elsewhere.
    Signalled(i32),
    /// It took longer than its limit, and was ended with its group.
    TimedOut,
    /// [`ScriptListener::interrupted`] said so; it was ended with its group.
    Interrupted,
}

/// Why scripts cannot be run, or one could not be started or followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Scripts of another run are at work on the root.
    #[error("{path} is locked by {holder}: scripts of another run are at work")]
    Locked {
        /// The lock file.
        path: String,
        /// Who has it.
        holder: String,
    },
    /// A call on the root or on the private directory failed.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The second process of the program could not be made.
    #[error("cannot start {} to run scripts: {source}", .executable.display())]
    Executable {
        /// What was to be started.
        executable: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The second process could not set its directory or tools up.
    #[error("cannot prepare for scripts: {0}")]
    Preparation(String),
    /// The second process ended, or what it said makes no sense; the script's group has been ended.
    #[error("the process that runs scripts was lost: {0}")]
    Lost(io::Error),
    /// The script's input could not be made.
    #[error("cannot make the input of script {name}: {source}")]
    Input {
        /// The script.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The user who is to run the script cannot read it.
    #[error("script {name} cannot be read by user {uid}: {} is closed to it", .path.display())]
    Unreadable {
        /// The script.
        name: String,
        /// Who should run it.
        uid: u32,
        /// The first directory on the way that is closed, or the script.
        path: PathBuf,
    },
    /// The script could not be started.
    #[error("cannot start script {name}: {reason}")]
    Start {
        /// The script.
        name: String,
        /// What stands in the way.
        reason: String,
    },
    /// [`ScriptListener::began`] did not want the script to begin; it did not.
    #[error("script {name} was not begun: {source}")]
    NotBegun {
        /// The script.
        name: String,
        /// Its reason.
        source: io::Error,
    },
    /// There is no account for scripts that must not be root.
    #[error("no user {} exists to run unprivileged scripts", trust::CANDIDATES.join(", "))]
    NoUser,
    /// A left-over script does not end.
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

/// Where scripts find commands: the tools of the workshop, then the directories of the classic command path
/// (pkgadd(1M)), then `/bin`, which is a directory of its own on some systems.
pub fn search_path(tools: &Path) -> OsString {
    let mut path = tools.as_os_str().to_owned();
    path.push(OsStr::new(":/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin:/bin"));
    path
}
