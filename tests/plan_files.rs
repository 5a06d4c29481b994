//! `--save-plan` and `--plan`: a run does exactly what was planned, or nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::delivery::{Patch, archive};
use crate::nginx::Nginx;
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

fn edit(stage: &Scenario, with: impl FnOnce(&mut Value)) {
    let mut plan = plan(stage);
    with(&mut plan);
    fs::write(stage.beside("plan.json"), plan.to_string()).unwrap();
}

/// Asserts that carrying out the plan fails with this code and these words, and changes nothing.
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
    let said = refused(&stage, 3, "applied patch 100-01: planned with nothing, now applied");
    assert!(said.contains("/opt/ACMEweb/bin/httpd"), "{said}");
}

#[test]
fn a_plan_holds_from_anywhere_and_may_be_looked_at_again() {
    let stage = planned();
    stage.run("plan -R @ROOT@ --plan plan.json").ok();
    stage.run("add -R @ROOT@ --dry-run --plan plan.json").ok();
    stage.run("plan -R @ROOT@ --save-plan again.json delivered/100-01 delivered/200-01").ok();
    assert_eq!(
        fs::read(stage.beside("plan.json")).unwrap(),
        fs::read(stage.beside("again.json")).unwrap(),
        "the clock is no part of a plan"
    );
    edit(&stage, |plan| plan["patches"][0]["source"] = json!("/elsewhere"));
    stage.run(CARRY_OUT).ok();
}

#[test]
fn only_plan_saves_plans_and_a_plan_that_cannot_be_saved_is_an_error() {
    let stage = stage();
    let before = stage.everything();
    let said = stage.run("plan -R @ROOT@ --save-plan none/plan.json delivered/200-01").fails(1);
    assert!(said.contains("cannot be written"), "{said}");
    for verb in ["add", "update -M delivered"] {
        let said = stage.run(&format!("{verb} -R @ROOT@ --dry-run --save-plan plan.json")).fails(2);
        assert!(said.contains("--save-plan is an option of plan, and `add --plan FILE` applies"), "{said}");
        assert!(said.contains("hint: patchadm plan -M DEPOT --save-plan FILE"), "{said}");
    }
    assert_eq!(stage.everything(), before);
}

#[test]
fn options_are_those_of_the_file() {
    let stage = stage();
    stage.run("plan -R @ROOT@ --no-undo --save-plan plan.json delivered/100-01").ok();
    stage.run(CARRY_OUT).ok();
    stage.run("remove -R @ROOT@ 100-01").fails(3);
    let usage = |line: &str| {
        let said = stage.run(line).fails(2);
        assert!(said.contains("--plan takes the patches and their options from the file"), "{said}");
    };
    usage("add -R @ROOT@ --plan plan.json delivered/200-01");
    usage("add -R @ROOT@ --plan plan.json --no-undo");
    usage("add -R @ROOT@ --plan plan.json -M delivered");
    for option in ["--refresh", "--adopt"] {
        usage(&format!("add -R @ROOT@ --plan plan.json {option}"));
    }
    stage.run("add --roots @ROOT@ --plan plan.json").fails(2);
}

#[test]
fn patches_of_a_depot_are_planned_and_applied_with_what_they_require() {
    let stage = stage();
    stage.run("plan -R @ROOT@ -M delivered --save-plan plan.json 200-01").ok();
    assert_eq!(plan(&stage)["patches"].as_array().unwrap().len(), 2);
    let done = document(&stage.run(&format!("{CARRY_OUT} --json")));
    assert_eq!(done["exit_code"], 0, "{done}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/new"), "new\n");
}

#[test]
fn update_saves_no_plan_and_add_applies_what_a_depot_has_also_by_an_old_plan_of_update() {
    let stage = stage();
    stage.run("plan -R @ROOT@ -M delivered --save-plan plan.json").ok();
    let before = stage.everything();
    for option in ["--plan plan.json", "--plan=plan.json"] {
        let said = stage.run(&format!("update -R @ROOT@ {option}")).fails(2);
        assert!(said.contains("--plan is an option of add: a saved plan names its patches"), "{said}");
        assert!(said.contains("hint: patchadm plan -M DEPOT --save-plan FILE"), "{said}");
    }
    assert_eq!(stage.everything(), before);
    // As version 0.1 saved it; without a depot, it names no patch that could be found.
    let depot = plan(&stage)["options"]["depot"].clone();
    for (depot, code) in [(json!(null), 1), (depot, 0)] {
        edit(&stage, |plan| {
            plan["command"] = json!("update");
            plan["options"]["depot"] = depot;
        });
        assert_eq!(stage.run(CARRY_OUT).code, code);
    }
    assert_eq!(stage.text("/opt/ACMEweb/bin/new"), "new\n");
}

#[test]
fn what_was_edited_in_between_is_named() {
    let stage = planned();
    stage.file("/opt/ACMEweb/bin/other", "edited\n");
    stage.run("plan -R @ROOT@ --plan plan.json").ok();
    stage.file("/opt/ACMEweb/bin/new", "in the way\n");
    let said = refused(&stage, 3, "/opt/ACMEweb/bin/new: planned with nothing, now b3 ");
    assert!(said.contains("verdict refused"), "{said}");
    assert!(said.contains("is out of date") && said.contains("--save-plan"), "{said}");
}

#[test]
fn another_patch_of_the_same_name_is_named() {
    let stage = planned();
    fs::remove_dir_all(stage.beside("delivered/200-01")).unwrap();
    Patch::of("200-01", web("bin/new", "NEW\n")).says("SUNW_REQUIRES", "100-01").directory(&stage);
    refused(&stage, 3, "patch 200-01: planned with sha256 ");
    fs::remove_dir_all(stage.beside("delivered/200-01")).unwrap();
    refused(&stage, 3, "patch 200-01: planned with ");
}

#[test]
fn another_patch_in_between_is_named() {
    let stage = planned();
    Patch::of("300-01", web("bin/third", "3\n")).directory(&stage);
    stage.run("add -R @ROOT@ delivered/300-01").ok();
    let said = refused(&stage, 3, "applied patch 300-01: planned with nothing, now applied");
    assert!(said.contains("/var/sadm/pkg/ACMEweb/pkginfo"), "{said}");
}

#[test]
fn a_plan_of_another_root_does_not_hold() {
    let stage = planned();
    edit(&stage, |plan| plan["root"] = json!("0123456789abcdef"));
    refused(&stage, 3, "the root: planned with 0123456789abcdef, now ");
}

#[test]
fn what_was_edited_in_the_file_is_a_difference() {
    for (pointer, to, words) in [
        ("/patches/0/sha256", json!("0".repeat(64)), "patch 100-01: planned with sha256 0000000000000000..."),
        ("/patches/0/verdict", json!("refused"), "verdict refused, now verdict planned"),
        ("/changes/0/action", json!("delete"), "action delete, now action "),
        ("/records/0/path", json!("/etc/passwd"), "/etc/passwd (a record): planned with"),
        ("/options/no_undo", json!(true), "is out of date"),
        ("/options/operands", json!([]), "is out of date"),
    ] {
        let stage = planned();
        edit(&stage, |plan| *plan.pointer_mut(pointer).unwrap() = to);
        if pointer == "/options/operands" {
            let before = stage.everything();
            assert_eq!(stage.run(CARRY_OUT).code, 2, "no patch specified");
            assert_eq!(stage.everything(), before);
        } else {
            refused(&stage, 3, words);
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
    let said = refused(&stage, 3, "differences; the first 20:");
    assert_eq!(said.matches(": planned with ").count(), 20, "{said}");
}

#[test]
fn what_is_no_plan_file_is_refused_in_three_lines() {
    let good = String::from_utf8(fs::read(planned().beside("plan.json")).unwrap()).unwrap();
    let deep =
        format!("{{\"schema\":\"patchadm-plan/1\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (text, words) in [
        ("hello\n".to_owned(), "it is not a plan file"),
        (String::new(), "it is not a plan file"),
        (good[..good.len() / 2].to_owned(), "it is not a plan file"),
        (deep, "it is not a plan file"),
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
    refused(&stage, 1, "is a directory");
}

/// A patch that has a script of its own, and one of its package.
fn scripted(stage: &Scenario, prepatch: &str) {
    let package = web("bin/httpd", "two\n").information("postinstall", "exit 0\n");
    let at = Patch::of("300-01", package).beside("prepatch", prepatch).directory(stage);
    fs::set_permissions(at.join("prepatch"), fs::Permissions::from_mode(0o755)).unwrap();
}

const SAVE_SCRIPTED: &str = "plan -R @ROOT@ --save-plan plan.json delivered/300-01";

#[test]
fn a_plan_names_the_scripts_and_leaves_open_what_only_the_run_writes() {
    let stage = stage();
    scripted(&stage, "#!/bin/sh\nexit 0\n");
    stage.run(SAVE_SCRIPTED).ok();
    let plan = plan(&stage);
    let script = |package: Value, name: &str| json!({"patch": "300-01", "package": package, "name": name});
    assert_eq!(
        plan["scripts"],
        json!([script(Value::Null, "prepatch"), script(json!("ACMEweb"), "postinstall")])
    );
    let record = |path: &str| {
        let records = plan["records"].as_array().unwrap().iter();
        let mut found = records.filter(|one| one["path"].as_str().unwrap().ends_with(path));
        found.next().unwrap_or_else(|| panic!("{path}: {}", plan["records"]))["sha256"].clone()
    };
    assert_eq!(record("/save/300-01/undo.gz"), Value::Null, "its bytes have the times of the run");
    assert_eq!(record("/pkginfo").as_str().unwrap().len(), 64);
    stage.run(CARRY_OUT).ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "two\n");
}

#[test]
fn other_scripts_than_those_of_the_plan_do_not_run() {
    let stage = stage();
    scripted(&stage, "#!/bin/sh\nexit 0\n");
    stage.run(SAVE_SCRIPTED).ok();
    let saved = plan(&stage);
    edit(&stage, |plan| plan["scripts"] = json!([plan["scripts"][1]]));
    refused(
        &stage,
        3,
        "script 1: planned with name postinstall, package ACMEweb, now name prepatch, package nothing",
    );
    edit(&stage, |plan| *plan = saved.clone());
    scripted(&stage, "#!/bin/sh\nexit 1\n");
    refused(&stage, 3, "patch 300-01: planned with sha256 ");
    scripted(&stage, "#!/bin/sh\nexit 0\n");
    // A digest in place of none is another record, and so is none in place of a digest.
    for record in ["/save/300-01/undo.gz", "/pkginfo"] {
        edit(&stage, |plan| {
            *plan = saved.clone();
            let records = plan["records"].as_array_mut().unwrap().iter_mut();
            let mut found = records.filter(|one| one["path"].as_str().unwrap().ends_with(record));
            let sha256 = &mut found.next().unwrap()["sha256"];
            *sha256 = if sha256.is_null() { json!("0".repeat(64)) } else { Value::Null };
        });
        refused(&stage, 3, &format!("{record} (a record): planned with "));
    }
    edit(&stage, |plan| *plan = saved.clone());
    stage.run(CARRY_OUT).ok();
}

/// A root that only another tool has changed, with a saved plan.
fn planned_for_unmarked() -> Scenario {
    let stage = stage();
    fs::remove_dir_all(stage.at("/var/sadm/patchadm")).unwrap();
    stage.run(SAVE).ok();
    assert_eq!(plan(&stage)["root"], Value::Null);
    stage
}

#[test]
fn a_plan_of_a_root_that_was_never_changed_holds_until_it_is() {
    let stage = planned_for_unmarked();
    stage.run("plan -R @ROOT@ --plan plan.json").ok();
    stage.run(CARRY_OUT).ok();
    // A root that was changed and put back has a marker.
    let stage = planned_for_unmarked();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    refused(&stage, 3, "the root: planned with nothing, now ");
    stage.run(SAVE).ok();
    let marker = plan(&stage)["root"].as_str().unwrap().to_owned();
    assert_eq!(marker.len(), 16);
    edit(&stage, |plan| plan["root"] = Value::Null);
    refused(&stage, 3, &format!("the root: planned with nothing, now {marker}"));
    stage.run(SAVE).ok();
    stage.run(CARRY_OUT).ok();
}

/// A directory with two archives and an index, beside the root; the second has this text.
fn archives(stage: &Scenario, text: &str) -> std::path::PathBuf {
    let depot = stage.beside("depot");
    fs::create_dir_all(&depot).unwrap();
    let first = Patch::of("100-01", web("bin/httpd", "two\n"));
    let second = Patch::of("200-01", web("bin/new", text)).says("SUNW_REQUIRES", "100-01");
    for patch in [first, second] {
        let file = archive(&patch.write(&stage.beside("made")), ".tar");
        fs::rename(&file, depot.join(file.file_name().unwrap())).unwrap();
    }
    stage.run(&format!("depot index {}", depot.display())).ok();
    depot
}

#[test]
fn a_plan_of_a_depot_on_a_web_server_holds_as_long_as_its_patches_do() {
    let stage = stage();
    let depot = archives(&stage, "new\n");
    let test = "a_plan_of_a_depot_on_a_web_server…";
    let Some(server) = Nginx::serving(test, (&depot, &stage.beside("server")), "", None) else { return };
    let cache = format!("--cache {}", stage.beside("cache").display());
    let address = server.address("");
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let save = format!("plan -R @ROOT@ {cache} -M {address} --save-plan plan.json 200-01");
    stage.run(&save).ok();
    let made = plan(&stage);
    assert_eq!(made["options"]["depot"], json!(address));
    let digest = crate::depots::digest(&fs::read(depot.join("200-01.tar")).unwrap());
    assert_eq!(
        (&made["patches"][1]["id"], &made["patches"][1]["sha256"]),
        (&json!("200-01"), &json!(digest))
    );
    // Other bytes under the same id, in a new version of the index.
    let carry_out = format!("add -R @ROOT@ {cache} --plan plan.json");
    archives(&stage, "NEW\n");
    let before = stage.everything();
    let said = stage.run(&carry_out).fails(3);
    assert!(said.contains("patch 200-01: planned with sha256 "), "{said}");
    assert_eq!(stage.everything(), before);
    // Files that were fetched for a plan are available to carry it out.
    stage.run(&save).ok();
    drop(server);
    stage.run(&format!("{carry_out} --offline")).ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/new"), "NEW\n");
}
