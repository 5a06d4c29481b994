//! Sets: patches of a depot are chosen, fetched and applied, and every named or required patch gets its verdict.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::patch_documents::{document, verdicts};
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn web(file: &str, text: &str) -> Package {
    Package::new("ACMEweb").file(file, 0o755, text)
}

/// A patch with a file of its own.
fn patch(id: &str) -> Patch {
    Patch::of(id, web(&format!("bin/{id}"), id))
}

fn stage() -> Scenario {
    Scenario::with(&[web("bin/httpd", "one\n")])
}

/// A root, and a directory of patches: 100-01 needs 300-01, 300 has two revisions, 200-01 needs a patch that nobody
/// has, 400-01 is for another package, 500-01 is an archive.
fn depot() -> Scenario {
    let stage = stage();
    patch("100-01").says("SUNW_REQUIRES", "300-01").directory(&stage);
    patch("200-01").says("SUNW_REQUIRES", "999-01").directory(&stage);
    patch("300-01").directory(&stage);
    patch("300-02").directory(&stage);
    Patch::of("400-01", Package::new("ACMEnone").file("bin/x", 0o755, "x\n")).directory(&stage);
    patch("500-01").pack(&stage.beside("delivered"), ".tar.gz");
    stage
}

fn entry<'d>(document: &'d Value, id: &str) -> &'d Value {
    let patches = document["patches"].as_array().unwrap();
    patches.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id}: {document}"))
}

#[test]
fn what_is_required_is_taken_from_the_depot_and_says_for_whom() {
    for (command, planned) in [("plan", true), ("add --dry-run", true), ("add", false), ("patchadd", false)] {
        let stage = depot();
        let document = document(&stage, &format!("{command} -R @ROOT@ -M delivered 100-01"));
        let done = if planned { "planned" } else { "applied" };
        assert_eq!(
            verdicts(&document),
            [format!("300-02 {done} 0"), format!("100-01 {done} 0")],
            "{command}"
        );
        let pulled = entry(&document, "300-02");
        assert_eq!(pulled["named"], false);
        assert_eq!(pulled["because"], serde_json::json!(["100-01"]));
        assert_eq!(pulled["reason"], "required by 100-01");
        assert_eq!(pulled["depot"], "delivered");
        let named = entry(&document, "100-01");
        assert_eq!((&named["named"], &named["reason"]), (&true.into(), &"".into()));
        assert_eq!(stage.at("/opt/ACMEweb/bin/300-02").exists(), !planned);
    }
    let stage = depot();
    let said = stage.run("add -R @ROOT@ -M delivered 100").ok();
    assert!(said.starts_with("300-02: applied (ACMEweb; "), "{said}");
    assert!(said.contains("\n  required by 100-01\n100-01: applied"), "{said}");
}

#[test]
fn without_a_name_everything_current_of_the_depot_is_taken_as_one_transaction() {
    let stage = depot();
    let document = document(&stage, "add -R @ROOT@ -M delivered");
    assert_eq!(
        verdicts(&document),
        [
            "300-02 applied 0",
            "100-01 applied 0",
            "500-01 applied 0",
            "200-01 refused 3",
            "400-01 not-applicable 3",
        ]
    );
    assert_eq!(document["exit_code"], 5);
    let reason = "it requires 999-01 or later, which is neither applied nor in delivered";
    assert_eq!(entry(&document, "200-01")["reason"], reason);
    let history = stage.text("/var/sadm/patchadm/history");
    let runs = history.lines().filter(|line| line.contains("patchadd")).map(|line| &line[..30]);
    let runs: Vec<&str> = runs.collect();
    assert!(runs.len() == 3 && runs.iter().all(|run| *run == runs[0]), "{history}");
    assert_eq!(stage.run("add -R @ROOT@ -M delivered 100-01 500-01").ok().lines().count(), 3);
}

#[test]
fn what_is_in_force_gives_way_in_the_set_and_codes_are_those_of_the_first_failure() {
    let stage = depot();
    stage.run("add -R @ROOT@ -M delivered 300-02").ok();
    let document = document(&stage, "patchadd -R @ROOT@ -M delivered 300-01 300-02 500-01");
    assert_eq!(verdicts(&document), ["500-01 applied 0", "300-01 superseded 35", "300-02 already-applied 2"]);
    assert_eq!(document["exit_code"], 0);
    let stage = depot();
    let said = stage.run("add -R @ROOT@ -M delivered 300-01 300-02").ok();
    let last =
        "300-01: nothing to do: 300-02 of this set is a later revision\n2 patches: 1 applied, 1 skipped; ";
    assert!(said.contains(last), "{said}");
    let run = stage.run("patchadd -R @ROOT@ -M delivered 300-01 300-02");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("Patch 300-02 has already been applied.\n"), "{}", run.stderr);
    assert!(!run.stderr.contains("ERROR") && !run.stderr.contains("terminating"), "{}", run.stderr);
    stage.run("patchadd -R @ROOT@ -M delivered 300-02").fails(2);
}

#[test]
fn operands_are_ids_of_the_depot_else_lists_else_ids_that_it_does_not_have() {
    let stage = depot();
    fs::write(stage.beside("wanted"), "# what is wanted\n\n500-01 with a comment\n  300-01\n").unwrap();
    let found = document(&stage, "plan -R @ROOT@ -M delivered wanted");
    assert_eq!(verdicts(&found), ["300-01 planned 0", "500-01 planned 0"]);
    // An id that the depot has is an id, even if there is a file of that name.
    fs::write(stage.beside("300-01"), "500-01\n").unwrap();
    let found = document(&stage, "plan -R @ROOT@ -M delivered 300-01");
    assert_eq!(verdicts(&found), ["300-01 planned 0"]);
    let found = document(&stage, "plan -R @ROOT@ -M delivered 300-09 300-01");
    assert_eq!(verdicts(&found), ["300-01 planned 0", "300-09 refused 1"]);
    assert_eq!(entry(&found, "300-09")["reason"], "delivered does not have it");
    let said = stage.run("add -R @ROOT@ -M delivered lists/no-such-list").fails(1);
    assert!(
        said.contains("lists/no-such-list is neither a patch of delivered nor a list of patches"),
        "{said}"
    );
}

#[test]
fn what_only_the_full_plan_finds_drops_out_with_what_requires_it() {
    let stage = depot();
    Patch::of("300-03", web("bin/httpd", "three\n")).directory(&stage);
    stage.file("/opt/ACMEweb/bin/httpd", "mine\n");
    let document = document(&stage, "add -R @ROOT@ -M delivered 100-01 500-01");
    assert_eq!(verdicts(&document), ["300-03 refused 3", "100-01 refused 3", "500-01 applied 0"]);
    let reason = entry(&document, "100-01")["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("it requires 300-01 or later, which is refused: modified locally: "),
        "{reason}"
    );
    assert_eq!(document["exit_code"], 5);
}

#[test]
fn all_or_nothing_changes_nothing_unless_every_patch_goes_in() {
    let stage = depot();
    let before = stage.everything();
    for (ids, verdicts_of) in [
        ("500-01 200-01", ["200-01 refused 3", "500-01 not-tried 0"].as_slice()),
        ("500-01 300-09", &["500-01 not-tried 0", "300-09 refused 1"]),
    ] {
        let found = document(&stage, &format!("add --all-or-nothing -R @ROOT@ -M delivered {ids}"));
        assert_eq!(verdicts(&found), verdicts_of);
        assert_same(&stage.everything(), &before);
    }
    let found = document(&stage, "add --all-or-nothing -R @ROOT@ -M delivered 500-01 200-01");
    assert_eq!(entry(&found, "500-01")["reason"], "200-01 cannot be applied");
    // Only the full plan finds this out.
    stage.file("/opt/ACMEweb/bin/500-01", "mine\n");
    let before = stage.everything();
    for verb in ["plan", "add"] {
        let found =
            document(&stage, &format!("{verb} --all-or-nothing -R @ROOT@ -M delivered 500-01 300-02"));
        assert_eq!(verdicts(&found), ["300-02 not-tried 0", "500-01 refused 3"], "{verb}");
        assert_same(&stage.everything(), &before);
    }
    let found = document(&stage, "add --all-or-nothing -R @ROOT@ -M delivered 100-01 400-01");
    assert_eq!(verdicts(&found), ["300-02 applied 0", "100-01 applied 0", "400-01 not-applicable 3"]);
}

#[test]
fn a_member_with_scripts_that_must_run_is_a_run_of_its_own_and_refuses_all_or_nothing() {
    let stage = depot();
    let scripted = patch("600-01").beside("prepatch", "#!/bin/sh\nexit 0\n").directory(&stage);
    fs::set_permissions(scripted.join("prepatch"), fs::Permissions::from_mode(0o755)).unwrap();
    let before = stage.everything();
    for verb in ["plan", "add"] {
        let line = format!("{verb} --all-or-nothing -R @ROOT@ -M delivered 500-01 600-01");
        let found = document(&stage, &line);
        assert_eq!(verdicts(&found), ["500-01 not-tried 0", "600-01 refused 3"], "{verb}");
        assert_eq!(entry(&found, "600-01")["reason"], "its scripts need a separate run");
        assert_same(&stage.everything(), &before);
    }
    let found = document(&stage, "plan -R @ROOT@ -M delivered 500-01 600-01");
    assert_eq!(verdicts(&found), ["500-01 planned 0", "600-01 planned 0"]);
}

#[test]
fn options_leave_patches_out() {
    let stage = depot();
    let found = document(&stage, "plan -R @ROOT@ -M delivered --exclude 300 100-01");
    assert_eq!(verdicts(&found), ["100-01 refused 3"]);
    let reason = "it requires 300-01 or later, which is refused: it is excluded with --exclude";
    assert_eq!(entry(&found, "100-01")["reason"], reason);
    let found = document(&stage, "plan -R @ROOT@ -M delivered --no-requires 100-01");
    assert_eq!(entry(&found, "100-01")["reason"], "it requires patch 300-01 or later, which is not applied");
    fs::write(stage.beside("delivered/flags"), "300-02 withdrawn\n").unwrap();
    let found = document(&stage, "plan -R @ROOT@ -M delivered 100-01");
    assert_eq!(verdicts(&found), ["300-01 planned 0", "100-01 planned 0"]);
    let found = document(&stage, "plan -R @ROOT@ -M delivered 300-02");
    assert_eq!(entry(&found, "300-02")["reason"], "the depot marks it as withdrawn");
    let found = document(&stage, "plan -R @ROOT@ -M delivered --allow-withdrawn 300-02");
    assert_eq!(verdicts(&found), ["300-02 planned 0"]);
    // Patches that are named by path are a set, too.
    let found = document(&stage, "plan -R @ROOT@ --exclude 300-02 delivered/300-02 delivered/300-01");
    assert_eq!(verdicts(&found), ["300-01 planned 0", "300-02 refused 3"]);
}

#[test]
fn a_requirement_that_is_not_for_this_root_is_a_note() {
    let stage = depot();
    patch("700-01").says("SUNW_REQUIRES", "400-01").directory(&stage);
    let found = document(&stage, "add -R @ROOT@ -M delivered 700-01");
    assert_eq!(verdicts(&found), ["700-01 applied 0"]);
    let notes = entry(&found, "700-01")["notes"].to_string();
    assert!(notes.contains("required patch 400-01 is not applicable to this root"), "{notes}");
}

#[test]
fn a_patch_that_is_damaged_in_the_depot_drops_out_with_what_requires_it() {
    let stage = depot();
    stage.run("depot index delivered").ok();
    fs::write(stage.beside("delivered/300-02/README.300-02"), "something else\n").unwrap();
    let found = document(&stage, "add -R @ROOT@ -M delivered 100-01 500-01");
    let codes = verdicts(&found);
    assert!(codes[0].starts_with("300-02 ") && !codes[0].ends_with(" 0"), "{codes:?}");
    assert_eq!(codes[1..], ["100-01 refused 3", "500-01 applied 0"]);
    let found = document(&stage, "patchadd --all-or-nothing -R @ROOT@ -M delivered 100-01");
    assert_eq!(verdicts(&found)[1], "100-01 not-tried 0");
}

#[test]
fn a_patch_that_is_another_one_than_the_index_says_is_refused() {
    let stage = depot();
    stage.run("depot index delivered").ok();
    let index = fs::read_to_string(stage.beside("delivered/index.json")).unwrap();
    fs::write(stage.beside("delivered/index.json"), index.replace("\"id\":\"500-01\"", "\"id\":\"501-01\""))
        .unwrap();
    let found = document(&stage, "add -R @ROOT@ -M delivered 501-01");
    assert_eq!(verdicts(&found), ["501-01 refused 1"]);
    assert_eq!(entry(&found, "501-01")["reason"], "the depot lists it as 501-01, but it is 500-01");
}

#[test]
fn many_roots_take_from_a_depot_what_is_for_each() {
    let stage = depot();
    fs::write(stage.beside("roots"), format!("{}\n", stage.root().display())).unwrap();
    let said = stage.run("add --roots roots -M delivered 100-01 400-01");
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(stage.at("/opt/ACMEweb/bin/100-01").exists());
}

#[test]
fn a_directory_without_a_patch_is_said() {
    let stage = depot();
    let empty = stage.beside("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("notes"), "nothing here\n").unwrap();
    let before = stage.everything();
    let said = stage.run("add -R @ROOT@ -M empty").fails(1);
    assert!(said.contains("empty has no patches and no index\n"), "{said}");
    assert!(said.contains("specify the directory that contains the patches"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 3, "{said}");
    stage.run(&format!("patchadd -R @ROOT@ -M {}", empty.display())).fails(34);
    fs::write(empty.join("100-01.zip"), "no archive\n").unwrap();
    let said = stage.run("plan -R @ROOT@ -M empty").fails(1);
    let reason = "empty has no patches and no index: 100-01.zip cannot be read as a patch, ";
    assert!(said.contains(reason), "{said}");
    // An id is refused by itself, and a depot with an index may have no patch yet.
    stage.run("add -R @ROOT@ -M empty 100-01").fails(1);
    fs::remove_file(empty.join("100-01.zip")).unwrap();
    stage.run("depot index empty").ok();
    assert_eq!(stage.run("add -R @ROOT@ -M empty").ok(), "nothing to do: there is no patch to apply\n");
    assert_eq!(stage.everything(), before);
}

#[test]
fn a_depot_that_is_not_there_is_said() {
    let stage = depot();
    let said = stage.run("add -R @ROOT@ -M nowhere 100-01").fails(1);
    assert!(said.contains("nowhere does not exist"), "{said}");
    stage.run("patchadd -R @ROOT@ -M /nowhere/at/all").fails(34);
    let said = stage.run("patchadd -R @ROOT@ -M nowhere").fails(27);
    assert!(said.starts_with("ERROR: nowhere does not exist.\n"), "{said}");
    fs::write(stage.beside("file"), "none\n").unwrap();
    let said = stage.run("add -R @ROOT@ -M file 100-01").fails(1);
    assert!(said.contains("file is neither a directory nor an archive of several patches\n"), "{said}");
    let said = stage.run("add -R @ROOT@ -M ftp://h/patches 100-01").fails(1);
    assert!(said.contains("<ftp://h/patches> names no directory of this machine\n"), "{said}");
}
