//! `patchadm update` finds, chooses and applies the patches of a depot that a root lacks, in one command.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::patch_documents::document;
use crate::scenario::Scenario;

fn web(file: &str, text: &str) -> Package {
    Package::new("ACMEweb").file(file, 0o755, text)
}

fn patch(id: &str) -> Patch {
    Patch::of(id, web(&format!("bin/{id}"), id))
}

/// A root, and a depot: 100-02 needs 300-01 and is recommended, 200-01 asks for a reboot, 400-01 is for another package.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("bin/httpd", "one\n")]);
    patch("100-01").directory(&stage);
    patch("100-02").says("SUNW_REQUIRES", "300-01").directory(&stage);
    patch("200-01").beside("patchinfo", "PATCH_PROPERTIES='rebootafter'\n").directory(&stage);
    patch("300-01").directory(&stage);
    Patch::of("400-01", Package::new("ACMEnone").file("bin/x", 0o755, "x\n")).directory(&stage);
    fs::write(stage.beside("delivered/flags"), "100-02 recommended\n").unwrap();
    stage
}

/// `ID VERDICT` of each patch, in the order in which they were taken.
fn verdicts(document: &Value) -> Vec<String> {
    let patches = document["patches"].as_array().unwrap_or_else(|| panic!("{document}"));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    patches.iter().map(|one| format!("{} {}", word(&one["id"]), word(&one["verdict"]))).collect()
}

#[test]
fn what_is_missing_is_applied_and_then_nothing_is() {
    let stage = stage();
    let planned = document(&stage, "update -R @ROOT@ -M delivered --dry-run");
    assert_eq!(verdicts(&planned), ["300-01 planned", "100-02 planned", "200-01 planned"]);
    assert!(!stage.at("/opt/ACMEweb/bin/100-02").exists());
    let done = document(&stage, "update -R @ROOT@ -M delivered");
    assert_eq!(verdicts(&done), ["300-01 applied", "100-02 applied", "200-01 applied"]);
    assert_eq!((&done["command"], &done["exit_code"]), (&"update".into(), &0.into()));
    let before = stage.everything();
    assert_eq!(
        stage.run("update -R @ROOT@ -M delivered").ok(),
        "nothing to do: there is no patch to apply\n"
    );
    let nothing = document(&stage, "update -R @ROOT@ -M delivered");
    assert_eq!((&nothing["result"], &nothing["patches"]), (&"nothing-to-do".into(), &json!([])));
    assert_eq!(stage.everything(), before);
}

#[test]
fn a_directory_without_patches_and_index_is_named() {
    let stage = stage();
    fs::create_dir(stage.beside("nothing")).unwrap();
    let note = "nothing has no patches and no index";
    let run = stage.run("update -R @ROOT@ -M nothing");
    assert_eq!((run.code, run.stdout.as_str()), (0, "nothing to do: there is no patch to apply\n"));
    assert_eq!(run.stderr, format!("note: {note}\n"));
    assert_eq!(document(&stage, "update -R @ROOT@ -M nothing")["notes"], json!([note]));
    for line in ["missing -R @ROOT@ -M nothing", "missing --json -R @ROOT@ -M nothing"] {
        let run = stage.run(line);
        assert_eq!((run.code, run.stderr), (0, format!("note: {note}\n")), "{line}");
    }
    fs::write(stage.beside("policy"), format!("depot={}\n", stage.beside("nothing").display())).unwrap();
    let said = stage.run("status -R @ROOT@ --policy policy").ok();
    assert!(said.contains("unknown: ") && said.contains(note), "{said}");
    // A depot may not have its first patch yet.
    stage.run("depot index nothing").ok();
    let run = stage.run("update -R @ROOT@ -M nothing");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}

#[test]
fn a_group_narrows_what_is_applied_and_what_it_requires_says_for_whom() {
    let stage = stage();
    let done = document(&stage, "update -R @ROOT@ -M delivered missingr");
    assert_eq!(verdicts(&done), ["300-01 applied", "100-02 applied"]);
    let pulled = &done["patches"][0];
    assert_eq!((&pulled["named"], &pulled["because"]), (&false.into(), &json!(["100-02"])));
    assert_eq!(done["patches"][1]["named"], true);
}

#[test]
fn a_patch_that_is_named_goes_in_alone_and_one_that_nobody_has_is_refused() {
    let stage = stage();
    let done = document(&stage, "update -R @ROOT@ -M delivered 100-01 999");
    assert_eq!(verdicts(&done), ["100-01 applied", "999 refused"]);
    assert_eq!(done["exit_code"], 5);
    let said = stage.run("update -R @ROOT@ -M delivered ../x").fails(2);
    assert!(said.contains("<../x> is neither a group nor a patch"), "{said}");
}

#[test]
fn what_is_left_out_is_not_missed() {
    let stage = stage();
    let done = document(&stage, "update -R @ROOT@ -M delivered --dry-run --exclude 200 --exclude 100-02");
    assert_eq!(verdicts(&done), ["100-01 planned", "300-01 planned"]);
    let done = document(&stage, "update -R @ROOT@ -M delivered --exclude 100 --exclude 200-01 --exclude 300");
    assert_eq!((&done["patches"], &done["exit_code"]), (&json!([]), &0.into()));
    let done =
        document(&stage, "update -R @ROOT@ -M delivered --check --exclude 100 --exclude 200 --exclude 300");
    assert_eq!(done["exit_code"], 0);
    // A patch that is both named and excluded is reported.
    let done = document(&stage, "update -R @ROOT@ -M delivered --exclude 200 200");
    assert_eq!(verdicts(&done), ["200-01 refused"]);
}

#[test]
fn schedulers_are_told_of_what_is_missing_and_of_a_reboot_where_they_ask() {
    let stage = stage();
    let before = stage.everything();
    stage.run("update -R @ROOT@ -M delivered --check").fails(4);
    assert_eq!(stage.everything(), before);
    let plan = stage.run("update -R @ROOT@ -M delivered --dry-run 200-01").ok();
    assert!(
        plan.contains("  The patch would require a reboot.\n") && !plan.contains("Reboot this"),
        "{plan}"
    );
    stage.run("update -R @ROOT@ -M delivered --reboot-code 100-02").ok();
    let done = document(&stage, "update -R @ROOT@ -M delivered --reboot-code");
    assert_eq!((&done["exit_code"], &done["cause"]), (&8.into(), &"reboot".into()));
    assert_eq!(verdicts(&done), ["200-01 applied"]);
    for (id, why) in [("100-02", "named by the user"), ("200-01", "chosen by `update`")] {
        let shown = stage.run(&format!("show -R @ROOT@ {id}")).ok();
        assert!(shown.contains(&format!(" Why: {why}\n")), "{shown}");
    }
    stage.run("update -R @ROOT@ -M delivered --check --reboot-code").ok();
}

#[test]
fn the_depot_of_the_policy_is_taken_where_none_is_named() {
    let stage = stage();
    let said = stage.run("update -R @ROOT@").fails(1);
    assert!(
        said.contains("the root was not updated: no depot specified: use -M DEPOT, or set `depot`"),
        "{said}"
    );
    assert!(said.ends_with("hint: patchadm -R @ROOT@ update -M DEPOT\n"), "{said}");
    let said = stage.run("update -R @ROOT@ --dry-run").fails(1);
    assert!(said.contains("the root would not be updated: no depot specified"), "{said}");
    fs::write(stage.beside("policy"), format!("depot={}\n", stage.beside("delivered").display())).unwrap();
    stage.run("update -R @ROOT@ --policy policy missingr").ok();
    assert!(stage.at("/opt/ACMEweb/bin/100-02").exists());
    assert!(!stage.at("/opt/ACMEweb/bin/200-01").exists());
}

#[test]
fn each_of_many_roots_gets_what_it_lacks() {
    let stage = stage();
    stage.run("add -R @ROOT@ -M delivered 100 200").ok();
    let said = stage.run("update --roots @ROOT@ -M delivered").ok();
    assert!(said.contains("there is no patch to apply"), "{said}");
    stage.run("remove -R @ROOT@ 200-01").ok();
    let said = stage.run("update --roots @ROOT@ -M delivered").ok();
    assert!(said.contains("200-01 applied"), "{said}");
}

#[test]
fn what_an_option_or_the_policy_leaves_out_is_not_even_mentioned() {
    let stage = stage();
    let planned = document(&stage, "update -R @ROOT@ -M delivered --dry-run --exclude 200");
    assert_eq!(verdicts(&planned), ["300-01 planned", "100-02 planned"]);
    assert_eq!(planned["exit_code"], 0);
    let planned = document(&stage, "update -R @ROOT@ -M delivered --dry-run --exclude 100-02 --exclude 300");
    assert_eq!(verdicts(&planned), ["100-01 planned", "200-01 planned"]);
    fs::write(stage.beside("policy"), "exclude=200 300-01,100-02\n").unwrap();
    let planned = document(&stage, "update -R @ROOT@ --policy policy -M delivered --dry-run");
    assert_eq!(verdicts(&planned), ["100-01 planned"]);
    let named = document(&stage, "update -R @ROOT@ -M delivered --dry-run --exclude 200 200");
    assert_eq!((verdicts(&named), &named["exit_code"]), (vec!["200-01 refused".to_owned()], &3.into()));
}
