//! Impossible arguments of the verb, and directories that it does not use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::process::Signal;

use super::{BulkBuild, BulkRun, mark, processes_with, signal_until_ended};
use crate::scenario::is_root;
use crate::workshop::eventually;

#[test]
fn wrong_arguments_and_settings_are_refused_and_nothing_starts() {
    let Some(build) = BulkBuild::of_recipes("wrong_arguments…", !is_root(), "slot=local 1\n") else {
        return;
    };
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    let tree = build.tree().display().to_string();
    let conf = fs::read_to_string(build.work().join("bulk.conf")).unwrap();
    for (line, code, why) in [
        ("", 2, ""),
        ("dance @WORK@", 2, "dance"),
        ("run", 2, "WORK"),
        ("run @WORK@ nothing", 4, "nothing"),
        ("run @WORK@ good-2.0", 4, "good-2.0"),
        ("run @WORK@ --jobs 0", 2, "0"),
        ("run @WORK@ --rebuild", 2, "--rebuild"),
        ("run @WORK@/nowhere", 1, "nowhere"),
        ("run @WORK@/pool", 1, "bulk.conf"),
        ("log @WORK@ good-1.0", 4, "there is no log of good-1.0"),
        ("log @WORK@ ../../id", 4, "there is no log"),
        ("init @WORK@ --tree /", 3, "not empty"),
        ("init @WORK@", 2, "--tree"),
    ] {
        let said = build.action(line).fails(code);
        assert!(said.contains(why), "<{line}>: {said}");
    }
    for (lines, code, why) in [
        ("slots=local 2\n", 1, "slot"),
        ("time=1x\n", 1, "time"),
        ("check=none\ncheck=none\n", 1, "check"),
        (&format!("pool={tree}/pool\n"), 1, "pool"),
        ("nonsense\n", 1, ""),
    ] {
        build.set(lines);
        let line = 1 + conf.lines().count() + lines.lines().count() - 1;
        let said = build.action("run @WORK@").fails(code);
        assert!(said.contains(why), "<{lines}>: {said}");
        if !lines.starts_with("pool") {
            assert!(said.contains(&format!("line {line}")), "<{lines}>: {said}");
        }
        fs::write(build.work().join("bulk.conf"), &conf).unwrap();
    }
    assert_eq!(build.journal(1).len(), 0);
    fs::set_permissions(build.work(), fs::Permissions::from_mode(0o777)).unwrap();
    build.action("run @WORK@").fails(3);
    fs::set_permissions(build.work(), fs::Permissions::from_mode(0o755)).unwrap();
    build.run("good").ends(0);
}

#[test]
fn one_run_at_a_time_and_what_was_interrupted_goes_on() {
    let mark = mark();
    let settings = format!("slot=local 2\ncheck=none\nenv=MARK={mark}\n");
    let Some(build) = BulkBuild::of_recipes("one_run_at_a_time…", !is_root(), &settings) else { return };
    build.recipe("quick", "", "mkdir $DESTDIR/opt\n");
    build.recipe("slow", "", "echo begun\n[ -e $TREE/go ] || sleep 1000\nmkdir $DESTDIR/opt\n");
    build.recipe("user", "ALL_DEPENDS=slow-[0-9]*\n", "mkdir $DESTDIR/opt\n");
    let mut running = build.running("").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = build.work().join("runs/1/logs/slow-1.0.log");
    eventually("the slow one has begun, the quick one is done", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("begun"))
            && build.journal(1).iter().any(|line| line["package"] == "quick-1.0" && line["state"] == "done")
    });
    assert!(!processes_with(&mark).is_empty());
    let said = build.action("run @WORK@").fails(6);
    assert!(said.contains(&running.id().to_string()), "{said}");
    // Readers need no lock.
    assert_eq!(build.log("slow-1.0"), "begun\n");

    signal_until_ended(&mut running, Signal::INT);
    let interrupted = running.wait_with_output().unwrap();
    BulkRun::of(&interrupted).ends(130);
    build.assert_nothing_left(&mark);

    build.write("go", "");
    let run = build.run("").ends(0);
    assert_eq!((run.report["run"].as_u64(), run.report["continued"].as_bool()), (Some(1), Some(true)));
    assert_eq!(run.in_state("done"), ["quick", "slow", "user"]);
    assert_eq!(build.started(1).iter().filter(|package| *package == "quick-1.0").count(), 1);
}

#[test]
fn an_action_that_writes_waits_for_another_one_as_long_as_it_is_told_to() {
    let Some(build) = BulkBuild::of_recipes("an_action_that_writes…", !is_root(), "slot=local 1\n") else {
        return;
    };
    build.recipe("slow", "", "until [ -e $TREE/go ]; do sleep 0.1; done; mkdir $DESTDIR/opt\n");
    let running = build.running("").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the build begins", || !build.started(1).is_empty());
    let holder = format!("process {} (bulk)", running.id());
    let waiting = ["run", "scan", "patches", "report", "release", "prune"].map(|action| {
        let run = if action == "release" { "1" } else { "" };
        let mut command = build.command(&format!("{action} {} {run} --wait 1", build.work().display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        (action, command.spawn().unwrap())
    });
    for (action, waiting) in waiting {
        let output = waiting.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{action}: {said}");
        assert!(said.contains(&format!("waiting for {holder} to finish")), "{action}: {said}");
    }
    let mut waiting = build.command(&format!("scan {} --wait 60", build.work().display()));
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    build.write("go", "");
    BulkRun::of(&running.wait_with_output().unwrap()).ends(0);
    let waited = waiting.wait_with_output().unwrap();
    assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    assert!(String::from_utf8_lossy(&waited.stdout).contains("1 packages"));
}

#[test]
fn a_list_says_what_is_wanted_and_only_that_of_the_settings_gives_a_set() {
    let Some(build) = BulkBuild::of_recipes("a_list…", !is_root(), "slot=local 1\n") else { return };
    for name in ["one", "two", "three"] {
        build.recipe(name, "", &format!("mkdir $DESTDIR/opt; echo {name} > $DESTDIR/opt/{name}\n"));
    }
    let list = build.work().join("names");
    fs::write(&list, "# some\none\ntwo-1.0 # this one, too\n").unwrap();
    let named = build.run(&format!("--list {}", list.display())).ends(0);
    assert_eq!(named.states(), ["one-1.0 done", "two-1.0 done"]);
    assert!(named.report["set"].is_null());
    build.set(&format!("list={}\n", list.display()));
    let all = build.run("").ends(0);
    assert_eq!(all.in_state("up-to-date"), ["one", "two"]);
    assert_eq!(all.report["set"]["packages"], 2);
    fs::write(&list, "# nothing\n").unwrap();
    build.run("").ends(1);
}

#[test]
fn a_recipe_that_changes_while_it_is_built_has_no_result_and_the_next_run_builds_it() {
    let Some(build) = BulkBuild::of_recipes("a_recipe_that_changes…", !is_root(), "slot=local 1\n") else {
        return;
    };
    let script =
        "while [ ! -e $TREE/changes/go ]; do sleep 0.1; done; mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/x\n";
    build.recipe("changes", "", script);
    let mut running = build.running("changes").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the build begins", || !build.started(1).is_empty());
    build.write("changes/go", "");
    assert_eq!(running.wait().unwrap().code(), Some(5));
    let again = build.run("changes").ends(0);
    assert_eq!(again.states(), ["changes-1.0 done"]);
    assert!(build.log("changes-1.0").contains("was successful"), "{}", build.log("changes-1.0"));
}
