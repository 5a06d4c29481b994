//! An enclosure in a process of its own, for a caller that has many of them or threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::ENCLOSING_PROCESS;
use super::enclosure::{Enclosure, EnclosureTerminal};
use super::failure::{EnclosureEnd, EnclosureError};
use super::supervisor::enclose;
use crate::process::{MessageChannel, close_inherited};

/// An answer of the process.
#[derive(Serialize, Deserialize)]
enum EnclosureAnswer {
    /// The command has ended, after this many milliseconds of processor time of everything inside.
    Ended(EnclosureEnd, u64),
    /// It did not run.
    Failed(EnclosureError),
}

/// A process that makes an enclosure and runs its command. It ends with the thread that has started it, and with it all
/// processes inside.
#[derive(Debug)]
pub struct EnclosureProcess {
    child: Child,
    channel: MessageChannel,
}

impl EnclosureProcess {
    /// Starts the command of an enclosure with this standard input, standard output and standard error. Calls `prepare` with
    /// the id of the process before it starts anything: a control group that it joins then holds everything inside.
    pub fn start(
        enclosure: &Enclosure,
        input: BorrowedFd<'_>,
        (output, errors): (OwnedFd, OwnedFd),
        prepare: impl FnOnce(u32),
    ) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("patchadm").arg(ENCLOSING_PROCESS).env_clear().stdout(output).stderr(errors);
        let (child, mut channel) = MessageChannel::start(command)?;
        prepare(child.id());
        // If the process is gone, its end shows it.
        let _ = channel.send(enclosure, Some(input));
        Ok(Self { child, channel })
    }

    /// Returns the descriptor that can be read once the command has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.channel.fd()
    }

    /// Returns the number of the process: that of the command and of everything inside is below it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the command. Returns it with the processor time of everything inside, in milliseconds.
    pub fn wait(mut self) -> Result<(EnclosureEnd, u64), EnclosureError> {
        let answer = self.channel.receive();
        let ended = self.child.wait();
        match answer {
            Ok(Some(EnclosureAnswer::Ended(end, processor_ms))) => Ok((end, processor_ms)),
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
        // One that has ended already is as dead.
        let _ = self.child.kill();
    }
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
        Ok(end) => EnclosureAnswer::Ended(end, children_ms()),
        Err(error) => EnclosureAnswer::Failed(error),
    };
    channel.send(&answer, None)
}

/// Returns the processor time of all children that were waited for, in milliseconds; 0 where the kernel does not tell.
fn children_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in brackets, may have blanks; behind it the user and system time of children are 13th and 14th.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let ticks: u64 = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 1000 / rustix::param::clock_ticks_per_second().max(1)
}
