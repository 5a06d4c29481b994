//! Somebody at a terminal: the program run by script(1), which gives it one, with answers typed in advance.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::packages::Package;
use crate::scenario::Scenario;
use crate::workshop::{eventually, runs};

/// Runs the program at a terminal where somebody types `answers`; its exit code and everything it says. None where
/// script(1) is not installed.
#[allow(clippy::print_stdout)] // a test that is skipped says so
pub(crate) fn at_terminal(test: &str, stage: &Scenario, line: &str, answers: &str) -> Option<(i32, String)> {
    let mut typed = terminal(stage, line);
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

/// The program with a terminal of its own.
fn terminal(stage: &Scenario, line: &str) -> Command {
    let command = stage.command(line);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut typed = Command::new("script");
    typed
        .args(["-q", "-e", "-c", &format!("exec {}", words.join(" ")), "/dev/null"])
        .current_dir(stage.beside(""))
        .env_clear();
    for (name, value) in command.get_envs() {
        typed.env(name, value.unwrap_or_default());
    }
    typed
}

/// The exit code where somebody waits for a question and then types the character that interrupts.
fn interrupted_at_a_question(stage: &Scenario, line: &str, question: &str) -> Option<i32> {
    let spawned = terminal(stage, line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut running) = spawned else {
        crate::skipped("a question that is interrupted: script(1) is not installed");
        return None;
    };
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&said).contains(question) {
        assert_eq!(running.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "{said:?}");
        said.push(byte[0]);
    }
    let mut keys = running.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    let pid = running.id().to_string();
    eventually("the program ends", || !runs(&pid));
    drop(keys);
    running.wait().unwrap().code()
}

#[test]
fn a_question_can_be_interrupted() {
    let stage = Scenario::with(&[Package::new("ACMEa").file("a", 0o644, "a\n")]);
    let before = stage.everything();
    for line in ["pkgrm -R @ROOT@ ACMEa", "pkgrm -v -R @ROOT@ ACMEa"] {
        let Some(code) = interrupted_at_a_question(&stage, line, "[y,n,?,q]") else { return };
        assert_eq!(code, 3, "{line}");
        crate::tree::assert_same(&stage.everything(), &before);
    }
}

#[test]
fn a_pipe_from_which_nothing_comes_can_be_interrupted() {
    let stage = Scenario::new();
    for (line, code) in [
        ("pkgadd -n -R @ROOT@ -d /dev/stdin all", 1),
        ("patchadd -R @ROOT@ /dev/stdin", 33),
        ("pkgchk -d /dev/stdin all", 130),
    ] {
        let mut command = stage.command(line);
        let mut running =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = running.id().to_string();
        eventually("it waits for its input", || {
            std::fs::read_to_string(format!("/proc/{pid}/wchan"))
                .is_ok_and(|at| at.contains("pipe") || at.contains("poll"))
        });
        let id = rustix::process::Pid::from_child(&running);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        eventually(line, || !runs(&pid));
        let ended = running.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended).map(|signal| 128 + signal);
        assert_eq!(ended.code().or(signal), Some(code), "{line}");
    }
}
