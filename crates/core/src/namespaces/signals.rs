//! Signals that a process handles when it chooses, and the foreground of its terminal.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};
use rustix::process::Pid;
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// Flags of received signals. They stay registered until the process ends.
#[derive(Debug)]
pub(super) struct FollowedSignals {
    flags: Vec<(i32, Arc<AtomicBool>)>,
    woken: UnixStream,
}

impl FollowedSignals {
    /// Follows the given signals, except ignored ones.
    pub(super) fn new(signals: &[i32]) -> io::Result<Self> {
        let (woken, wakes) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let ignored = ignored_signals();
        let mut flags = Vec::new();
        for &signal in signals.iter().filter(|&&signal| ignored & bit_of(signal) == 0) {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, flag.clone())?;
            signal_hook::low_level::pipe::register(signal, wakes.try_clone()?)?;
            flags.push((signal, flag));
        }
        Ok(Self { flags, woken })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    pub(super) fn take(&self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while (&self.woken).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        let came = self.flags.iter().filter(|(_, flag)| flag.swap(false, Ordering::SeqCst));
        came.map(|(signal, _)| *signal).collect()
    }
}

/// Gives programs started from now on the default action of each signal that the caller ignored, as `nohup` and the `&`
/// of a script do. Otherwise builds would depend on their caller, and Ctrl-C would not reach a command. This process
/// still ignores them.
pub(super) fn reset_ignored_for_children() -> io::Result<()> {
    let ignored = ignored_signals();
    let forbidden = signal_hook::consts::FORBIDDEN;
    // The standard library ignores SIGPIPE in this process and resets it in children.
    let reset =
        (1..32).filter(|signal| !forbidden.contains(signal) && *signal != signal_hook::consts::SIGPIPE);
    for signal in reset.filter(|&signal| ignored & bit_of(signal) != 0) {
        // A caught signal has its default disposition after exec.
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

fn bit_of(signal: i32) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    field.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[derive(Debug)]
pub(super) struct ControllingTerminal(File);

impl ControllingTerminal {
    pub(super) fn open() -> Option<Self> {
        File::open("/dev/tty").ok().map(Self)
    }

    pub(super) fn is_ours(&self) -> bool {
        tcgetpgrp(&self.0).is_ok_and(|group| group == rustix::process::getpgrp())
    }

    pub(super) fn put_in_front(&self, group: Pid) {
        // In the background, tcsetpgrp causes SIGTTOU, which would stop this process.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTTOU);
        let before = blocked.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK);
        // The terminal or the group may be gone.
        let _ = tcsetpgrp(&self.0, group);
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_seen_once_and_others_are_not() {
        let signals = [signal_hook::consts::SIGWINCH, signal_hook::consts::SIGURG];
        let followed = FollowedSignals::new(&signals).unwrap();
        signal_hook::low_level::raise(signal_hook::consts::SIGURG).unwrap();
        assert_eq!(followed.take(), [signal_hook::consts::SIGURG]);
        assert!(followed.take().is_empty());
    }
}
