//! One script as a process: started, waited for, and ended with its descendants. A helper process of this program
//! enters a session, then becomes the shell. It starts with an empty environment: the loader obeys variables of the
//! script's, and this process may be root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, ioctl_tiocsctty, kill_process,
    kill_process_group, pidfd_open, setsid, wait, waitid, waitpid,
};
use serde::{Deserialize, Serialize};

use crate::process::{MessageChannel, close_inherited};
use crate::script::host::{RunOrder, ScriptSession};
use crate::script::processes::{GRACE, descendants, end_all};
use crate::script::{ProcessIdentity, SESSION, ScriptEnd};

/// The process of a script. Its id stays valid until it is reaped at its end. On drop, a running script is ended with
/// its group and its descendants: first SIGTERM, after a short time SIGKILL.
#[derive(Debug)]
pub(super) struct ScriptChild {
    pid: Pid,
    handle: OwnedFd,
    has_ended: bool,
}

impl ScriptChild {
    /// The process then waits for [`ScriptChild::begin`].
    pub(super) fn make(running: &RunOrder, input: OwnedFd) -> io::Result<Self> {
        let child = start(running, input)?;
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        let script = Self { pid, handle, has_ended: false };
        // The shell has stopped itself, or was killed, which the final wait finds.
        let stopped_or_ended = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), stopped_or_ended))?;
        Ok(script)
    }

    pub(super) fn process(&self) -> io::Result<ProcessIdentity> {
        ProcessIdentity::of(self.pid)?.ok_or_else(|| io::Error::other("the process is gone"))
    }

    pub(super) fn begin(&self) {
        // It may be gone; the final wait tells.
        let _ = kill_process(self.pid, Signal::CONT);
    }

    pub(super) fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    pub(super) fn ended(mut self) -> io::Result<ScriptEnd> {
        let ended = self.reap()?;
        self.has_ended = true;
        Ok(ended)
    }

    fn signal(&self, signal: Signal) {
        // The caller is gone.
        let _ = kill_process_group(self.pid, signal);
    }

    fn reap(&self) -> io::Result<ScriptEnd> {
        loop {
            let seen = rustix::io::retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty()))?;
            let Some((_, status)) = seen else { continue };
            if let Some(code) = status.exit_status() {
                return Ok(ScriptEnd::Exited(code));
            }
            if let Some(signal) = status.terminating_signal() {
                return Ok(ScriptEnd::Signalled(signal));
            }
        }
    }
}

impl Drop for ScriptChild {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        for descendant in descendants() {
            descendant.ask();
        }
        wait_for(&self.handle, GRACE);
        // It is not reaped yet, so no other group has its number.
        self.signal(Signal::KILL);
        // The cause is known.
        let _ = self.reap();
        // This process is the subreaper, so processes outside the group are its children now.
        end_all(descendants);
        reap_strays();
    }
}

fn wait_for(handle: &OwnedFd, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut fds = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) if ready > 0 => return true,
            Err(error) if error != rustix::io::Errno::INTR => return false,
            _ if Instant::now() >= until => return false,
            _ => {}
        }
    }
}

/// Reaps orphans of scripts, which would stay zombies.
pub(super) fn reap_strays() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Independent of the script's PATH.
const SHELL: &str = "/bin/sh";

/// The shell stops itself until continued, so that the process can be recorded first. Some shells exit with 2 if they
/// cannot read a script, which scripts use for a warning; 7 is the code for that (see [`crate::script::protocol`]).
const WAIT_THEN_RUN: &str = r#"kill -STOP $$; [ -r "$0" ] || exit 7; exec /bin/sh "$@""#;

#[derive(Debug, Serialize, Deserialize)]
struct SessionFailure(String);

/// The shell leads a process group.
pub(super) fn start(running: &RunOrder, input: OwnedFd) -> io::Result<Child> {
    match running.session {
        ScriptSession::OfCaller => shell(running, input).process_group(0).spawn(),
        // A session leader leads a process group, too.
        ScriptSession::Own | ScriptSession::Terminal => start_apart(running, &input),
    }
}

fn start_apart(running: &RunOrder, input: &OwnedFd) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("patchadm").arg(SESSION).env_clear().current_dir("/");
    let (mut child, mut channel) = MessageChannel::start(command)?;
    let sent = channel.send(running, Some(input.as_fd()));
    let failure = match sent.and_then(|()| channel.receive::<SessionFailure>()) {
        // The channel closes with exec, or with the end of the process, which is noticed later.
        Ok(None) => return Ok(child),
        Ok(Some(SessionFailure(reason))) => io::Error::other(reason),
        Err(error) => error,
    };
    // It may have ended already.
    let _ = child.kill();
    child.wait()?;
    Err(failure)
}

/// Runs the helper: reads the order from standard input, a socket, and becomes the shell of that script. Returns only
/// on failure.
///
/// For a process that was just started for this.
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
        // Supplementary groups are dropped as well.
        command.uid(uid).gid(gid);
    }
    command
}
