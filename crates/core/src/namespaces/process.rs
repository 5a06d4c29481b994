//! An enclosure in a process of its own, for a caller that has many of them or threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Signal, geteuid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::ENCLOSING_PROCESS;
use super::enclosure::{Enclosure, EnclosureTerminal};
use super::failure::{EnclosureEnd, EnclosureError};
use super::supervisor::enclose;
use super::work::ThreadedEnclosure;
use crate::process::{MessageChannel, ProcessTimes, close_inherited};

/// An answer of the process.
#[derive(Serialize, Deserialize)]
enum EnclosureAnswer {
    /// The command has ended, after this processor time of everything inside.
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

/// Tells whether the first process can be a child of the caller, who may have threads.
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
