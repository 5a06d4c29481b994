//! An enclosure beside the caller, who may have threads and many enclosures: in a process of its own, or in a thread.
//!
//! A process with threads enters no user namespace, so whoever needs one starts a process for that. The superuser needs none: a
//! thread of the caller enters the namespace of processes, which concerns nothing but its own children, and starts the first
//! process, which runs a command or does a work of the program itself.

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
    /// It did not run.
    Failed(EnclosureError),
}

/// A process that makes an enclosure and runs its command: the first one inside, where the caller is the superuser. It ends with
/// the caller, and with it all processes inside.
#[derive(Debug)]
pub struct EnclosureProcess(Maker);

#[derive(Debug)]
enum Maker {
    Process { child: Child, channel: MessageChannel },
    Thread(ThreadedEnclosure),
}

impl EnclosureProcess {
    /// Starts the command of an enclosure with this standard input, standard output and standard error. Calls `prepare` with
    /// the id of the process before it starts anything: a control group that it joins then holds everything inside.
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
        // If the process is gone, its end shows it.
        let _ = channel.send(enclosure, Some(input));
        Ok(Self(Maker::Process { child, channel }))
    }

    /// Returns how many processes of the program there are beside the command, that with the [id](Self::id) included.
    pub fn makers() -> u64 {
        if needs_no_maker() { 1 } else { 2 }
    }

    /// Returns the descriptor that can be read once the command has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Maker::Process { channel, .. } => channel.fd(),
            Maker::Thread(started) => started.fd(),
        }
    }

    /// Returns the number of the process: that of the command and of everything inside is below it.
    pub fn id(&self) -> u32 {
        match &self.0 {
            Maker::Process { child, .. } => child.id(),
            Maker::Thread(started) => started.number(),
        }
    }

    /// Waits for the end of the command. Returns it with the processor time of everything inside.
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

    /// Kills the process, and with it all that is inside.
    pub fn kill(&mut self) {
        match &mut self.0 {
            Maker::Process { child, .. } => {
                // One that has ended already is as dead.
                let _ = child.kill();
            }
            Maker::Thread(started) => started.kill(),
        }
    }
}

fn needs_no_maker() -> bool {
    geteuid().is_root()
}

/// Runs the process: takes an enclosure on standard input, which is a socket, and answers with its end.
///
/// For a process that was just started to do this and nothing else.
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

/// The maximum output of a lost process quoted in an error, in bytes.
const LONGEST_WORDS: u64 = 512;

pub(super) type EndWithTime = (EnclosureEnd, Duration);

/// The standard output and standard error of everything inside; `None` for none at all.
pub(super) type OutputStreams = Option<(OwnedFd, OwnedFd)>;

/// An enclosure whose first process is a child of a thread of the caller.
#[derive(Debug)]
pub(super) struct ThreadedEnclosure {
    number: u32,
    first: OwnedFd,
    thread: Option<JoinHandle<Result<EndWithTime, EnclosureError>>>,
}

impl ThreadedEnclosure {
    /// Starts the first process, with the standard input of what it runs. Calls `prepare` with its number before it does anything.
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

    /// Returns the number of the first process.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Returns the descriptor that can be read once nothing is inside any more.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.first.as_fd()
    }

    pub(super) fn kill(&self) {
        // One that has ended already is as dead.
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

/// A work that goes on inside. It ends with the process that has started it.
#[derive(Debug)]
pub struct EnclosedWork(ThreadedEnclosure);

impl EnclosedWork {
    /// Starts the work that an enclosure names, with a file from which it reads its order.
    pub fn start(enclosure: Enclosure, order: OwnedFd) -> Result<Self, EnclosureError> {
        ThreadedEnclosure::start(enclosure, order, None, |_| {}).map(Self)
    }

    /// Waits for the end, but not for longer than this; tells whether it has come.
    pub fn has_ended_within(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        match poll(&mut [PollFd::from_borrowed_fd(self.0.fd(), PollFlags::IN)], Some(&time)) {
            Ok(0) | Err(Errno::INTR) => false,
            // If it cannot be waited for like this, it is waited for without an end.
            Ok(_) | Err(_) => true,
        }
    }

    /// Ends the work, and with it all that is inside.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Waits for the end. No process is inside then.
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
    let is_command = output.is_some();
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
        // One that has ended already is as dead.
        let _ = first.kill();
    }
    let mut said = Vec::new();
    if let Some(words) = first.stderr.take() {
        let _ = words.take(LONGEST_WORDS).read_to_end(&mut said);
    }
    let (ended, took) = wait_with_time(&mut first).map_err(failed)?;
    match (followed.map_err(failed)?, ended.signal()) {
        (Some(end), _) => end.map(|end| (end, took)),
        (None, Some(signal)) if is_command => Ok((EnclosureEnd::Lost(signal), took)),
        (None, _) => Err(lost(format!("{ended} {}", String::from_utf8_lossy(&said)).trim_end())),
    }
}

fn wait_with_time(process: &mut Child) -> io::Result<(ExitStatus, Duration)> {
    // Its times can be read until somebody has waited for it.
    let is_there = rustix::io::retry_on_intr(|| {
        waitid(WaitId::Pid(Pid::from_child(process)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    });
    let times = is_there.map(|_| ProcessTimes::of(process.id())).unwrap_or_default();
    Ok((process.wait()?, times.own + times.children))
}

/// Passes the enclosure on, and waits for the answer; `None` if the process has ended without one.
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
    };
    if channel.send(&first, Some(input.as_fd())).is_err() {
        // It is gone, and its end tells how.
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
