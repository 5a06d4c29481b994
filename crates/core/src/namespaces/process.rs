//! Enclosures of a caller with threads. Processes with threads cannot enter a user namespace, so an ordinary user needs
//! a helper process. A thread of the superuser enters the process namespace, which affects its own children only.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, geteuid, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, waitid,
};
use serde::{Deserialize, Serialize};

use crate::namespaces::enclosure::{
    Enclosure, EnclosureEnd, EnclosureError, EnclosureSession, EnclosureTerminal, FirstAnswer, FirstOrder,
};
use crate::namespaces::rights::{self, refusal};
use crate::namespaces::supervisor::enclose;
use crate::namespaces::{ENCLOSING_PROCESS, FIRST_PROCESS};
use crate::process::{MessageChannel, ProcessTimes, close_inherited};

#[derive(Serialize, Deserialize)]
enum EnclosureAnswer {
    Ended(EnclosureEnd, Duration),
    Failed(EnclosureError),
}

/// The process that makes an enclosure (for the superuser, the first one inside). It ends with the caller, and with it
/// all processes inside.
#[derive(Debug)]
pub struct EnclosureProcess(Maker);

#[derive(Debug)]
enum Maker {
    Process { child: Child, channel: MessageChannel },
    Thread(ThreadedEnclosure),
}

impl EnclosureProcess {
    /// Starts an enclosure with these standard streams. Calls `prepare` with the process id before anything starts, so
    /// that a control group can hold everything inside.
    pub fn start(
        enclosure: &Enclosure,
        input: BorrowedFd<'_>,
        (output, errors): (OwnedFd, OwnedFd),
        prepare: impl FnOnce(u32),
    ) -> Result<Self, EnclosureError> {
        let failed = |error: io::Error| EnclosureError::failed("start", "the process of an enclosure", error);
        if needs_no_maker() {
            let input = input.try_clone_to_owned().map_err(failed)?;
            let output = Some((output, errors));
            let started = ThreadedEnclosure::start(enclosure.clone(), input, output, prepare)?;
            return Ok(Self(Maker::Thread(started)));
        }
        let mut command = Command::new(enclosure.command.first_program());
        command.arg0("patchadm").arg(ENCLOSING_PROCESS).env_clear().stdout(output).stderr(errors);
        let (child, mut channel) = MessageChannel::start(command).map_err(failed)?;
        prepare(child.id());
        // If the process is gone, waiting for it tells.
        let _ = channel.send(enclosure, Some(input));
        Ok(Self(Maker::Process { child, channel }))
    }

    /// Returns the number of helper processes, the one with this [id](Self::id) included.
    pub fn makers() -> u64 {
        if needs_no_maker() { 1 } else { 2 }
    }

    /// Returns a descriptor that is readable once the command has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Maker::Process { channel, .. } => channel.fd(),
            Maker::Thread(started) => started.fd(),
        }
    }

    /// Returns the id of the process, the ancestor of everything inside.
    pub fn id(&self) -> u32 {
        match &self.0 {
            Maker::Process { child, .. } => child.id(),
            Maker::Thread(started) => started.number(),
        }
    }

    /// Waits for the end; also returns the processor time of everything inside.
    pub fn wait(self) -> Result<(EnclosureEnd, Duration), EnclosureError> {
        let (mut child, mut channel) = match self.0 {
            Maker::Process { child, channel } => (child, channel),
            Maker::Thread(started) => return started.wait(),
        };
        let answer = channel.receive();
        let ended = child.wait();
        match answer {
            Ok(Some(EnclosureAnswer::Ended(end, took))) => Ok((end, took)),
            Ok(Some(EnclosureAnswer::Failed(error))) => Err(error),
            Ok(None) => Err(EnclosureError::Failed(match ended {
                Ok(status) => format!("the process of the enclosure was lost: {status}"),
                Err(error) => format!("the process of the enclosure was lost: {error}"),
            })),
            Err(error) => Err(EnclosureError::Failed(error.to_string())),
        }
    }

    pub fn kill(&mut self) {
        match &mut self.0 {
            Maker::Process { child, .. } => {
                // It may have ended already.
                let _ = child.kill();
            }
            Maker::Thread(started) => started.kill(),
        }
    }
}

fn needs_no_maker() -> bool {
    geteuid().is_root()
}

/// Runs the helper: reads an enclosure from standard input, a socket, and answers with its end.
///
/// For a process that was just started for this.
pub fn serve_enclosure() -> io::Result<()> {
    close_inherited()?;
    rustix::thread::set_name(c"patchadm")?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut channel = MessageChannel::of_standard_input()?;
    let Some(enclosure) = channel.receive::<Enclosure>()? else { return Ok(()) };
    let Some(input) = channel.descriptor() else { return Ok(()) };
    let answer = match enclose(enclosure, input.as_fd(), EnclosureTerminal::None, |_| {}) {
        Ok(end) => EnclosureAnswer::Ended(end, ProcessTimes::of(std::process::id()).children),
        Err(error) => EnclosureAnswer::Failed(error),
    };
    channel.send(&answer, None)
}

/// In bytes.
const LONGEST_WORDS: u64 = 512;

pub(super) type EndWithTime = (EnclosureEnd, Duration);

/// Standard output and standard error of everything inside; `None` for none.
pub(super) type OutputStreams = Option<(OwnedFd, OwnedFd)>;

/// An enclosure whose first process is a child of a thread.
#[derive(Debug)]
pub(super) struct ThreadedEnclosure {
    number: u32,
    first: OwnedFd,
    thread: Option<JoinHandle<Result<EndWithTime, EnclosureError>>>,
}

impl ThreadedEnclosure {
    /// Starts the first process with this standard input. Calls `prepare` with its id first.
    pub(super) fn start(
        enclosure: Enclosure,
        input: OwnedFd,
        output: OutputStreams,
        prepare: impl FnOnce(u32),
    ) -> Result<Self, EnclosureError> {
        let (tell, started) = sync_channel(1);
        let (go, may_go) = sync_channel(1);
        let thread = thread::spawn(move || carry_out(enclosure, &input, output, (&tell, &may_go)));
        let Ok((number, first)) = started.recv() else {
            return Err(joined(thread).err().unwrap_or_else(|| lost("it did not start")));
        };
        prepare(number);
        // If the thread is gone, its result tells why.
        let _ = go.send(());
        Ok(Self { number, first, thread: Some(thread) })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Returns a descriptor that is readable once nothing is left inside.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.first.as_fd()
    }

    pub(super) fn kill(&self) {
        // It may have ended already.
        let _ = pidfd_send_signal(&self.first, Signal::KILL);
    }

    pub(super) fn wait(mut self) -> Result<EndWithTime, EnclosureError> {
        self.thread.take().map_or_else(|| Err(lost("it was waited for")), joined)
    }
}

impl Drop for ThreadedEnclosure {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.kill();
        }
    }
}

/// A task inside. It ends with the process that has started it.
#[derive(Debug)]
pub struct EnclosedWork(ThreadedEnclosure);

impl EnclosedWork {
    /// Starts the task of an enclosure; it reads its request from a file.
    pub fn start(enclosure: Enclosure, order: OwnedFd) -> Result<Self, EnclosureError> {
        ThreadedEnclosure::start(enclosure, order, None, |_| {}).map(Self)
    }

    /// Waits at most this long. Returns true if it has ended.
    pub fn has_ended_within(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        match poll(&mut [PollFd::from_borrowed_fd(self.0.fd(), PollFlags::IN)], Some(&time)) {
            Ok(0) | Err(Errno::INTR) => false,
            // Polling fails: wait without a limit.
            Ok(_) | Err(_) => true,
        }
    }

    pub fn kill(&self) {
        self.0.kill();
    }

    /// Waits for the end. No process is left inside then.
    pub fn wait(self) -> Result<EnclosureEnd, EnclosureError> {
        self.0.wait().map(|(end, _)| end)
    }
}

fn joined(thread: JoinHandle<Result<EndWithTime, EnclosureError>>) -> Result<EndWithTime, EnclosureError> {
    thread.join().unwrap_or_else(|_| Err(lost("its thread panicked")))
}

fn lost(reason: &str) -> EnclosureError {
    EnclosureError::Failed(format!("the first process inside was lost: {reason}"))
}

fn carry_out(
    enclosure: Enclosure,
    input: &OwnedFd,
    output: OutputStreams,
    (tell, may_go): (&SyncSender<(u32, OwnedFd)>, &Receiver<()>),
) -> Result<EndWithTime, EnclosureError> {
    let failed = |error: io::Error| lost(&error.to_string());
    unshare(CloneFlags::CLONE_NEWPID)
        .map_err(|errno| refusal("unshare(CLONE_NEWPID)", Errno::from_raw_os_error(errno as i32), true))?;
    let mut command = Command::new(enclosure.command.first_program());
    command.arg0("patchadm").arg(FIRST_PROCESS).env_clear().envs(enclosure.command.environment_of_work());
    match output {
        Some((output, errors)) => command.stdout(output).stderr(errors),
        None => command.stdout(Stdio::null()).stderr(Stdio::piped()),
    };
    let (mut first, mut channel) = MessageChannel::start(command).map_err(failed)?;
    let followed = pidfd_open(Pid::from_child(&first), PidfdFlags::empty())
        .map_err(io::Error::from)
        .and_then(|descriptor| {
            // The caller waits for it.
            let _ = tell.send((first.id(), descriptor));
            let _ = may_go.recv();
            follow(&mut channel, enclosure, (first.id(), input))
        });
    if !matches!(followed, Ok(Some(Ok(_)))) {
        // It may have ended already.
        let _ = first.kill();
    }
    let mut said = Vec::new();
    if let Some(words) = first.stderr.take() {
        let _ = words.take(LONGEST_WORDS).read_to_end(&mut said);
    }
    let (ended, took) = wait_with_time(&mut first).map_err(failed)?;
    match (followed.map_err(failed)?, ended.signal()) {
        (Some(end), _) => end.map(|end| (end, took)),
        (None, Some(signal)) => Ok((EnclosureEnd::Lost(signal), took)),
        (None, None) => Err(lost(format!("{ended} {}", String::from_utf8_lossy(&said)).trim_end())),
    }
}

fn wait_with_time(process: &mut Child) -> io::Result<(ExitStatus, Duration)> {
    // Its times are readable only before it is reaped.
    let is_there = rustix::io::retry_on_intr(|| {
        waitid(WaitId::Pid(Pid::from_child(process)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    });
    let times = is_there.map(|_| ProcessTimes::of(process.id())).unwrap_or_default();
    Ok((process.wait()?, times.own + times.children))
}

/// Sends the enclosure and waits for the answer; `None` if the process has ended without one.
fn follow(
    channel: &mut MessageChannel,
    enclosure: Enclosure,
    (process, input): (u32, &OwnedFd),
) -> io::Result<Option<Result<EnclosureEnd, EnclosureError>>> {
    let ids = enclosure.ids.clone();
    let first = FirstOrder::Prepare {
        enclosure: Box::new(enclosure),
        is_superuser: true,
        session: EnclosureSession::Own,
        number: process,
    };
    if channel.send(&first, Some(input.as_fd())).is_err() {
        // It is gone; its exit status tells how.
        return Ok(None);
    }
    loop {
        match channel.receive()? {
            Some(FirstAnswer::WantsIds) => {
                if let Some(Err(error)) = ids.as_ref().map(|ids| rights::give(process, ids, true)) {
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
