//! Misbehaving checks of a run: each costs one line, nothing is lost, and nobody is kept waiting.

use std::fs;
use std::process::{Command, Stdio};

use patchadm_core::operation::trial::{TrialCheckRequest, TrialOutcomeEnd, TrialRequest, guard_run};
use patchadm_rootfs::Root;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::Before;
use crate::reliability::stories::with_caller;
use crate::scenario::{Run, Scenario};
use crate::trial::{history, is_on_trial, last_end, record};
use crate::workshop::{eventually, runs};

const HTTPD: &str = "/opt/ACMEweb/bin/httpd";

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

fn stage() -> Scenario {
    let stage = Scenario::with(&[web("base\n")]);
    Patch::of("100-01", web("100-01\n")).directory(&stage);
    stage
}

/// Applies 100-01 with this command as its check.
fn checked(stage: &Scenario, options: &str, check: &str) -> Run {
    let mut command = stage.command(&format!("add {options} -R @ROOT@ delivered/100-01"));
    let done = command.arg("--probe").arg(check).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: done.status.code().unwrap(), stdout: text(done.stdout), stderr: text(done.stderr) }
}

/// Asserts that a check backs out, and that one line tells why.
#[track_caller]
fn backs_out(options: &str, check: &str, told: &str) -> Run {
    let stage = stage();
    let before = Before::of(&stage);
    let said = checked(&stage, options, check);
    assert_eq!(said.code, 7, "{check}: {said:?}");
    assert_eq!(said.stdout.matches(told).count(), 1, "{check}: {said:?}");
    assert!(!is_on_trial(&stage), "{check}");
    assert_eq!(last_end(&stage), "failed", "{check}");
    before.assert_again(&stage, check);
    said
}

#[test]
fn a_check_that_is_not_there_backs_out() {
    let said = backs_out("", "/no/such/check", "the probe exited with code 127");
    assert!(said.stdout.contains("/no/such/check"), "the shell says what it misses: {said:?}");
    backs_out("", "/etc", "the probe exited with code 126");
    backs_out("", "if then", "the probe exited with code 2");
}

#[test]
fn a_check_that_hangs_is_killed_with_all_that_it_started() {
    let stage = stage();
    let before = Before::of(&stage);
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    let run = record(&stage)["run"].as_str().unwrap().to_owned();
    let file = stage.beside("started");
    // It ignores signals, too.
    let command = format!(
        "trap '' TERM INT HUP; sh -c 'echo $$ > {}; exec sleep 600' & while :; do sleep 1; done",
        file.display()
    );
    // A check from the command line has a minute.
    let check = Some(TrialCheckRequest { command, limit: 1 });
    let request = TrialRequest { check, ..TrialRequest::default() };
    let root = Root::open(&stage.root()).unwrap();
    let outcome = with_caller(|caller| guard_run(&root, &run, &request, caller, &|_| {}));
    let outcome = outcome.unwrap().unwrap();
    assert!(matches!(outcome.end, TrialOutcomeEnd::BackedOut), "{outcome:?}");
    assert_eq!(outcome.check.unwrap().end.clause(), "did not end within 1 seconds");
    assert_eq!(last_end(&stage), "failed");
    before.assert_again(&stage, "it is backed out");
    let started = fs::read_to_string(&file).unwrap_or_default();
    eventually("nothing of the check goes on", || !runs(&started));
}

#[test]
fn a_check_that_leaves_a_daemon_with_its_pipes_is_not_waited_for() {
    for (code, end, told) in [(0, "confirmed", ""), (3, "failed", "the probe exited with code 3")] {
        let stage = stage();
        let file = stage.beside("daemon");
        // The daemon has left the process group, holds both outputs, and would go on for a long time.
        let daemon = format!("setsid sh -c 'echo $$ > {0}; exec sleep 600' &", file.display());
        let wait = format!("until [ -s {} ]; do sleep 0.01; done", file.display());
        let said = checked(&stage, "", &format!("{daemon} {wait}; exit {code}"));
        let daemon = fs::read_to_string(&file).unwrap();
        let goes_on = runs(&daemon);
        Command::new("sh").args(["-c", "kill $0", daemon.trim()]).status().unwrap();
        assert!(goes_on, "it is the end of the check that counts");
        assert_eq!(said.code, if code == 0 { 0 } else { 7 }, "{said:?}");
        assert!(said.stdout.contains(told), "{said:?}");
        assert_eq!(last_end(&stage), end);
    }
}

#[test]
fn a_check_that_writes_a_gigabyte_is_stopped_at_its_first_mebibyte() {
    let said = backs_out("", "head -c 1000000000 /dev/zero", "the probe wrote more than 1 MiB");
    assert!(said.stdout.len() < 100_000, "{} bytes are told", said.stdout.len());
    backs_out("", "yes '' | head -c 1000000000 >&2", "the probe wrote more than 1 MiB");
}

#[test]
fn what_a_check_writes_is_told_as_text_of_twenty_lines() {
    let said =
        backs_out("", "seq 1 50; printf 'odd \\033[31m \\377\\n'; exit 1", "the probe exited with code 1");
    assert!(!said.stdout.contains('\u{1b}'), "no terminal is told to do anything: {said:?}");
    assert!(said.stdout.contains("  50\n") && !said.stdout.contains("  31\n"), "{said:?}");
    assert!(said.stdout.contains("  32\n"), "{said:?}");
}

#[test]
fn a_check_is_run_as_the_caller_with_the_path_of_the_root_and_without_input_or_lock() {
    let stage = stage();
    let patchadm = env!("CARGO_BIN_EXE_patchadm");
    let check = format!(
        "test -d \"$PATCHADM_ROOT/var/sadm\" && test -z \"$(cat)\" && test \"$(id -u)\" = {} && \
         {patchadm} -R \"$PATCHADM_ROOT\" confirm --wait 0",
        rustix::process::geteuid().as_raw()
    );
    let said = checked(&stage, "--trial 1h", &check);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!is_on_trial(&stage), "the check could take the lock");
    assert_eq!((stage.text(HTTPD).as_str(), last_end(&stage).as_str()), ("100-01\n", "confirmed"));
}

#[test]
fn a_check_that_undoes_the_run_itself_has_undone_it() {
    let stage = stage();
    let before = Before::of(&stage);
    let check = format!("{} -R \"$PATCHADM_ROOT\" undo && exit 1", env!("CARGO_BIN_EXE_patchadm"));
    let said = checked(&stage, "", &check);
    assert_eq!(said.code, 7, "{said:?}");
    let ends: Vec<_> = history(&stage).into_iter().filter(|line| line["trial_end"].is_object()).collect();
    assert_eq!((ends.len(), &ends[0]["trial_end"]["end"]), (1, &"undone".into()), "{ends:?}");
    before.assert_again(&stage, "once is enough");
}

#[test]
fn every_verb_with_a_probe_ends_with_7_if_it_fails_and_patchadd_with_75() {
    for verb in ["add", "patchadd", "update"] {
        let stage = stage();
        let before = Before::of(&stage);
        let line = match verb {
            "update" => "update -R @ROOT@ -M delivered".to_owned(),
            verb => format!("{verb} -R @ROOT@ delivered/100-01"),
        };
        let run = |check: &str| {
            let done = stage.command(&line).args(["--probe", check]).output().unwrap();
            (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
        };
        let (code, said) = run("exit 1");
        assert_eq!(code, Some(if verb == "patchadd" { 75 } else { 7 }), "{verb}: {said}");
        before.assert_again(&stage, verb);
        assert_eq!(run("exit 0").0, Some(0), "{verb}");
        assert!(!is_on_trial(&stage));
        assert_eq!((stage.text(HTTPD).as_str(), last_end(&stage).as_str()), ("100-01\n", "confirmed"));
    }
}

#[test]
fn the_history_says_why_a_run_was_reverted_and_what_reverted_it() {
    let stage = stage();
    assert_eq!(checked(&stage, "", "echo no answer; exit 3").code, 7);
    let number = |back: usize| {
        let lines = history(&stage);
        lines[lines.len() - back]["run"].as_str().unwrap().split('-').next().unwrap().to_owned()
    };
    let run = stage.run(&format!("history -R @ROOT@ {}", number(2))).ok();
    assert!(run.contains("Result: reverted: the probe exited with code 3\n"), "{run}");
    assert!(run.contains("Trial: of the probe, until "), "{run}");
    let revert = stage.run(&format!("history -R @ROOT@ {}", number(1))).ok();
    assert!(revert.contains("Command: backout of the failed trial of run "), "{revert}");
    let table = stage.run("history -R @ROOT@").ok();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let told: Vec<(&str, bool)> =
        rows.iter().rev().take(2).map(|row| (row[4], row.contains(&"reverted"))).collect();
    assert_eq!(told, [("revert", false), ("add", true)], "{table}");
    assert!(table.contains(": the probe exited with code 3)\n") && !table.contains("patchrm"), "{table}");
}

#[test]
fn a_short_trial_tells_the_second_of_its_end() {
    let moment = regex::Regex::new(r"on trial until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b").unwrap();
    for (duration, has_seconds) in [("20", true), ("59m", true), ("1h", false)] {
        let stage = stage();
        let said = stage.run(&format!("add --trial {duration} -R @ROOT@ delivered/100-01")).ok();
        let status = stage.run("status -R @ROOT@").ok();
        assert_eq!(moment.is_match(&said), has_seconds, "{duration}: {said}");
        assert!(!has_seconds || moment.is_match(&status) || status.contains("expired"), "{status}");
        stage.run("undo --wait 20 -R @ROOT@").done();
    }
}

#[test]
fn a_command_during_a_probe_waits_for_it_or_is_busy() {
    let stage = stage();
    let tool = Package::new("ACMEweb").file("bin/tool", 0o755, "tool\n");
    Patch::of("200-01", tool).directory(&stage);
    let (begun, go) = (stage.beside("begun"), stage.beside("go"));
    let probe = format!("touch {}; until [ -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    let mut probing = stage.command("add -R @ROOT@ delivered/100-01");
    let mut probing = probing.args(["--probe", probe.as_str()]).stdout(Stdio::null()).spawn().unwrap();
    eventually("the probe has begun", || begun.exists());
    let said = stage.run("add -R @ROOT@ delivered/200-01").fails(6);
    assert!(said.contains("is locked by the probe of run "), "{said}");
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains("on trial; its probe is running"), "{status}");
    assert!(!status.contains("on trial until") && !status.contains("confirm"), "{status}");
    let mut waiting = stage.command("update --wait 1m -R @ROOT@ -M delivered 200-01");
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fs::write(&go, "").unwrap();
    assert!(probing.wait().unwrap().success());
    let waited = waiting.wait_with_output().unwrap();
    let said = [waited.stdout, waited.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(waited.status.success() && !said.contains("on trial"), "the probe is over: {said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/tool"), "tool\n");
    // A trial that waits for a confirmation is not over by itself.
    stage.run("remove -R @ROOT@ 200-01 100-01").ok();
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    stage.run("add --wait 1s -R @ROOT@ delivered/200-01").fails(3);
    stage.run("undo -R @ROOT@").ok();
}

#[test]
fn verbs_that_keep_no_undo_data_take_no_trial() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let before = stage.everything();
    for line in [
        "remove --trial 1h -R @ROOT@ 100-01",
        "undo --trial 1h -R @ROOT@",
        "remove --probe true -R @ROOT@ 100-01",
    ] {
        stage.run(line).fails(2);
    }
    stage.run("patchrm --trial 1h -R @ROOT@ 100-01").fails(1);
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn a_failed_check_whose_run_cannot_go_back_is_told_and_kept_only_despite_that() {
    let stage = stage();
    let spoil = "for archive in \"$PATCHADM_ROOT\"/var/sadm/pkg/ACMEweb/save/100-01/undo.*; do : > \"$archive\"; done; exit 1";
    let said = checked(&stage, "--trial 1h", spoil);
    assert_ne!(said.code, 0, "{said:?}");
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains("probe failed, backout pending: "), "{status}");
    assert!(status.contains("Next         `patchadm -R @ROOT@ recover`"), "{status}");
    assert!(!status.contains("confirm"), "{status}");
    stage.run("recover --wait 20 -R @ROOT@").fails(1);
    let said = stage.run("confirm --wait 20 -R @ROOT@").fails(1);
    assert!(said.contains("confirm --despite-failure`"), "{said}");
    stage.run("confirm --wait 20 --despite-failure -R @ROOT@").ok();
    assert_eq!((stage.text(HTTPD).as_str(), last_end(&stage).as_str()), ("100-01\n", "confirmed"));
}
