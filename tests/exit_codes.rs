//! The exit codes of verbs, with a test for each: the same number means the same in every verb. The classic commands
//! keep their own.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::locked::hold;
use crate::packages::Package;
use crate::scenario::Scenario;

const HTTPD: &str = "/opt/ACMEweb/bin/httpd";

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

/// A root with one package, patches for it that apply and that do not, and a patch for a missing package.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("base\n")]);
    Patch::of("100-01", web("one\n")).directory(&stage);
    Patch::of("100-02", web("two\n")).directory(&stage);
    Patch::of("200-01", web("x\n")).says("SUNW_REQUIRES", "999-01").directory(&stage);
    Patch::of("300-01", Package::new("ACMEdb").file("db", 0o644, "x\n")).directory(&stage);
    stage
}

/// Runs each line, which must end with this code and leave the root as it was.
#[track_caller]
fn each_ends(stage: &Scenario, code: i32, lines: &[&str]) {
    let before = stage.everything();
    for line in lines {
        let run = stage.run(line);
        assert_eq!(run.code, code, "{line}: {}{}", run.stdout, run.stderr);
    }
    assert_eq!(stage.everything(), before);
}

fn document(stage: &Scenario, line: &str) -> Value {
    let run = stage.run(line);
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", run.stdout, run.stderr))
}

/// Returns the exit code, the code of a classic command, and the cause.
fn end(stage: &Scenario, line: &str) -> Value {
    let document = document(stage, line);
    json!([document["exit_code"], document["classic_code"], document["cause"]])
}

#[test]
fn what_is_done_or_needs_nothing_ends_with_0() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-02").ok();
    each_ends(
        &stage,
        0,
        &["add -R @ROOT@ delivered/100-02", "add -R @ROOT@ delivered/100-01", "list -R @ROOT@"],
    );
    assert_eq!(
        stage.run("patchadd -R @ROOT@ delivered/100-02").code,
        2,
        "the classic command keeps its code"
    );
    assert_eq!(stage.run("patchadd -R @ROOT@ delivered/100-01").code, 35);
}

#[test]
fn what_fails_ends_with_1() {
    let stage = stage();
    stage.file("/bad.policy", "edited=perhaps\n");
    stage.directory("/empty");
    each_ends(
        &stage,
        1,
        &[
            "add -R @ROOT@ /no/such/patch",
            "add -R @ROOT@ /etc/passwd",
            "add -R @ROOT@ -M /no/such/depot 100-01",
            "add -R @ROOT@ -M delivered 999-01",
            "update -R @ROOT@",
            "list -R @ROOT@/empty",
            "add -R @ROOT@/empty delivered/100-01",
            "add -R @ROOT@ --policy @ROOT@/bad.policy delivered/100-01",
        ],
    );
    assert_eq!(
        end(&stage, "add --json -R @ROOT@ --policy @ROOT@/bad.policy delivered/100-01"),
        json!([1, 1, "settings"])
    );
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let stage = stage();
    each_ends(
        &stage,
        2,
        &["add -R @ROOT@", "frobnicate", "list --no-such-option", "remove -R @ROOT@ nonsense"],
    );
    assert_eq!(stage.run("patchadd").code, 1, "the classic command keeps its code");
}

#[test]
fn what_a_rule_refuses_ends_with_3() {
    let stage = stage();
    each_ends(&stage, 3, &["add -R @ROOT@ delivered/200-01", "add -R @ROOT@ delivered/300-01"]);
    fs::write(stage.at(HTTPD), "mine\n").unwrap();
    each_ends(&stage, 3, &["add -R @ROOT@ delivered/100-01", "plan -R @ROOT@ delivered/100-01"]);
    assert_eq!(end(&stage, "add --json -R @ROOT@ delivered/200-01"), json!([3, 25, "dependency"]));
    assert_eq!(end(&stage, "patchadd --json -R @ROOT@ delivered/200-01"), json!([25, 25, "dependency"]));
}

#[test]
fn what_is_found_or_not_known_ends_with_4() {
    let stage = stage();
    each_ends(
        &stage,
        4,
        &[
            "remove -R @ROOT@ 100-01",
            "undo -R @ROOT@ 77",
            "history -R @ROOT@ 77",
            "confirm -R @ROOT@",
            "update -R @ROOT@ -M delivered --check",
        ],
    );
    assert_eq!(end(&stage, "remove --json -R @ROOT@ 100-01"), json!([4, 2, "unknown"]));
    assert_eq!(end(&stage, "update --json -R @ROOT@ -M delivered --check"), json!([4, null, "missing"]));
}

#[test]
fn what_is_partly_done_ends_with_5() {
    let stage = stage();
    let said = document(&stage, "add --json -R @ROOT@ delivered/100-01 delivered/200-01");
    assert_eq!(
        (&said["exit_code"], &said["classic_code"], &said["cause"]),
        (&json!(5), &json!(null), &json!("partly"))
    );
    let codes: Vec<&Value> = said["patches"].as_array().unwrap().iter().map(|patch| &patch["code"]).collect();
    assert_eq!(codes, [&json!(0), &json!(3)]);
    assert_eq!(stage.text(HTTPD), "one\n");
    stage.directory("/empty");
    let roots = "remove 100-01 --root @ROOT@ --root @ROOT@/empty";
    assert_eq!(stage.run(roots).code, 5);
}

#[test]
fn a_root_that_another_command_holds_ends_with_6() {
    let stage = stage();
    let lock = hold(&stage);
    each_ends(&stage, 6, &["add -R @ROOT@ delivered/100-01", "recover -R @ROOT@"]);
    assert_eq!(end(&stage, "add --json -R @ROOT@ delivered/100-01"), json!([6, 64, "locked"]));
    drop(lock);
}

#[test]
fn a_trial_whose_probe_fails_ends_with_7() {
    let stage = stage();
    let line = "add --json --probe false -R @ROOT@ delivered/100-01";
    assert_eq!(end(&stage, line), json!([7, 75, "check"]));
    assert_eq!(stage.text(HTTPD), "base\n");
}

#[test]
fn a_reboot_that_is_needed_ends_with_8_if_that_is_asked_for() {
    let stage = stage();
    let patch = Patch::of("400-01", web("new\n"));
    patch.beside("patchinfo", "PATCH_PROPERTIES='rebootafter'\n").directory(&stage);
    assert_eq!(
        end(&stage, "update --json --reboot-code -R @ROOT@ -M delivered 400-01"),
        json!([8, null, "reboot"])
    );
}

#[test]
fn a_run_that_is_in_doubt_ends_with_9() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.file("/var/sadm/patchadm/journal", "rubbish\n");
    each_ends(&stage, 9, &["remove -R @ROOT@ 100-01", "recover -R @ROOT@"]);
    assert_eq!(end(&stage, "remove --json -R @ROOT@ 100-01"), json!([9, 65, "in-doubt"]));
}
