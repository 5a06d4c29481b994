//! Runs on trial: confirmed, undone, or expired and backed out by the first process that notices.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::advice::type_it;
use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::{Run, Scenario, code_of, is_root};
use crate::workshop::eventually;

const HTTPD: &str = "/opt/ACMEweb/bin/httpd";
pub(crate) const RECORD: &str = "/var/sadm/patchadm/trial/record";

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text).file("bin/tool", 0o755, "tool\n")
}

/// A root with a package, and patches 100-01 and 200-01 in `delivered`.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("base\n")]);
    for id in ["100-01", "200-01"] {
        Patch::of(id, web(&format!("{id}\n"))).directory(&stage);
    }
    stage
}

/// The same, with 100-01 on trial, and what the root was before.
fn on_trial() -> (Scenario, Before) {
    let stage = stage();
    let before = Before::of(&stage);
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    (stage, before)
}

/// The record of the trial, as JSON.
pub(crate) fn record(stage: &Scenario) -> Value {
    serde_json::from_str(&stage.text(RECORD)).unwrap()
}

/// Kills the process that waits for the end of the trial, so that another one ends it.
pub(crate) fn kill_waiter(stage: &Scenario) -> bool {
    let mut is_killed = false;
    let root = stage.root().canonicalize().unwrap();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
        let is_waiter =
            words.contains(&&b"__trial"[..]) && words.contains(&root.as_os_str().as_encoded_bytes());
        let number = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(number) = number.filter(|_| is_waiter) {
            // It may have ended meanwhile. The command line of a dying process is empty.
            is_killed |= kill_process(number, Signal::KILL).is_ok();
            while fs::read(process.path().join("cmdline")).is_ok_and(|words| !words.is_empty()) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    is_killed
}

/// Does the same, also to a process that has just begun and cannot be identified by its command line yet.
fn kill_starting_waiter(stage: &Scenario) {
    for _ in 0..100 {
        if kill_waiter(stage) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Changes the record as a reboot or the passing of time would.
fn change_record(stage: &Scenario, change: impl Fn(&mut Value)) {
    kill_starting_waiter(stage);
    fs::write(stage.at(RECORD), changed(&stage.text(RECORD), change)).unwrap();
}

/// The text of the record after a change.
fn changed(text: &str, change: impl Fn(&mut Value)) -> String {
    let mut record: Value = serde_json::from_str(text).unwrap();
    change(&mut record);
    // The fields keep their order: only values are exchanged.
    let fields = [
        "trial",
        "run",
        "patches",
        "seconds",
        "until",
        "boot",
        "monotonic",
        "guards_check",
        "reboots",
        "boots",
        "stuck",
    ];
    let fields: Vec<String> = fields.iter().map(|name| format!("\"{name}\":{}", record[name])).collect();
    format!("{{{}}}\n", fields.join(","))
}

/// Shortens the trial to ten seconds, and moves its beginning `earlier` milliseconds back.
fn shorten(record: &mut Value, earlier: u64) {
    let began = record["monotonic"].as_u64().unwrap();
    record["monotonic"] = began.saturating_sub(earlier).into();
    record["seconds"] = 10.into();
}

/// The text of the record of a trial whose time is up.
pub(crate) fn with_time_up(text: &str) -> String {
    changed(text, |record| shorten(record, 10_000))
}

/// Lets the trial expire. No waiting process can end it first any more.
pub(crate) fn let_it_expire(stage: &Scenario) {
    change_record(stage, |record| record["boot"] = "00000000-0000-0000-0000-000000000000".into());
}

/// Makes the trial expire in a moment, restarts the process that waits for that, and waits until that process has
/// ended the trial.
#[track_caller]
pub(crate) fn let_waiter_end(stage: &Scenario) {
    let mut waiter = waiter(stage);
    change_record(stage, |record| shorten(record, 8_800));
    let until = record(stage)["monotonic"].as_u64().unwrap() + 10_000;
    assert!(waiter.status().unwrap().success());
    let since_boot = clock_gettime(ClockId::Boottime);
    let since_boot = i128::from(since_boot.tv_sec) * 1000 + i128::from(since_boot.tv_nsec) / 1_000_000;
    assert!(since_boot >= i128::from(until), "it lasts its time");
    assert!(!is_on_trial(stage));
    assert_eq!(last_end(stage), "expired");
}

pub(crate) fn is_on_trial(stage: &Scenario) -> bool {
    stage.at(RECORD).exists()
}

pub(crate) fn history(stage: &Scenario) -> Vec<Value> {
    let text = stage.text("/var/sadm/patchadm/history");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn last_end(stage: &Scenario) -> String {
    history(stage).last().unwrap()["trial_end"]["end"].as_str().unwrap_or_default().to_owned()
}

fn json(said: &str) -> Value {
    serde_json::from_str(said).unwrap()
}

#[test]
fn a_trial_is_recorded_and_confirmed_by_name_by_number_and_without_either() {
    for how in ["", "NAME", "NUMBER"] {
        let stage = stage();
        let said = json(&stage.run("add --json --trial 10m -R @ROOT@ delivered/100-01").ok());
        let record = record(&stage);
        let run = record["run"].as_str().unwrap().to_owned();
        assert_eq!((&said["trial"]["run"], &said["trial"]["state"]), (&record["run"], &"on-trial".into()));
        assert_eq!(said["trial"]["until"], "2026-11-20T07:10:00Z");
        assert_eq!((&record["seconds"], &record["patches"]), (&600.into(), &vec!["100-01"].into()));
        let line = history(&stage).pop().unwrap();
        assert_eq!((&line["run"], &line["trial"]["until"]), (&record["run"], &"2026-11-20T07:10:00Z".into()));
        let word = match how {
            "NAME" => run.as_str(),
            "NUMBER" => run.split('-').next().unwrap(),
            _ => "",
        };
        let said = stage.run(&format!("confirm -R @ROOT@ {word}")).ok();
        assert_eq!(said, format!("run {run} is confirmed: 100-01\n"));
        assert!(!is_on_trial(&stage));
        assert_eq!(stage.text(HTTPD), "100-01\n");
        let line = history(&stage).pop().unwrap();
        assert_eq!((&line["command"], &line["trial_end"]["run"]), (&"confirm".into(), &record["run"]));
        assert_eq!(last_end(&stage), "confirmed");
        stage.run("add -R @ROOT@ delivered/200-01").ok();
    }
}

#[test]
fn what_is_not_on_trial_is_not_confirmed() {
    let stage = stage();
    let said = stage.run("confirm -R @ROOT@").fails(4);
    assert!(said.contains("no run is on trial"), "{said}");
    assert!(
        said.contains("hint: `patchadm -R @ROOT@ history` lists the runs, and those that were reverted"),
        "{said}"
    );
    stage.run("add -R @ROOT@ delivered/200-01").ok();
    let said = stage.run("confirm -R @ROOT@ 1").fails(4);
    assert!(said.contains("run 1 is not on trial"), "{said}");
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    let said = stage.run("confirm -R @ROOT@ 1").fails(4);
    assert!(said.contains("run 1 is not on trial"), "{said}");
    stage.run("confirm -R @ROOT@").ok();
    let before = stage.everything();
    stage.run("confirm -R @ROOT@").fails(4);
    let run = history(&stage).pop().unwrap()["trial_end"]["run"].as_str().unwrap().to_owned();
    stage.run(&format!("confirm -R @ROOT@ {run}")).fails(4);
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn a_run_on_trial_is_undone_and_then_it_is_too_late_to_confirm_it() {
    let (stage, before) = on_trial();
    let run = record(&stage)["run"].as_str().unwrap().to_owned();
    stage.run(&format!("undo -R @ROOT@ {run}")).ok();
    before.assert_again(&stage, "everything is as before");
    assert!(!is_on_trial(&stage));
    assert_eq!(last_end(&stage), "undone");
    for word in ["", run.as_str()] {
        let said = stage.run(&format!("confirm -R @ROOT@ {word}")).fails(7);
        assert!(
            said.contains(&format!("the trial of run {run} has ended: it was reverted (undone)")),
            "{said}"
        );
    }
}

#[test]
fn the_next_command_that_changes_the_root_ends_a_trial_that_is_over() {
    for line in [
        "add -R @ROOT@ delivered/200-01",
        "recover --wait 20 -R @ROOT@",
        "confirm -R @ROOT@",
        "undo-data drop --superseded -R @ROOT@",
    ] {
        let (stage, before) = on_trial();
        let_it_expire(&stage);
        let said = stage.run(line);
        let late = line.starts_with("confirm");
        assert_eq!(said.code, if late { 7 } else { 0 }, "{line}: {said:?}");
        assert!(!is_on_trial(&stage), "{line}");
        assert_eq!(said.stderr.contains("it was reverted just now"), late, "{line}: {said:?}");
        assert!(!said.stderr.contains("nothing was changed"), "{line}: {said:?}");
        let ends: Vec<Value> =
            history(&stage).into_iter().filter(|line| line["trial_end"]["end"] == "expired").collect();
        let [end] = ends.as_slice() else { panic!("{line}: {ends:?}") };
        assert_eq!((&end["command"], &end["undoes"]), (&"patchrm".into(), &end["trial_end"]["run"]));
        if line.starts_with("add") {
            assert_eq!(stage.text(HTTPD), "200-01\n");
            stage.run("remove -R @ROOT@ 200-01").ok();
        }
        before.assert_again(&stage, line);
    }
}

#[test]
fn a_trial_ends_by_the_time_of_its_boot_whatever_the_clock_says() {
    for (change, ends) in [(0_u64, false), (3_599_000, false), (3_601_000, true)] {
        let (stage, before) = on_trial();
        change_record(&stage, |record| {
            let began = record["monotonic"].as_u64().unwrap();
            // A freshly booted machine has no such past.
            record["monotonic"] = began.saturating_sub(change).into();
            record["until"] = "2016-11-20T07:00:00Z".into();
        });
        if record(&stage)["monotonic"].as_u64() == Some(0) {
            continue;
        }
        let said = stage.run("recover --wait 20 -R @ROOT@").ok();
        assert_eq!(!is_on_trial(&stage), ends, "{change}: {said}");
        if ends {
            before.assert_again(&stage, "it is over");
        }
    }
}

#[test]
fn while_a_run_is_on_trial_nothing_else_changes_the_root() {
    let (stage, _) = on_trial();
    let before = stage.everything();
    for line in [
        "add -R @ROOT@ delivered/200-01",
        "patchadd -R @ROOT@ delivered/200-01",
        "remove -R @ROOT@ 100-01",
        "undo-data drop -R @ROOT@ 100-01",
    ] {
        let said = stage.run(line).fails(code_of(line, 10, 3));
        assert!(said.contains("is on trial until 2026-11-20 08:00"), "{line}: {said}");
        assert!(said.contains("confirm`") && said.contains("undo "), "{line}: {said}");
    }
    let said = json(&stage.run("add --json -R @ROOT@ delivered/200-01").stdout);
    assert_eq!((&said["exit_code"], &said["cause"]), (&3.into(), &"on-trial".into()));
    stage.run("pkgrm -n -R @ROOT@ ACMEweb").fails(1);
    assert!(before.difference(&stage.everything()).is_empty());
    assert_eq!(stage.run("recover --wait 20 -R @ROOT@").code, 0);
    assert!(is_on_trial(&stage));
}

#[test]
fn update_and_missing_name_a_trial_although_nothing_is_missing() {
    let (stage, _) = on_trial();
    stage.run("depot index delivered").ok();
    let reminder = "1 patch is on trial until 2026-11-20 08:00; `patchadm -R @ROOT@ confirm` keeps it";
    for line in [
        "update -R @ROOT@ -M delivered 100-01",
        "update -R @ROOT@ -M delivered --exclude 200-01",
        "update --roots @ROOT@ -M delivered --exclude 200-01",
        "update -R @ROOT@ -M delivered --dry-run --exclude 200-01",
        "missing -R @ROOT@ -M delivered",
    ] {
        let said = stage.run(line).done();
        assert!(said.contains(reminder), "{line}: {said}");
    }
    stage.run("confirm -R @ROOT@").ok();
    let said = stage.run("update -R @ROOT@ -M delivered --exclude 200-01").ok();
    assert!(said.contains("nothing to do") && !said.contains("trial"), "{said}");
}

#[test]
fn undo_data_of_other_patches_is_given_up_beside_a_trial() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/200-01").ok();
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    stage.run("undo-data drop -R @ROOT@ 200-01").ok();
    assert!(is_on_trial(&stage));
    stage.run("undo-data drop -R @ROOT@ 100-01").fails(3);
    stage.run("confirm -R @ROOT@").ok();
    stage.run("undo-data drop -R @ROOT@ 100-01").ok();
}

#[test]
fn several_patches_are_one_trial() {
    let stage = stage();
    let before = Before::of(&stage);
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01 delivered/200-01").ok();
    assert_eq!(record(&stage)["patches"], serde_json::json!(["100-01", "200-01"]));
    let_it_expire(&stage);
    assert_eq!(stage.run("recover --wait 20 -R @ROOT@").code, 0);
    before.assert_again(&stage, "both are gone");
}

#[test]
fn a_patch_with_scripts_goes_on_trial_and_back() {
    let stage = Scenario::with(&[web("base\n")]);
    let scripted = web("100-01\n").information("postinstall", "exit 0\n");
    Patch::of("100-01", scripted).directory(&stage);
    let before = Before::of(&stage);
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    assert!(is_on_trial(&stage));
    assert_eq!(history(&stage).pop().unwrap()["trial"]["until"], "2026-11-20T08:00:00Z");
    let_it_expire(&stage);
    // The waiting process may have come first.
    assert_eq!(stage.run("recover --wait 20 -R @ROOT@").code, 0);
    assert!(!is_on_trial(&stage));
    before.assert_again(&stage, "it is over");
}

#[test]
fn the_policy_puts_every_run_on_trial() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "trial=2h\n");
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    assert_eq!(record(&stage)["seconds"], 7_200);
    stage.run("confirm -R @ROOT@").ok();
    stage.run("add --no-undo -R @ROOT@ delivered/200-01").ok();
    assert!(!is_on_trial(&stage));
}

#[test]
fn durations_and_options_that_make_no_sense_change_nothing() {
    let stage = stage();
    let before = stage.everything();
    for options in [
        "--trial 0",
        "--trial 0s",
        "--trial 9s",
        "--trial 365d",
        "--trial 9",
        "--trial soon",
        "--trial 1h --no-undo",
        "--probe true --no-undo",
        "--trial-reboots 1",
        "--trial 1h --trial-reboots -1",
        "--trial 1h --trial-reboots 101",
        "--probe true --probe-timeout 5",
    ] {
        stage.run(&format!("add {options} -R @ROOT@ delivered/100-01")).fails(2);
    }
    stage.run("patchadd -d --trial 1h -R @ROOT@ delivered/100-01").fails(1);
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn a_record_that_no_run_wrote_is_named_and_nothing_is_changed() {
    type Lie = fn(&mut Value);
    let lies: [(&str, Lie); 5] = [
        ("another version", |record| record["trial"] = 2.into()),
        ("no run", |record| record["run"] = "now".into()),
        ("no patch", |record| record["patches"] = Vec::<String>::new().into()),
        ("a year", |record| record["seconds"] = 31_536_000.into()),
        ("a path", |record| record["patches"] = vec!["../../etc"].into()),
    ];
    for (what, lie) in lies {
        let (stage, _) = on_trial();
        change_record(&stage, lie);
        let before = stage.everything();
        for line in ["add -R @ROOT@ delivered/200-01", "confirm -R @ROOT@", "recover --wait 20 -R @ROOT@"] {
            let said = stage.run(line);
            assert_ne!(said.code, 0, "{what}: {line}");
            assert!(
                said.stderr.contains("/var/sadm/patchadm/trial/record: it is not a record"),
                "{what}: {said:?}"
            );
        }
        assert!(before.difference(&stage.everything()).is_empty(), "{what}");
    }
    let (stage, _) = on_trial();
    let text = stage.text(RECORD);
    fs::write(stage.at(RECORD), &text[..text.len() / 2]).unwrap();
    stage.run("add -R @ROOT@ delivered/200-01").fails(1);
}

#[test]
fn a_record_about_patches_of_another_run_backs_nothing_out() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/200-01").ok();
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    change_record(&stage, |record| record["patches"] = vec!["100-01", "200-01"].into());
    let_it_expire(&stage);
    let before = stage.everything();
    let said = stage.run("recover --wait 20 -R @ROOT@").fails(1);
    assert!(said.contains("patch 200-01 was applied by run"), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn a_trial_that_cannot_go_back_is_stuck_until_it_can_or_is_confirmed() {
    let (stage, before) = on_trial();
    let archive = stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.files");
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    let_it_expire(&stage);
    let said = stage.run("add -R @ROOT@ delivered/200-01").fails(1);
    assert!(said.contains("it cannot be reverted"), "{said}");
    assert_eq!(last_end(&stage), "stuck");
    let lines = history(&stage).len();
    stage.run("recover --wait 20 -R @ROOT@").fails(1);
    assert_eq!(history(&stage).len(), lines, "the same is not told twice");
    assert!(record(&stage)["stuck"].is_string());
    fs::write(&archive, &whole).unwrap();
    assert_eq!(stage.run("recover --wait 20 -R @ROOT@").code, 0);
    before.assert_again(&stage, "the undo data is there again");

    let (stage, _) = on_trial();
    fs::remove_file(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.files")).unwrap();
    let_it_expire(&stage);
    stage.run("recover --wait 20 -R @ROOT@").fails(1);
    let said = stage.run("confirm -R @ROOT@").fails(1);
    assert!(said.contains("confirm --despite-failure`"), "{said}");
    stage.run("confirm --despite-failure -R @ROOT@").ok();
    stage.run("add -R @ROOT@ delivered/200-01").ok();
}

#[test]
fn an_edit_on_trial_is_kept_beside_when_it_goes_back() {
    let (stage, _) = on_trial();
    fs::write(stage.at(HTTPD), "mine\n").unwrap();
    let_it_expire(&stage);
    assert_eq!(stage.run("recover --wait 20 -R @ROOT@").code, 0);
    assert_eq!(stage.text(HTTPD), "base\n");
    let kept = fs::read_dir(stage.at("/opt/ACMEweb/bin")).unwrap();
    let kept: Vec<String> = kept.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    assert!(kept.iter().any(|name| name.starts_with("httpd.edited-")), "{kept:?}");
}

/// Applies 100-01 with this script as its check.
fn checked(stage: &Scenario, options: &str, script: &str) -> Run {
    let check = stage.beside("check");
    fs::write(&check, format!("{script}\n")).unwrap();
    let line = format!("add {options} -R @ROOT@ delivered/100-01");
    let mut command = stage.command(&line);
    let done = command.arg("--probe").arg(format!("exec sh {}", check.display())).output().unwrap();
    Run {
        code: done.status.code().unwrap(),
        stdout: String::from_utf8(done.stdout).unwrap(),
        stderr: String::from_utf8(done.stderr).unwrap(),
    }
}

#[test]
fn a_good_check_confirms_and_with_a_trial_it_does_not() {
    let stage = stage();
    let said = checked(&stage, "", "test \"$(cat \"$PATCHADM_ROOT/opt/ACMEweb/bin/httpd\")\" = 100-01").ok();
    assert!(said.contains("the probe said yes"), "{said}");
    assert!(!is_on_trial(&stage));
    assert_eq!((stage.text(HTTPD).as_str(), last_end(&stage).as_str()), ("100-01\n", "confirmed"));

    let stage = self::stage();
    let said = checked(&stage, "--trial 1h", "exit 0").ok();
    assert!(said.contains("is on trial until 2026-11-20 08:00"), "{said}");
    assert!(is_on_trial(&stage));
}

#[test]
fn a_bad_check_backs_out_and_tells_its_last_lines() {
    for (options, script, told) in [
        ("", "echo it is broken >&2; exit 3", "the probe exited with code 3"),
        ("--trial 1h", "exit 1", "the probe exited with code 1"),
        ("", "kill -9 $$", "the probe was ended by signal 9"),
        ("", "exec /no/such/program", "the probe exited with code 127"),
        ("", "yes", "the probe wrote more than 1 MiB"),
    ] {
        let stage = stage();
        let before = Before::of(&stage);
        let said = checked(&stage, options, script);
        assert_eq!(said.code, 7, "{script}: {said:?}");
        assert!(said.stdout.contains(told), "{said:?}");
        assert!(!script.contains("broken") || said.stdout.contains("  it is broken\n"), "{said:?}");
        assert!(!is_on_trial(&stage));
        assert_eq!(last_end(&stage), "failed");
        before.assert_again(&stage, script);
    }
}

#[test]
fn a_check_says_in_its_document_what_became_of_it() {
    let stage = stage();
    let said = json(&checked(&stage, "--json", "echo no; exit 3").stdout);
    assert_eq!((&said["exit_code"], &said["cause"]), (&7.into(), &"check".into()));
    assert_eq!((&said["result"], &said["changed"]), (&"rolled-back".into(), &false.into()));
    assert_eq!(
        (&said["trial"]["state"], &said["trial"]["check"]["good"]),
        (&"backed-out".into(), &false.into())
    );
    assert_eq!(said["trial"]["check"]["output"], serde_json::json!(["no"]));
}

#[test]
fn a_check_that_kills_its_parent_leaves_a_trial_that_ends() {
    let stage = stage();
    let before = Before::of(&stage);
    let check = stage.beside("check");
    fs::write(&check, "kill -9 $PPID\n").unwrap();
    let mut command = stage.command("add -R @ROOT@ delivered/100-01");
    // The shell becomes the check, whose parent is the program.
    let done = command.arg("--probe").arg(format!("exec sh {}", check.display())).output().unwrap();
    assert_eq!(done.status.code(), None);
    assert!(is_on_trial(&stage));
    assert_eq!(record(&stage)["guards_check"], true);
    stage.run("add -R @ROOT@ delivered/200-01").fails(3);
    let_it_expire(&stage);
    assert_eq!(stage.run("recover --wait 20 -R @ROOT@").code, 0);
    before.assert_again(&stage, "the next command ends it");
}

#[test]
fn somebody_waits_for_the_end_of_a_trial() {
    let (stage, before) = on_trial();
    assert!(is_on_trial(&stage), "the command does not wait itself");
    let_waiter_end(&stage);
    before.assert_again(&stage, "the process that waits ended it");
    stage.run("confirm -R @ROOT@").fails(7);
}

#[test]
fn a_trial_of_each_root_is_its_own() {
    let (one, two) = (stage(), stage());
    let list = one.beside("roots");
    fs::write(&list, format!("{}\n{}\n", one.root().display(), two.root().display())).unwrap();
    let line = format!("add --trial 1h --roots {} delivered/100-01", list.display());
    one.run(&line).ok();
    assert!(is_on_trial(&one) && is_on_trial(&two));
    let_it_expire(&one);
    one.run("recover --wait 20 -R @ROOT@").ok();
    assert!(!is_on_trial(&one) && is_on_trial(&two));
    two.run("confirm -R @ROOT@").ok();
}

#[test]
fn what_a_refusal_says_to_do_is_done_and_accepted() {
    let add = "add -R @ROOT@ delivered/200-01";
    let (stage, _) = on_trial();
    let said = stage.run(add).fails(3);
    type_it(&stage, &said, &[]).ok();
    stage.run(add).ok();

    let (stage, before) = on_trial();
    let archive = stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.files");
    let whole = fs::read(&archive).unwrap();
    fs::remove_file(&archive).unwrap();
    let_it_expire(&stage);
    let said = stage.run(add).fails(1);
    fs::write(&archive, whole).unwrap();
    type_it(&stage, &said, &[]).ok();
    before.assert_again(&stage, "the run is backed out");
    let said = stage.run("confirm -R @ROOT@").fails(7);
    assert!(type_it(&stage, &said, &[]).ok().contains(": expired)"));

    let (stage, _) = on_trial();
    let_it_expire(&stage);
    let said = stage.run("plan -R @ROOT@ delivered/200-01").fails(9);
    type_it(&stage, &said, &[]).ok();
    stage.run("plan -R @ROOT@ delivered/200-01").ok();

    let (stage, _) = on_trial();
    kill_waiter(&stage);
    fs::write(stage.at(RECORD), "nothing\n").unwrap();
    let said = stage.run(add).fails(1);
    assert!(said.contains("remove @ROOT@/var/sadm/patchadm/trial; "), "{said}");
    fs::remove_dir_all(stage.at("/var/sadm/patchadm/trial")).unwrap();
    stage.run(add).ok();
}

#[test]
fn whoever_waits_ends_no_trial_of_another_directory_at_the_path_of_the_root() {
    let (stage, _) = on_trial();
    let mut waiter = waiter(&stage);
    let_it_expire(&stage);
    let aside = stage.beside("aside");
    fs::rename(stage.root(), &aside).unwrap();
    assert!(Command::new("cp").arg("-a").arg(&aside).arg(stage.root()).status().unwrap().success());
    assert!(!waiter.status().unwrap().success());
    assert!(is_on_trial(&stage));
    fs::remove_dir_all(stage.root()).unwrap();
    fs::rename(&aside, stage.root()).unwrap();
    assert!(waiter.status().unwrap().success());
    assert!(!is_on_trial(&stage), "it is the same directory again");
}

#[test]
fn whoever_waits_changes_no_tree_of_somebody_else_and_says_so_in_the_log() {
    if !is_root() {
        crate::skipped("who waits for a tree of somebody else: only root can be refused so");
        return;
    }
    let (stage, _) = on_trial();
    let log = stage.beside("log");
    let socket = UnixDatagram::bind(&log).unwrap();
    let mut waiter = waiter(&stage);
    waiter.env("PATCHADM_EVENTS", format!("syslog:{}", log.display()));
    let_it_expire(&stage);
    chown(stage.at("/var/sadm"), Some(NOBODY), None).unwrap();
    assert!(!waiter.status().unwrap().success());
    assert!(is_on_trial(&stage));
    socket.set_nonblocking(true).unwrap();
    let mut said = vec![0; 1 << 14];
    let size = socket.recv(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..size]).into_owned();
    assert!(said.contains(": the next command will end the trial of run "), "{said}");
    chown(stage.at("/var/sadm"), Some(0), None).unwrap();
    assert!(waiter.status().unwrap().success());
    assert!(!is_on_trial(&stage));
}

/// The processes that wait for the end of the trial of a root.
pub(crate) fn waiters(stage: &Scenario) -> Vec<PathBuf> {
    let root = stage.root().canonicalize().unwrap();
    let is_waiter = |process: &PathBuf| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
        words.contains(&&b"__trial"[..]) && words.contains(&root.as_os_str().as_encoded_bytes())
    };
    fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(is_waiter).collect()
}

/// The command line of the process that waits for the end of the trial, as a command.
pub(crate) fn waiter(stage: &Scenario) -> Command {
    eventually("somebody waits for the end of the trial", || waiters(stage).len() == 1);
    let words = fs::read(waiters(stage)[0].join("cmdline")).unwrap();
    let words = words.split(|&byte| byte == 0).skip(1).filter(|word| !word.is_empty());
    let mut command = stage.command("");
    command.args(words.map(OsStr::from_bytes)).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn whoever_waits_for_a_trial_holds_nothing_of_the_root_and_goes_with_it() {
    for end in ["confirm", "undo"] {
        let (stage, _) = on_trial();
        let end = format!("{end} -R @ROOT@ {}", record(&stage)["run"].as_str().unwrap());
        let waiter = loop {
            match &waiters(&stage)[..] {
                [waiter] => break waiter.clone(),
                _ => thread::sleep(Duration::from_millis(10)),
            }
        };
        let root = stage.root().canonicalize().unwrap();
        let holds_root = || {
            let held = fs::read_dir(waiter.join("fd")).unwrap().flatten();
            held.filter_map(|link| fs::read_link(link.path()).ok()).any(|path| path.starts_with(&root))
        };
        // It opens the root for a moment to read the record.
        while holds_root() {
            thread::sleep(Duration::from_millis(10));
        }
        stage.run(&end).ok();
        while !waiters(&stage).is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn an_undo_counts_the_same_bytes_whether_the_run_was_on_trial_or_not() {
    for trial in ["", "--trial 1h"] {
        let stage = stage();
        stage.run(&format!("add {trial} -R @ROOT@ delivered/100-01")).ok();
        if !trial.is_empty() {
            stage.run("confirm -R @ROOT@").ok();
        }
        let said = stage.run("undo -R @ROOT@").ok();
        assert!(said.contains("; 5 bytes)"), "{trial}: {said}");
    }
}
