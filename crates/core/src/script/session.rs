//! The shell of a script, started in the session of the second process or in one of its own: by a process of the program
//! that leaves the session of the caller, and then becomes the shell.
//!
//! Whoever has the caller's terminal as its controlling terminal can type into it. A new session has none. If the input
//! of the script is a pseudo-terminal, that becomes the session's.
//!
//! The process starts with an empty environment: that of the script is a stranger's, and the loader of programs obeys
//! some of its variables, which must not be while the process is root.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{ioctl_tiocsctty, setsid};
use serde::{Deserialize, Serialize};

use super::SESSION;
use super::channel::{RunOrder, ScriptSession};
use crate::process::{MessageChannel, close_inherited};

/// The absolute path of the shell; a script's own PATH does not matter.
const SHELL: &str = "/bin/sh";

/// The shell stops itself, and becomes the script when continued, so that the process can be recorded before it does
/// anything. Some shells exit with 2 if they cannot read a script, which would pass for a warning of the script
/// itself; 7 is the code for that (see [`super::protocol`]).
const WAIT_THEN_RUN: &str = r#"kill -STOP $$; [ -r "$0" ] || exit 7; exec /bin/sh "$@""#;

/// The reason why the process did not become the shell.
#[derive(Debug, Serialize, Deserialize)]
struct SessionFailure(String);

/// Starts the shell of a script, which leads a process group.
pub(super) fn start(running: &RunOrder, input: OwnedFd) -> io::Result<Child> {
    match running.session {
        ScriptSession::OfCaller => shell(running, input).process_group(0).spawn(),
        // Whoever leads a session leads a process group, too.
        ScriptSession::Own | ScriptSession::Terminal => start_apart(running, &input),
    }
}

fn start_apart(running: &RunOrder, input: &OwnedFd) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("patchadm").arg(SESSION).env_clear().current_dir("/");
    let (mut child, mut channel) = MessageChannel::start(command)?;
    let sent = channel.send(running, Some(input.as_fd()));
    let failure = match sent.and_then(|()| channel.receive::<SessionFailure>()) {
        // The channel closes with the start of the shell, or with the end of the process, which is found later.
        Ok(None) => return Ok(child),
        Ok(Some(SessionFailure(reason))) => io::Error::other(reason),
        Err(error) => error,
    };
    // It has nothing left to do; one that has ended already is as dead.
    let _ = child.kill();
    child.wait()?;
    Err(failure)
}

/// Runs the process: takes the order on standard input, which is a socket, and becomes the shell of that script. Returns only
/// if that fails.
///
/// For a process that was just started to do this and nothing else.
pub fn enter_session() -> io::Result<()> {
    close_inherited()?;
    let mut channel = MessageChannel::of_standard_input()?;
    let Some(running) = channel.receive::<RunOrder>()? else { return Ok(()) };
    let failed = match channel.descriptor() {
        Some(input) => become_shell(&running, input),
        None => io::Error::other("its input is missing"),
    };
    channel.send(&SessionFailure(failed.to_string()), None)
}

fn become_shell(running: &RunOrder, input: OwnedFd) -> io::Error {
    let entered = setsid().and_then(|_| match running.session {
        ScriptSession::Terminal => ioctl_tiocsctty(&input),
        ScriptSession::OfCaller | ScriptSession::Own => Ok(()),
    });
    match entered {
        Ok(()) => shell(running, input).exec(),
        Err(errno) => errno.into(),
    }
}

/// Returns the shell of a script, to be started.
fn shell(running: &RunOrder, input: OwnedFd) -> Command {
    let mut command = Command::new(SHELL);
    command.args(["-c", WAIT_THEN_RUN]).arg(&running.file);
    if running.trace {
        command.arg("-x");
    }
    command.arg(&running.file).args(&running.arguments);
    command.env_clear().envs(running.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(&running.directory).stdin(Stdio::from(input));
    if let Some((uid, gid)) = running.user {
        // Supplementary groups go as well.
        command.uid(uid).gid(gid);
    }
    command
}
