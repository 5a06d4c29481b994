//! A work of the program in an enclosure, for a caller that is the superuser of its user namespace.
//!
//! A command takes three processes: one that makes the namespaces, the first one inside, and the command. Here a thread of the
//! caller enters the namespace of processes, which concerns nothing but its own children, and the first process does the work.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::answers::{EnclosureSession, FirstAnswer, FirstOrder};
use super::enclosure::Enclosure;
use super::failure::{EnclosureEnd, EnclosureError};
use super::settings::refusal;
use super::{FIRST_PROCESS, id_maps};
use crate::process::MessageChannel;

/// The maximum output of a lost process quoted in an error, in bytes.
const LONGEST_WORDS: u64 = 512;

/// A work that goes on inside. It ends with the process that has started it.
#[derive(Debug)]
pub struct EnclosedWork {
    first: OwnedFd,
    thread: JoinHandle<Result<EnclosureEnd, EnclosureError>>,
}

impl EnclosedWork {
    /// Starts the work that an enclosure names, with a file from which it reads its order.
    pub fn start(enclosure: Enclosure, order: OwnedFd) -> Result<Self, EnclosureError> {
        let (tell, started) = sync_channel(1);
        let thread = thread::spawn(move || carry_out(enclosure, &order, &tell));
        match started.recv() {
            Ok(first) => Ok(Self { first, thread }),
            Err(_) => Err(joined(thread).err().unwrap_or_else(|| lost("it did not start"))),
        }
    }

    /// Waits for the end, but not for longer than this; tells whether it has come.
    pub fn has_ended_within(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        match poll(&mut [PollFd::from_borrowed_fd(self.first.as_fd(), PollFlags::IN)], Some(&time)) {
            Ok(0) | Err(Errno::INTR) => false,
            // If it cannot be waited for like this, it is waited for without an end.
            Ok(_) | Err(_) => true,
        }
    }

    /// Ends the work, and with it all that is inside.
    pub fn kill(&self) {
        // One that has ended already is as dead.
        let _ = pidfd_send_signal(&self.first, Signal::KILL);
    }

    /// Waits for the end. No process is inside then.
    pub fn wait(self) -> Result<EnclosureEnd, EnclosureError> {
        joined(self.thread)
    }
}

fn joined(thread: JoinHandle<Result<EnclosureEnd, EnclosureError>>) -> Result<EnclosureEnd, EnclosureError> {
    thread.join().unwrap_or_else(|_| Err(lost("its thread panicked")))
}

fn lost(reason: &str) -> EnclosureError {
    EnclosureError::Failed(format!("the first process inside was lost: {reason}"))
}

/// Starts the first process, which ends with this thread, and follows it to its end.
fn carry_out(
    enclosure: Enclosure,
    order: &OwnedFd,
    tell: &SyncSender<OwnedFd>,
) -> Result<EnclosureEnd, EnclosureError> {
    let failed = |error: io::Error| lost(&error.to_string());
    unshare(CloneFlags::CLONE_NEWPID)
        .map_err(|errno| refusal("unshare(CLONE_NEWPID)", Errno::from_raw_os_error(errno as i32), true))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("patchadm").arg(FIRST_PROCESS).env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
    let (mut first, mut channel) = MessageChannel::start(command).map_err(failed)?;
    let followed = pidfd_open(Pid::from_child(&first), PidfdFlags::empty())
        .map_err(io::Error::from)
        .and_then(|descriptor| {
            // The caller waits for it.
            let _ = tell.send(descriptor);
            follow(&mut channel, enclosure, (first.id(), order))
        });
    if !matches!(followed, Ok(Some(Ok(_)))) {
        // One that has ended already is as dead.
        let _ = first.kill();
    }
    let mut said = Vec::new();
    if let Some(words) = first.stderr.take() {
        let _ = words.take(LONGEST_WORDS).read_to_end(&mut said);
    }
    let ended = first.wait().map_err(failed)?;
    match followed.map_err(failed)? {
        Some(end) => end,
        None => Err(lost(format!("{ended} {}", String::from_utf8_lossy(&said)).trim_end())),
    }
}

/// Passes the enclosure on, and waits for the answer; `None` if the process has ended without one.
fn follow(
    channel: &mut MessageChannel,
    enclosure: Enclosure,
    (process, order): (u32, &OwnedFd),
) -> io::Result<Option<Result<EnclosureEnd, EnclosureError>>> {
    let ids = enclosure.ids.clone();
    let first = FirstOrder::Prepare {
        enclosure: Box::new(enclosure),
        is_superuser: true,
        session: EnclosureSession::Own,
    };
    channel.send(&first, Some(order.as_fd()))?;
    loop {
        match channel.receive()? {
            Some(FirstAnswer::WantsIds) => {
                if let Some(Err(error)) = ids.as_ref().map(|ids| id_maps::give(process, ids, true)) {
                    return Ok(Some(Err(error)));
                }
                channel.send(&FirstOrder::GoOn, None)?;
            }
            Some(FirstAnswer::Ready(_)) => channel.send(&FirstOrder::Start { in_front: false }, None)?,
            Some(FirstAnswer::Stopped(_)) => {}
            Some(FirstAnswer::Failed(error)) => return Ok(Some(Err(error))),
            Some(FirstAnswer::Ended(end)) => return Ok(Some(Ok(end))),
            None => return Ok(None),
        }
    }
}
