//! Report on standard output, diagnostics on standard error. Printed text comes from strangers: hidden characters are
//! escaped and passwords in arguments removed here. A broken pipe ends the program quietly, unless it has changed
//! something: then no failed write changes its exit code.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Stderr, Stdout, Write};
use std::sync::OnceLock;

use super::manner::{Manner, Shade};
use super::recovery::RecoveryNews;
use super::secrets::Secrets;
use super::zone::Zone;
use patchadm_core::operation::scripts::OutputStream;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::{EscapedSet, PieceEscaper, escaped, shortened};

/// Returns false for the name of a classic command.
pub fn is_of_verbs(program: &str) -> bool {
    program == "patchadm" || program.starts_with("patchadm-")
}

#[derive(Debug)]
pub struct Output {
    program: String,
    stdout: BufWriter<Stdout>,
    stderr: Stderr,
    /// For each stream.
    escaped: [EscapedSet; 2],
    /// For the two streams of scripts.
    pieces: [PieceEscaper; 2],
    is_heedless: bool,
    manner: Manner,
    /// Why a part of the report was not written, until this is reported.
    lost: Option<io::Error>,
    /// Never printed.
    secrets: Secrets,
    /// The root of the command.
    root: OnceLock<Wording>,
    zone: Zone,
    recovery: RecoveryNews,
}

impl Output {
    /// Diagnostics call the command `program`.
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
            recovery: RecoveryNews::default(),
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

    /// Returns what the command did before its own work.
    pub fn recovery(&self) -> &RecoveryNews {
        &self.recovery
    }

    /// For a second output of the same command.
    #[must_use]
    pub fn telling_of(self, recovery: &RecoveryNews) -> Self {
        Self { recovery: recovery.clone(), ..self }
    }

    /// Prints what no report has told of the recovery.
    pub fn tell_recovery(&mut self) -> io::Result<()> {
        let untold = self.recovery.take_untold();
        untold.iter().try_for_each(|line| self.note(line))
    }

    /// Diagnostics name the root in each command that they tell the user to type.
    pub fn is_about(&self, root: &Root) {
        // The first root of a command is the one in its options.
        let _ = self.root.set(Wording::of_verbs(root.prefix()));
    }

    /// For standard output and standard error.
    pub fn escaped(&self) -> [EscapedSet; 2] {
        self.escaped
    }

    /// A quiet command prints only errors and documents.
    pub fn speak(&mut self, manner: Manner) {
        self.manner = manner;
    }

    pub fn is_quiet(&self) -> bool {
        self.manner.is_quiet
    }

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

    /// Prints even if the command is quiet.
    pub fn document(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.recovery.is_told_by(text.as_ref());
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

    /// Hides passwords of arguments and escapes `set`. Nearly every text stays as it is.
    fn shown<'t>(&self, text: &'t [u8], set: EscapedSet) -> Cow<'t, [u8]> {
        match self.secrets.hidden(text) {
            Cow::Borrowed(text) => escaped(text, set),
            Cow::Owned(text) => Cow::Owned(escaped(&text, set).into_owned()),
        }
    }

    /// From now on failed writes do not matter: changes stay made, and the exit code has to say so.
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

    /// Returns, once, why a part of the report was lost although the command went on.
    pub fn take_loss(&mut self) -> Option<io::Error> {
        self.lost.take()
    }

    /// Escapes hidden characters.
    pub fn print(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.recovery.is_told_by(text.as_ref());
        let text = self.for_report(text.as_ref());
        self.raw(text)
    }

    /// Prints output of a script or build, which may end within a character. Escapes hidden characters.
    pub fn print_piece(&mut self, stream: OutputStream, piece: &[u8]) -> io::Result<()> {
        let text = self.escaper_of(stream).next(piece);
        self.raw(text)
    }

    /// To standard error.
    pub fn complain_piece(&mut self, stream: OutputStream, piece: &[u8]) -> io::Result<()> {
        let text = self.escaper_of(stream).next(piece);
        self.raw_to_error(text)
    }

    /// Both streams may go to the same place, and each may end within a character.
    fn escaper_of(&mut self, stream: OutputStream) -> &mut PieceEscaper {
        let [out, err] = &mut self.pieces;
        match stream {
            OutputStream::Out => out,
            OutputStream::Err => err,
        }
    }

    /// Writes control sequences of our own, and text for scripts, unescaped.
    pub fn raw(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        if self.manner.is_quiet {
            return Ok(());
        }
        let written = self.stdout.write_all(text.as_ref());
        self.heed(written)
    }

    pub fn line(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.print(text)?;
        self.print(b"\n")
    }

    /// Prints to standard error without a prefix, hidden characters escaped.
    pub fn complain(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        if self.manner.is_quiet {
            return Ok(());
        }
        let text = self.recovery.corrected(&String::from_utf8_lossy(text.as_ref()));
        let text = self.completed(&text);
        let text = self.for_diagnostics(text.as_bytes());
        self.raw_to_error(text)
    }

    fn completed<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.root.get().map_or(Cow::Borrowed(text), |wording| wording.completed(text))
    }

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

    /// Prints `PROGRAM: error: TEXT`. Further lines are indented by four blanks, except hints, which begin with
    /// [`HINT`]. Classic commands print `ERROR`, and treat hints like other lines. Lines about a recovery come first.
    pub fn error(&mut self, text: &str) -> io::Result<()> {
        self.tell_recovery()?;
        let text = &self.recovery.corrected(text);
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

    /// Prints the synopsis after an error.
    pub fn usage(&mut self, text: &str) -> io::Result<()> {
        let text = self.for_diagnostics(text.as_bytes());
        self.raw_to_error(text)
    }

    /// Prints `PROGRAM: warning: TEXT`.
    pub fn warning(&mut self, text: &str) -> io::Result<()> {
        if self.manner.is_quiet {
            return Ok(());
        }
        self.diagnostic(if self.is_classic() { "WARNING" } else { "warning" }, text)
    }

    /// Prints `note: TEXT`; classic commands print `NOTE: TEXT`.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        self.recovery.is_told_by(text.as_bytes());
        if self.is_classic() {
            return self.complain(format!("NOTE: {text}\n"));
        }
        self.complain(format!("note: {}\n", self.zone.minutes_in(text)))
    }

    fn diagnostic(&mut self, gravity: &str, text: &str) -> io::Result<()> {
        let text = without_numbers(&self.completed(text));
        let text = if self.is_classic() { text } else { self.zone.minutes_in(&text) };
        let text = laid_out(text.trim_end(), self.is_classic());
        let text = self.for_diagnostics(text.as_bytes());
        let beginning = format!("{}: {gravity}: ", self.program);
        self.raw_to_error([beginning.as_bytes(), &text, b"\n"].concat())
    }

    /// Prints the rest of the output of scripts.
    pub fn end_pieces(&mut self) -> io::Result<()> {
        let rest = self.pieces.each_mut().map(PieceEscaper::rest).concat();
        self.raw(rest)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stdout.flush();
        self.heed(flushed)
    }
}

/// Begins a line with the next step.
pub const HINT: &str = "hint: ";

/// Indents further lines. Hints stay at the margin, except in classic commands.
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

/// Removes the system's error numbers: the words before them are enough.
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
