//! The disk space that the program uses for a root: the sums match du(1), and everything that can be dropped is
//! named.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

fn patch(id: &str, file: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file(file, 0o755, format!("as of {id}\n").repeat(2_000)))
}

/// A root with 100-01, 100-02 and 200-01, which contains 300-01; the last has its undo data elsewhere.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n".repeat(5_000))]);
    stage.patchadd("", &patch("100-01", "bin/httpd")).ok();
    stage.patchadd("", &patch("100-02", "bin/httpd")).ok();
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    let plain = patch("300-01", "bin/tool").directory(&stage);
    stage.run(&format!("add --undo-format none -R @ROOT@ {}", plain.display())).ok();
    let containing = Package::new("ACMEweb").param("SUNW_OBSOLETES", "300-01").file(
        "bin/tool",
        0o755,
        "as of 200-01\n".repeat(2_000),
    );
    let containing = Patch::of("200-01", containing);
    stage.patchadd(&format!("-B {}", elsewhere.display()), &containing).ok();
    stage
}

fn document(stage: &Scenario) -> Value {
    serde_json::from_str(&stage.run("undo-data list --json -R @ROOT@").ok()).unwrap()
}

/// The size that du(1) reports for all of these paths together.
fn du(paths: &[&Path]) -> u64 {
    let output = Command::new("du").args(["-s", "-c", "-B1"]).args(paths).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().last().unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// The path of a directory in a document.
fn path_of(stage: &Scenario, directory: &Value) -> PathBuf {
    let path = directory["path"].as_str().unwrap();
    PathBuf::from(path.replace("@ROOT@", stage.root().to_str().unwrap()))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn area(document: &Value, name: &str) -> u64 {
    let areas = document["areas"].as_array().unwrap();
    number(&areas.iter().find(|area| area["area"] == name).unwrap()["bytes"])
}

#[test]
fn every_sum_is_that_of_du() {
    let stage = stage();
    // Something of another program in our directory, and a file with two names.
    stage.file("/var/sadm/patchadm/own/left", "x".repeat(70_000));
    fs::hard_link(stage.at("/var/sadm/patchadm/own/left"), stage.at("/var/sadm/patchadm/own/again")).unwrap();
    let said = document(&stage);
    let directories = said["directories"].as_array().unwrap();
    let mut paths = Vec::new();
    for directory in directories {
        let path = path_of(&stage, directory);
        assert_eq!(du(&[&path]), number(&directory["bytes"]), "{directory}");
        paths.push(path);
    }
    for wanted in ["/var/sadm/patchadm", "/var/sadm/patch", "/var/sadm/pkg/ACMEweb/save"] {
        assert!(paths.contains(&stage.at(wanted)), "{wanted}: {paths:?}");
    }
    let outside = stage.beside("undo/200-01/ACMEweb/undo.gz");
    assert_eq!(area(&said, "undo-outside"), du(&[&outside]));
    paths.push(outside);
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    assert_eq!(number(&said["bytes"]), du(&paths));
    let areas = said["areas"].as_array().unwrap().iter().map(|area| number(&area["bytes"]));
    assert_eq!(areas.sum::<u64>(), number(&said["bytes"]));
    assert!(area(&said, "other") >= 70_000);
    assert!(area(&said, "history") > 0 && area(&said, "logs") > 0 && area(&said, "ledgers") > 0);
    assert_eq!(said["unread"], serde_json::json!([]));
}

#[test]
fn one_archive_has_one_size_whoever_is_asked() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n".repeat(5_000))]);
    let delivered = patch("100-01", "bin/httpd").directory(&stage);
    let json = |line: &str| -> Value { serde_json::from_str(&stage.run(line).ok()).unwrap() };
    let added = json(&format!("add --json -R @ROOT@ {}", delivered.display()));
    let save = stage.at("/var/sadm/pkg/ACMEweb/save/100-01");
    // The archive, and its digest, which goes with it.
    let size = du(&[&save.join("undo.gz"), &save.join("undo.b3")]);
    assert_eq!(number(&added["patches"][0]["undo"][0]["bytes"]), size);
    assert_eq!(number(&json("list --json -R @ROOT@")["patches"][0]["undo"][0]["bytes"]), size);
    assert_eq!(number(&json("show --json -R @ROOT@ 100-01")["answers"][0]["undo"][0]["bytes"]), size);
    let said = document(&stage);
    assert_eq!(number(&said["patches"][0]["freeable"]), size);
    let shown = format!("{}.0 KiB", size >> 10);
    let texts = [
        "undo-data list -R @ROOT@",
        "list -R @ROOT@",
        "show -R @ROOT@ 100-01",
        "undo-data drop --dry-run -R @ROOT@ 100-01",
    ];
    for line in texts {
        assert!(stage.run(line).ok().contains(&shown), "{line}: {}", stage.run(line).stdout);
    }
    assert_eq!(number(&json("undo-data drop --dry-run --json -R @ROOT@ 100-01")["freed"]), size);
}

#[test]
fn the_cache_of_the_machine_is_not_counted_for_a_root_that_fetched_nothing() {
    let stage = stage();
    assert_eq!(area(&document(&stage), "cache"), 0);
    let places = document(&stage)["directories"].to_string();
    assert!(!places.contains("/var/cache/"), "{places}");
    stage.file("/etc/patchadm/policy", format!("cache={}\n", stage.beside("cache").display()));
    fs::create_dir(stage.beside("cache")).unwrap();
    fs::write(stage.beside("cache/object"), "x").unwrap();
    assert!(area(&document(&stage), "cache") > 0);
}

#[test]
fn each_patch_has_its_form_its_bytes_and_the_reason_why_it_may_go() {
    let stage = stage();
    let said = document(&stage);
    let patches = said["patches"].as_array().unwrap();
    let told: Vec<(&str, &Value, &Value, &Value)> = patches
        .iter()
        .map(|patch| {
            (patch["id"].as_str().unwrap(), &patch["undo"][0]["form"], &patch["may_go"], &patch["by"])
        })
        .collect();
    let null = Value::Null;
    let text = |text: &str| Value::from(text);
    assert_eq!(
        told,
        [
            ("100-01", &text("gz"), &text("superseded"), &text("100-02")),
            ("100-02", &text("gz"), &null, &null),
            ("200-01", &text("outside"), &null, &null),
            ("300-01", &text("none"), &text("contained"), &text("200-01")),
        ]
    );
    for patch in patches {
        let save = stage.at(&format!("/var/sadm/pkg/ACMEweb/save/{}", patch["id"].as_str().unwrap()));
        assert_eq!(number(&patch["undo"][0]["bytes"]), du(&[&save]), "{patch}");
    }
    assert_eq!(
        area(&said, "undo"),
        patches.iter().map(|patch| number(&patch["undo"][0]["bytes"])).sum::<u64>()
    );
    let freeable = number(&patches[0]["freeable"]) + number(&patches[3]["freeable"]);
    assert_eq!(number(&said["freeable"]), freeable);

    let text = stage.run("undo-data list -R @ROOT@").ok();
    assert!(text.contains("superseded by 100-02") && text.contains("contained by 200-01"), "{text}");
    let is_share = |line: &str| line.starts_with("file system ") && line.contains(" free of ");
    assert!(text.lines().any(is_share), "{text}");
    let total = regex::Regex::new(r"(?m)^4 patches: [0-9.]+ (bytes|KiB) of undo data\n$").unwrap();
    assert!(total.is_match(&text), "{text}");
    assert!(!text.contains("unfinished"), "no run is unfinished: {text}");
}

#[test]
fn the_undo_data_in_the_table_of_areas_is_that_of_the_patches_above_it() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n".repeat(5_000))]);
    stage.patchadd("", &patch("100-01", "bin/httpd")).ok();
    stage.patchadd("", &patch("100-02", "bin/httpd")).ok();
    let sizes = || {
        let text = stage.run("undo-data list -R @ROOT@").ok();
        let of = |begin: &str| {
            let line = text.lines().find(|line| line.starts_with(begin));
            line.map(|line| line.trim_start_matches(begin).trim().to_owned()).unwrap_or_default()
        };
        (of("2 patches: "), format!("{} of undo data", of("undo data ")))
    };
    let (of_patches, of_areas) = sizes();
    assert_eq!(of_patches, of_areas);
    stage.run("undo-data drop --superseded -R @ROOT@").ok();
    let (of_patches, of_areas) = sizes();
    assert_eq!(of_patches, of_areas);
}

#[test]
fn what_is_told_to_be_freeable_is_free_after_commit() {
    let stage = stage();
    let said = document(&stage);
    let save = stage.at("/var/sadm/pkg/ACMEweb/save");
    let before = du(&[&save]);
    stage.run("undo-data drop --superseded -R @ROOT@").ok();
    let manifests: Vec<_> = ["100-01", "300-01"].map(|id| save.join(id).join("manifest.gz")).into();
    let manifests: Vec<&Path> = manifests.iter().map(AsRef::as_ref).collect();
    assert_eq!(before - number(&said["freeable"]) + du(&manifests), du(&[&save]));
    let after = document(&stage);
    assert_eq!(number(&after["freeable"]), 0);
    assert_eq!(after["patches"][0]["undo"][0]["form"], Value::Null);
}

#[test]
fn a_root_without_patches_or_database_says_so() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
    assert_eq!(document(&stage)["patches"], serde_json::json!([]));
    assert!(stage.run("undo-data list -R @ROOT@").ok().contains("history"));
    fs::remove_dir_all(stage.at("/var")).unwrap();
    stage.run("undo-data list -R @ROOT@").fails(1);
}

#[test]
fn damaged_or_missing_undo_data_and_lying_records_change_no_sum() {
    let stage = stage();
    fs::remove_file(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/obsolete.gz")).unwrap();
    fs::remove_dir_all(stage.beside("undo/200-01")).unwrap();
    let ledger = stage.at("/var/sadm/patchadm/ledger/ACMEweb");
    let text = fs::read_to_string(&ledger).unwrap();
    let size = text.find("\"size\":").unwrap();
    fs::write(&ledger, format!("{}\"size\":9{}", &text[..size], &text[size + "\"size\":".len()..])).unwrap();
    fs::write(stage.at("/var/sadm/patchadm/stages"), "{\"id\":\"?\"}\n").unwrap();
    let said = document(&stage);
    assert_eq!(said["patches"][0]["undo"][0]["form"], Value::Null);
    assert_eq!(area(&said, "undo-outside"), 0);
    let save = stage.at("/var/sadm/pkg/ACMEweb/save");
    let told = said["directories"].as_array().unwrap();
    let told = told.iter().find(|one| path_of(&stage, one) == save).unwrap();
    assert_eq!(number(&told["bytes"]), du(&[&save]));
}

#[test]
fn somebody_else_sees_what_he_may_read_and_changes_nothing() {
    if !is_root() {
        return;
    }
    let stage = stage();
    let secret = stage.at("/var/sadm/pkg/ACMEweb/save/100-02");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    let run = |line: &str| {
        let output = as_ordinary_user(&stage, line, &[]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run("undo-data list --json -R @ROOT@");
    assert_eq!(code, Some(0), "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let unread = said["unread"].to_string();
    assert!(unread.contains("save/100-02"), "{unread}");
    assert!(number(&said["bytes"]) < number(&document(&stage)["bytes"]));
    let before = stage.everything();
    for line in
        ["undo-data repack --undo-format Z -R @ROOT@ 100-01", "undo-data drop --shrink-to 0 -R @ROOT@"]
    {
        assert_eq!(run(line).0, Some(3), "{line}");
    }
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn old_files_count_with_their_patch_and_the_sums_are_those_of_du() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("share/data", 0o644, "one\n".repeat(20_000))]);
    stage.file("/etc/patchadm/policy", "undo_format=files\n");
    stage.patchadd("", &patch("100-01", "share/data")).ok();
    let said = document(&stage);
    let undo = &said["patches"][0]["undo"][0];
    assert_eq!(undo["form"], "files");
    assert!(number(&undo["bytes"]) >= 80_000 && number(&undo["freeable"]) >= 80_000, "{undo}");
    for directory in said["directories"].as_array().unwrap() {
        assert_eq!(du(&[&path_of(&stage, directory)]), number(&directory["bytes"]), "{directory}");
    }
    assert!(area(&said, "undo") >= 80_000, "{said}");
}
