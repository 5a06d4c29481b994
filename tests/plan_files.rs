//! `--save-plan` and `--plan`: what was planned is what is done, or nothing is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Run, Scenario};

fn web(file: &str, text: &str) -> Package {
    Package::new("ACMEweb").file(file, 0o755, text)
}

/// A root with two files, and patches: 100-01 replaces one of them, 200-01 needs it and adds another.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("bin/httpd", "one\n").file("bin/other", 0o755, "other\n")]);
    Patch::of("100-01", web("bin/httpd", "two\n")).directory(&stage);
    Patch::of("200-01", web("bin/new", "new\n")).says("SUNW_REQUIRES", "100-01").directory(&stage);
    stage
}

const SAVE: &str = "plan -R @ROOT@ --save-plan plan.json delivered/100-01 delivered/200-01";
const CARRY_OUT: &str = "add -R @ROOT@ --plan plan.json";

/// A stage with a saved plan.
fn planned() -> Scenario {
    let stage = stage();
    stage.run(SAVE).ok();
    stage
}

fn plan(stage: &Scenario) -> Value {
    serde_json::from_slice(&fs::read(stage.beside("plan.json")).unwrap()).unwrap()
}

/// Edits the plan with the given hands.
fn edit(stage: &Scenario, with: impl FnOnce(&mut Value)) {
    let mut plan = plan(stage);
    with(&mut plan);
    fs::write(stage.beside("plan.json"), plan.to_string()).unwrap();
}

/// Carries the plan out in vain: nothing is changed, and a code and words say why.
#[track_caller]
fn refused(stage: &Scenario, code: i32, words: &str) -> String {
    let before = stage.everything();
    let said = stage.run(CARRY_OUT).fails(code);
    assert!(said.contains(words), "{words}: {said}");
    assert_eq!(stage.everything(), before);
    said
}

fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stderr))
}

#[test]
fn a_plan_that_was_saved_is_carried_out() {
    let stage = stage();
    let before = stage.everything();
    stage.run(SAVE).ok();
    assert_eq!(stage.everything(), before, "a plan changes nothing");
    let saved = stage.beside("plan.json");
    assert_eq!(saved.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let plan = plan(&stage);
    assert_eq!((&plan["schema"], &plan["command"]), (&json!("patchadm-plan/1"), &json!("add")));
    let ids: Vec<&Value> = plan["patches"].as_array().unwrap().iter().map(|patch| &patch["id"]).collect();
    assert_eq!(ids, ["100-01", "200-01"]);
    let found = plan["found"].as_array().unwrap();
    let state = |path: &str| &found.iter().find(|one| one["path"] == path).unwrap()["state"];
    assert_eq!(state("/opt/ACMEweb/bin/httpd")["size"], 4);
    assert_eq!(state("/opt/ACMEweb/bin/new"), &Value::Null);
    assert_eq!(state("/var/sadm/pkg/ACMEweb/pkginfo")["kind"], "file");
    let done = stage.run(CARRY_OUT).ok();
    assert!(done.contains("100-01: applied") && done.contains("200-01: applied"), "{done}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "two\n");
    let said = refused(&stage, 10, "applied patch 100-01: planned with nothing, now applied");
    assert!(said.contains("/opt/ACMEweb/bin/httpd"), "{said}");
}

#[test]
fn a_plan_holds_from_anywhere_and_may_be_looked_at_again() {
    let stage = planned();
    stage.run("plan -R @ROOT@ --plan plan.json").ok();
    stage.run("add -R @ROOT@ --dry-run --plan plan.json").ok();
    stage.run("add -R @ROOT@ --dry-run --save-plan again.json delivered/100-01 delivered/200-01").ok();
    assert_eq!(
        fs::read(stage.beside("plan.json")).unwrap(),
        fs::read(stage.beside("again.json")).unwrap(),
        "the clock is no part of a plan"
    );
    edit(&stage, |plan| plan["patches"][0]["source"] = json!("/elsewhere"));
    stage.run(CARRY_OUT).ok();
}

#[test]
fn the_verb_that_applies_saves_what_it_does() {
    let stage = stage();
    stage.run("add -R @ROOT@ --save-plan plan.json delivered/100-01").ok();
    assert_eq!(plan(&stage)["patches"][0]["verdict"], "planned");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "two\n");
    let before = stage.everything();
    let said = stage.run("add -R @ROOT@ --save-plan none/plan.json delivered/200-01").fails(1);
    assert!(said.contains("cannot be written"), "{said}");
    assert_eq!(stage.everything(), before);
}

#[test]
fn options_are_those_of_the_file() {
    let stage = stage();
    stage.run("plan -R @ROOT@ --no-undo --save-plan plan.json delivered/100-01").ok();
    stage.run(CARRY_OUT).ok();
    stage.run("remove -R @ROOT@ 100-01").fails(4);
    let usage = |line: &str| {
        let said = stage.run(line).fails(1);
        assert!(said.contains("with --plan the patches and their options are those of the file"), "{said}");
    };
    usage("add -R @ROOT@ --plan plan.json delivered/200-01");
    usage("add -R @ROOT@ --plan plan.json --no-undo");
    usage("add -R @ROOT@ --plan plan.json -M delivered");
    stage.run("update -R @ROOT@ --plan plan.json").fails(1);
    stage.run("add --roots @ROOT@ --plan plan.json").fails(1);
}

#[test]
fn patches_of_a_depot_are_planned_and_applied_with_what_they_require() {
    for (save, carry_out) in [
        ("plan -R @ROOT@ -M delivered --save-plan plan.json 200-01", CARRY_OUT),
        (
            "update -R @ROOT@ -M delivered --dry-run --save-plan plan.json",
            "update -R @ROOT@ --plan plan.json",
        ),
    ] {
        let stage = stage();
        stage.run(save).ok();
        assert_eq!(plan(&stage)["patches"].as_array().unwrap().len(), 2, "{save}");
        let done = document(&stage.run(&format!("{carry_out} --json")));
        assert_eq!(done["exit"]["code"], 0, "{done}");
        assert_eq!(stage.text("/opt/ACMEweb/bin/new"), "new\n");
    }
}

#[test]
fn what_was_edited_in_between_is_named() {
    let stage = planned();
    stage.file("/opt/ACMEweb/bin/other", "edited\n");
    stage.run("plan -R @ROOT@ --plan plan.json").ok();
    stage.file("/opt/ACMEweb/bin/new", "in the way\n");
    let said = refused(&stage, 10, "/opt/ACMEweb/bin/new: planned with nothing, now b3 ");
    assert!(said.contains("verdict refused"), "{said}");
    assert!(said.contains("does not hold any more") && said.contains("--save-plan"), "{said}");
}

#[test]
fn another_patch_of_the_same_name_is_named() {
    let stage = planned();
    fs::remove_dir_all(stage.beside("delivered/200-01")).unwrap();
    Patch::of("200-01", web("bin/new", "NEW\n")).says("SUNW_REQUIRES", "100-01").directory(&stage);
    refused(&stage, 10, "patch 200-01: planned with sha256 ");
    fs::remove_dir_all(stage.beside("delivered/200-01")).unwrap();
    refused(&stage, 10, "patch 200-01: planned with ");
}

#[test]
fn another_patch_in_between_is_named() {
    let stage = planned();
    Patch::of("300-01", web("bin/third", "3\n")).directory(&stage);
    stage.run("add -R @ROOT@ delivered/300-01").ok();
    let said = refused(&stage, 10, "applied patch 300-01: planned with nothing, now applied");
    assert!(said.contains("/var/sadm/pkg/ACMEweb/pkginfo"), "{said}");
}

#[test]
fn a_plan_of_another_root_does_not_hold() {
    let stage = planned();
    edit(&stage, |plan| plan["root"] = json!("0123456789abcdef"));
    refused(&stage, 10, "the root: planned with 0123456789abcdef, now ");
}

#[test]
fn what_was_edited_in_the_file_is_a_difference() {
    for (pointer, to, words) in [
        ("/patches/0/sha256", json!("0".repeat(64)), "patch 100-01: planned with sha256 0000000000000000..."),
        ("/patches/0/verdict", json!("refused"), "verdict refused, now verdict planned"),
        ("/changes/0/action", json!("delete"), "action delete, now action "),
        ("/records/0/path", json!("/etc/passwd"), "/etc/passwd (a record): planned with"),
        ("/options/no_undo", json!(true), "does not hold any more"),
        ("/options/operands", json!([]), "does not hold any more"),
    ] {
        let stage = planned();
        edit(&stage, |plan| *plan.pointer_mut(pointer).unwrap() = to);
        if pointer == "/options/operands" {
            let before = stage.everything();
            assert_eq!(stage.run(CARRY_OUT).code, 1, "no patch is named");
            assert_eq!(stage.everything(), before);
        } else {
            refused(&stage, 10, words);
        }
    }
}

#[test]
fn of_many_differences_twenty_are_told() {
    let package = |text: &str| {
        (0..30).fold(Package::new("ACMEweb"), |package, number| {
            package.file(&format!("lib/{number:02}"), 0o644, text)
        })
    };
    let stage = Scenario::with(&[package("old\n")]);
    Patch::of("100-01", package("new!\n")).directory(&stage);
    stage.run("plan -R @ROOT@ --edited replace --save-plan plan.json delivered/100-01").ok();
    for number in 0..25 {
        stage.file(&format!("/opt/ACMEweb/lib/{number:02}"), "edited\n");
    }
    let said = refused(&stage, 10, "differences, of which these are the first 20");
    assert_eq!(said.matches(": planned with ").count(), 20, "{said}");
}

#[test]
fn what_is_no_plan_file_is_refused_in_three_lines() {
    let good = String::from_utf8(fs::read(planned().beside("plan.json")).unwrap()).unwrap();
    let deep =
        format!("{{\"schema\":\"patchadm-plan/1\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (text, words) in [
        ("hello\n".to_owned(), "it is no plan file"),
        (String::new(), "it is no plan file"),
        (good[..good.len() / 2].to_owned(), "it is no plan file"),
        (deep, "it is no plan file"),
        (good.replace("patchadm-plan/1", "patchadm-plan/0"), "its schema is <patchadm-plan/0>"),
        (good.replace("patchadm-plan/1", "patchadm-plan/2"), "its schema is <patchadm-plan/2>"),
        (good.replacen("100-01", "../x", 9), "not valid: <../x>"),
        (good.replace("\"/opt/", "\"opt/"), "its path is not valid: <opt/"),
        (good.replace("\"edited\":null", "\"edited\":\"maybe\""), "its edited is not valid: <maybe>"),
    ] {
        let stage = stage();
        fs::write(stage.beside("plan.json"), text).unwrap();
        let said = refused(&stage, 1, words);
        assert_eq!(said.trim_end().lines().count(), 3, "{said}");
    }
}

#[test]
fn a_plan_file_that_cannot_be_read_is_refused() {
    let stage = stage();
    refused(&stage, 1, "plan.json");
    let file = fs::File::create(stage.beside("plan.json")).unwrap();
    file.set_len(300 << 20).unwrap();
    refused(&stage, 1, "it is larger than 67108864 bytes");
    fs::remove_file(stage.beside("plan.json")).unwrap();
    fs::create_dir(stage.beside("plan.json")).unwrap();
    refused(&stage, 1, "it is no file");
}
