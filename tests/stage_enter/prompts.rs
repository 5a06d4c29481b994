//! Shells at a terminal: the prompt names the stage, keys reach the command, jobs stop and go on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::StagedRoot;
use crate::workshop::eventually;

/// A shell with a terminal, in a stage or outside.
struct Typing {
    running: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Typing {
    /// Runs a command under script(1), which gives it a terminal. None if script(1) is not installed.
    fn begin(test: &str, command: &Command) -> Option<Self> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut typed = Command::new("script");
        typed.env_clear();
        let mut shell = String::new();
        for (name, value) in command.get_envs() {
            // script(1) runs its command by the shell that this variable names.
            if name == "SHELL" {
                shell = format!("env SHELL={} ", value.unwrap().to_str().unwrap());
            } else {
                typed.env(name, value.unwrap_or_default());
            }
        }
        typed.args(["-q", "-e", "-c", &format!("exec {shell}{}", words.join(" ")), "/dev/null"]);
        let spawned = typed.env("TERM", "dumb").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut running) = spawned else {
            crate::missing("script", test);
            return None;
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let (mut output, heard) = (running.stdout.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                heard.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Some(Self { running, said })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).replace('\r', "")
    }

    /// Types, and waits for this text in the output that follows.
    #[track_caller]
    fn type_and_see(&mut self, keys: &str, expected: &str) {
        let before = self.text().len();
        self.running.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
        let is_said = || self.text().get(before..).is_some_and(|text| text.contains(expected));
        let until = Instant::now() + Duration::from_secs(20);
        while !is_said() {
            assert!(
                Instant::now() < until,
                "<{expected}> behind <{keys:?}>, not after 20 s: {}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn see(&self, expected: &str) {
        eventually(&format!("<{expected}>"), || self.text().contains(expected));
    }

    /// Types the last line. Returns the exit code.
    fn end(mut self, keys: &str) -> Option<i32> {
        self.running.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
        self.running.wait().unwrap().code()
    }
}

impl Drop for Typing {
    /// Ends the terminal and every process in it, even if a test fails.
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

fn shell_in_stage(test: &str, shell: &str) -> Option<(StagedRoot, Command)> {
    let staged = StagedRoot::for_caller(test)?;
    if !std::path::Path::new(shell).exists() {
        crate::missing(shell, test);
        return None;
    }
    fs::create_dir_all(staged.scenario.at("/home")).unwrap();
    let mut entering = staged.action("enter", super::PROGRAMS);
    entering.env("SHELL", shell).env("HOME", "/home");
    Some((staged, entering))
}

#[test]
fn the_prompt_of_bash_names_the_stage_whatever_the_start_file_says() {
    let test = "the_prompt_of_bash…";
    let Some((staged, entering)) = shell_in_stage(test, "/bin/bash") else { return };
    for start in [
        "PS1='mine> '\n",
        "PROMPT_COMMAND='PS1=\"mine> \"'\n",
        "PROMPT_COMMAND=('true' 'PS1=\"mine> \"')\n",
        "PS1='mine> '; PROMPT_COMMAND='true;'\n",
    ] {
        fs::write(staged.scenario.at("/home/.bashrc"), format!("{start}echo started\n")).unwrap();
        let Some(mut typing) = Typing::begin(test, &entering) else { return };
        typing.see("started");
        typing.see("[web] mine> ");
        typing.type_and_see("echo $((1+2)); A=b\n", "3\n[web] mine> ");
        assert!(!typing.text().contains("[web] [web]"), "{}", typing.text());
        assert_eq!(typing.end("exit 3\n"), Some(3), "{start}");
    }
}

#[test]
fn the_prompt_of_sh_names_the_stage_whatever_the_start_file_says() {
    let test = "the_prompt_of_sh…";
    for shell in ["/bin/sh", "/bin/dash"] {
        let Some((staged, mut entering)) = shell_in_stage(test, shell) else { return };
        fs::write(staged.scenario.at("/home/.shrc"), "PS1='mine> '\necho started\n").unwrap();
        for (file, prompt) in [("", "[web] "), ("$HOME/.shrc", "[web] mine> ")] {
            entering.env("ENV", file);
            let Some(mut typing) = Typing::begin(test, &entering) else { return };
            typing.see(prompt);
            typing.type_and_see("echo $((1+2))\n", "3\n[web] ");
            // A shell in the shell has the same prompt, once.
            typing.type_and_see("sh\n", prompt);
            typing.type_and_see("exit 4\n", prompt);
            assert!(!typing.text().contains("[web] [web]"), "{}", typing.text());
            assert_eq!(typing.end("exit 3\n"), Some(3), "{shell}");
        }
    }
}

#[test]
fn a_shell_that_is_not_there_inside_is_another_one() {
    let test = "a_shell_that_is_not_there…";
    let Some((_staged, mut entering)) = shell_in_stage(test, "/bin/sh") else { return };
    entering.env("SHELL", "/no/such/shell");
    let Some(typing) = Typing::begin(test, &entering) else { return };
    typing.see("[web] ");
    assert_eq!(typing.end("exit 5\n"), Some(5));
}

/// True if the parent of the tests ignores the key, as shells do for background processes: everything that it starts
/// ignores it, too.
fn is_deaf() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 << (Signal::INT.as_raw() - 1) != 0
}

#[test]
fn the_key_that_interrupts_reaches_the_command_and_not_the_shell() {
    let test = "the_key_that_interrupts…";
    if is_deaf() {
        crate::skipped(&format!("{test}: SIGINT is ignored here"));
        return;
    }
    let Some((_staged, entering)) = shell_in_stage(test, "/bin/bash") else { return };
    let Some(mut typing) = Typing::begin(test, &entering) else { return };
    typing.see("[web] ");
    typing.type_and_see("sh -c 'echo go\"\"ing; exec sleep 1000'\n", "going");
    typing.type_and_see("\u{3}", "[web] ");
    typing.type_and_see("sh -c 'echo go\"\"ing; exec sleep 1000'\n", "going");
    typing.type_and_see("\u{1a}", "Stopped");
    typing.type_and_see("jobs\n", "sleep 1000");
    // `wait` passes over a job that the shell still believes to be stopped, and `exit` refuses to leave it.
    typing.type_and_see("kill -9 %1; while [ \"$(jobs -s)\" ]; do :; done; echo en''ded\n", "ended");
    assert_eq!(typing.end("exit 6\n"), Some(6));
}

#[test]
fn a_command_in_a_stage_is_a_job_of_the_shell_outside() {
    let test = "a_command_in_a_stage_is_a_job…";
    let Some((_staged, entering)) = shell_in_stage(test, "/bin/bash") else { return };
    let words = std::iter::once(entering.get_program()).chain(entering.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut outside = Command::new("bash");
    outside.args(["--norc", "--noprofile", "-i"]);
    for (name, value) in entering.get_envs() {
        outside.env(name, value.unwrap_or_default());
    }
    let Some(mut typing) = Typing::begin(test, &outside) else { return };
    typing.type_and_see("PS1='out''side> '\n", "outside> ");
    typing.type_and_see(&format!("{} -- sh -c 'echo be''gun; cat; exit 8'\n", words.join(" ")), "begun");
    typing.type_and_see("\u{1a}", "outside> ");
    typing.type_and_see("jobs\n", "Stopped");
    typing.type_and_see("fg\n", "stage");
    typing.type_and_see("through\n", "through\nthrough\n");
    typing.type_and_see("\u{4}", "outside> ");
    typing.type_and_see("echo code $?\n", "code 8");
    assert_eq!(typing.end("exit 2\n"), Some(2));
}
