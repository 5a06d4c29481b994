//! The terminal of a process, and the process group in its foreground.

use std::fs::File;

use nix::sys::signal::{SigSet, Signal};
use rustix::process::Pid;
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The terminal of this process.
#[derive(Debug)]
pub(super) struct ControllingTerminal(File);

impl ControllingTerminal {
    /// Opens the terminal, if there is one.
    pub(super) fn open() -> Option<Self> {
        File::open("/dev/tty").ok().map(Self)
    }

    /// Tells whether the process group of this process is in the foreground.
    pub(super) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.0).is_ok_and(|group| group == rustix::process::getpgrp())
    }

    /// Puts a process group into the foreground.
    pub(super) fn put_in_front(&self, group: Pid) {
        // In the background, this causes SIGTTOU, which would stop this process.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTTOU);
        let before = blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK);
        // A terminal or a group that has gone has no foreground.
        let _ = tcsetpgrp(&self.0, group);
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
    }
}
