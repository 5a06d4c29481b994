//! Lost undo data is reported as lost, and undo data that was never kept is not: the ledger decides, whatever the
//! save directory looks like.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::packages::Package;
use crate::scenario::{Scenario, code_of};

/// 100-01 has undo data for two packages, 200-01 has none on purpose, 300-01 has some for the first package.
fn stage() -> Scenario {
    let stage = Scenario::with(&[
        Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n"),
        Package::new("ACMEdb").file("bin/db", 0o755, "one\n"),
    ]);
    let both = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))
        .package(Package::new("ACMEdb").file("bin/db", 0o755, "two\n"));
    stage.patchadd("", &both).ok();
    stage.patchadd("-d", &Patch::of("200-01", Package::new("ACMEweb").file("bin/a", 0o755, "a\n"))).ok();
    stage.patchadd("", &Patch::of("300-01", Package::new("ACMEweb").file("bin/b", 0o755, "b\n"))).ok();
    stage
}

fn save(id: &str) -> String {
    format!("/var/sadm/pkg/ACMEweb/save/{id}")
}

#[track_caller]
fn document(stage: &Scenario, code: i32, line: &str) -> Value {
    let run = stage.run(line);
    assert_eq!(run.code, code, "{line}: {}{}", run.stdout, run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

/// The states of the undo data of each patch, package by package, as a verb tells them.
fn states(document: &Value) -> Vec<String> {
    let of = |patch: &Value| {
        let undo = patch["undo"].as_array().unwrap().iter();
        let states: Vec<&str> = undo.map(|one| one["state"].as_str().unwrap()).collect();
        format!("{} {}", patch["id"].as_str().unwrap(), states.join(" "))
    };
    document["patches"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_save_directory_that_is_removed_is_lost_undo_data_and_one_that_never_was_is_none() {
    for (what, lose) in [
        (
            "the save directory",
            (|stage| fs::remove_dir_all(stage.at(&save("100-01"))).unwrap()) as fn(&Scenario),
        ),
        ("the archive", |stage| fs::remove_file(stage.at(&format!("{}/undo.gz", save("100-01")))).unwrap()),
        ("all that is in it", |stage| {
            fs::remove_dir_all(stage.at(&save("100-01"))).unwrap();
            stage.directory(&save("100-01"));
        }),
    ] {
        let stage = stage();
        stage.run("check --contents -R @ROOT@").ok();
        let whole = ["100-01 saved saved", "200-01 none", "300-01 saved"];
        assert_eq!(states(&document(&stage, 0, "list --json -R @ROOT@")), whole);
        lose(&stage);
        let lost = ["100-01 saved lost", "200-01 none", "300-01 saved"];
        let list = document(&stage, 0, "list --json -R @ROOT@");
        assert_eq!(states(&list), lost, "{what}");
        let verified = document(&stage, 4, "check --contents --json -R @ROOT@");
        assert_eq!(states(&verified), lost, "{what}");
        assert_eq!(verified["sound"], false);
        let (listed, known) = (&list["patches"][0]["removable"], &verified["patches"][0]["removable"]);
        assert_eq!(listed, known, "{what}");
        assert_eq!((&known["now"], &known["code"]), (&false.into(), &1.into()), "{what}");
        let reason = known["reason"].as_str().unwrap();
        assert!(reason.contains("package ACMEweb: the undo data that run 3-"), "{what}: {reason}");
        assert!(reason.ends_with(" is lost"), "{what}: {reason}");
        let text = stage.run("list -R @ROOT@").ok();
        let line = text.lines().find(|line| line.starts_with("100-01")).unwrap();
        assert!(line.ends_with("undo data: lost"), "{what}: {line}");
        assert!(text.contains("200-01") && text.contains("undo data: none\n"), "{text}");
        let shown = stage.run("show -R @ROOT@ 100-01").ok();
        assert!(shown.contains("Undo data: ACMEweb lost: the patch cannot be removed\n"), "{shown}");
        let before = stage.everything();
        for line in ["remove -R @ROOT@ 100-01", "patchrm -R @ROOT@ 100-01", "patchrm -a -R @ROOT@ 100-01"] {
            let said = stage.run(line).fails(code_of(line, 4, 1));
            assert!(said.contains("is lost"), "{what}: {line}: {said}");
        }
        crate::tree::assert_same(&stage.everything(), &before);
    }
}

/// The disk space of a file, in bytes.
fn occupied(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn undo_data_of_another_size_than_was_written_is_damaged_for_list_and_verify() {
    let stage = stage();
    fs::write(stage.at(&format!("{}/undo.gz", save("300-01"))), "cut").unwrap();
    let expected = ["100-01 saved saved", "200-01 none", "300-01 damaged"];
    let list = document(&stage, 0, "list --json -R @ROOT@");
    assert_eq!(states(&list), expected);
    assert_eq!(states(&document(&stage, 4, "check --contents --json -R @ROOT@")), expected);
    assert_eq!(list["patches"][2]["removable"]["code"], 1);
    assert!(stage.run("list -R @ROOT@").ok().contains("undo data: damaged"), "in words");
}

#[test]
fn an_archive_outside_the_root_that_is_gone_is_lost_and_the_code_is_that_of_a_moved_one() {
    let stage = stage();
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755)).unwrap();
    let patch = Patch::of("400-01", Package::new("ACMEweb").file("bin/c", 0o755, "c\n"));
    stage.patchadd(&format!("-B {}", elsewhere.display()), &patch).ok();
    let undo = document(&stage, 0, "list --json -R @ROOT@")["patches"][3]["undo"][0].clone();
    assert_eq!(undo["state"], "saved");
    let path = elsewhere.join("400-01/ACMEweb/undo.gz");
    assert_eq!(undo["path"], path.to_str().unwrap());
    assert_eq!(undo["bytes"], occupied(&path));
    fs::remove_file(&path).unwrap();
    let list = document(&stage, 0, "list --json -R @ROOT@");
    assert_eq!(list["patches"][3]["undo"][0]["state"], "lost");
    assert_eq!(list["patches"][3]["removable"]["code"], 1);
    let verified = document(&stage, 4, "check --contents --json -R @ROOT@");
    assert_eq!(verified["patches"][3]["undo"][0]["state"], "lost");
    assert_eq!(verified["patches"][3]["removable"], list["patches"][3]["removable"]);
}

#[test]
fn a_root_of_a_classic_tool_knows_nothing_of_loss() {
    let stage = stage();
    stage.forget_ledgers();
    fs::remove_dir_all(stage.at(&save("300-01"))).unwrap();
    let list = document(&stage, 0, "list --json -R @ROOT@");
    assert_eq!(states(&list)[2], "300-01 none");
    stage.run("check --contents -R @ROOT@ 300-01").ok();
    // The makers of the archives that are there are unknown.
    assert_eq!(states(&list)[0], "100-01 damaged damaged");
    assert_eq!(list["patches"][0]["removable"]["code"], 3);
}

#[test]
fn who_may_not_read_the_ledger_is_told_what_the_names_say() {
    let stage = stage();
    fs::remove_dir_all(stage.at(&save("300-01"))).unwrap();
    let list = as_ordinary_user(&stage, "list --json -R @ROOT@", &[]).output().unwrap();
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let document: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(states(&document), ["100-01 saved saved", "200-01 none", "300-01 lost"]);
}

#[test]
fn documents_of_changes_tell_of_undo_data_as_lists_do() {
    let stage = stage();
    let patch = Patch::of("400-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"));
    patch.directory(&stage);
    let path = format!("@ROOT@{}/undo.gz", save("400-01"));
    let undo = |code, line: &str| document(&stage, code, line)["patches"][0]["undo"].clone();
    let planned = json!([{ "package": "ACMEweb", "state": "saved", "bytes": 4, "path": path }]);
    assert_eq!(undo(0, "plan --json -R @ROOT@ delivered/400-01"), planned);
    let none = json!([{ "package": "ACMEweb", "state": "none", "bytes": 0, "path": null }]);
    assert_eq!(undo(0, "plan --no-undo --json -R @ROOT@ delivered/400-01"), none);
    let done = undo(0, "add --json -R @ROOT@ delivered/400-01");
    let saved = |name: &str| occupied(&stage.at(&format!("{}/{name}", save("400-01"))));
    let bytes = saved("undo.gz") + saved("undo.b3");
    assert_eq!(done, json!([{ "package": "ACMEweb", "state": "saved", "bytes": bytes, "path": path }]));
    let list = document(&stage, 0, "list --json -R @ROOT@");
    assert_eq!(list["patches"][3]["undo"], done, "the list says the same");
    assert_eq!(undo(0, "remove --json -R @ROOT@ 400-01"), none);
}
