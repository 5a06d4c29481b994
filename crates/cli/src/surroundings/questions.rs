//! Questions at a terminal: printed on standard error, answered on standard input.
//!
//! They are only asked if standard input is a terminal; the caller checks that.

use std::io::{self, BufRead as _};

use crate::surroundings::output::Output;
use patchadm_inputs::input_file::HeldSignals;

/// Prints the objections, sentences without full stop, and asks whether to go on nevertheless.
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

/// Asks for a secret, which the terminal does not show; none at the end of the input, and where the terminal cannot be
/// kept from showing it.
#[cfg(feature = "sign")]
pub fn secret(output: &mut Output, question: &str) -> Option<Vec<u8>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let terminal = io::stdin();
    let before = tcgetattr(&terminal).ok()?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).ok()?;
    let line = answer(output, question);
    // Restored for any answer: the next typed text must be visible.
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let _ = output.complain("\n");
    line.map(|line| line.trim_end_matches(['\n', '\r']).as_bytes().to_vec())
}

/// Returns the line that the user types after a question. Returns none at the end of the input, when a signal asks for
/// the end of the command, and if standard error cannot be written to, so that no one can be asked.
fn answer(output: &mut Output, question: &str) -> Option<String> {
    // Held before the question can be read: who interrupts as soon as it is there is heard as well.
    let signals = HeldSignals::hold().ok()?;
    output.complain(question).ok()?;
    let mut input = io::stdin().lock();
    // A terminal gives one line at a time, so none is buffered.
    signals.wait_for(&input).ok()?;
    let mut line = String::new();
    (input.read_line(&mut line).ok()? > 0).then_some(line)
}
