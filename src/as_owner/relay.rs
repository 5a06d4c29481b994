//! The relay between the caller and the owner's process: passes on output and signals, and waits for the end.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use patchadm_cli::reply::{Exit, ExitCause};
use patchadm_svr4::package::control::{EscapedSet, PieceEscaper};

/// Between two checks for a signal or a stopped process.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Bytes passed on at a time.
const PIECE: usize = 1 << 13;

/// Bytes read after the end of the process: more than a pipe holds comes from another writer.
const AFTER_THE_END: usize = 1 << 20;

/// Follows a process to its end and returns the exit code. `interrupt` names a signal to the caller.
///
/// The owner may close the pipes early, stop or kill the process: nothing holds the caller up.
pub(super) fn follow(
    mut child: Child,
    [output, errors]: [(&mut dyn Write, EscapedSet); 2],
    interrupt: &dyn Fn() -> Option<i32>,
) -> io::Result<Exit> {
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let mut streams = [
        ChildStream::new(child.stdout.take().map(OwnedFd::from), output),
        ChildStream::new(child.stderr.take().map(OwnedFd::from), errors),
    ];
    let mut told = None;
    while !wait(&handle, &mut streams) {
        let signal = interrupt();
        if signal != told {
            told = signal;
            send(&handle, signal.and_then(Signal::from_named_raw).unwrap_or(Signal::TERM));
        }
        if is_stopped(pid) {
            send(&handle, Signal::KILL);
        }
    }
    for stream in &mut streams {
        stream.pass_on_rest();
        let rest = stream.escape.rest();
        let _ = stream.to.write_all(&rest).and_then(|()| stream.to.flush());
    }
    let status = child.wait()?;
    Ok(match status.code() {
        Some(0) => Exit::OK,
        // The output may say more of the cause than the code.
        Some(code) => Exit::passed_on(u8::try_from(code).unwrap_or(u8::MAX), ExitCause::Internal),
        None => Exit::by_signal(status.signal().unwrap_or_default()),
    })
}

/// Passes on output until the process ends or a moment is over. Returns true if it ended.
fn wait(handle: &OwnedFd, streams: &mut [ChildStream<'_>; 2]) -> bool {
    let mut fds = vec![PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
    let open: Vec<usize> = (0..streams.len()).filter(|at| streams[*at].pipe.is_some()).collect();
    fds.extend(
        open.iter()
            .filter_map(|at| streams[*at].pipe.as_ref())
            .map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)),
    );
    match poll(&mut fds, Some(&TICK)) {
        Ok(_) | Err(Errno::INTR) => {}
        // Without poll its end is still waited for.
        Err(_) => return true,
    }
    let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    drop(fds);
    for (at, is_ready) in open.into_iter().zip(ready.iter().skip(1)) {
        if *is_ready {
            streams[at].pass_on();
        }
    }
    ready.first().is_some_and(|has_ended| *has_ended)
}

fn send(handle: &OwnedFd, signal: Signal) {
    let _ = pidfd_send_signal(handle, signal);
}

/// True for a stopped process, which could hold the caller up for ever.
fn is_stopped(pid: Pid) -> bool {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).is_ok_and(|status| status.is_some_and(|status| status.stopped()))
}

struct ChildStream<'a> {
    pipe: Option<OwnedFd>,
    to: &'a mut dyn Write,
    escape: PieceEscaper,
}

impl<'a> ChildStream<'a> {
    fn new(pipe: Option<OwnedFd>, (to, escaped): (&'a mut dyn Write, EscapedSet)) -> Self {
        Self { pipe, to, escape: PieceEscaper::new(escaped) }
    }

    fn pass_on(&mut self) -> usize {
        let mut piece = [0; PIECE];
        let Some(pipe) = &self.pipe else { return 0 };
        match rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut piece)) {
            Ok(count) if count > 0 => {
                let text = self.escape.next(piece.get(..count).unwrap_or_default());
                // Output without a reader is lost; the process continues, and its exit code tells the outcome.
                let _ = self.to.write_all(&text).and_then(|()| self.to.flush());
                count
            }
            _ => {
                self.pipe = None;
                0
            }
        }
    }

    /// Passes on the rest after the end of the process; another process may still hold the pipe open.
    fn pass_on_rest(&mut self) {
        let mut count = 0;
        while count < AFTER_THE_END {
            let Some(pipe) = &self.pipe else { return };
            let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
            let is_empty = poll(&mut fds, Some(&Timespec::default())).map_or(true, |ready| ready == 0);
            if is_empty {
                return;
            }
            count += self.pass_on();
        }
    }
}
