//! `patchadm stage drop` removes the stage and nothing else, and only if nobody is inside.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::{StagedRoot, run};
use crate::mounts::Mounted;
use crate::reliability::hostile_roots::killed_at;
use crate::scenario::Scenario;
use crate::workshop::eventually;

#[test]
fn everything_that_was_ever_mounted_inside_survives() {
    for staged in StagedRoot::for_everybody("everything_that_was_ever_mounted…") {
        let places = ["srv/read", "srv/written", "srv/behind-link"];
        for place in places {
            fs::create_dir_all(staged.scenario.at(place)).unwrap();
            fs::write(staged.scenario.at(place).join("canary"), "alive").unwrap();
        }
        symlink(staged.scenario.at("/srv/behind-link"), staged.stage().join("opt/web/link")).unwrap();
        let at = |place: &str| staged.scenario.at(place).display().to_string();
        let options = format!(
            "--view stage --mount {}:/a --mount rw:{}:/b --mount rw:{}:/opt/web/inner",
            at("srv/read"),
            at("srv/written"),
            at("srv/behind-link")
        );
        let said = staged.script(&options, "cat /a/canary /b/canary /opt/web/inner/canary");
        assert_eq!(said.ok(), "alivealivealive");
        let before = staged.scenario.everything();
        let said = run(&staged.scenario, staged.action("drop", "--json"));
        let document: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((said.code, document["command"].as_str()), (0, Some("stage drop")), "{}", said.stderr);
        assert!(document["removed"].as_u64().unwrap() > 10);
        assert!(!staged.stage().exists());
        assert_eq!(staged.scenario.everything(), before);
        assert_eq!(run(&staged.scenario, staged.action("drop", "")).code, 4);
    }
}

#[test]
fn nobody_removes_a_stage_with_somebody_inside() {
    for staged in StagedRoot::for_everybody("nobody_removes_a_stage…") {
        let mut inside = staged.entering("", &["sh", "-c", "echo begun; read end"]);
        let mut inside = inside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 6];
        std::io::Read::read_exact(inside.stdout.as_mut().unwrap(), &mut first).unwrap();
        for options in ["", "--force"] {
            let said = run(&staged.scenario, staged.action("drop", options)).fails(6);
            assert!(said.contains("is in use"), "{said}");
        }
        assert_eq!(staged.staged_text("opt/web/bin/httpd"), "staged\n");
        drop(inside.stdin.take());
        inside.wait().unwrap();
        assert_eq!(run(&staged.scenario, staged.action("drop", "")).code, 0);
    }
}

#[test]
fn the_first_process_keeps_a_stage_when_its_supervisor_is_stopped() {
    use rustix::process::{Pid, Signal, kill_process};
    let Some(staged) = StagedRoot::for_caller("the_first_process_keeps…") else { return };
    let mut inside = staged.entering("", &["sh", "-c", "echo begun; read end"]);
    let mut inside = inside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 6];
    std::io::Read::read_exact(inside.stdout.as_mut().unwrap(), &mut first).unwrap();
    let pid = Pid::from_raw(i32::try_from(inside.id()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    assert_eq!(run(&staged.scenario, staged.action("drop", "")).code, 6);
    kill_process(pid, Signal::KILL).unwrap();
    inside.wait().unwrap();
    eventually("nobody is inside", || run(&staged.scenario, staged.action("drop", "")).code == 0);
}

#[test]
fn a_mount_below_a_stage_is_named_and_nothing_is_removed() {
    let test = "a_mount_below_a_stage…";
    let staged = StagedRoot::new(false);
    fs::create_dir_all(staged.stage().join("opt/web/mnt")).unwrap();
    fs::create_dir_all(staged.scenario.at("/srv/data")).unwrap();
    fs::write(staged.scenario.at("/srv/data/canary"), "alive").unwrap();
    let stage = staged.stage();
    let line = format!("stage drop -R @ROOT@ --force {}", stage.display());
    let StagedRoot { scenario, .. } = staged;
    let canary = scenario.at("/srv/data/canary");
    let script = "mount --bind \"$ROOT/srv/data\" \"$BESIDE/theirs/jail/opt/web/mnt\"";
    let Some(mounted) = Mounted::new(test, scenario, script) else { return };
    let expected = "something is mounted below the stage: ";
    // In the namespace of the mount, and from outside of it.
    for said in [mounted.run(&line), mounted.stage().run(&line)] {
        let said = said.fails(3);
        assert!(said.contains(expected) && said.contains("/jail/opt/web/mnt"), "{said}");
    }
    assert!(stage.join("opt/web/bin/httpd").exists() && canary.exists());
}

#[test]
fn an_unfinished_stage_is_removed_although_it_cannot_say_whose_it_is() {
    let staged = StagedRoot::new(false);
    fs::write(staged.stage().join(".patchadm-stage/unfinished"), "").unwrap();
    fs::remove_file(staged.stage().join(".patchadm-stage/identity")).unwrap();
    let said = run(&staged.scenario, staged.action("drop", "")).ok();
    assert!(said.ends_with("objects\n"), "{said}");
    assert!(!staged.stage().exists());
}

/// A root with a tree, and a stage of it made by `stage new`.
fn made_stage() -> Scenario {
    let scenario = Scenario::new();
    for directory in ["usr", "bin", "lib", "lib64", "proc", "dev", "tmp", "build"] {
        scenario.directory(&format!("/{directory}"));
    }
    scenario.file("/opt/web/bin/httpd", "live\n");
    scenario.run("stage new -R @ROOT@ jail --path opt/web --dir build").ok();
    scenario
}

#[test]
fn a_stage_is_made_entered_listed_and_dropped() {
    let test = "a_stage_is_made_entered_listed_and_dropped";
    if StagedRoot::for_caller(test).is_none() {
        return;
    }
    let scenario = made_stage();
    let line = format!("stage enter -R @ROOT@ {} jail", super::PROGRAMS);
    let mut inside = scenario.command(&line);
    inside.args([
        "--",
        "sh",
        "-c",
        "echo begun; echo new > /opt/web/new; echo out > /build/out; read end; exit 0",
    ]);
    let mut inside = inside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 6];
    std::io::Read::read_exact(inside.stdout.as_mut().unwrap(), &mut first).unwrap();
    let list = || -> serde_json::Value {
        serde_json::from_str(&scenario.run("stage list --json -R @ROOT@").ok()).unwrap()
    };
    assert_eq!(list()["stages"][0]["inside"], 1);
    scenario.run("stage drop -R @ROOT@ jail").fails(6);
    assert_eq!(list()["stages"][0]["state"], "ok");
    drop(inside.stdin.take());
    assert!(inside.wait().unwrap().success());
    assert_eq!(fs::read_to_string(scenario.beside("jail/opt/web/new")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(scenario.beside("jail/build/out")).unwrap(), "out\n");
    assert_eq!(list()["stages"][0]["inside"], 0);
    scenario.run("stage drop -R @ROOT@ jail").ok();
    assert_eq!(list()["stages"].as_array().unwrap().len(), 0);
    assert!(!scenario.beside("jail").exists() && scenario.at("/opt/web/bin/httpd").exists());
}

#[test]
fn a_stage_that_somebody_removed_by_hand_is_taken_from_the_list_by_its_name() {
    let scenario = made_stage();
    fs::remove_dir_all(scenario.beside("jail")).unwrap();
    assert!(scenario.run("stage list -R @ROOT@").ok().contains("missing"));
    let said = scenario.run("stage drop -R @ROOT@ jail").ok();
    assert!(said.ends_with("jail: removed, 0 objects\n"), "{said}");
    assert_eq!(scenario.run("stage list -R @ROOT@").ok(), "the root has no stages\n");
    scenario.run("stage drop -R @ROOT@ jail").fails(4);
}

#[test]
fn a_drop_that_is_killed_leaves_what_another_one_removes() {
    if !crate::reliability::sigkill::has_strace("a_drop_that_is_killed_leaves_what_another_one_removes") {
        return;
    }
    let mut killed = 0;
    for (call, number) in [
        ("renameat2", 1),
        ("renameat2", 2),
        ("unlinkat", 1),
        ("unlinkat", 2),
        ("unlinkat", 250),
        ("unlinkat", 490),
    ] {
        let scenario = made_stage();
        for number in 0..500 {
            fs::write(scenario.beside(&format!("jail/opt/web/{number}")), "x").unwrap();
        }
        if !killed_at(&scenario, "stage drop -R @ROOT@ jail", call, number) {
            continue;
        }
        killed += 1;
        if scenario.beside("jail").exists() {
            let run = scenario.run("stage drop -R @ROOT@ jail");
            assert_eq!(run.code, 0, "{call} {number}: {}", run.stderr);
            for line in run.stderr.lines() {
                assert!(line.starts_with("note: Removed the leftovers of an interrupted run"), "{line}");
            }
        }
        assert!(!scenario.beside("jail").exists());
        assert!(!scenario.run("stage list -R @ROOT@").ok().contains("ok"));
    }
    assert!(killed >= 4, "{killed}");
}
