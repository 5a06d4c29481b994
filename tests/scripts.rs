//! Procedure scripts, run by the second process of the program: whatever happens, they end, and nothing stays.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use patchadm::root::Root;
use patchadm::script::{
    As, Call, Ears, Ended, Input, Process, ScriptError, Setting, Stream, Workshop, end_leftovers, search_path,
};

use crate::scenario::{Scenario, is_root};

/// A root, a workshop for it, and what was heard.
struct Stage {
    scenario: Scenario,
    root: Root,
}

/// What a test hears and wants.
#[derive(Default)]
struct Listener {
    out: String,
    err: String,
    began: Vec<Process>,
    refuses: bool,
    /// After this the script is to be ended.
    patience: Option<Instant>,
}

impl Ears for Listener {
    fn began(&mut self, process: &Process) -> io::Result<()> {
        self.began.push(process.clone());
        if self.refuses { Err(io::Error::other("the journal is full")) } else { Ok(()) }
    }

    fn heard(&mut self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match stream {
            Stream::Out => self.out.push_str(&text),
            Stream::Err => self.err.push_str(&text),
        }
    }

    fn interrupted(&mut self) -> bool {
        self.patience.is_some_and(|until| Instant::now() > until)
    }
}

impl Stage {
    fn new() -> Self {
        let scenario = Scenario::new();
        fs::create_dir(scenario.beside("temporary")).unwrap();
        // A directory of a test is private; scripts of other users must get through it.
        for open in ["", "temporary"] {
            fs::set_permissions(scenario.beside(open), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let root = Root::open(&scenario.root()).unwrap();
        Self { scenario, root }
    }

    fn workshop(&self) -> Workshop {
        self.open(false).unwrap()
    }

    fn open(&self, absolute_tools: bool) -> Result<Workshop, ScriptError> {
        Workshop::open(&Setting {
            root: &self.root,
            executable: PathBuf::from(env!("CARGO_BIN_EXE_patchadm")),
            temporary: self.scenario.beside("temporary"),
            absolute_tools,
        })
    }

    /// A call of a script with this text.
    fn call(&self, name: &str, text: &str) -> Call {
        let file = self.scenario.beside(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        Call {
            name: name.to_owned(),
            file,
            arguments: vec![],
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            user: As::Caller,
            directory: PathBuf::from("/"),
            input: Input::Nothing,
            trace: false,
            limit: Some(Duration::from_secs(30)),
        }
    }

    /// Runs a script with this text in a workshop of its own.
    fn run(&self, text: &str) -> (Ended, Listener) {
        let mut ears = Listener::default();
        let ended = self.workshop().run(&self.call("script", text), &mut ears).unwrap();
        (ended, ears)
    }

    /// What is left where private directories are made.
    fn left_over(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scenario.beside("temporary")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Waits until something holds.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "{what}: not after 20 seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process runs; one that only waits to be waited for does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_script_says_how_it_ended() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    for (text, ended) in [
        ("", Ended::Exited(0)),
        ("exit 3\n", Ended::Exited(3)),
        ("#!/no/such/shell\nexit 20", Ended::Exited(20)),
        ("kill -9 $$", Ended::Signalled(9)),
    ] {
        let call = stage.call("script", text);
        assert_eq!(workshop.run(&call, &mut Listener::default()).unwrap(), ended, "{text}");
    }
}

#[test]
fn both_streams_are_heard_apart_and_live() {
    struct Clock {
        first: Option<Instant>,
        all: String,
    }
    impl Ears for Clock {
        fn began(&mut self, _: &Process) -> io::Result<()> {
            Ok(())
        }
        fn heard(&mut self, stream: Stream, bytes: &[u8]) {
            self.first.get_or_insert_with(Instant::now);
            self.all.push_str(&format!("{stream:?}:{}", String::from_utf8_lossy(bytes)));
        }
        fn interrupted(&mut self) -> bool {
            false
        }
    }
    let stage = Stage::new();
    let mut clock = Clock { first: None, all: String::new() };
    let text = "echo one; sleep 1; echo two >&2; sleep 1; echo three";
    stage.workshop().run(&stage.call("script", text), &mut clock).unwrap();
    assert_eq!(clock.all, "Out:one\nErr:two\nOut:three\n");
    assert!(clock.first.unwrap().elapsed() > Duration::from_millis(1500), "heard before the end");
}

#[test]
fn much_output_is_heard_whole() {
    let stage = Stage::new();
    let (ended, ears) =
        stage.run("i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678; i=$((i+1)); done");
    assert_eq!((ended, ears.out.len()), (Ended::Exited(0), 400_000));
}

#[test]
fn environment_umask_directory_arguments_and_descriptors_are_what_was_given() {
    let stage = Stage::new();
    let mut call =
        stage.call("script", "env; umask; pwd; echo \"$#:$1:$2\"; ls /proc/self/fd | tr '\\n' ' '");
    call.arguments = vec!["a b".into(), "".into()];
    call.environment.push(("ODD".into(), "two\nlines $HOME".into()));
    call.directory = stage.scenario.root();
    let mut ears = Listener::default();
    stage.workshop().run(&call, &mut ears).unwrap();
    let root = stage.scenario.root();
    let mut lines: Vec<&str> = ears.out.lines().collect();
    // What the shell itself adds differs between shells.
    lines.retain(|line| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name)));
    let (environment, rest) = lines.split_at(3);
    let mut environment = environment.to_vec();
    environment.sort_unstable();
    assert_eq!(environment, ["ODD=two", "PATH=/usr/bin:/bin", "lines $HOME"]);
    assert_eq!(rest, ["0022", root.to_str().unwrap(), "2:a b:", "0 1 2 3 "]);
}

#[test]
fn a_list_is_read_to_its_end_and_nothing_else() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let mut call = stage.call("script", "while read src dst; do echo \"$dst from $src\"; done; cat");
    let mut ears = Listener::default();
    workshop.run(&call, &mut ears).unwrap();
    assert_eq!(ears.out, "");
    call.input = Input::Bytes(b"/a /b\n/c /d\n".to_vec());
    workshop.run(&call, &mut ears).unwrap();
    assert_eq!(ears.out, "/b from /a\n/d from /c\n");
    let many = b"/a /b\n".repeat(200_000);
    call.input = Input::Bytes(many);
    let mut ears = Listener::default();
    call.file = stage.call("count", "wc -l").file;
    workshop.run(&call, &mut ears).unwrap();
    assert_eq!(ears.out.trim(), "200000");
}

#[test]
fn a_traced_script_shows_its_commands() {
    let stage = Stage::new();
    let mut call = stage.call("script", "true one\n");
    call.trace = true;
    let mut ears = Listener::default();
    stage.workshop().run(&call, &mut ears).unwrap();
    assert_eq!(ears.err, "+ true one\n");
}

#[test]
fn a_script_that_takes_too_long_is_ended_with_its_grandchildren() {
    let stage = Stage::new();
    let mut call =
        stage.call("script", "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait; sleep 100");
    call.limit = Some(Duration::from_millis(500));
    let mut ears = Listener::default();
    let ended = stage.workshop().run(&call, &mut ears).unwrap();
    assert_eq!(ended, Ended::TimedOut);
    assert!(!ears.out.is_empty() && !runs(&ears.out), "grandchild {}", ears.out);
}

#[test]
fn an_interrupted_script_may_clean_up() {
    let stage = Stage::new();
    let mark = stage.scenario.beside("cleaned");
    let text =
        format!("trap 'echo yes > {}; exit 0' TERM; echo ready; while :; do sleep 1; done", mark.display());
    let mut ears =
        Listener { patience: Some(Instant::now() + Duration::from_millis(500)), ..Listener::default() };
    let ended = stage.workshop().run(&stage.call("script", &text), &mut ears).unwrap();
    assert_eq!(ended, Ended::Interrupted);
    assert_eq!(fs::read_to_string(mark).unwrap(), "yes\n");
}

#[test]
fn nothing_happens_before_the_listener_agrees() {
    let stage = Stage::new();
    let mark = stage.scenario.beside("mark");
    let call = stage.call("script", &format!("touch {}", mark.display()));
    let mut workshop = stage.workshop();
    let mut ears = Listener { refuses: true, ..Listener::default() };
    let error = workshop.run(&call, &mut ears).unwrap_err();
    assert_eq!(error.to_string(), "script script was not begun: the journal is full");
    assert!(!mark.exists());
    let mut ears = Listener::default();
    assert_eq!(workshop.run(&call, &mut ears).unwrap(), Ended::Exited(0));
    assert!(mark.exists());
    assert!(ears.began[0].group > 1 && ears.began[0].start_time > 0 && ears.began[0].boot_id.len() == 36);
}

#[test]
fn a_daemon_that_keeps_the_pipe_is_not_waited_for_and_lives() {
    let stage = Stage::new();
    let before = Instant::now();
    let (ended, ears) = stage.run("sleep 60 & echo $!; exit 0");
    assert_eq!(ended, Ended::Exited(0));
    assert!(before.elapsed() < Duration::from_secs(20));
    assert!(runs(&ears.out));
    Command::new("kill").arg(ears.out.trim()).status().unwrap();
}

#[test]
fn a_script_that_cannot_start_says_why_and_the_next_one_runs() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let mut call = stage.call("script", "exit 0");
    call.directory = PathBuf::from("/no/such/directory");
    let error = workshop.run(&call, &mut Listener::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot start script script: No such file or directory"), "{error}");
    call.directory = PathBuf::from("/");
    assert_eq!(workshop.run(&call, &mut Listener::default()).unwrap(), Ended::Exited(0));
}

#[test]
fn the_private_directory_has_the_tools_and_goes_with_the_workshop() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let directory = workshop.directory().to_owned();
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o711);
    let mut call =
        stage.call("script", "pkginfo --version; echo abc | nawk '{ print $1 }'; command -v compress");
    call.environment = vec![("PATH".into(), search_path(workshop.tools()))];
    let mut ears = Listener::default();
    workshop.run(&call, &mut ears).unwrap();
    let lines: Vec<&str> = ears.out.lines().collect();
    assert_eq!(lines[..2], [concat!("pkginfo ", env!("CARGO_PKG_VERSION")), "abc"], "{}", ears.err);
    assert!(lines[2].ends_with("/compress"));
    drop(workshop);
    assert!(!directory.exists());
    assert!(stage.left_over().is_empty());
}

#[test]
fn only_one_run_has_scripts_at_work() {
    let stage = Stage::new();
    let workshop = stage.workshop();
    assert!(matches!(stage.open(false), Err(ScriptError::Locked { .. })));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1500));
            drop(workshop);
        });
        // Recovery waits for the second process of the run before.
        let lock = end_leftovers(&stage.root, None).unwrap();
        assert!(matches!(stage.open(false), Err(ScriptError::Locked { .. })));
        drop(lock);
    });
    drop(stage.workshop());
}

#[test]
fn recovery_ends_the_process_of_a_dead_run_and_no_other() {
    let stage = Stage::new();
    let mut sleeper = Command::new("setsid").args(["sleep", "60"]).spawn().unwrap();
    let pid = sleeper.id().to_string();
    eventually("it leads a group", || {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.contains("(sleep)") && stat.contains(&format!(" {pid} ")))
    });
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_time = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let process = Process { group: sleeper.id().try_into().unwrap(), boot_id, start_time };
    let another_boot = Process { boot_id: "another".into(), ..process.clone() };
    let another_process = Process { start_time: start_time + 1, ..process.clone() };
    for other in [another_boot, another_process] {
        drop(end_leftovers(&stage.root, Some(&other)).unwrap());
        assert!(runs(&pid));
    }
    let waiting = std::thread::spawn(move || sleeper.wait().unwrap());
    drop(end_leftovers(&stage.root, Some(&process)).unwrap());
    assert!(!runs(&pid));
    waiting.join().unwrap();
    drop(end_leftovers(&stage.root, Some(&process)).unwrap());
}

#[test]
fn descriptors_that_somebody_forgot_do_not_reach_scripts() {
    let test = "scripts::environment_umask_directory_arguments_and_descriptors_are_what_was_given";
    let program = std::env::current_exe().unwrap();
    let line = format!("exec 7</etc/passwd; exec {} --exact {test}", program.display());
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_script_that_is_not_there_is_not_taken_for_one_that_warns() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let mut call = stage.call("script", "");
    for file in ["nothing", "root"] {
        call.file = stage.scenario.beside(file);
        let error = workshop.run(&call, &mut Listener::default()).unwrap_err().to_string();
        assert!(error.starts_with("cannot start script script: "), "{error}");
    }
}

#[test]
fn a_program_that_is_another_one_is_an_error_with_its_words() {
    let stage = Stage::new();
    let setting = |executable: &str| Setting {
        root: &stage.root,
        executable: PathBuf::from(executable),
        temporary: stage.scenario.beside("temporary"),
        absolute_tools: false,
    };
    let error = Workshop::open(&setting("/bin/cat")).unwrap_err().to_string();
    assert!(error.contains("__scripts"), "{error}");
    let error = Workshop::open(&setting("/no/such/program")).unwrap_err().to_string();
    assert!(error.starts_with("cannot start /no/such/program to run scripts: No such file"), "{error}");
}

/// Where the process that [`engine`] is finds its stage, and what its script reads.
const STAGE: &str = "PATCHADM_TEST_STAGE";
const AT_TERMINAL: &str = "PATCHADM_TEST_TERMINAL";

/// Not a test of its own: a program with a workshop, in a process that other tests can treat as they like. It runs the
/// script of the stage and writes what it heard to `heard`.
#[test]
fn engine() {
    let Some(stage) = std::env::var_os(STAGE).map(PathBuf::from) else { return };
    let root = Root::open(&stage.join("root")).unwrap();
    let mut workshop = Workshop::open(&Setting {
        root: &root,
        executable: PathBuf::from(env!("CARGO_BIN_EXE_patchadm")),
        temporary: stage.join("temporary"),
        absolute_tools: false,
    })
    .unwrap();
    let at_terminal = std::env::var_os(AT_TERMINAL).is_some();
    let call = Call {
        name: "script".into(),
        file: stage.join("script"),
        arguments: vec![],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        user: As::Caller,
        directory: "/".into(),
        input: if at_terminal { Input::Terminal } else { Input::Nothing },
        trace: false,
        limit: None,
    };
    let mut ears = Listener::default();
    workshop.run(&call, &mut ears).unwrap();
    fs::write(stage.join("heard"), ears.out).unwrap();
}

#[test]
fn a_script_at_a_terminal_reads_what_is_typed() {
    let stage = Stage::new();
    stage.call("script", "printf 'name? '; read name; echo \"hello $name\"; test -t 0 && echo at a terminal");
    let line = format!("{} --exact scripts::engine", std::env::current_exe().unwrap().display());
    let spawned = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env(STAGE, stage.scenario.beside(""))
        .env(AT_TERMINAL, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut running) = spawned else {
        crate::skipped("a_script_at_a_terminal_reads_what_is_typed: script(1) is not installed");
        return;
    };
    running.stdin.take().unwrap().write_all(b"somebody\n").unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let heard = fs::read_to_string(stage.scenario.beside("heard")).unwrap();
    assert_eq!(heard, "name? hello somebody\nat a terminal\n");
}

#[test]
fn without_a_terminal_a_script_reads_what_the_program_reads() {
    let stage = Stage::new();
    stage.call("script", "read name; echo \"hello $name\"");
    let mut running = Command::new("setsid")
        .arg("--wait")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "scripts::engine"])
        .env(STAGE, stage.scenario.beside(""))
        .env(AT_TERMINAL, "no")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    running.stdin.take().unwrap().write_all(b"somebody\n").unwrap();
    assert!(running.wait().unwrap().success());
    assert_eq!(fs::read_to_string(stage.scenario.beside("heard")).unwrap(), "hello somebody\n");
}

#[test]
fn a_killed_program_takes_its_script_along() {
    let stage = Stage::new();
    let pids = stage.scenario.beside("pids");
    let text = format!("sleep 100 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    stage.call("script", &text);
    let mut engine = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scripts::engine"])
        .env(STAGE, stage.scenario.beside(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the script runs", || pids.exists());
    let pids = fs::read_to_string(pids).unwrap();
    let [script, grandchild] = pids.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{pids}") };
    assert!(runs(script) && runs(grandchild) && !stage.left_over().is_empty());
    engine.kill().unwrap();
    engine.wait().unwrap();
    // The lock is free when everything has been cleaned up.
    drop(end_leftovers(&stage.root, None).unwrap());
    assert!(!runs(script) && !runs(grandchild));
    assert!(stage.left_over().is_empty(), "{:?}", stage.left_over());
}

#[test]
fn a_killed_second_process_is_an_error_and_its_script_is_ended() {
    struct Killer(String);
    impl Ears for Killer {
        fn began(&mut self, _: &Process) -> io::Result<()> {
            Ok(())
        }
        fn heard(&mut self, _: Stream, bytes: &[u8]) {
            self.0.push_str(&String::from_utf8_lossy(bytes));
        }
        fn interrupted(&mut self) -> bool {
            false
        }
    }
    let stage = Stage::new();
    let mut killer = Killer(String::new());
    let error = stage
        .workshop()
        .run(&stage.call("script", "echo $$; kill -9 $PPID; while :; do sleep 1; done"), &mut killer)
        .unwrap_err();
    assert!(matches!(error, ScriptError::Lost(_)), "{error}");
    assert!(!runs(&killer.0), "script {}", killer.0);
    assert!(stage.left_over().is_empty());
}

#[test]
fn an_unprivileged_script_reads_its_copy_where_the_original_is_closed_to_it() {
    if !is_root() {
        crate::skipped("an_unprivileged_script_reads_its_copy…: only root starts scripts as somebody else");
        return;
    }
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let closed = stage.scenario.beside("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(closed.join("checkinstall"), "id -u; id -g; id -G; touch /usr/x 2>/dev/null || echo no\n")
        .unwrap();
    let user = workshop.unprivileged().unwrap();
    let unreadable = patchadm::script::trust::unreadable_by(user, &closed.join("checkinstall"));
    assert_eq!(unreadable.unwrap().file_name(), closed.file_name());
    let mut call = stage.call("script", "");
    call.user = As::Unprivileged;
    call.file = closed.join("checkinstall");
    let error = workshop.run(&call, &mut Listener::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "script script cannot be read by user {}: {} is closed to it",
            user.uid,
            closed.canonicalize().unwrap().display()
        )
    );
    call.file = workshop.directory().join("checkinstall");
    fs::copy(closed.join("checkinstall"), &call.file).unwrap();
    fs::set_permissions(&call.file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut ears = Listener::default();
    assert_eq!(workshop.run(&call, &mut ears).unwrap(), Ended::Exited(0), "{}", ears.err);
    assert_eq!(ears.out, format!("{0}\n{1}\n{1}\nno\n", user.uid, user.gid));
    assert!(user.uid != 0 && user.gid != 0);
    call.environment = vec![("PATH".into(), search_path(workshop.tools()))];
    fs::write(&call.file, "pkgparam --version").unwrap();
    let mut ears = Listener::default();
    workshop.run(&call, &mut ears).unwrap();
    assert_eq!(ears.out, concat!("pkgparam ", env!("CARGO_PKG_VERSION"), "\n"), "{}", ears.err);
}

#[test]
fn absolute_tools_are_there_for_scripts_and_for_nobody_else() {
    let stage = Stage::new();
    let mut workshop = stage.open(true).unwrap();
    if let Err(reason) = workshop.absolute_tools() {
        crate::skipped(&format!("absolute_tools_are_there_for_scripts…: {reason}"));
        return;
    }
    let text = "/usr/bin/pkgparam --version; ls -d /usr/sadm/bin; touch /usr/bin/new || echo cannot; ls /usr/bin/env";
    let mut ears = Listener::default();
    workshop.run(&stage.call("script", text), &mut ears).unwrap();
    let version = concat!("pkgparam ", env!("CARGO_PKG_VERSION"));
    assert_eq!(ears.out, format!("{version}\n/usr/sadm/bin\ncannot\n/usr/bin/env\n"), "{}", ears.err);
    for outside in ["/usr/bin/new", "/usr/sadm/bin"] {
        assert!(!Path::new(outside).exists(), "{outside}");
    }
    drop(workshop);
    assert!(stage.left_over().is_empty());
}
