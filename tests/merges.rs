//! Edited files that a patch leaves in place are listed until they are merged with the new version beside them.

use std::fs;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::reliability::hostile_roots::{can_trace, killed_at};
use crate::scenario::Scenario;

const CONF: &str = "/opt/ACMEweb/etc/web.conf";

fn package(version: &str) -> Package {
    Package::new("ACMEweb").content(
        'e',
        "etc/web.conf",
        0o644,
        "root root",
        DELIVERED,
        format!("conf {version}\n"),
    )
}

/// A root with an edited configuration file, and a patch for it.
fn stage() -> Scenario {
    let stage = Scenario::with(&[package("1")]);
    fs::write(stage.at(CONF), "my conf\n").unwrap();
    Patch::of("100-01", package("2")).directory(&stage);
    stage
}

fn json(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

fn sentence() -> String {
    format!(
        "@ROOT@{CONF} is modified locally and was kept; the version from patch 100-01 is in @ROOT@{CONF}.patch-100-01"
    )
}

#[test]
fn add_names_the_file_and_where_the_new_version_is() {
    let stage = stage();
    let plan = stage.run("plan -R @ROOT@ delivered/100-01").ok();
    let planned = sentence().replace("was kept", "would be kept").replace(" is in ", " would be in ");
    assert!(plan.contains(&format!("note: {planned}\n")), "{plan}");
    let said = stage.run("add -R @ROOT@ delivered/100-01").ok();
    assert!(said.starts_with("100-01: applied (ACMEweb; 1 locally modified and kept; "), "{said}");
    assert!(said.contains(&format!("  merge: {}\n", sentence())), "{said}");
    let shown = stage.run("show -R @ROOT@ 100-01").ok();
    assert!(shown.contains("Changed: 1 locally modified and kept\n"), "{shown}");
}

#[test]
fn a_document_has_both_paths_and_counts_the_file_as_kept() {
    let stage = stage();
    let said = json(&stage, "add --json -R @ROOT@ delivered/100-01");
    let patch = &said["patches"][0];
    let beside = format!("{CONF}.patch-100-01");
    assert_eq!(
        patch["merges"],
        serde_json::json!([{"path": CONF, "beside": beside, "patch": "100-01"}]),
        "{said}"
    );
    assert_eq!(patch["files"], serde_json::json!({"replaced": 0, "added": 0, "deleted": 0, "kept": 1}));
    let status = json(&stage, "status --json -R @ROOT@");
    assert_eq!(status["merges"][0]["beside"], Value::from(beside), "{status}");
}

#[test]
fn the_queries_name_a_merge_until_the_file_beside_is_gone() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains(&format!("\nMerges       1: @ROOT@{CONF}\n")), "{status}");
    assert!(
        status.ends_with(&format!(
            "\nNext         `diff @ROOT@{CONF} @ROOT@{CONF}.patch-100-01` compares the versions; merge what you want into the former, then \
             delete the latter\n"
        )),
        "{status}"
    );
    let checked = |words: &str| stage.run("check -R @ROOT@").stdout.contains(words);
    assert!(checked(" match their records; 1 editable file is modified; 1 merge is open\n"));
    let told = |line: &str| stage.run(line).ok().contains(&sentence());
    let lines = [
        format!("show -R @ROOT@ {CONF}"),
        format!("show -R @ROOT@ {CONF}.patch-100-01"),
        "show -R @ROOT@ 100-01".to_owned(),
        "history -R @ROOT@ 2".to_owned(),
    ];
    for line in &lines {
        assert!(told(line), "{line}: {}", stage.run(line).stdout);
    }
    fs::remove_file(stage.at(&format!("{CONF}.patch-100-01"))).unwrap();
    assert!(checked("; 1 editable file is modified\n"));
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains("\nMerges       none\n"), "{status}");
    for line in lines.iter().filter(|line| !line.starts_with("history") && !line.contains(".patch-")) {
        assert!(!told(line), "{line}");
    }
}

#[test]
fn the_changes_of_a_kept_file_are_those_between_it_and_the_version_beside() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let said = stage.run(&format!("show -R @ROOT@ {CONF} --diff")).fails(4);
    assert!(said.contains(&sentence()), "{said}");
    assert!(said.contains(&format!("hint: diff @ROOT@{CONF} @ROOT@{CONF}.patch-100-01\n")), "{said}");
}

#[test]
fn a_backout_takes_the_merge_along_and_nobody_is_sent_to_a_file_behind_a_link() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert!(stage.run("status -R @ROOT@").ok().contains("\nMerges       none\n"));
    // A path in the history is looked up only inside the root.
    let history = stage.text("/var/sadm/patchadm/history");
    let outside = stage.beside("outside").display().to_string();
    stage.file("/var/sadm/patchadm/history", history.replace(&format!("{CONF}.patch-100-01"), &outside));
    fs::write(&outside, "theirs\n").unwrap();
    assert!(stage.run("status -R @ROOT@").ok().contains("\nMerges       none\n"));
}

#[test]
fn an_edited_file_that_a_removal_put_aside_is_a_merge_until_it_is_gone() {
    let stage = stage();
    fs::write(stage.at(CONF), "conf 1\n").unwrap();
    stage.run("add -R @ROOT@ --edited replace delivered/100-01").ok();
    fs::write(stage.at(CONF), "my conf\n").unwrap();
    let before = stage.run("status -R @ROOT@").ok();
    assert!(!before.contains(".edited-"), "{before}");
    stage.run("remove -R @ROOT@ 100-01").ok();
    let beside = format!("{CONF}.edited-100-01");
    assert_eq!(stage.text(&beside), "my conf\n");
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains(&format!("\nMerges       1: @ROOT@{CONF}\n")), "{status}");
    assert!(
        status.contains(&format!("`diff @ROOT@{CONF} @ROOT@{beside}` compares the versions")),
        "{status}"
    );
    let sentence = format!("@ROOT@{CONF} was modified locally; that version is in @ROOT@{beside}");
    for line in [format!("show -R @ROOT@ {CONF}"), format!("show -R @ROOT@ {beside}")] {
        assert!(stage.run(&line).ok().contains(&sentence), "{line}: {}", stage.run(&line).stdout);
    }
    fs::remove_file(stage.at(&beside)).unwrap();
    assert!(stage.run("status -R @ROOT@").ok().contains("\nMerges       none\n"));
}

#[test]
fn revisions_of_two_runs_each_leave_their_version() {
    let stage = stage();
    Patch::of("100-02", package("3")).directory(&stage);
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let said = stage.run("add -R @ROOT@ delivered/100-02").ok();
    assert!(said.contains(".patch-100-02\n"), "{said}");
    let status = stage.run("status -R @ROOT@").ok();
    let line = status.lines().find(|line| line.starts_with("Merges       2: ")).unwrap_or_default();
    for id in ["100-01", "100-02"] {
        assert!(line.contains(&format!("@ROOT@{CONF}.patch-{id}")), "{status}");
    }
    assert_eq!(stage.text(CONF), "my conf\n");
}

#[test]
fn an_edited_file_that_was_added_and_is_removed_is_a_merge_of_which_only_one_side_is_left() {
    let stage = Scenario::with(&[package("1")]);
    Patch::of("100-01", package("1").file("bin/new", 0o755, "new\n")).directory(&stage);
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    fs::write(stage.at("/opt/ACMEweb/bin/new"), "my own\n").unwrap();
    stage.run("remove -R @ROOT@ 100-01").ok();
    let beside = "@ROOT@/opt/ACMEweb/bin/new.edited-100-01";
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains(&format!("\nMerges       1: {beside}\n")), "{status}");
    assert!(
        status.contains(&format!("`cat {beside}` shows what is left of a file that is gone")),
        "{status}"
    );
    assert!(stage.run("check -R @ROOT@").stdout.contains("; 1 merge is open\n"));
}

#[test]
fn what_a_recovery_puts_aside_is_a_merge_until_it_is_gone() {
    let stage = stage();
    fs::write(stage.at(CONF), "conf 1\n").unwrap();
    if !can_trace() {
        return crate::missing("strace", "merges");
    }
    for number in 1..40 {
        killed_at(&stage, "add -R @ROOT@ delivered/100-01", "renameat2", number);
        if stage.text(CONF) == "conf 2\n" {
            break;
        }
        stage.run("recover -R @ROOT@").ok();
    }
    assert!(stage.run("status -R @ROOT@").ok().contains("recover` rolls back the interrupted run"));
    fs::write(stage.at(CONF), "my conf\n").unwrap();
    stage.run("recover -R @ROOT@").ok();
    assert_eq!(stage.text(CONF), "conf 1\n");
    let merges = &json(&stage, "status --json -R @ROOT@")["merges"];
    assert_eq!(merges.as_array().map(Vec::len), Some(1), "{merges}");
    let (beside, run) = (merges[0]["beside"].as_str().unwrap(), merges[0]["run"].as_str().unwrap());
    assert_eq!(beside, format!("{CONF}.edited-{run}"));
    assert_eq!(stage.text(beside), "my conf\n");
    assert!(stage.run("check -R @ROOT@").stdout.contains("; 1 merge is open\n"));
    let told = format!("the version that it put aside is in @ROOT@{beside}");
    for line in [format!("history -R @ROOT@ {run}"), format!("show -R @ROOT@ {CONF}")] {
        assert!(stage.run(&line).ok().contains(&told), "{line}: {}", stage.run(&line).stdout);
    }
    fs::remove_file(stage.at(beside)).unwrap();
    assert!(stage.run("status -R @ROOT@").ok().contains("\nMerges       none\n"));
}

#[test]
fn plan_add_and_remove_count_no_file_beside_another() {
    for edited in ["keep", "replace"] {
        let stage = stage();
        let plan = stage.run(&format!("plan -R @ROOT@ --edited {edited} --json delivered/100-01"));
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        let added = json(&stage, &format!("add --json -R @ROOT@ --edited {edited} delivered/100-01"));
        let added = &added["patches"][0]["files"];
        assert_eq!(plan["patches"][0]["files"], *added, "{edited}");
        assert_eq!(added["added"], 0, "{edited}: {added}");
        let removed = json(&stage, "remove --json -R @ROOT@ 100-01");
        assert_eq!(removed["patches"][0]["files"]["deleted"], 0, "{edited}: {removed}");
    }
}

#[test]
fn nobody_is_asked_to_merge_while_a_trial_may_remove_the_file_beside() {
    let stage = stage();
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    let status = stage.run("status -R @ROOT@").ok();
    assert!(status.contains("\nMerges       1: ") && !status.contains("merge what you want"), "{status}");
    stage.run("confirm -R @ROOT@").ok();
    assert!(stage.run("status -R @ROOT@").ok().contains("merge what you want"));
}
