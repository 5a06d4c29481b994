//! Questions at a terminal: printed on standard error, answered on standard input.
//!
//! Only asked where standard input is a terminal; who asks sees to that.

use std::io::{self, BufRead as _};

use rustix::event::{PollFd, PollFlags, poll};

use super::output::Output;

/// Tells what speaks against it, sentences without full stop, and asks whether to do it nevertheless.
pub(super) fn agreed(output: &mut Output, against: &[String], question: &str, help: &str) -> bool {
    for sentence in against {
        // Who cannot be told is not asked below either.
        drop(output.complain(format!("\n{sentence}.\n")));
    }
    yes(output, question, help)
}

/// Asks on standard error and reads the answer from standard input; the end of the input is no.
fn yes(output: &mut Output, question: &str, help: &str) -> bool {
    loop {
        // Where standard error cannot be written to, nobody can be asked.
        if output.complain(question).is_err() {
            return false;
        }
        let Some(line) = line() else { return false };
        match line.trim() {
            "y" | "Y" | "yes" => return true,
            "n" | "N" | "no" | "q" => return false,
            _ => drop(output.complain(format!("\n{help}\n\n"))),
        }
    }
}

/// Asks for words, which the empty answer leaves at `default`; none at the end of the input.
pub(super) fn words(output: &mut Output, question: &str, default: &str) -> Option<Vec<String>> {
    output.complain(question).ok()?;
    let line = line()?;
    let words = line.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()).map(str::to_owned);
    let words: Vec<String> = words.collect();
    Some(if words.is_empty() { vec![default.to_owned()] } else { words })
}

/// A line that somebody types; none at the end of the input, and when a signal asks for the end of the command.
fn line() -> Option<String> {
    let mut input = io::stdin().lock();
    // A read goes on after a signal, poll(2) does not. A terminal gives one line at a time, so none is buffered.
    poll(&mut [PollFd::new(&io::stdin(), PollFlags::IN)], None).ok()?;
    let mut line = String::new();
    (input.read_line(&mut line).ok()? > 0).then_some(line)
}
