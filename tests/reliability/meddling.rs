//! An administrator edits a file that a command is about to change, or that a killed command had changed: the command
//! is given up with its code, everything else is as before, and the edit is kept.
//!
//! The command is stopped (SIGSTOP) when its journal is published and the file that it changes last is still the old
//! one; if it was too fast for that, it is undone and tried again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use super::killed::journal;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

const FILES: usize = 400;
const FIRST: &str = "/opt/ACMEweb/share/0000";
const LAST: &str = "/opt/ACMEweb/share/9999";
const ADD: &str = "patchadd -R @ROOT@ delivered/100-01";
const REMOVE: &str = "patchrm -R @ROOT@ 100-01";
const INSTALL: &str = "pkgadd -n -R @ROOT@ -d spool ACMEweb";
const UPDATE: &str = "pkgadd -n -R @ROOT@ -d newer ACMEweb";
const UNINSTALL: &str = "pkgrm -n -R @ROOT@ ACMEweb";

fn stage() -> Scenario {
    let (mut package, mut patch) = (Package::new("ACMEweb"), Package::new("ACMEweb"));
    for number in (0..FILES).chain([9999]) {
        let path = format!("share/{number:04}");
        package = package.file(&path, 0o644, format!("first of {number}\n"));
        patch = patch.file(&path, 0o644, format!("the second of {number}\n"));
    }
    let stage = Scenario::new();
    stage.install(&package);
    patch.clone().write(&stage.beside("newer"));
    Patch::of("100-01", patch).directory(&stage);
    stage
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

/// Starts a command and stops it in the middle of its switch, before it changes the last file and, with
/// `is_first_changed`, after it has changed the first one; none if it was too fast.
fn stopped(stage: &Scenario, line: &str, is_first_changed: bool) -> Option<Child> {
    let inode = |path: &str| fs::symlink_metadata(stage.at(path)).map(|seen| seen.ino()).ok();
    let place = stage.at("/var/sadm/patchadm/journal");
    let (first, last) = (inode(FIRST), inode(LAST));
    let before = journal(&place).map(|(run, _)| run);
    let mut child = stage.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    loop {
        let is_open = journal(&place).is_some_and(|(run, open)| open && Some(&run) != before.as_ref());
        if is_open && (!is_first_changed || inode(FIRST) != first) {
            break;
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        thread::sleep(Duration::from_micros(50));
    }
    signal(&child, Signal::STOP);
    // A signal is not delivered at once.
    thread::sleep(Duration::from_millis(2));
    if inode(LAST) == last && journal(&place).is_some_and(|(_, open)| open) {
        return Some(child);
    }
    signal(&child, Signal::CONT);
    child.wait().unwrap();
    None
}

/// Like [`stopped`], tried as often as it takes; also returns everything but one path as it was before the stopped
/// command. `back` undoes a command that was too fast, which writes the records anew.
fn stopped_at_last(
    stage: &Scenario,
    [line, back]: [&str; 2],
    is_first_changed: bool,
    but: &str,
) -> (Child, Tree) {
    for _ in 0..60 {
        let before = everything_but(stage, but);
        if let Some(child) = stopped(stage, line, is_first_changed) {
            return (child, before);
        }
        assert_eq!(stage.run(back).code, 0, "{back}");
    }
    panic!("{line}: always too fast");
}

fn everything_but(stage: &Scenario, path: &str) -> Tree {
    let without = ["var/sadm/install/.lockfile", "var/sadm/patchadm", path.trim_start_matches('/')];
    Tree::of(&stage.root(), &without)
}

#[test]
fn a_file_that_is_edited_while_it_is_changed_ends_the_command_and_keeps_the_edit() {
    let stage = stage();
    for (line, back, code) in
        [(ADD, REMOVE, 10), (REMOVE, ADD, 7), (UPDATE, INSTALL, 1), (UNINSTALL, INSTALL, 1)]
    {
        if line == UPDATE {
            assert_eq!(stage.run(REMOVE).code, 0);
        }
        let (mut child, _) = stopped_at_last(&stage, [line, back], false, LAST);
        let (text, time) = (fs::read(stage.at(LAST)).unwrap(), modified(&stage, LAST));
        fs::write(stage.at(LAST), "by the administrator\n").unwrap();
        signal(&child, Signal::CONT);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{line}");
        assert_eq!(stage.text(LAST), "by the administrator\n", "{line}");
        assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
        fs::write(stage.at(LAST), text).unwrap();
        fs::File::open(stage.at(LAST)).unwrap().set_modified(time).unwrap();
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{line}: files and records agree");
        if line == ADD {
            assert_eq!(stage.run(ADD).code, 0);
        }
    }
}

fn modified(stage: &Scenario, path: &str) -> SystemTime {
    fs::metadata(stage.at(path)).unwrap().modified().unwrap()
}

#[test]
fn a_file_that_is_edited_after_the_crash_is_kept_beside_the_old_one() {
    let stage = stage();
    stage.run(ADD).ok();
    stage.run(REMOVE).ok();
    let (mut child, before) = stopped_at_last(&stage, [ADD, REMOVE], true, FIRST);
    child.kill().unwrap();
    child.wait().unwrap();
    let (run, _) = journal(&stage.at("/var/sadm/patchadm/journal")).unwrap();
    assert_eq!(stage.text(FIRST), "the second of 0\n");
    fs::write(stage.at(FIRST), "by the administrator\n").unwrap();
    let said = stage.run("recover -R @ROOT@").ok();
    let kept = format!("{FIRST}.edited-{run}");
    assert!(said.contains(&format!("that version is kept as @ROOT@{kept}")), "{said}");
    assert_eq!(
        (stage.text(FIRST), stage.text(&kept)),
        ("first of 0\n".into(), "by the administrator\n".into())
    );
    fs::remove_file(stage.at(&kept)).unwrap();
    assert_same(&everything_but(&stage, FIRST), &before);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

/// A root with 50-01, whose next run was killed in its switch, and a file of that run edited since.
fn killed(line: &str, back: &str) -> Scenario {
    let stage = stage();
    Patch::of("50-01", Package::new("ACMEweb").file("bin/small", 0o755, "small\n")).directory(&stage);
    stage.run("add -R @ROOT@ delivered/50-01").ok();
    stage.run("keygen -o @ROOT@/release --no-password").ok();
    if line != ADD {
        stage.run(ADD).ok();
    }
    let (mut child, _) = stopped_at_last(&stage, [line, back], true, FIRST);
    child.kill().unwrap();
    child.wait().unwrap();
    fs::write(stage.at(FIRST), "by the administrator\n").unwrap();
    stage
}

#[test]
fn every_command_tells_once_that_it_recovered_before_it_did_its_work_or_refused_it() {
    let lines = [
        "confirm -R @ROOT@",
        "adopt -R @ROOT@ --forget --pkg NOPE",
        "undo-data drop -R @ROOT@ 999-01",
        "undo-data drop -R @ROOT@ 50-01",
        "undo-data repack --undo-format Z -R @ROOT@ 50-01",
        "undo-data export -R @ROOT@ -o @ROOT@.undo 999-01",
        "undo-data export -R @ROOT@ -o @ROOT@.undo 50-01",
        "libs prune -R @ROOT@ NOPE",
        "libs prune -R @ROOT@",
        "key trust -R @ROOT@ @ROOT@/release.pub",
        "key revoke -R @ROOT@ 0123456789ABCDEF",
        "remove -R @ROOT@ 999-01",
        "remove -R @ROOT@ 50-01",
        "add -R @ROOT@ delivered/100-01",
        "undo -R @ROOT@",
        "undo -R @ROOT@ 2",
        "recover -R @ROOT@",
        "recover -R @ROOT@ --adopt-undo",
        "patchrm -R @ROOT@ 999-01",
        "pkgrm -n -R @ROOT@ NOPE",
        "pkgrm -n -R @ROOT@ ACMEweb",
        "removef -R @ROOT@ ACMEweb /opt/ACMEweb/bin/none",
    ];
    for line in lines.iter().flat_map(|line| [(*line).to_owned(), format!("{line} --json")]) {
        let stage = killed(ADD, REMOVE);
        let said = stage.run(&line);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(!all.to_lowercase().contains("nothing was changed"), "{line}: {all}");
        assert!(all.contains("that version is kept as "), "{line}: {all}");
        if line.ends_with("--json") {
            let document: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
            let recovered = document["recovered"].as_str().unwrap_or_default();
            assert!(recovered.contains(" was rolled back: "), "{line}: {all}");
        } else {
            assert_eq!(all.matches(" was rolled back: ").count(), 1, "{line}: {all}");
            assert_eq!(all.matches("that version is kept as ").count(), 1, "{line}: {all}");
        }
    }
}

#[test]
fn an_undo_that_was_killed_is_done_when_it_is_asked_for_again() {
    let undo = "undo -R @ROOT@";
    let stage = killed(undo, ADD);
    let plan = stage.run("undo -n -R @ROOT@");
    assert!(plan.code == 0 && plan.stdout.contains("100-01: would be removed"), "{plan:?}");
    let plan = stage.run("plan -R @ROOT@ delivered/100-01");
    assert!(plan.stderr.contains("that version will be kept as "), "{plan:?}");
    let said = stage.run(undo);
    assert!(said.code == 0 && said.stderr.contains(" was rolled back: "), "{said:?}");
    assert_eq!(stage.text(FIRST), "first of 0\n");
    let listed: serde_json::Value =
        serde_json::from_str(&stage.run("history -R @ROOT@ --json").ok()).unwrap();
    for run in listed["runs"].as_array().unwrap() {
        assert_eq!(run.get("duration_ms").is_some(), run["result"] == "done", "{run}");
    }
}
