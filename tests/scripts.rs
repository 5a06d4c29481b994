//! Procedure scripts, run by the second process of the program: their view of the system, and their output.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use patchadm_core::script::{
    OutputStream, ProcessIdentity, RunAs, ScriptEnd, ScriptHost, ScriptHostSettings, ScriptInput,
    ScriptListener, search_path,
};

use crate::scenario::is_root;
use crate::workshop::{AT_TERMINAL, Listener, STAGE, Stage};

#[test]
fn a_script_says_how_it_ended() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    for (text, ended) in [
        ("", ScriptEnd::Exited(0)),
        ("exit 3\n", ScriptEnd::Exited(3)),
        ("#!/no/such/shell\nexit 20", ScriptEnd::Exited(20)),
        ("kill -9 $$", ScriptEnd::Signalled(9)),
    ] {
        let call = stage.call("script", text);
        assert_eq!(workshop.run(&call, &mut Listener::default()).unwrap(), ended, "{text}");
    }
}

#[test]
fn both_streams_are_heard_apart_and_live() {
    struct Heard {
        place: PathBuf,
        all: String,
    }
    impl ScriptListener for Heard {
        fn began(&mut self, _: &ProcessIdentity) -> io::Result<()> {
            Ok(())
        }
        fn heard(&mut self, stream: OutputStream, bytes: &[u8]) {
            self.all.push_str(&format!("{stream:?}:{}", String::from_utf8_lossy(bytes)));
            // The script waits for this file.
            fs::write(self.place.join(self.all.lines().count().to_string()), "").unwrap();
        }
        fn interrupted(&mut self) -> bool {
            false
        }
    }
    let stage = Stage::new();
    let place = stage.scenario.beside("heard");
    fs::create_dir(&place).unwrap();
    let wait = |number: u32| format!("until [ -e {}/{number} ]; do sleep 0.05; done", place.display());
    let text = format!("echo one; {}; echo two >&2; {}; echo three", wait(1), wait(2));
    let mut heard = Heard { place: place.clone(), all: String::new() };
    let ended = stage.workshop().run(&stage.call("script", &text), &mut heard).unwrap();
    assert_eq!((ended, heard.all.as_str()), (ScriptEnd::Exited(0), "Out:one\nErr:two\nOut:three\n"));
}

#[test]
fn much_output_is_heard_whole() {
    let stage = Stage::new();
    let (ended, ears) =
        stage.run("i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678; i=$((i+1)); done");
    assert_eq!((ended, ears.out.len()), (ScriptEnd::Exited(0), 400_000));
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
    // The variables of the shell itself differ between shells.
    lines.retain(|line| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name)));
    let (environment, rest) = lines.split_at(4);
    let mut environment = environment.to_vec();
    environment.sort_unstable();
    let [odd, scripts, path, odder] = environment[..] else { panic!("{environment:?}") };
    assert_eq!([odd, path, odder], ["ODD=two", "PATH=/usr/bin:/bin", "lines $HOME"]);
    assert!(scripts.starts_with("PATCHADM_SCRIPTS=/"), "{scripts}");
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
    call.input = ScriptInput::Bytes(b"/a /b\n/c /d\n".to_vec());
    workshop.run(&call, &mut ears).unwrap();
    assert_eq!(ears.out, "/b from /a\n/d from /c\n");
    let many = b"/a /b\n".repeat(200_000);
    call.input = ScriptInput::Bytes(many);
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
fn a_script_that_cannot_start_says_why_and_the_next_one_runs() {
    let stage = Stage::new();
    let mut workshop = stage.workshop();
    let mut call = stage.call("script", "exit 0");
    call.directory = PathBuf::from("/no/such/directory");
    let error = workshop.run(&call, &mut Listener::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot start script script: No such file or directory"), "{error}");
    call.directory = PathBuf::from("/");
    assert_eq!(workshop.run(&call, &mut Listener::default()).unwrap(), ScriptEnd::Exited(0));
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
    let setting = |executable: &str| ScriptHostSettings {
        root: &stage.root,
        executable: PathBuf::from(executable),
        temporary: stage.scenario.beside("temporary"),
        absolute_tools: false,
    };
    let error = ScriptHost::open(&setting("/bin/cat")).unwrap_err().to_string();
    assert!(error.contains("__scripts"), "{error}");
    let error = ScriptHost::open(&setting("/no/such/program")).unwrap_err().to_string();
    assert!(error.starts_with("cannot start /no/such/program to run scripts: No such file"), "{error}");
}

#[test]
fn a_script_at_a_terminal_reads_what_is_typed() {
    let stage = Stage::new();
    stage.call("script", "printf 'name? '; read name; echo \"hello $name\"; test -t 0 && echo at a terminal");
    let line = format!("{} --exact workshop::engine", std::env::current_exe().unwrap().display());
    let spawned = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env(STAGE, stage.scenario.beside(""))
        .env(AT_TERMINAL, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut running) = spawned else {
        crate::missing("script", "a_script_at_a_terminal_reads_what_is_typed");
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
        .args(["--exact", "workshop::engine"])
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
    let unreadable = patchadm_core::script::trust::unreadable_by(user, &closed.join("checkinstall"));
    assert_eq!(unreadable.unwrap().file_name(), closed.file_name());
    let mut call = stage.call("script", "");
    call.user = RunAs::Unprivileged;
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
    assert_eq!(workshop.run(&call, &mut ears).unwrap(), ScriptEnd::Exited(0), "{}", ears.err);
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

#[test]
fn a_program_that_others_cannot_reach_is_copied_for_them() {
    if !is_root() {
        crate::skipped(
            "a_program_that_others_cannot_reach_is_copied_for_them: only root starts scripts as somebody else",
        );
        return;
    }
    let stage = Stage::new();
    let closed = stage.scenario.beside("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    // Another process copies the program: a file that this process has open for writing, even in a child that another
    // test has just forked, cannot be run.
    let copied = Command::new("cp")
        .args([env!("CARGO_BIN_EXE_patchadm").as_ref(), closed.as_path()])
        .status()
        .unwrap();
    assert!(copied.success());
    let mut workshop = ScriptHost::open(&ScriptHostSettings {
        root: &stage.root,
        executable: closed.join("patchadm"),
        temporary: closed.clone(),
        absolute_tools: false,
    })
    .unwrap();
    assert!(workshop.directory().starts_with("/var/tmp"), "the directory that was named is closed, too");
    let mut call = stage.call("script", "pkgparam --version");
    call.user = RunAs::Unprivileged;
    call.environment = vec![("PATH".into(), search_path(workshop.tools()))];
    let mut ears = Listener::default();
    workshop.run(&call, &mut ears).unwrap();
    assert_eq!(ears.out, concat!("pkgparam ", env!("CARGO_PKG_VERSION"), "\n"), "{}", ears.err);
    let directory = workshop.directory().to_owned();
    drop(workshop);
    assert!(!directory.exists());
}
