//! A script in a session of its own: a process of the program that leaves the session of the caller, and then becomes
//! the shell of the script.
//!
//! Whoever has the caller's terminal as its controlling terminal can type into it. A new session has none. If the input
//! of the script is a pseudo-terminal, that becomes the session's.
//!
//! The process starts with an empty environment: that of the script is a stranger's, and the loader of programs obeys
//! some of its variables, which must not be while the process is root.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::process::{ioctl_tiocsctty, setsid};
use serde::{Deserialize, Serialize};

use super::SESSION;
use super::channel::{RunOrder, ScriptSession};
use super::child::shell;
use crate::process::{MessageChannel, close_inherited};

/// The reason why the process did not become the shell.
#[derive(Debug, Serialize, Deserialize)]
struct SessionFailure(String);

/// Starts the shell of a script in a session of its own.
pub(super) fn start(running: &RunOrder, input: &OwnedFd) -> io::Result<Child> {
    let (mut channel, theirs) = MessageChannel::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("patchadm").arg(SESSION).env_clear().current_dir("/").stdin(theirs);
    let mut child = command.spawn()?;
    // This process keeps no end of theirs: the channel closes when theirs does.
    drop(command);
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
