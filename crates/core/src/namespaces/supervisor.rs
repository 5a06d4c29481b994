//! The caller of an enclosure: makes its namespaces, starts the first process, and passes signals on.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getegid, geteuid, getpgrp, getpid, kill_process, pidfd_open};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::FIRST_PROCESS;
use super::enclosure::{Enclosure, EnclosureTerminal};
use crate::namespaces::enclosure::{
    EnclosureEnd, EnclosureError, EnclosureNote, EnclosureSession, FirstAnswer, FirstOrder,
};
use crate::namespaces::rights;
use crate::namespaces::rights::refusal;
use crate::namespaces::signals::{ControllingTerminal, FollowedSignals};
use crate::process::MessageChannel;
use crate::terminal::{RELAY_TICK, TerminalOutput, TerminalRelay, TerminalUse};

const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

const FROM_KEYBOARD: [i32; 2] = [SIGINT, SIGQUIT];

/// Runs a command with this standard input in namespaces of its own. `tell` receives remarks before the command starts.
///
/// For a process with one thread that starts nothing else: only its next child is in the new process namespace.
pub fn enclose(
    enclosure: Enclosure,
    input: BorrowedFd<'_>,
    terminal: EnclosureTerminal,
    tell: impl FnMut(&EnclosureNote),
) -> Result<EnclosureEnd, EnclosureError> {
    let is_superuser = geteuid().is_root();
    let relay = if terminal == EnclosureTerminal::Own {
        TerminalRelay::begin(TerminalUse::Shell)
            .map_err(|error| EnclosureError::failed("make", "a pseudo-terminal", error))?
    } else {
        None
    };
    make_namespaces(is_superuser, enclosure.as_root)?;
    let mut supervisor =
        EnclosureSupervisor::start(&enclosure, terminal, relay).map_err(|error| lost(&error))?;
    let followed = supervisor.run((enclosure, input), is_superuser, tell);
    if followed.is_err() {
        // It may wait for an order.
        let _ = supervisor.first.kill();
    }
    // When it ends, nothing is left inside.
    let ended = supervisor.wait().map_err(|error| lost(&error))?;
    supervisor.take_terminal_back();
    followed?.map_or_else(
        || match ended.signal() {
            Some(signal) => Ok(EnclosureEnd::Lost(signal)),
            None => Err(EnclosureError::Failed("the first process inside was lost".to_owned())),
        },
        Ok,
    )
}

/// Makes the namespaces of the next child. This process stays in its own, except for its user namespace.
fn make_namespaces(is_superuser: bool, as_root: bool) -> Result<(), EnclosureError> {
    let (flags, call) = if is_superuser {
        (CloneFlags::CLONE_NEWPID, "unshare(CLONE_NEWPID)")
    } else {
        (CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUSER, "unshare(CLONE_NEWUSER | CLONE_NEWPID)")
    };
    let caller = (geteuid().as_raw(), getegid().as_raw());
    unshare(flags).map_err(|errno| refusal(call, Errno::from_raw_os_error(errno as i32), is_superuser))?;
    if is_superuser {
        return Ok(());
    }
    let prepared = rights::map_caller(caller, as_root).and_then(|()| rights::hand_down());
    prepared.map_err(|error| {
        refusal("uid_map", Errno::from_io_error(&error).unwrap_or(Errno::PERM), is_superuser)
    })
}

fn lost(error: &io::Error) -> EnclosureError {
    EnclosureError::Failed(format!("the first process inside was lost: {error}"))
}

/// Keeps terminals of the caller out of the enclosure, also as output of its first process. Without a relay, returns the
/// way to the caller's terminal.
fn replace_terminals(
    command: &mut Command,
    relay: Option<&TerminalRelay>,
) -> io::Result<Option<TerminalOutput>> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let screen = match (stdout.is_terminal(), stderr.is_terminal()) {
        (false, false) => return Ok(None),
        (true, _) => stdout.as_fd(),
        (false, true) => stderr.as_fd(),
    };
    let (output, theirs) = match relay {
        Some(relay) => (None, relay.command_side().try_clone_to_owned()?),
        None => TerminalOutput::begin(screen).map(|(output, theirs)| (Some(output), theirs))?,
    };
    if stdout.is_terminal() {
        command.stdout(theirs.try_clone()?);
    }
    if stderr.is_terminal() {
        command.stderr(theirs);
    }
    Ok(output)
}

struct EnclosureSupervisor {
    first: Child,
    channel: MessageChannel,
    signals: FollowedSignals,
    terminal: Option<ControllingTerminal>,
    relay: Option<TerminalRelay>,
    output: Option<TerminalOutput>,
    session: EnclosureSession,
    /// The command has its own process group, so keys of the terminal do not reach it directly.
    leads_group: bool,
    in_front: bool,
}

impl EnclosureSupervisor {
    fn start(
        enclosure: &Enclosure,
        wanted: EnclosureTerminal,
        relay: Option<TerminalRelay>,
    ) -> io::Result<Self> {
        let mut command = Command::new(enclosure.command.first_program());
        command.arg0("patchadm").arg(FIRST_PROCESS).env_clear().envs(enclosure.command.environment_of_work());
        let output = match wanted {
            EnclosureTerminal::Shared { .. } => None,
            EnclosureTerminal::None | EnclosureTerminal::Own => {
                replace_terminals(&mut command, relay.as_ref())?
            }
        };
        let (first, channel) = MessageChannel::start(command)?;
        // After the start: signals ignored before must be ignored inside.
        let signals = FollowedSignals::new(&PASSED_ON)?;
        let is_shared = wanted == EnclosureTerminal::Shared { is_interactive: true };
        let terminal = ControllingTerminal::open().filter(|_| is_shared);
        let session = match (wanted, &relay) {
            (EnclosureTerminal::Shared { .. }, _) => EnclosureSession::OfCaller,
            (_, Some(_)) => EnclosureSession::Terminal,
            (_, None) => EnclosureSession::Own,
        };
        let in_front = relay.is_some() || terminal.as_ref().is_some_and(ControllingTerminal::is_ours);
        let leads_group = in_front || session != EnclosureSession::OfCaller;
        Ok(Self { first, channel, signals, terminal, relay, output, session, leads_group, in_front })
    }

    /// Sends the enclosure and follows the command; `None` if the first process has ended without a response.
    fn run(
        &mut self,
        (enclosure, input): (Enclosure, BorrowedFd<'_>),
        is_superuser: bool,
        mut tell: impl FnMut(&EnclosureNote),
    ) -> Result<Option<EnclosureEnd>, EnclosureError> {
        let ids = enclosure.ids.clone();
        let session = self.session;
        let number = self.first.id();
        let order = FirstOrder::Prepare { enclosure: Box::new(enclosure), is_superuser, session, number };
        let input = self.relay.as_ref().map_or(input, TerminalRelay::command_side);
        if self.channel.send(&order, Some(input)).is_err() {
            return Ok(None);
        }
        loop {
            match self.next_answer().map_err(|error| lost(&error))? {
                Some(FirstAnswer::WantsIds) => {
                    if let Some(ids) = &ids {
                        rights::give(self.first.id(), ids, is_superuser)?;
                    }
                    self.order(&FirstOrder::GoOn);
                }
                Some(FirstAnswer::Ready(notes)) => {
                    notes.iter().for_each(&mut tell);
                    self.order(&FirstOrder::Start { in_front: self.in_front });
                }
                Some(FirstAnswer::Failed(error)) => return Err(error),
                Some(FirstAnswer::Stopped(signal)) => self.stop_and_continue(signal),
                Some(FirstAnswer::Ended(end)) => return Ok(Some(end)),
                None => return Ok(None),
            }
        }
    }

    fn next_answer(&mut self) -> io::Result<Option<FirstAnswer>> {
        while !self.channel.has_message() {
            let all = [self.channel.fd(), self.signals.fd()].into_iter().chain(self.passed_on());
            let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut fds, self.relay.as_ref().map(|_| &RELAY_TICK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let is_answered = fds.first().is_some_and(|channel| !channel.revents().is_empty());
            drop(fds);
            self.pass_on();
            for signal in self.signals.take() {
                // The terminal sends these to the whole group, including the command.
                if self.leads_group || !FROM_KEYBOARD.contains(&signal) {
                    self.order(&FirstOrder::Signal(signal));
                }
            }
            if is_answered {
                break;
            }
        }
        self.channel.receive()
    }

    fn passed_on(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let output = self.output.as_ref().and_then(TerminalOutput::descriptor);
        self.relay.iter().flat_map(TerminalRelay::descriptors).chain(output)
    }

    fn pass_on(&mut self) {
        self.relay.iter_mut().for_each(TerminalRelay::pass_on);
        self.output.iter_mut().for_each(TerminalOutput::pass_on);
    }

    /// Passes on output until the first process ends: it may wait until its last words are read.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let Ok(end) = pidfd_open(Pid::from_child(&self.first), PidfdFlags::empty()) else {
            return self.first.wait();
        };
        loop {
            if let Some(status) = self.first.try_wait()? {
                return Ok(status);
            }
            let all = std::iter::once(end.as_fd()).chain(self.passed_on());
            let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut fds, Some(&RELAY_TICK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            drop(fds);
            self.pass_on();
        }
    }

    /// If the first process is gone, receiving its answer tells.
    fn order(&mut self, order: &FirstOrder) {
        let _ = self.channel.send(order, None);
    }

    /// Stops and continues like the command, so that the outer shell sees a stopped job.
    fn stop_and_continue(&mut self, signal: i32) {
        self.take_terminal_back();
        self.relay.iter().for_each(TerminalRelay::suspend);
        if let Some(signal) = Signal::from_named_raw(signal) {
            // In an orphaned group, the kernel does not stop it, and the command continues at once.
            let _ = kill_process(getpid(), signal);
        }
        if let Some(relay) = &self.relay {
            // The terminal may be gone.
            let _ = relay.resume();
        } else {
            self.in_front = self.terminal.as_ref().is_some_and(ControllingTerminal::is_ours);
        }
        let in_front = self.in_front;
        self.order(&FirstOrder::Continue { in_front });
    }

    fn take_terminal_back(&self) {
        if let Some(terminal) = self.terminal.as_ref().filter(|_| self.in_front) {
            terminal.put_in_front(getpgrp());
        }
    }
}
