//! Undo data that is given up: what goes, what stays, and what is said before and after.

use std::fs;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn patch(id: &str, file: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file(file, 0o755, format!("as of {id}\n")))
}

/// A root with the patches 100-01, 100-02 and 200-01, the last with its undo data elsewhere.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    stage.patchadd("", &patch("100-01", "bin/httpd")).ok();
    stage.patchadd("", &patch("100-02", "bin/httpd")).ok();
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    stage.patchadd(&format!("-B {}", elsewhere.display()), &patch("200-01", "bin/tool")).ok();
    stage
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

fn undo_of(stage: &Scenario, id: &str) -> Value {
    document(stage, &format!("show --json -R @ROOT@ {id}"))["patch"]["undo"][0]["state"].clone()
}

#[test]
fn the_preview_lists_what_becomes_irremovable_and_changes_nothing() {
    let stage = stage();
    let before = stage.everything();
    let said = document(&stage, "commit --json --dry-run --superseded -R @ROOT@");
    assert_eq!((&said["result"], &said["changed"]), (&"planned".into(), &false.into()));
    assert_eq!((&said["would_change"], &said["patches"][0]["verdict"]), (&true.into(), &"planned".into()));
    assert_eq!(said["irremovable"], serde_json::json!(["100-01"]));
    assert!(said["freed"].as_u64().unwrap() > 0);
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn undo_data_that_is_given_up_leaves_the_list_of_paths_and_the_manifest() {
    let stage = stage();
    let tree = stage.tree();
    let said = document(&stage, "commit --json -R @ROOT@ 100-02");
    assert_eq!((&said["result"], &said["patches"][0]["verdict"]), (&"done".into(), &"committed".into()));
    let save = stage.at("/var/sadm/pkg/ACMEweb/save/100-02");
    assert!(save.join("manifest.gz").exists() && save.join("undo.paths").exists());
    assert!(!save.join("undo.gz").exists() && !save.join("undo.b3").exists());
    assert!(tree.difference(&stage.tree()).is_empty());
    assert_eq!(undo_of(&stage, "100-02"), "committed");
    assert_eq!(undo_of(&stage, "100-01"), "saved");
    let ledger = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    let lines = ledger.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["patch"] == "100-02").unwrap();
    assert_eq!((&line["undo"], &line["why"]), (&Value::Null, &"committed".into()));
    assert!(line["manifest"].is_string());
    stage.run("remove -R @ROOT@ 100-02").fails(4);
    stage.run("verify -R @ROOT@").ok();
    let again = document(&stage, "commit --json -R @ROOT@ 100-02");
    assert_eq!((&again["result"], &again["changed"]), (&"nothing-to-do".into(), &false.into()));
    let nothing = stage.run("commit -R @ROOT@ --keep 9").ok();
    assert_eq!(nothing, "nothing to do: there is no undo data to give up\n");
}

#[test]
fn an_archive_elsewhere_goes_after_the_commit() {
    let stage = stage();
    stage.run("commit --keep 0 -R @ROOT@").ok();
    assert!(!stage.beside("undo").join("200-01").exists());
    for id in ["100-01", "100-02", "200-01"] {
        assert_eq!(undo_of(&stage, id), "committed", "{id}");
    }
    let history = stage.text("/var/sadm/patchadm/history");
    let last: Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    assert_eq!(last["command"], "commit");
}

#[test]
fn an_archive_that_was_moved_elsewhere_is_named_and_goes_after_the_commit() {
    let stage = stage();
    let moved = stage.beside("moved");
    fs::rename(stage.beside("undo"), &moved).unwrap();
    let before = stage.everything();
    let said = stage.run("commit -R @ROOT@ 200-01").fails(12);
    assert!(said.contains("--undo-dir"), "{said}");
    assert!(before.difference(&stage.everything()).is_empty());
    stage.run(&format!("commit --undo-dir {} -R @ROOT@ 200-01", moved.display())).ok();
    assert!(!moved.join("200-01").exists(), "{:?}", fs::read_dir(&moved).unwrap().collect::<Vec<_>>());
    assert_eq!(undo_of(&stage, "200-01"), "committed");
    stage.run("verify -R @ROOT@").ok();
}

#[test]
fn the_newest_stay_removable() {
    let stage = stage();
    stage.run("commit --keep 1 -R @ROOT@").ok();
    let states: Vec<Value> = ["100-01", "100-02", "200-01"].map(|id| undo_of(&stage, id)).into();
    assert_eq!(states, ["committed", "committed", "saved"]);
}

#[test]
fn a_patch_under_one_without_undo_data_still_goes() {
    let stage = stage();
    stage.run("commit -R @ROOT@ 100-02").ok();
    stage.run("patchrm -f -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "as of 100-02\n");
    stage.run("verify -R @ROOT@").ok();
}

#[test]
fn a_patch_that_is_not_applied_is_refused() {
    let stage = stage();
    let said = stage.run("commit -R @ROOT@ 300-01").fails(2);
    assert!(said.contains("the undo data of patch 300-01 is not given up: it is not applied"), "{said}");
    stage.run("commit -R @ROOT@").fails(1);
}
