//! The command inside: started, signalled, and waited for among all the processes that the first one inherits.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};

use super::answers::EnclosureSession;
use super::enclosure::EnclosedCommand;
use super::failure::{EnclosureEnd, EnclosureError};
use super::terminal::ControllingTerminal;

/// The command as a process.
#[derive(Debug)]
pub(super) struct EnclosedProcess {
    pid: Pid,
    /// Whether it leads a process group of its own.
    leads_group: bool,
    /// Whether it can be stopped from the terminal that it got.
    is_job: bool,
}

/// The state of the command since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandState {
    /// It runs, or nothing is known of it.
    Running,
    /// This signal has stopped it.
    Stopped(i32),
    /// It has ended.
    Ended(EnclosureEnd),
}

impl EnclosedProcess {
    /// Starts the command: the first choice that exists.
    pub(super) fn start(
        command: &EnclosedCommand,
        (input, session): (&OwnedFd, EnclosureSession),
        terminal: Option<&ControllingTerminal>,
    ) -> Result<Self, EnclosureError> {
        let mut missing = None;
        for words in &command.choices {
            match Self::spawn(command, words, (input, session, terminal.is_some())) {
                Ok(process) => {
                    process.bring_to_front(terminal);
                    return Ok(process);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.get_or_insert_with(|| program_of(words));
                }
                Err(error) => {
                    let reason = error.to_string();
                    return Err(EnclosureError::NotExecutable { program: program_of(words), reason });
                }
            }
        }
        Err(EnclosureError::NotFound(missing.unwrap_or_default()))
    }

    fn spawn(
        command: &EnclosedCommand,
        words: &[OsString],
        (input, session, is_job): (&OwnedFd, EnclosureSession, bool),
    ) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::from(input.try_clone()?));
        process.env_clear().envs(command.environment.iter().map(|(name, value)| (name, value)));
        if session == EnclosureSession::Terminal {
            // What goes to the terminal of the caller goes by way of the command's own.
            if io::stdout().is_terminal() {
                process.stdout(Stdio::from(input.try_clone()?));
            }
            if io::stderr().is_terminal() {
                process.stderr(Stdio::from(input.try_clone()?));
            }
        }
        let leads_group = is_job || session != EnclosureSession::OfCaller;
        if leads_group {
            process.process_group(0);
        }
        if let Some((uid, gid)) = command.user {
            // This also drops all supplementary groups.
            process.uid(uid).gid(gid);
        }
        let own = rustix::process::umask(Mode::from_bits_truncate(command.umask));
        let spawned = process.spawn();
        rustix::process::umask(own);
        Ok(Self { pid: Pid::from_child(&spawned?), leads_group, is_job })
    }

    /// Puts the command into the foreground, and continues it if it has asked for the terminal too early.
    pub(super) fn bring_to_front(&self, terminal: Option<&ControllingTerminal>) {
        if let Some(terminal) = terminal {
            terminal.put_in_front(self.pid);
            self.signal(Signal::CONT);
        }
    }

    /// Sends a signal to the command and the rest of its group, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = if self.leads_group {
            kill_process_group(self.pid, signal)
        } else {
            kill_process(self.pid, signal)
        };
    }

    /// Waits, without a pause, for all processes that have ended, and returns the state of the command.
    pub(super) fn reap(&self) -> CommandState {
        let mut state = CommandState::Running;
        let stops = if self.is_job { WaitOptions::UNTRACED } else { WaitOptions::empty() };
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | stops) {
            if pid != self.pid {
                continue;
            }
            if let Some(code) = status.exit_status() {
                state = CommandState::Ended(EnclosureEnd::Exited(code));
            } else if let Some(signal) = status.terminating_signal() {
                state = CommandState::Ended(EnclosureEnd::Signalled(signal));
            } else if let Some(signal) = status.stopping_signal() {
                state = CommandState::Stopped(signal);
            }
        }
        state
    }
}

fn program_of(words: &[OsString]) -> String {
    words.first().map(|word| word.display().to_string()).unwrap_or_default()
}
