//! The end of procedure scripts: by themselves, too late, interrupted, or with the program. No process runs on.

use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use patchadm_core::script::{
    OutputStream, ProcessIdentity, ScriptEnd, ScriptError, ScriptListener, end_leftovers,
};
use patchadm_rootfs::never;

use crate::workshop::{Listener, Stage, eventually, runs};

#[test]
fn a_script_that_takes_too_long_is_ended_with_its_grandchildren() {
    let stage = Stage::new();
    let mut call =
        stage.call("script", "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait; sleep 100");
    call.limit = Some(Duration::from_secs(2));
    let mut ears = Listener::default();
    let ended = stage.workshop().run(&call, &mut ears).unwrap();
    assert_eq!(ended, ScriptEnd::TimedOut);
    assert!(!ears.out.is_empty() && !runs(&ears.out), "grandchild {}", ears.out);
}

#[test]
fn an_interrupted_script_may_clean_up() {
    let stage = Stage::new();
    let mark = stage.scenario.beside("cleaned");
    let text =
        format!("trap 'echo yes > {}; exit 0' TERM; echo ready; while :; do sleep 1; done", mark.display());
    let mut ears = Listener { last_word: Some("ready"), ..Listener::default() };
    let ended = stage.workshop().run(&stage.call("script", &text), &mut ears).unwrap();
    assert_eq!(ended, ScriptEnd::Interrupted);
    assert_eq!(fs::read_to_string(mark).unwrap(), "yes\n");
}

#[test]
fn a_signal_of_the_terminal_is_for_scripts_and_not_for_the_process_that_runs_them() {
    let stage = Stage::new();
    let (ended, ears) =
        stage.run("for signal in INT HUP QUIT TERM; do kill -$signal $PPID; done; echo alive");
    assert_eq!((ended, ears.out.as_str()), (ScriptEnd::Exited(0), "alive\n"));
    assert_eq!(stage.left_over(), Vec::<String>::new());
    let (ended, _) = stage.run("kill -HUP $$; echo never");
    assert_eq!(ended, ScriptEnd::Signalled(1));
}

#[test]
fn nothing_happens_before_the_listener_agrees() {
    let stage = Stage::new();
    let mark = stage.scenario.beside("mark");
    let call = stage.call("script", &format!("touch {}", mark.display()));
    let mut workshop = stage.workshop();
    let mut ears = Listener { refuses: true, ..Listener::default() };
    let error = workshop.run(&call, &mut ears).unwrap_err();
    assert_eq!(error.to_string(), "script script was not started: the journal is full");
    assert!(!mark.exists());
    let mut ears = Listener::default();
    assert_eq!(workshop.run(&call, &mut ears).unwrap(), ScriptEnd::Exited(0));
    assert!(mark.exists());
    assert!(ears.began[0].group > 1 && ears.began[0].start_time > 0 && ears.began[0].boot_id.len() == 36);
}

#[test]
fn a_daemon_that_keeps_the_pipe_is_not_waited_for_and_lives() {
    let stage = Stage::new();
    let (ended, ears) = stage.run("sleep 60 & echo $!; exit 0");
    assert_eq!(ended, ScriptEnd::Exited(0));
    assert!(runs(&ears.out));
    Command::new("sh").args(["-c", "kill $0", ears.out.trim()]).status().unwrap();
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
        // Recovery waits for the second process of the previous run.
        let lock = end_leftovers(&stage.root, None, &never).unwrap();
        assert!(matches!(stage.open(false), Err(ScriptError::Locked { .. })));
        drop(lock);
    });
    drop(stage.workshop());
}

#[test]
fn recovery_ends_the_process_of_a_dead_run_and_no_other() {
    let stage = Stage::new();
    let run = "17-00000000000000aa";
    let mut sleeper = Command::new("setsid").args(["sleep", "60"]).env("PATCHADM_RUN", run).spawn().unwrap();
    let pid = sleeper.id().to_string();
    eventually("it leads a group", || {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.contains("(sleep)") && stat.contains(&format!(" {pid} ")))
    });
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_time = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let process = ProcessIdentity { group: sleeper.id().try_into().unwrap(), boot_id, start_time };
    let another_boot = ProcessIdentity { boot_id: "another".into(), ..process.clone() };
    let another_process = ProcessIdentity { start_time: start_time + 1, ..process.clone() };
    for other in [another_boot, another_process] {
        drop(end_leftovers(&stage.root, Some((run, &other)), &never).unwrap());
        assert!(runs(&pid));
    }
    drop(end_leftovers(&stage.root, Some(("17-00000000000000ab", &process)), &never).unwrap());
    assert!(runs(&pid), "the group is right, and its environment names another run");
    let waiting = std::thread::spawn(move || sleeper.wait().unwrap());
    drop(end_leftovers(&stage.root, Some((run, &process)), &never).unwrap());
    assert!(!runs(&pid));
    waiting.join().unwrap();
    drop(end_leftovers(&stage.root, Some((run, &process)), &never).unwrap());
}

#[test]
fn a_killed_program_takes_its_script_along() {
    let stage = Stage::new();
    let pids = stage.scenario.beside("pids");
    let text = format!("sleep 100 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    stage.call("script", &text);
    let mut engine = stage.engine();
    eventually("the script runs", || pids.exists());
    let pids = fs::read_to_string(pids).unwrap();
    let [script, grandchild] = pids.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{pids}") };
    assert!(runs(script) && runs(grandchild) && !stage.left_over().is_empty());
    engine.kill().unwrap();
    engine.wait().unwrap();
    // The lock is free when everything has been cleaned up.
    drop(end_leftovers(&stage.root, None, &never).unwrap());
    assert!(!runs(script) && !runs(grandchild));
    assert!(stage.left_over().is_empty(), "{:?}", stage.left_over());
}

#[test]
fn a_killed_second_process_is_an_error_and_its_script_is_ended() {
    struct Killer(String);
    impl ScriptListener for Killer {
        fn began(&mut self, _: &ProcessIdentity) -> io::Result<()> {
            Ok(())
        }
        fn heard(&mut self, _: OutputStream, bytes: &[u8]) {
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
