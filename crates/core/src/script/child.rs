//! One script as a process: created, started, waited for, and ended with everything it started.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, kill_process_group,
    pidfd_open, wait, waitid, waitpid,
};

use super::channel::RunOrder;
use super::processes::{GRACE, descendants, end_all};
use super::{ProcessIdentity, ScriptEnd, session};

/// The process of a script. Its process id stays valid until it is waited for, once, at its end. If the script is
/// still running when this value is dropped, it is ended, with everything in its group or descended from it: asked
/// first, and killed after a short time.
#[derive(Debug)]
pub(super) struct ScriptChild {
    pid: Pid,
    handle: OwnedFd,
    has_ended: bool,
}

impl ScriptChild {
    /// Creates the process, which waits for [`ScriptChild::begin`].
    pub(super) fn make(running: &RunOrder, input: OwnedFd) -> io::Result<Self> {
        let child = session::start(running, input)?;
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        let script = Self { pid, handle, has_ended: false };
        // Waits until the shell has stopped itself, or something has ended it, which the wait at its end finds.
        let stopped_or_ended = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), stopped_or_ended))?;
        Ok(script)
    }

    /// Returns the identity of the process.
    pub(super) fn process(&self) -> io::Result<ProcessIdentity> {
        ProcessIdentity::of(self.pid)?.ok_or_else(|| io::Error::other("the process is gone"))
    }

    /// Starts the script.
    pub(super) fn begin(&self) {
        // A process that is gone already is waited for all the same.
        let _ = kill_process(self.pid, Signal::CONT);
    }

    /// Returns the descriptor that becomes readable when the process ends.
    pub(super) fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    /// Waits for the script and returns how it ended by itself.
    pub(super) fn ended(mut self) -> io::Result<ScriptEnd> {
        let ended = self.reap()?;
        self.has_ended = true;
        Ok(ended)
    }

    fn signal(&self, signal: Signal) {
        // No caller is left to learn of a failure.
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
        // The process has not been waited for, so no other group has its number.
        self.signal(Signal::KILL);
        // The end is known: this process caused it.
        let _ = self.reap();
        // Processes that left the group are children of this process now, because it adopts those that a script leaves
        // behind.
        end_all(descendants);
        reap_strays();
    }
}

/// Waits for the process behind `handle`. Returns whether it has ended in time.
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

/// Reaps all ended processes: those left behind by scripts become children of this process, and would stay zombies.
pub(super) fn reap_strays() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
