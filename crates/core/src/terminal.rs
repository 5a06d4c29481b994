//! A pseudo-terminal between a command and the caller's terminal. On a shared terminal, a command could type for others
//! (TIOCSTI), read input and draw anything, so one with fewer rights gets its own terminal and session. The owner of a
//! [`TerminalRelay`] polls its descriptors and calls [`TerminalRelay::pass_on`]. Without a terminal as input, output
//! reaches the caller's terminal through a [`TerminalOutput`].

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

/// Call [`TerminalRelay::pass_on`] this often even without input: the terminal's size may have changed.
pub(crate) const RELAY_TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Bytes passed on at a time.
const PIECE: usize = 4096;

/// Pieces passed on before anything else gets its turn.
const MOST_PIECES: usize = 16;

/// Bytes that a pipe of an ordinary user can hold, by default.
const LARGEST_PIPE: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TerminalUse {
    /// The command asks questions: its output is escaped text, and the interrupt key is for the caller.
    Questions,
    /// A shell: gets every key and draws freely.
    Shell,
}

/// Relays between two terminals. On drop, restores the caller's.
#[derive(Debug)]
pub(crate) struct TerminalRelay {
    usage: TerminalUse,
    keyboard: OwnedFd,
    screen: OwnedFd,
    /// Settings of the caller's terminal before and during the relay.
    before: Termios,
    passing: Termios,
    size: Winsize,
    /// `None` once the command has hung up.
    relay_side: Option<OwnedFd>,
    command_side: OwnedFd,
    escaper: PieceEscaper,
    /// Typed, but not accepted yet.
    typed: Vec<u8>,
    is_open: bool,
    /// Output may have asked the terminal for an answer.
    has_asked: bool,
}

/// Bytes that begin questions to a terminal, alone or as the last byte of a character: ENQ, ESC, and the C1 controls
/// DCS, DECID, CSI, OSC and APC. Letters with such a byte only delay the end.
const ASKING: [u8; 7] = [0x05, 0x1b, 0x90, 0x9a, 0x9b, 0x9d, 0x9f];

fn may_ask(output: &[u8]) -> bool {
    output.iter().any(|byte| ASKING.contains(byte))
}

/// Time for the terminal's answer after the command that asked has ended.
const ANSWER_TIME: Duration = Duration::from_millis(200);

impl TerminalRelay {
    /// Starts a relay between the terminal on standard input and a new one; `None` if standard input is no terminal.
    /// Only the caller may open the new one by name: other processes of the command's user could read what is typed.
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

    pub(crate) fn command_side(&self) -> BorrowedFd<'_> {
        self.command_side.as_fd()
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let keyboard = (self.is_open && self.typed.is_empty()).then_some(&self.keyboard);
        self.relay_side.iter().chain(keyboard).map(AsFd::as_fd)
    }

    /// Passes on input, output and the terminal's size, without blocking.
    pub(crate) fn pass_on(&mut self) {
        self.follow_size();
        self.show();
        self.type_in();
    }

    /// Restores the caller's terminal while the command is stopped.
    pub(crate) fn suspend(&self) {
        self.give_back(OptionalActions::Now);
    }

    fn give_back(&self, when: OptionalActions) {
        // The terminal may be gone.
        let _ = tcsetattr(&self.keyboard, when, &self.before);
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.keyboard, OptionalActions::Now, &self.passing)?)
    }

    fn follow_size(&mut self) {
        if let (Ok(size), Some(relay_side)) = (tcgetwinsize(&self.keyboard), &self.relay_side)
            && size != self.size
        {
            self.size = size;
            // The command may have hung up.
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
                self.has_asked |= may_ask(piece);
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
        // The terminal's answer arrives as typed input, which no program outside expects.
        if self.has_asked {
            std::thread::sleep(ANSWER_TIME);
        }
        self.give_back(OptionalActions::Flush);
    }
}

/// A pipe for the output of a command, which the caller's terminal gets as escaped text.
#[derive(Debug)]
pub(crate) struct TerminalOutput {
    screen: OwnedFd,
    /// `None` after its end.
    pipe: Option<OwnedFd>,
    escaper: PieceEscaper,
}

impl TerminalOutput {
    /// Also returns the end of the command.
    pub(crate) fn begin(screen: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd)> {
        let (pipe, of_command) = io::pipe()?;
        rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        let (screen, escaper) = (screen.try_clone_to_owned()?, PieceEscaper::new(EscapedSet::Hidden));
        Ok((Self { screen, pipe: Some(pipe.into()), escaper }, of_command.into()))
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Passes on output without waiting for it.
    pub(crate) fn pass_on(&mut self) {
        self.show(MOST_PIECES);
    }

    fn show(&mut self, most_pieces: usize) {
        let mut piece = [0; PIECE];
        for _ in 0..most_pieces {
            let Some(pipe) = &self.pipe else { return };
            match retry_on_intr(|| read(pipe, &mut piece)) {
                Ok(count @ 1..) => {
                    let text = self.escaper.next(piece.get(..count).unwrap_or_default());
                    write_all(&self.screen, &text);
                }
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
    }
}

impl Drop for TerminalOutput {
    fn drop(&mut self) {
        self.show(LARGEST_PIPE / PIECE);
        write_all(&self.screen, &self.escaper.rest());
    }
}

/// Returns settings for a terminal that only relays.
fn passing(usage: TerminalUse, before: &Termios) -> Termios {
    let mut modes = before.clone();
    match usage {
        TerminalUse::Shell => modes.make_raw(),
        TerminalUse::Questions => {
            // The interrupt key keeps its meaning, and line ends are written as before: the caller prints to the same
            // terminal.
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

/// Returns a writable descriptor of the terminal: its own, unless opened for reading.
fn screen_of(keyboard: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (output, errors) = (io::stdout(), io::stderr());
    let others = [output.as_fd(), errors.as_fd()].into_iter().filter(IsTerminal::is_terminal);
    let found = std::iter::once(keyboard).chain(others).find(|stream| write(stream, b"").is_ok());
    found.unwrap_or(keyboard).try_clone_to_owned()
}

/// Denies others access to a new terminal, including the group that writes messages to terminals.
#[allow(clippy::disallowed_methods)] // a terminal, and no file of a disk
fn close_to_others(terminal: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fchmod(terminal, rustix::fs::Mode::from_raw_mode(0o600))?)
}

fn is_ready(keyboard: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(keyboard.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Ignores errors of a terminal that is gone.
fn write_all(screen: &OwnedFd, mut text: &[u8]) {
    while !text.is_empty() {
        match retry_on_intr(|| write(screen, text)) {
            Ok(count @ 1..) => text = text.get(count..).unwrap_or_default(),
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_that_a_terminal_answers_counts_as_a_question_raw_or_in_utf_8() {
        for control in ["\u{5}", "\u{1b}", "\u{90}", "\u{9a}", "\u{9b}", "\u{9d}", "\u{9f}"] {
            assert!(may_ask(format!("text{control}c").as_bytes()), "{control:?}");
        }
        for raw in [0x90, 0x9a, 0x9b, 0x9d, 0x9f] {
            assert!(may_ask(&[b'$', raw]), "{raw:x}");
        }
        assert!(!may_ask("plain text\r\n\t\u{7}".as_bytes()));
    }
}
