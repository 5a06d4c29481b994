//! Somebody at a terminal: the program run by script(1), which gives it one, with answers typed in advance.

use std::io::{Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::workshop::{eventually, runs};

/// Runs the program at a terminal where somebody types `answers`. Returns its exit code and all its output, or `None`
/// if script(1) is not installed.
#[allow(clippy::print_stdout)] // a test that is skipped says so
pub(crate) fn at_terminal(test: &str, stage: &Scenario, line: &str, answers: &str) -> Option<(i32, String)> {
    let mut typed = terminal(stage, line);
    let spawned = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut running) = spawned else {
        crate::missing("script", test);
        return None;
    };
    running.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    Some((output.status.code().unwrap(), text))
}

/// Runs the program at a terminal with this number of columns, where nobody types. Returns its exit code and all its
/// output.
#[allow(clippy::print_stdout)] // a test that is skipped says so
pub(crate) fn at_narrow_terminal(
    test: &str,
    stage: &Scenario,
    line: &str,
    columns: u16,
) -> Option<(i32, String)> {
    let mut typed = terminal_after(stage, line, &format!("stty rows 24 cols {columns} && "));
    let spawned = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut running) = spawned else {
        crate::missing("script", test);
        return None;
    };
    // Kept until the end: at the end of its input, script(1) types the end of a file.
    let keys = running.stdin.take();
    let mut text = String::new();
    running.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    drop(keys);
    Some((running.wait().unwrap().code().unwrap(), text.replace("\r\n", "\n")))
}

/// The program with a terminal of its own.
fn terminal(stage: &Scenario, line: &str) -> Command {
    terminal_after(stage, line, "")
}

/// The same after other commands of the shell.
fn terminal_after(stage: &Scenario, line: &str, before: &str) -> Command {
    shell_at_terminal(stage, &format!("{before}exec {}", words_of(&stage.command(line))))
}

/// A command as words of a shell.
pub(crate) fn words_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    words.join(" ")
}

/// Somebody at a terminal, who reads before they type.
pub(crate) struct Conversation {
    running: Child,
    keys: ChildStdin,
    said: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
    /// The number of bytes of it that have been read.
    read: usize,
}

impl Conversation {
    /// Starts a shell command at a terminal. Returns `None`, and reports the test, if script(1) is not installed.
    pub(crate) fn begin(test: &str, stage: &Scenario, text: &str) -> Option<Self> {
        let mut typed = shell_at_terminal(stage, text);
        let spawned = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut running) = spawned else {
            crate::missing("script", test);
            return None;
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let (mut output, heard) = (running.stdout.take().unwrap(), said.clone());
        let listener = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                heard.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        let keys = running.stdin.take().unwrap();
        Some(Self { running, keys, said, listener, read: 0 })
    }

    /// Waits for a text after the previous one that was waited for.
    #[track_caller]
    pub(crate) fn hears(&mut self, text: &str) {
        self.types_until("", text);
    }

    /// Types keys once a second until this text appears after the previous one that was waited for: a shell may drop
    /// the signal of a key at some moments.
    #[track_caller]
    pub(crate) fn types_until(&mut self, keys: &str, text: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        for round in 0.. {
            if round % 50 == 0 {
                self.types(keys);
            }
            let said = self.said.lock().unwrap().clone();
            let found = said[self.read..].windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                self.read += at + text.len();
                return;
            }
            assert!(Instant::now() < until, "{text:?} is not in {}", said.escape_ascii());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end, and returns the exit code and all output.
    pub(crate) fn ends(self) -> (i32, Vec<u8>) {
        let Self { mut running, keys, said, listener, .. } = self;
        // Dropping the keys earlier would type the end of a file.
        listener.join().unwrap();
        drop(keys);
        let code = running.wait().unwrap().code().unwrap();
        (code, Arc::try_unwrap(said).unwrap().into_inner().unwrap())
    }
}

/// A shell with a terminal of its own.
pub(crate) fn shell_at_terminal(stage: &Scenario, text: &str) -> Command {
    let mut typed = Command::new("script");
    typed.args(["-q", "-e", "-c", text, "/dev/null"]).current_dir(stage.beside("")).env_clear();
    for (name, value) in stage.command("").get_envs() {
        typed.env(name, value.unwrap_or_default());
    }
    typed
}

/// The line after a tab in an interactive shell that has run `load`. `None` if the shell or script(1) is not
/// installed.
#[allow(clippy::print_stdout)] // a test that is skipped says so
pub(crate) fn typed_in_shell(shell: &str, stage: &Scenario, load: &str, line: &str) -> Option<String> {
    if Command::new(shell).args(["-c", "exit"]).status().is_err() {
        crate::missing(shell, "completions");
        return None;
    }
    let options = if shell == "bash" { "--norc --noprofile -i" } else { "-f -i" };
    let program = stage.command("");
    let mut typed = Command::new("script");
    typed.args(["-q", "-e", "-c", &format!("exec {shell} {options}"), "/dev/null"]);
    typed.current_dir(stage.beside("")).env_clear().env("TERM", "xterm");
    typed.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let spawned = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut running) = spawned else {
        crate::missing("script", "completions");
        return None;
    };
    let said = Arc::new(Mutex::new(Vec::new()));
    let (mut output, heard) = (running.stdout.take().unwrap(), said.clone());
    let listener = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            heard.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
    });
    let text = || String::from_utf8_lossy(&said.lock().unwrap()).replace('\r', "\n");
    let mut keys = running.stdin.take().unwrap();
    let mut press = |keys_of_line: &str| keys.write_all(keys_of_line.as_bytes()).unwrap();
    press(&format!("{load}; PS1=; stty cols 1000; echo rea''dy\n"));
    eventually("the shell is ready", || text().lines().any(|line| line.trim() == "ready"));
    // Goes to the beginning of the line, so that it is printed and not carried out.
    press(&format!("{line}\t\x01echo IS: \n\necho en''d\n"));
    eventually("the line is printed", || text().lines().any(|line| line.trim() == "end"));
    press("exit\n");
    running.wait().unwrap();
    listener.join().unwrap();
    let text = without_sequences(&text());
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix("IS: ").map(str::to_owned));
    Some(line.unwrap_or(text).trim_end().to_owned())
}

/// The exit code after somebody waits for a question and then types the interrupt character.
pub(crate) fn interrupted_at_a_question(stage: &Scenario, line: &str, question: &str) -> Option<i32> {
    let spawned = terminal(stage, line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut running) = spawned else {
        crate::missing("script", "a question that is interrupted");
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

/// A text without the escape sequences that move and colour.
pub(crate) fn without_sequences(text: &str) -> String {
    regex::Regex::new("\x1b\\[[0-9;?]*[A-Za-z]").unwrap().replace_all(text, "").into_owned()
}

#[test]
fn a_bar_never_wraps_however_narrow_the_terminal() {
    let mut stage = Scenario::with(&[Package::new("ACMEa").file("a", 0o644, "a\n")]);
    stage.set("TERM", "xterm");
    let patch = Patch::of("100-01", Package::new("ACMEa").file("a", 0o644, "b\n")).directory(&stage);
    let root = stage.root().display().to_string();
    let list: Vec<String> = (0..40)
        .map(|number| {
            let copy = stage.beside(&format!("root{number}"));
            assert!(Command::new("cp").args(["-a", &root]).arg(&copy).status().unwrap().success());
            copy.display().to_string()
        })
        .collect();
    std::fs::write(stage.beside("roots"), list.join("\n")).unwrap();
    for columns in [20, 45, 80] {
        let line = format!("plan -q --roots roots {}", patch.display());
        let Some((code, text)) = at_narrow_terminal("bars", &stage, &line, columns) else { return };
        assert_eq!((code, text.as_str()), (0, ""), "quiet is without a bar");
        let line = format!("plan --color never --roots roots {}", patch.display());
        let (code, text) = at_narrow_terminal("bars", &stage, &line, columns).unwrap();
        assert_eq!(code, 0, "{text}");
        let drawn: Vec<String> = text
            .split(['\r', '\n'])
            .map(without_sequences)
            .filter(|line| line.contains("of 40 roots") || line.contains("/40"))
            .collect();
        assert!(!drawn.is_empty(), "{text:?}");
        for line in drawn {
            assert!(line.chars().count() <= usize::from(columns), "{columns}: {line:?}");
        }
    }
}

#[test]
fn states_have_colours_on_a_terminal_and_nowhere_else() {
    let mut stage = Scenario::with(&[Package::new("ACMEa").file("a", 0o644, "a\n")]);
    let patch = Patch::of("100-01", Package::new("ACMEa").file("a", 0o644, "b\n")).directory(&stage);
    let line = |verb: &str, options: &str| format!("{verb} {options} -R @ROOT@ {}", patch.display());
    let Some((code, text)) = at_narrow_terminal("colours", &stage, &line("add", ""), 100) else { return };
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("\x1b[1m100-01\x1b[0m: \x1b[32mapplied\x1b[0m (ACMEa;"), "{text:?}");
    assert!(
        !at_narrow_terminal("colours", &stage, "list -R @ROOT@ --color never", 100)
            .unwrap()
            .1
            .contains('\x1b')
    );
    let refused = at_narrow_terminal("colours", &stage, "remove -R @ROOT@ 200-01", 100).unwrap().1;
    assert!(refused.contains("patchadm: \x1b[31merror\x1b[0m: "), "{refused:?}");
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert!(!stage.run(&line("plan", "")).ok().contains('\x1b'), "no terminal");
    assert!(stage.run(&line("plan", "--color always")).ok().contains("\x1b[1m100-01\x1b[0m"));
    assert!(!stage.run("patchadd -p -R @ROOT@").ok().contains('\x1b'), "classic commands have none");
    stage.set("CLICOLOR_FORCE", "1");
    assert!(stage.run(&line("plan", "")).ok().contains("\x1b[1m100-01\x1b[0m"));
    assert!(!stage.run(&line("plan", "--color=never")).ok().contains('\x1b'));
    stage.set("NO_COLOR", "1");
    assert!(!stage.run(&line("plan", "")).ok().contains('\x1b'));
    assert!(stage.run(&line("plan", "--color=always")).ok().contains("\x1b[1m"), "what is said wins");
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
fn a_password_that_is_interrupted_leaves_a_terminal_that_shows_what_is_typed() {
    let stage = Scenario::new();
    let program = stage.command("").get_program().to_str().unwrap().to_owned();
    let words = format!("trap : INT; '{program}' keygen -o locked; echo ended $?; stty -a");
    let spawned = shell_at_terminal(&stage, &words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut running) = spawned else {
        crate::missing("script", "a password that is interrupted");
        return;
    };
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&said).contains("Password: ") {
        assert_eq!(running.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "{said:?}");
        said.push(byte[0]);
    }
    let mut keys = running.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    let mut rest = String::new();
    running.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    drop(keys);
    running.wait().unwrap();
    assert!(rest.contains("ended 130"), "{rest}");
    assert!(rest.contains(" echo ") && !rest.contains("-echo "), "{rest}");
    assert!(!stage.beside("locked.sec").exists());
}

#[test]
fn a_pipe_from_which_nothing_comes_can_be_interrupted() {
    let stage = Scenario::new();
    let (by_ctrl_c, by_kill) = (rustix::process::Signal::INT, rustix::process::Signal::TERM);
    for (line, signal, code) in [
        ("pkgadd -n -R @ROOT@ -d /dev/stdin all", by_ctrl_c, 1),
        ("patchadd -R @ROOT@ /dev/stdin", by_ctrl_c, 33),
        // It catches no signal, and a background command of a shell ignores Ctrl-C.
        ("pkgchk -d /dev/stdin all", by_kill, 143),
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
        rustix::process::kill_process(id, signal).unwrap();
        eventually(line, || !runs(&pid));
        let ended = running.wait().unwrap();
        let signal = ended.signal().map(|signal| 128 + signal);
        assert_eq!(ended.code().or(signal), Some(code), "{line}");
    }
}

#[test]
fn a_check_that_writes_to_a_pipe_which_nobody_reads_is_ended_by_ctrl_c() {
    if !Command::new("env").args(["--default-signal=INT", "true"]).status().unwrap().success() {
        return crate::skipped("Ctrl-C during a check: env(1) cannot restore what a signal does");
    }
    let stage = Scenario::new();
    stage.package("ACMEa", "NAME=A\n");
    // More lines than fit into a pipe.
    let line = |at: usize| format!("/opt/{at:05}/{} f none 0644 root root 1 1 1 ACMEa", "x".repeat(60));
    let lines: Vec<String> = (0..4000).map(line).collect();
    stage.contents(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    for line in ["pkgchk -R @ROOT@", "pkgchk -l -R @ROOT@"] {
        let program = stage.command(line);
        let mut command = Command::new("env");
        // A background command of a shell ignores Ctrl-C, and so would the programs that this test starts.
        command.arg("--default-signal=INT").arg(program.get_program()).args(program.get_args());
        command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(program.get_current_dir().unwrap()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().unwrap();
        let pid = running.id().to_string();
        eventually("the pipe is full", || {
            std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("pipe_write"))
        });
        let group = rustix::process::Pid::from_child(&running);
        rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
        let ended = running.wait().unwrap();
        assert_eq!(ended.signal(), Some(2), "{line}: {ended}");
    }
}
