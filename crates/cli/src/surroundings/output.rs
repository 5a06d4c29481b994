//! The two streams of a command: its report on standard output, its diagnostics on standard error.
//!
//! Names and texts of packages and roots, and what scripts and builds print, come from strangers, and arguments may have
//! passwords, which no message shows. Hidden characters in
//! printed text are escaped here, for every command: control characters always, the other ones unless a program reads the
//! output of a classic command. Nothing here panics without a reader. A broken pipe is an error like any other, and the
//! program ends quietly on it, unless it has changed something and its exit code has to tell of that. Then a failed write, for any
//! reason, does not change the code. Standard output is flushed before a diagnostic, so that both are in order on a
//! terminal.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Stderr, Stdout, Write};
use std::sync::OnceLock;

use super::manner::{Manner, Shade};
use super::secrets::Secrets;
use super::zone::Zone;
use patchadm_core::operation::scripts::OutputStream;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::{EscapedSet, PieceEscaper, escaped, shortened};

/// Tells whether a name before diagnostics is that of a program whose verbs speak, and not that of a classic command.
pub fn is_of_verbs(program: &str) -> bool {
    program == "patchadm" || program.starts_with("patchadm-")
}

/// The two streams of a command.
#[derive(Debug)]
pub struct Output {
    program: String,
    stdout: BufWriter<Stdout>,
    stderr: Stderr,
    /// What is escaped on each of them.
    escaped: [EscapedSet; 2],
    /// The two streams of scripts.
    pieces: [PieceEscaper; 2],
    is_heedless: bool,
    manner: Manner,
    /// Why a part of the report was not written, if this has not been reported yet.
    lost: Option<io::Error>,
    /// What is never printed.
    secrets: Secrets,
    /// The root that the command is about.
    root: OnceLock<Wording>,
    zone: Zone,
}

impl Output {
    /// The streams of the command that diagnostics call `program`.
    pub fn new(program: &str) -> Self {
        let stdout = BufWriter::with_capacity(1 << 16, io::stdout());
        let escaped = [io::stdout().is_terminal(), io::stderr().is_terminal()].map(|is_terminal| {
            if is_terminal || is_of_verbs(program) { EscapedSet::Hidden } else { EscapedSet::Controls }
        });
        let is_for_people = escaped.contains(&EscapedSet::Hidden);
        let of_scripts = if is_for_people { EscapedSet::Hidden } else { EscapedSet::Controls };
        Self {
            program: program.to_owned(),
            stdout,
            stderr: io::stderr(),
            escaped,
            pieces: [(); 2].map(|()| PieceEscaper::new(of_scripts)),
            is_heedless: false,
            manner: Manner::default(),
            lost: None,
            secrets: Secrets::of_arguments(),
            root: OnceLock::new(),
            zone: Zone::Utc,
        }
    }

    /// Returns a text without the passwords and queries of the arguments.
    pub fn without_secrets(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.secrets.hidden(text.as_bytes())).into_owned()
    }

    /// From now on moments are shown in this time zone.
    pub fn show_times_in(&mut self, zone: Zone) {
        self.zone = zone;
    }

    /// Returns the time zone in which moments are shown.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Notes the root that the command is about: diagnostics name it in each command that they tell the user to type.
    pub fn is_about(&self, root: &Root) {
        // The first root of a command is the one that its options name.
        let _ = self.root.set(Wording::of_verbs(root.prefix()));
    }

    /// Returns what is escaped on standard output and standard error.
    pub fn escaped(&self) -> [EscapedSet; 2] {
        self.escaped
    }

    /// From now on the command speaks in this manner. One that is quiet says nothing but errors, and prints documents.
    pub fn speak(&mut self, manner: Manner) {
        self.manner = manner;
    }

    /// Tells whether nothing but errors is wanted.
    pub fn is_quiet(&self) -> bool {
        self.manner.is_quiet
    }

    /// Tells whether a line for each path is wanted.
    pub fn is_verbose(&self) -> bool {
        self.manner.is_verbose
    }

    /// Writes to standard output as [`print`](Self::print) does, in the colour that says this; `None` is plain.
    pub fn shaded(&mut self, shade: Option<Shade>, text: impl AsRef<[u8]>) -> io::Result<()> {
        match shade.filter(|_| self.manner.colours_report && !text.as_ref().is_empty()) {
            None => self.print(text),
            Some(shade) => {
                self.raw(shade.begin())?;
                self.print(text)?;
                self.raw(Shade::END)
            }
        }
    }

    /// Writes a document to standard output, however quiet the command is.
    pub fn document(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let text = self.for_report(text.as_ref());
        let written = self.stdout.write_all(&text);
        self.heed(written)
    }

    fn for_report<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let [set, _] = self.escaped;
        self.shown(text, set)
    }

    fn for_diagnostics<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let [_, set] = self.escaped;
        match shortened(text) {
            Cow::Borrowed(text) => self.shown(text, set),
            Cow::Owned(text) => Cow::Owned(self.shown(&text, set).into_owned()),
        }
    }

    /// Returns a text without passwords of the arguments and with these characters escaped. Nearly every text stays as it is.
    fn shown<'t>(&self, text: &'t [u8], set: EscapedSet) -> Cow<'t, [u8]> {
        match self.secrets.hidden(text) {
            Cow::Borrowed(text) => escaped(text, set),
            Cow::Owned(text) => Cow::Owned(escaped(&text, set).into_owned()),
        }
    }

    /// From now on it does not matter whether the report can be written: what a command changed stays changed, and its
    /// exit code is to say so.
    pub fn heedless(&mut self) {
        self.is_heedless = true;
    }

    fn heed(&mut self, written: io::Result<()>) -> io::Result<()> {
        match written {
            Err(error) if self.is_heedless => {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    self.lost.get_or_insert(error);
                }
                Ok(())
            }
            written => written,
        }
    }

    /// Returns why a part of the report could not be written, where the command had to go on all the same; told once.
    pub fn take_loss(&mut self) -> Option<io::Error> {
        self.lost.take()
    }

    /// Writes to standard output; hidden characters are escaped.
    pub fn print(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let text = self.for_report(text.as_ref());
        self.raw(text)
    }

    /// Writes to standard output what a script or a build has printed, which may end within a character; hidden characters are
    /// escaped.
    pub fn print_piece(&mut self, stream: OutputStream, piece: &[u8]) -> io::Result<()> {
        let text = self.escaper_of(stream).next(piece);
        self.raw(text)
    }

    /// Writes to standard error in the same way.
    pub fn complain_piece(&mut self, stream: OutputStream, piece: &[u8]) -> io::Result<()> {
        let text = self.escaper_of(stream).next(piece);
        self.raw_to_error(text)
    }

    /// Returns what escapes a stream of scripts. Both may go to the same place, and each ends within a character of its own.
    fn escaper_of(&mut self, stream: OutputStream) -> &mut PieceEscaper {
        let [out, err] = &mut self.pieces;
        match stream {
            OutputStream::Out => out,
            OutputStream::Err => err,
        }
    }

    /// Writes to standard output byte for byte: our own control sequences, and what a script will read.
    pub fn raw(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        if self.manner.is_quiet {
            return Ok(());
        }
        let written = self.stdout.write_all(text.as_ref());
        self.heed(written)
    }

    /// Writes a line to standard output.
    pub fn line(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.print(text)?;
        self.print(b"\n")
    }

    /// Writes text to standard error without a beginning of our own; hidden characters are escaped.
    pub fn complain(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        if self.manner.is_quiet {
            return Ok(());
        }
        let text = String::from_utf8_lossy(text.as_ref());
        let text = self.completed(&text);
        let text = self.for_diagnostics(text.as_bytes());
        self.raw_to_error(text)
    }

    fn completed<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.root.get().map_or(Cow::Borrowed(text), |wording| wording.completed(text))
    }

    /// Writes to standard error byte for byte.
    fn raw_to_error(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let flushed = self.flush();
        // If standard error cannot be written to, there is no one to tell.
        let _ = self.stderr.write_all(text.as_ref());
        flushed
    }

    /// Returns the name before diagnostics.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Writes `PROGRAM: error: TEXT` to standard error. Further lines of the text are indented by four blanks, except
    /// for hints, which begin with [`HINT`]. Classic commands write `ERROR`, and hints like all other lines.
    pub fn error(&mut self, text: &str) -> io::Result<()> {
        let word = if self.is_classic() { "ERROR" } else { "error" };
        let word = if self.manner.colours_errors {
            format!("{}{word}{}", Shade::Bad.begin(), Shade::END)
        } else {
            word.to_owned()
        };
        self.diagnostic(&word, text)
    }

    fn is_classic(&self) -> bool {
        !is_of_verbs(&self.program)
    }

    /// Writes the synopsis that belongs to an error to standard error.
    pub fn usage(&mut self, text: &str) -> io::Result<()> {
        let text = self.for_diagnostics(text.as_bytes());
        self.raw_to_error(text)
    }

    /// Writes `PROGRAM: warning: TEXT` in the same way.
    pub fn warning(&mut self, text: &str) -> io::Result<()> {
        if self.manner.is_quiet {
            return Ok(());
        }
        self.diagnostic(if self.is_classic() { "WARNING" } else { "warning" }, text)
    }

    /// Writes `note: TEXT` to standard error; classic commands write `NOTE: TEXT`.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        let word = if self.is_classic() { "NOTE" } else { "note" };
        self.complain(format!("{word}: {text}\n"))
    }

    fn diagnostic(&mut self, gravity: &str, text: &str) -> io::Result<()> {
        let text = without_numbers(&self.completed(text));
        let text = laid_out(text.trim_end(), self.is_classic());
        let text = self.for_diagnostics(text.as_bytes());
        let beginning = format!("{}: {gravity}: ", self.program);
        self.raw_to_error([beginning.as_bytes(), &text, b"\n"].concat())
    }

    /// Writes what is left of the output of scripts.
    pub fn end_pieces(&mut self) -> io::Result<()> {
        let rest = self.pieces.each_mut().map(PieceEscaper::rest).concat();
        self.raw(rest)
    }

    /// Hands everything over to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stdout.flush();
        self.heed(flushed)
    }
}

/// The beginning of a line that says what to type next.
pub const HINT: &str = "hint: ";

/// Returns the text of a diagnostic with its further lines indented. Hints stand at the margin; those of a classic command
/// are lines like others.
fn laid_out(text: &str, is_classic: bool) -> String {
    let mut lines = text.split('\n');
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        match line.strip_prefix(HINT) {
            Some(hint) if is_classic => out.extend(["\n    ", hint]),
            Some(_) => out.extend(["\n", line]),
            None => out.extend(["\n    ", line]),
        }
    }
    out
}

/// Returns a text without the numbers that the system has for its errors: the words before them are enough.
pub fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(" (os error ") {
        plain.push_str(before);
        rest = behind.trim_start_matches(|letter: char| letter.is_ascii_digit());
        rest = rest.strip_prefix(')').unwrap_or(rest);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::{laid_out, without_numbers};

    #[test]
    fn a_hint_stands_at_the_margin_and_other_lines_are_indented() {
        let text = "patch 1-01 was not applied: no\nnothing was changed\nhint: patchadm list";
        assert_eq!(
            laid_out(text, false),
            "patch 1-01 was not applied: no\n    nothing was changed\nhint: patchadm list"
        );
        assert_eq!(laid_out("no\nhint: pkginfo", true), "no\n    pkginfo");
    }

    #[test]
    fn the_numbers_of_errors_are_left_out_and_nothing_else() {
        let plain = without_numbers("/a: No such file or directory (os error 2): /b: I/O error (os error 5)");
        assert_eq!(plain, "/a: No such file or directory: /b: I/O error");
        assert_eq!(without_numbers("nothing (of that)"), "nothing (of that)");
    }
}
