//! Somebody at a terminal: the program run by script(1), which gives it one, with answers typed in advance.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::scenario::Scenario;

/// Runs the program at a terminal where somebody types `answers`; its exit code and everything it says. None where
/// script(1) is not installed.
#[allow(clippy::print_stdout)] // a test that is skipped says so
pub(crate) fn at_terminal(test: &str, stage: &Scenario, line: &str, answers: &str) -> Option<(i32, String)> {
    let command = stage.command(line);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut typed = Command::new("script");
    typed.args(["-q", "-e", "-c", &words.join(" "), "/dev/null"]).current_dir(stage.beside("")).env_clear();
    for (name, value) in command.get_envs() {
        typed.env(name, value.unwrap_or_default());
    }
    let spawned = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut running) = spawned else {
        crate::skipped(&format!("{test}: script(1) is not installed"));
        return None;
    };
    running.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    Some((output.status.code().unwrap(), text))
}
