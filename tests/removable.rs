//! Patches that can be backed out: `list` and `show` agree with `check --contents`, which plans each backout.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::schema::assert_document;

fn web() -> Package {
    Package::new("ACMEweb").param("BASEDIR", "/opt/ACMEweb")
}

fn add() -> Package {
    Package::new("ACMEadd").param("BASEDIR", "/opt/ACMEweb")
}

/// A root with two packages of one directory.
fn stage() -> Scenario {
    Scenario::with(&[web().file("httpd", 0o644, "old\n").file("conf", 0o644, "old\n"), add()])
}

#[track_caller]
fn applied(stage: &Scenario, options: &str, patch: &Patch) {
    let directory = patch.directory(stage);
    stage.run(&format!("add -R @ROOT@ {options} {}", directory.display())).ok();
}

/// The patches, each with true if it can be backed out now according to the verb.
#[track_caller]
fn said(stage: &Scenario, verb: &str) -> BTreeMap<String, bool> {
    let document: Value =
        serde_json::from_str(&stage.run(&format!("{verb} --json -R @ROOT@")).stdout).unwrap();
    let patches = document["patches"].as_array().unwrap().iter();
    patches
        .map(|patch| (patch["id"].as_str().unwrap().to_owned(), patch["removable"]["now"].as_bool().unwrap()))
        .collect()
}

/// Asserts that all three verbs say that exactly `ids` can be backed out.
#[track_caller]
fn can_go(stage: &Scenario, ids: &[&str]) {
    let list = said(stage, "list");
    assert_eq!(list, said(stage, "check --contents"), "list and verify");
    let found: Vec<&str> = list.iter().filter(|(_, can_go)| **can_go).map(|(id, _)| id.as_str()).collect();
    assert_eq!(found, ids);
    for (id, can_go) in &list {
        let shown: Value =
            serde_json::from_str(&stage.run(&format!("show --json -R @ROOT@ {id}")).ok()).unwrap();
        assert_eq!(shown["answers"][0]["removable"]["now"], *can_go, "{id}");
    }
}

#[test]
fn the_records_say_that_a_patch_stays() {
    let stage = stage();
    let other = |id: &str| Patch::of(id, web().file(id, 0o644, id));
    applied(&stage, "", &other("100-01"));
    can_go(&stage, &["100-01"]);
    applied(&stage, "", &other("100-02"));
    can_go(&stage, &["100-02"]);
    applied(&stage, "", &other("200-01").says("SUNW_OBSOLETES", "100-02"));
    can_go(&stage, &["200-01"]);
    applied(&stage, "", &other("300-01").says("SUNW_REQUIRES", "200-01"));
    can_go(&stage, &["300-01"]);
    applied(&stage, "--no-undo", &other("400-01"));
    can_go(&stage, &["300-01"]);
    stage.run("remove -R @ROOT@ 300-01").ok();
    can_go(&stage, &["200-01"]);
}

#[test]
fn a_later_patch_with_a_path_of_an_earlier_one_is_in_its_way_for_another_package_only() {
    let cases =
        [(true, web(), ""), (true, web(), "--no-undo"), (false, add(), ""), (false, add(), "--no-undo")];
    for (is_own, package, options) in cases {
        let stage = stage();
        applied(&stage, "", &Patch::of("100-01", web().file("httpd", 0o644, "fixed\n")));
        applied(&stage, "", &Patch::of("150-01", web().file("conf", 0o644, "new\n")));
        can_go(&stage, &["100-01", "150-01"]);
        let again = package.file("httpd", 0o644, "fixed again\n").file("new", 0o644, "new\n");
        applied(&stage, options, &Patch::of("200-01", again));
        let mut left = vec!["150-01"];
        if is_own {
            left.insert(0, "100-01");
        }
        if options.is_empty() {
            left.push("200-01");
        }
        can_go(&stage, &left);
    }
}

#[test]
fn a_patch_that_found_everything_as_it_delivers_it_can_go_before_later_ones() {
    let stage = stage();
    let same = |id: &str| Patch::of(id, web().file("httpd", 0o644, "old\n"));
    applied(&stage, "", &same("100-01"));
    applied(&stage, "", &same("200-01"));
    can_go(&stage, &["100-01", "200-01"]);
    stage.run("remove -R @ROOT@ 100-01").ok();
    can_go(&stage, &["200-01"]);
}

#[test]
fn a_directory_that_a_patch_delivers_is_needed_by_what_a_later_one_has_below() {
    let stage = stage();
    applied(&stage, "", &Patch::of("100-01", web().directory("lib")));
    applied(&stage, "", &Patch::of("200-01", web().file("lib/a", 0o644, "a\n")));
    can_go(&stage, &["200-01"]);
    applied(&stage, "", &Patch::of("300-01", web().file("made/a", 0o644, "a\n")));
    applied(&stage, "", &Patch::of("400-01", web().file("made/b", 0o644, "b\n")));
    can_go(&stage, &["200-01", "300-01", "400-01"]);
    stage.run("remove -R @ROOT@ 300-01").ok();
    can_go(&stage, &["200-01", "400-01"]);
}

#[test]
fn without_a_list_of_paths_the_archive_is_asked() {
    let stage = stage();
    applied(&stage, "", &Patch::of("100-01", web().file("httpd", 0o644, "fixed\n")));
    applied(&stage, "", &Patch::of("200-01", web().of_class("none", 'e', "httpd", 0o644, "fixed again\n")));
    for id in ["100-01", "200-01"] {
        fs::remove_file(stage.at(&format!("/var/sadm/pkg/ACMEweb/save/{id}/undo.paths"))).unwrap();
    }
    can_go(&stage, &["200-01"]);
}

#[test]
fn a_patch_before_others_stays_where_the_ledger_does_not_name_its_archive() {
    let stage = stage();
    applied(&stage, "", &Patch::of("100-01", web().file("httpd", 0o644, "fixed\n")));
    applied(&stage, "", &Patch::of("200-01", web().file("conf", 0o644, "new\n")));
    can_go(&stage, &["100-01", "200-01"]);
    stage.forget_ledgers();
    assert!(!said(&stage, "list")["100-01"] && !said(&stage, "check --contents")["100-01"]);
}

#[test]
fn who_may_not_read_archives_is_told_what_the_records_say() {
    let stage = stage();
    applied(&stage, "", &Patch::of("100-01", web().file("made/a", 0o644, "a\n")));
    applied(&stage, "", &Patch::of("200-01", web().file("made/b", 0o644, "b\n")));
    applied(&stage, "", &Patch::of("300-01", web().file("httpd", 0o644, "fixed\n")));
    applied(&stage, "", &Patch::of("300-02", web().file("httpd", 0o644, "fixed again\n")));
    stage.run("remove -R @ROOT@ 100-01").ok();
    let list = as_ordinary_user(&stage, "list --json -R @ROOT@", &[]).output().unwrap();
    let text = String::from_utf8_lossy(&list.stdout);
    assert!(list.status.success(), "{text} {}", String::from_utf8_lossy(&list.stderr));
    assert_document("list --json", &list.stdout);
    let document: Value = serde_json::from_str(&text).unwrap();
    let removable =
        document["patches"].as_array().unwrap().iter().map(|patch| patch["removable"]["now"] == true);
    assert_eq!(removable.collect::<Vec<_>>(), [true, false, true]);
}
