//! Following a run: its status, a log, and its bars on a terminal.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::BulkBuild;
use crate::scenario::is_root;
use crate::terminal::at_narrow_terminal;
use crate::workshop::eventually;

const INSTALL: &str = "mkdir -p $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/${PKGNAME%-*}\n";

/// A running build whose second package waits for the file `go` in the tree.
struct SlowRun {
    build: BulkBuild,
    running: Child,
}

impl SlowRun {
    fn begin(test: &str) -> Option<Self> {
        let build = BulkBuild::of_recipes(test, !is_root(), "slot=local 1\ncheck=none\n")?;
        build.recipe("first", "", INSTALL);
        let script =
            "echo \"===> phase: wait\"; echo begun; while [ ! -e $TREE/go ]; do sleep 0.1; done; echo over\n";
        build.recipe("slow", "ALL_DEPENDS=first>=1:../first\n", &format!("{script}{INSTALL}"));
        let running = build.running("").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the slow one waits", || {
            let log = build.work().join("runs/1/logs/slow-1.0.log");
            std::fs::read_to_string(log).is_ok_and(|log| log.contains("begun"))
        });
        Some(Self { build, running })
    }

    /// A running action, and the file with its output.
    fn follow(&self, line: &str) -> (Child, PathBuf) {
        let name = if line.contains("--json") { "printed.json" } else { "printed" };
        let printed = self.build.scenario.beside(name);
        let line = line.replace("@WORK@", &self.build.work().display().to_string());
        let mut following = self.build.command(&line);
        let out = File::create(&printed).unwrap();
        let child = following.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().unwrap();
        (child, printed)
    }

    fn end(mut self) -> BulkBuild {
        self.build.write("go", "");
        assert!(self.running.wait().unwrap().success());
        self.build
    }
}

fn printed(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
}

/// True once a process has a handler for SIGINT.
fn handles_interrupt(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    caught & (1 << (Signal::INT.as_raw() - 1)) != 0
}

#[test]
fn the_status_of_a_run_is_watched_until_it_ends() {
    let Some(slow) = SlowRun::begin("the_status_of_a_run…") else { return };
    let (mut watching, file) = slow.follow("status @WORK@ --watch");
    eventually("what runs is shown", || printed(&file).contains("  slow-1.0 on local, "));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let status =
        || -> Value { serde_json::from_str(&slow.build.action("status @WORK@ --json").ok()).unwrap() };
    eventually("the phase is known", || status()["running"][0]["phase"] == "wait");
    let now = status();
    let running = &now["running"][0];
    assert_eq!(
        (&running["package"], &running["slot"], &running["host"]),
        (&"slow-1.0".into(), &"local".into(), &host.into())
    );
    assert!(running["since"].as_str().unwrap() >= now["began"].as_str().unwrap());
    assert_eq!((&now["counts"]["done"], &now["ended"]), (&1.into(), &Value::Null));

    // An interrupt ends the display.
    let (mut leaving, _) = slow.follow("status @WORK@ --watch --json");
    eventually("the signal is handled", || handles_interrupt(&leaving));
    interrupt(&leaving);
    assert_eq!(leaving.wait().unwrap().code(), Some(130));

    let build = slow.end();
    assert!(watching.wait().unwrap().success());
    let last = build.action("status @WORK@").ok();
    assert!(
        last.contains(", ended ") && last.contains("       2 done\n") && !last.contains("slow"),
        "{last}"
    );
    // `--watch` has nothing to watch in a run that is over.
    assert_eq!(build.action("status @WORK@ --watch").ok(), last);
    assert!(!build.work().join("runs/1/now").exists());
    build.action("status @WORK@ 7 --watch").fails(4);
}

#[test]
fn a_log_is_followed_until_its_build_ends() {
    let Some(slow) = SlowRun::begin("a_log_is_followed…") else { return };
    let (mut leaving, file) = slow.follow("log @WORK@ slow-1.0 --follow");
    eventually("what is there is printed", || printed(&file).ends_with("begun\n"));
    interrupt(&leaving);
    assert_eq!(leaving.wait().unwrap().code(), Some(130));
    let (mut following, file) = slow.follow("log @WORK@ slow-1.0 --follow");
    eventually("what is there is printed", || printed(&file).ends_with("begun\n"));
    let build = slow.end();
    assert!(following.wait().unwrap().success());
    assert_eq!(printed(&file), build.log("slow-1.0"));
    assert!(printed(&file).ends_with("over\n"));
    assert_eq!(build.action("log @WORK@ slow-1.0 --follow").ok(), build.log("slow-1.0"));
    // Without a version, it is the package of the last scan.
    assert_eq!(build.action("log @WORK@ slow").ok(), build.log("slow-1.0"));
    build.action("log @WORK@ other-1.0 --follow").fails(4);
    build.action("log @WORK@ ../journal --follow").fails(4);
}

#[test]
fn a_terminal_has_a_bar_for_each_slot_and_one_for_all() {
    if !is_root() {
        return;
    }
    let settings = "slot=local 2\ncheck=none\n";
    let Some(mut build) = BulkBuild::of_recipes("a_terminal_has…", false, settings) else { return };
    build.scenario.set("TERM", "xterm");
    build.recipe("good", "", &format!("echo \"===> phase: waiting\"; sleep 3\n{INSTALL}"));
    build.recipe("broken", "", "sleep 1; exit 3\n");
    let line = format!("bulk run {}", build.work().display());
    let Some((code, text)) = at_narrow_terminal("a_terminal_has…", &build.scenario, &line, 80) else {
        return;
    };
    assert_eq!(code, 5, "{text}");
    for words in ["of 2 packages [", "good-1.0", "1 failed", "broken-1.0: failed (exit)\n"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("good-1.0: done"), "what went well has no line of its own: {text}");
}

#[test]
fn the_status_of_a_run_that_was_killed_says_so_and_how_it_goes_on() {
    let Some(mut slow) = SlowRun::begin("the_status_of_a_run_that_was_killed…") else { return };
    slow.running.kill().unwrap();
    slow.running.wait().unwrap();
    let status = slow.build.action("status @WORK@").ok();
    let lines: Vec<&str> = status.lines().collect();
    assert!(lines[0].ends_with(", interrupted: no process is running it"), "{status}");
    let rest = [
        "       1 done",
        "       1 open",
        "it was building slow-1.0",
        "`patchadm bulk run @WORK@` continues it: nothing is built twice",
    ];
    assert!(lines[1].starts_with("base host"), "{status}");
    let mut told = lines[2..].to_vec();
    told[..2].sort_unstable();
    assert_eq!(told, rest);
    let status: Value = serde_json::from_str(&slow.build.action("status @WORK@ --json").ok()).unwrap();
    assert_eq!((&status["running"], &status["counts"]["running"]), (&serde_json::json!([]), &Value::Null));
    assert_eq!(status["interrupted"]["packages"], serde_json::json!(["slow-1.0"]));
    slow.build.write("go", "");
    // Processes that the killed run left behind end by themselves.
    let run = slow.build.run("").ends(0);
    assert_eq!((&run.report["run"], &run.report["continued"]), (&Value::from(1), &Value::from(true)));
    assert!(slow.build.action("status @WORK@").ok().contains(", ended "));
}
