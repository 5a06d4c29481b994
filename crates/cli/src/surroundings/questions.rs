//! Questions at a terminal; the caller checks that standard input is one. Classic commands ask on standard error, verbs
//! on standard output after the plan.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use crate::surroundings::caller::with_signals;
use crate::surroundings::output::Output;
use patchadm_inputs::input_file::HeldSignals;

/// The question of a verb before it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Confirmation<'a> {
    /// Without the possible answers.
    pub question: &'a str,
    /// True if an empty line is a yes.
    pub is_yes_by_default: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationAnswer {
    Yes,
    /// Also the end of the input.
    No,
    /// This signal came first.
    Interrupted(i32),
}

/// Between the process of a root's owner and the superuser's: an empty line is a yes, or the answer is. Any other byte
/// of an answer is the number of a signal.
const YES: u8 = b'y';
const NO: u8 = b'n';

impl Confirmation<'_> {
    /// Asks even if the command is quiet, until a line is an answer.
    pub fn ask(self, output: &mut Output) -> anyhow::Result<ConfirmationAnswer> {
        self.ask_with(&mut |text| {
            output.document(text)?;
            output.flush()
        })
    }

    /// Asks through the superuser's process at the other end of standard input.
    pub fn ask_superuser(self, output: &mut Output) -> anyhow::Result<ConfirmationAnswer> {
        output.flush()?;
        let mut superuser = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        superuser.write_all(&[if self.is_yes_by_default { YES } else { NO }])?;
        let mut answer = [NO];
        Ok(match superuser.read_exact(&mut answer).map(|()| answer) {
            Ok([YES]) => ConfirmationAnswer::Yes,
            // Nobody answers.
            Ok([NO]) | Err(_) => ConfirmationAnswer::No,
            Ok([signal]) => ConfirmationAnswer::Interrupted(signal.into()),
        })
    }

    /// Answers the question of the process of a root's owner, once. The process itself never reads what is typed.
    pub fn pass_on(mut owner: UnixStream) -> anyhow::Result<()> {
        let mut default = [NO];
        owner.read_exact(&mut default)?;
        let confirmation = Confirmation { question: "Proceed?", is_yes_by_default: default == [YES] };
        let mut output = io::stdout();
        let answer = confirmation.ask_with(&mut |text| {
            output.write_all(text.as_bytes())?;
            output.flush()
        })?;
        let answer = match answer {
            ConfirmationAnswer::Yes => YES,
            ConfirmationAnswer::No => NO,
            ConfirmationAnswer::Interrupted(signal) => u8::try_from(signal).unwrap_or(NO),
        };
        Ok(owner.write_all(&[answer])?)
    }

    fn ask_with(self, write: &mut dyn FnMut(&str) -> io::Result<()>) -> anyhow::Result<ConfirmationAnswer> {
        with_signals(|interrupt| -> anyhow::Result<ConfirmationAnswer> {
            // Held before the question appears: an early interrupt is heard as well.
            let signals = HeldSignals::hold()?;
            if let Some(signal) = interrupt() {
                return Ok(ConfirmationAnswer::Interrupted(signal));
            }
            let mut read = || {
                let mut input = io::stdin().lock();
                let mut line = String::new();
                if interrupt().is_some() || signals.wait_for(&input).is_err() {
                    return None;
                }
                (input.read_line(&mut line).ok()? > 0).then_some(line)
            };
            let is_yes = self.answer(write, &mut read);
            drop(signals);
            match interrupt() {
                Some(signal) => Ok(ConfirmationAnswer::Interrupted(signal)),
                None => Ok(if is_yes? { ConfirmationAnswer::Yes } else { ConfirmationAnswer::No }),
            }
        })?
    }

    /// Writes the question until the line that is read is an answer. No line is a no.
    fn answer(
        self,
        write: &mut dyn FnMut(&str) -> io::Result<()>,
        read: &mut dyn FnMut() -> Option<String>,
    ) -> io::Result<bool> {
        let choice = if self.is_yes_by_default { "[Y/n]" } else { "[y/N]" };
        loop {
            write(&format!("{} {choice} ", self.question))?;
            let Some(line) = read() else {
                // Later output begins on a line of its own.
                write("\n")?;
                return Ok(false);
            };
            match line.trim().to_ascii_lowercase().as_str() {
                "" => return Ok(self.is_yes_by_default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => write("Type y or n.\n")?,
            }
        }
    }
}

/// `against` are sentences without full stop.
pub fn agreed(output: &mut Output, against: &[String], question: &str, help: &str) -> bool {
    for sentence in against {
        // If this cannot be written, the question below is not asked either.
        drop(output.complain(format!("\n{sentence}.\n")));
    }
    yes(output, question, help)
}

/// Asks on standard error and reads the answer from standard input; the end of the input is no.
fn yes(output: &mut Output, question: &str, help: &str) -> bool {
    loop {
        let Some(line) = answer(output, question) else { return false };
        match line.trim() {
            "y" | "Y" | "yes" => return true,
            "n" | "N" | "no" | "q" => return false,
            _ => drop(output.complain(format!("\n{help}\n\n"))),
        }
    }
}

/// Asks for words, which the empty answer leaves at `default`; none at the end of the input.
pub fn words(output: &mut Output, question: &str, default: &str) -> Option<Vec<String>> {
    let line = answer(output, question)?;
    let words = line.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()).map(str::to_owned);
    let words: Vec<String> = words.collect();
    Some(if words.is_empty() { vec![default.to_owned()] } else { words })
}

/// The terminal does not show the typed text. `None` at the end of the input, or if the terminal cannot be silenced.
#[cfg(feature = "sign")]
pub fn secret(output: &mut Output, question: &str) -> Option<Vec<u8>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let terminal = io::stdin();
    let before = tcgetattr(&terminal).ok()?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).ok()?;
    let line = answer(output, question);
    // Restored after any answer: later text must be visible.
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let _ = output.complain("\n");
    line.map(|line| line.trim_end_matches(['\n', '\r']).as_bytes().to_vec())
}

/// Returns a typed line. `None` at the end of the input, after a signal, or if standard error cannot be written to.
fn answer(output: &mut Output, question: &str) -> Option<String> {
    // Held before the question appears: an early interrupt is heard as well.
    let signals = HeldSignals::hold().ok()?;
    output.complain(question).ok()?;
    let mut input = io::stdin().lock();
    // A terminal gives one line at a time, so none is buffered.
    signals.wait_for(&input).ok()?;
    let mut line = String::new();
    (input.read_line(&mut line).ok()? > 0).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the printed text, and the answer to these lines.
    fn asked(is_yes_by_default: bool, lines: &[&str]) -> (String, bool) {
        let (mut written, mut lines) = (String::new(), lines.iter());
        let confirmation = Confirmation { question: "Proceed?", is_yes_by_default };
        let mut write = |text: &str| -> io::Result<()> {
            written.push_str(text);
            Ok(())
        };
        let answer = confirmation.answer(&mut write, &mut || lines.next().map(|line| (*line).to_owned()));
        let answer = answer.unwrap();
        (written, answer)
    }

    #[test]
    fn an_empty_line_is_the_answer_in_capitals_and_the_end_of_the_input_is_a_no() {
        let question = "Proceed? [Y/n] ";
        assert_eq!(asked(true, &["\n"]), (question.to_owned(), true));
        assert_eq!(asked(false, &["\n"]), ("Proceed? [y/N] ".to_owned(), false));
        assert_eq!(asked(true, &[]), (format!("{question}\n"), false));
    }

    #[test]
    fn what_is_no_answer_is_asked_again() {
        let again = "Proceed? [Y/n] Type y or n.\nProceed? [Y/n] ";
        assert_eq!(asked(true, &["later\n", "NO\n"]), (again.to_owned(), false));
        assert_eq!(asked(true, &["\tYes \n"]), ("Proceed? [Y/n] ".to_owned(), true));
    }
}
