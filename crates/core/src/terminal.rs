//! A pseudo-terminal between a command and the terminal of the caller.
//!
//! A process that shares the caller's terminal can type into it (TIOCSTI), read what is typed for others, and draw
//! anything on it. So a command with fewer rights than the caller gets a terminal and a session of its own, and a
//! [`TerminalRelay`] carries what is typed and what is printed between the two. The command's terminal begins with the
//! settings and the size of the caller's, and does the echo and the line editing; the caller's only passes on.
//!
//! The relay starts no process. Its owner hands the command's side to the command, which makes it its controlling
//! terminal, waits for [`TerminalRelay::descriptors`] among others, and calls [`TerminalRelay::pass_on`].

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize, tcgetattr, tcgetwinsize,
    tcsetattr, tcsetwinsize,
};

use patchadm_svr4::package::control::{EscapedSet, PieceEscaper};

/// The interval at which an owner calls [`TerminalRelay::pass_on`] even if no descriptor is ready: the size of the
/// terminal may have changed.
pub(crate) const RELAY_TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The most bytes that are passed on at a time.
const PIECE: usize = 4096;

/// The most pieces that are shown, or typed, before anything else gets its turn.
const MOST_PIECES: usize = 16;

/// The use that a command makes of its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerminalUse {
    /// It asks questions: what it prints is text, without what a terminal obeys, and the key that interrupts is meant for
    /// the caller.
    Questions,
    /// It is a shell, which gets every key and draws as it likes.
    Shell,
}

/// The two terminals, and what is on its way between them. On drop, the terminal of the caller is as it was.
#[derive(Debug)]
pub(crate) struct TerminalRelay {
    usage: TerminalUse,
    /// The terminal of the caller, to read from and to write to.
    keyboard: OwnedFd,
    screen: OwnedFd,
    /// The settings of the caller's terminal before, and while it passes on.
    before: Termios,
    passing: Termios,
    size: Winsize,
    /// The relay's side of the pseudo-terminal; `None` once the command has hung up.
    relay_side: Option<OwnedFd>,
    command_side: OwnedFd,
    escaper: PieceEscaper,
    /// What was typed and did not fit yet.
    typed: Vec<u8>,
    /// Whether more can be typed.
    is_open: bool,
    /// Whether something was printed that the terminal may answer.
    has_asked: bool,
}

/// The bytes with which questions to a terminal begin: ENQ, ESC, and CSI of eight bits.
const ASKING: [u8; 3] = [0x05, 0x1b, 0x9b];

/// How long a terminal has for an answer after the end of the command that asked.
const ANSWER_TIME: Duration = Duration::from_millis(200);

impl TerminalRelay {
    /// Begins to relay between the terminal that is the standard input of this process and a new one; `None` if standard
    /// input is no terminal. Nobody but the caller may open the new one by its name: other processes of the command's user
    /// could read what is typed, and a command has it open already.
    pub(crate) fn begin(usage: TerminalUse) -> io::Result<Option<Self>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        let keyboard = input.as_fd().try_clone_to_owned()?;
        let screen = screen_of(keyboard.as_fd())?;
        let (before, size) = (tcgetattr(&keyboard)?, tcgetwinsize(&keyboard)?);
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let relay_side = openpt(flags)?;
        unlockpt(&relay_side)?;
        let command_side = ioctl_tiocgptpeer(&relay_side, flags)?;
        close_to_others(&command_side)?;
        tcsetattr(&command_side, OptionalActions::Now, &before)?;
        tcsetwinsize(&relay_side, size)?;
        rustix::fs::fcntl_setfl(&relay_side, OFlags::NONBLOCK)?;
        let relay = Self {
            usage,
            keyboard,
            screen,
            passing: passing(usage, &before),
            before,
            size,
            relay_side: Some(relay_side),
            command_side,
            escaper: PieceEscaper::new(EscapedSet::HiddenBesideEditing),
            typed: Vec::new(),
            is_open: true,
            has_asked: false,
        };
        relay.resume()?;
        Ok(Some(relay))
    }

    /// Returns the terminal of the command.
    pub(crate) fn command_side(&self) -> BorrowedFd<'_> {
        self.command_side.as_fd()
    }

    /// Returns the descriptors to poll for input.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let keyboard = (self.is_open && self.typed.is_empty()).then_some(&self.keyboard);
        self.relay_side.iter().chain(keyboard).map(AsFd::as_fd)
    }

    /// Passes on what has been typed and printed, and the size of the terminal. Waits for nothing.
    pub(crate) fn pass_on(&mut self) {
        self.follow_size();
        self.show();
        self.type_in();
    }

    /// Makes the terminal of the caller what it was before, for a time in which the command does not go on.
    pub(crate) fn suspend(&self) {
        self.give_back(OptionalActions::Now);
    }

    fn give_back(&self, when: OptionalActions) {
        // A terminal that is gone has no settings.
        let _ = tcsetattr(&self.keyboard, when, &self.before);
    }

    /// Goes on to relay.
    pub(crate) fn resume(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.keyboard, OptionalActions::Now, &self.passing)?)
    }

    fn follow_size(&mut self) {
        if let (Ok(size), Some(relay_side)) = (tcgetwinsize(&self.keyboard), &self.relay_side)
            && size != self.size
        {
            self.size = size;
            // A command that has hung up needs no size.
            let _ = tcsetwinsize(relay_side, size);
        }
    }

    fn show(&mut self) {
        let mut piece = [0; PIECE];
        for _ in 0..MOST_PIECES {
            let Some(relay_side) = &self.relay_side else { return };
            match retry_on_intr(|| read(relay_side, &mut piece)) {
                Ok(count @ 1..) => self.print(piece.get(..count).unwrap_or_default()),
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.relay_side = None,
            }
        }
    }

    fn print(&mut self, piece: &[u8]) {
        match self.usage {
            TerminalUse::Questions => write_all(&self.screen, &self.escaper.next(piece)),
            TerminalUse::Shell => {
                self.has_asked |= piece.iter().any(|byte| ASKING.contains(byte));
                write_all(&self.screen, piece);
            }
        }
    }

    fn type_in(&mut self) {
        for _ in 0..2 * MOST_PIECES {
            let Some(relay_side) = &self.relay_side else { return };
            if !self.typed.is_empty() {
                match retry_on_intr(|| write(relay_side, &self.typed)) {
                    Ok(count) => drop(self.typed.drain(..count)),
                    Err(Errno::AGAIN) => return,
                    Err(_) => self.typed.clear(),
                }
            } else if self.is_open && is_ready(&self.keyboard) {
                self.take_typed();
            } else {
                return;
            }
        }
    }

    fn take_typed(&mut self) {
        let mut piece = [0; PIECE];
        if let Ok(count @ 1..) = retry_on_intr(|| read(&self.keyboard, &mut piece)) {
            self.typed.extend_from_slice(piece.get(..count).unwrap_or_default());
        } else {
            self.is_open = false;
            self.typed.push(self.before.special_codes[SpecialCodeIndex::VEOF]);
        }
    }
}

impl Drop for TerminalRelay {
    fn drop(&mut self) {
        self.show();
        write_all(&self.screen, &self.escaper.rest());
        // A terminal that was asked something answers as if somebody had typed it: that is for nobody outside.
        if self.has_asked {
            std::thread::sleep(ANSWER_TIME);
        }
        self.give_back(OptionalActions::Flush);
    }
}

/// Returns the settings with which a terminal only passes on.
fn passing(usage: TerminalUse, before: &Termios) -> Termios {
    let mut modes = before.clone();
    match usage {
        TerminalUse::Shell => modes.make_raw(),
        TerminalUse::Questions => {
            // The key that interrupts keeps its meaning, and ends of lines are written as before: what the caller itself
            // prints meanwhile goes to the same terminal.
            modes
                .local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL | LocalModes::IEXTEN);
            modes.input_modes.remove(InputModes::IXON | InputModes::IXOFF);
            // Others would end or stop the caller, and leave the terminal like this.
            for key in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
                modes.special_codes[key] = 0;
            }
        }
    }
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

/// Returns the descriptor by which the terminal can be written to: its own, unless it was opened for reading.
fn screen_of(keyboard: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (output, errors) = (io::stdout(), io::stderr());
    let others = [output.as_fd(), errors.as_fd()].into_iter().filter(IsTerminal::is_terminal);
    let found = std::iter::once(keyboard).chain(others).find(|stream| write(stream, b"").is_ok());
    found.unwrap_or(keyboard).try_clone_to_owned()
}

/// Lets nobody but the caller open a new terminal, not even the group that writes messages to terminals.
#[allow(clippy::disallowed_methods)] // a terminal, and no file of a disk
fn close_to_others(terminal: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fchmod(terminal, rustix::fs::Mode::from_raw_mode(0o600))?)
}

fn is_ready(keyboard: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(keyboard.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Writes all of a text; on a terminal that is gone it is lost.
fn write_all(screen: &OwnedFd, mut text: &[u8]) {
    while !text.is_empty() {
        match retry_on_intr(|| write(screen, text)) {
            Ok(count @ 1..) => text = text.get(count..).unwrap_or_default(),
            Ok(_) | Err(_) => return,
        }
    }
}
