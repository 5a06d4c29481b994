//! A wait for input that no signal misses.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The signals that ask a program to end, held back from this thread except while it waits: one that comes between two
/// waits ends the next one. Dropped, it lets them through.
#[derive(Debug)]
pub struct HeldSignals {
    /// The signals that were held back before.
    before: SigSet,
}

impl HeldSignals {
    /// Holds back what Ctrl-C, a hang-up and `kill` send.
    ///
    /// # Errors
    /// What the system says.
    pub fn hold() -> io::Result<Self> {
        let ends: SigSet = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM].into_iter().collect();
        Ok(Self { before: ends.thread_swap_mask(SigmaskHow::SIG_BLOCK)? })
    }

    /// Waits for input, or for its end.
    ///
    /// # Errors "interrupted" if a signal came, also one that was held back before, and errors of the system. Not of
    /// the kind `Interrupted`: the reader would try again.
    pub fn wait_for(&self, input: &impl AsFd) -> io::Result<()> {
        let mut inputs = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut inputs, None, Some(self.before)) {
            Ok(_) => Ok(()),
            Err(nix::Error::EINTR) => Err(io::Error::other("interrupted")),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // It fails for a mask that is none, and this one came from the system.
        let _ = self.before.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_signal_that_came_before_the_wait_ends_it() {
        let caught = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGHUP, caught.clone()).unwrap();
        let (input, _writer) = io::pipe().unwrap();
        let signals = HeldSignals::hold().unwrap();
        nix::sys::signal::raise(Signal::SIGHUP).unwrap();
        assert!(!caught.load(Ordering::Relaxed), "it is held back");
        assert_eq!(signals.wait_for(&input).unwrap_err().to_string(), "interrupted");
        assert!(caught.load(Ordering::Relaxed));
    }

    #[test]
    fn signals_come_through_again_afterwards() {
        let before = SigSet::thread_get_mask().unwrap();
        drop(HeldSignals::hold().unwrap());
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
