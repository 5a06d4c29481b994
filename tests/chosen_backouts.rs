//! Selection of the patches of a backout: all after a patch or a run, all that require a patch, and all or none.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::patch_documents::{self, verdicts};
use crate::scenario::Scenario;

fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file(&format!("bin/{id}"), 0o755, id))
}

/// A root with 100-01, 200-01, which requires it, and 300-01, each applied by a run of its own.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "base\n")]);
    stage.patchadd("", &patch("100-01")).ok();
    stage.patchadd("", &patch("200-01").says("SUNW_REQUIRES", "100-01")).ok();
    stage.patchadd("", &patch("300-01")).ok();
    stage
}

fn document(stage: &Scenario, line: &str) -> Value {
    patch_documents::document(stage, &format!("{line} -R @ROOT@"))
}

/// The runs of patchadd, in their order.
fn runs(stage: &Scenario) -> Vec<String> {
    let history = stage.text("/var/sadm/patchadm/history");
    let lines = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line["command"] == "patchadd");
    lines.map(|line| line["run"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_came_after_a_patch_or_a_run_goes() {
    let stage = stage();
    let first = runs(&stage)[0].clone();
    let number = first.split('-').next().unwrap().to_owned();
    for point in ["100-01", &first, &number] {
        let said = document(&stage, &format!("remove --dry-run --down-to {point}"));
        assert_eq!(verdicts(&said), ["300-01 planned 0", "200-01 planned 0"], "{point}");
    }
    let said = document(&stage, &format!("remove --down-to {}", runs(&stage)[1]));
    assert_eq!(verdicts(&said), ["300-01 removed 0"]);
    stage.run("remove -R @ROOT@ --down-to 9999").fails(4);
    for point in ["999-01", "yesterday"] {
        let said = stage.run(&format!("remove -R @ROOT@ --down-to {point}")).fails(4);
        assert!(
            said.contains(&format!(
                "<{point}> is neither an applied patch, nor a date, nor a run: write an id such as 105181-05, \
                 2026-11-20, '2026-11-20 07:00', or the number of a run\n"
            )),
            "{said}"
        );
    }
    let nothing = stage.run("remove -R @ROOT@ --down-to 200-01").ok();
    assert_eq!(nothing, "nothing to do: there is no patch to remove\n");
}

#[test]
fn what_requires_a_patch_goes_with_it() {
    let stage = stage();
    stage.run("remove -R @ROOT@ 100-01").fails(3);
    let said = document(&stage, "remove --with-dependents 100-01");
    assert_eq!(verdicts(&said), ["200-01 removed 0", "100-01 removed 0"]);
}

#[test]
fn all_go_in_one_transaction_or_none() {
    let stage = stage();
    let scripted = patch("400-01").beside("postbackout", "exit 0\n").directory(&stage);
    fs::set_permissions(scripted.join("postbackout"), Permissions::from_mode(0o755)).unwrap();
    stage.run("patchadd -R @ROOT@ delivered/400-01").ok();
    let before = stage.everything();
    for option in ["--dry-run", ""] {
        let said = document(&stage, &format!("remove {option} --all-or-nothing 300-01 400-01"));
        assert_eq!(verdicts(&said), ["400-01 refused 3", "300-01 not-tried 0"]);
        assert_eq!(said["patches"][0]["reason"], "its scripts need a separate run");
        assert_eq!(said["exit_code"], 3);
        assert!(before.difference(&stage.everything()).is_empty());
    }
    let said = document(&stage, "remove --all-or-nothing 200-01 300-01");
    assert_eq!(verdicts(&said), ["300-01 removed 0", "200-01 removed 0"]);
    stage.run("remove --all-or-nothing -R @ROOT@ 400-01").ok();
}

#[test]
fn patches_that_change_the_same_hard_link_cannot_be_removed_in_one_run_and_the_reason_says_so() {
    let web = |text: &str| Package::new("ACMEweb").file("a", 0o644, text).link("b", "a");
    let stage = Scenario::with(&[web("0\n")]);
    for (id, text) in [("100-01", "1\n"), ("200-01", "2\n")] {
        let patch = Patch::of(id, web(text)).directory(&stage);
        stage.run(&format!("patchadd -R @ROOT@ {}", patch.display())).ok();
    }
    let before = stage.everything();
    let said = document(&stage, "remove --all-or-nothing 100-01 200-01");
    let reasons = said["patches"].as_array().unwrap().iter().filter_map(|patch| patch["reason"].as_str());
    let reasons: Vec<&str> = reasons.collect();
    assert!(
        reasons.iter().any(|reason| reason.contains("two of them change the same hard link")),
        "{reasons:?}"
    );
    assert!(before.difference(&stage.everything()).is_empty());
}

#[test]
fn each_patch_of_one_run_says_the_bytes_that_its_plan_says() {
    let file = |name: &str, text: &str| Package::new("ACMEweb").file(name, 0o755, text);
    let stage = Scenario::with(&[file("bin/httpd", "base\n").file("bin/tool", 0o755, "a tool\n")]);
    stage.patchadd("", &Patch::of("100-01", file("bin/httpd", "new\n"))).ok();
    stage.patchadd("", &Patch::of("200-01", file("bin/tool", "another tool\n"))).ok();
    let bytes = |said: Value| {
        let patches = said["patches"].as_array().unwrap().iter();
        patches.map(|one| one["bytes"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(document(&stage, "remove --dry-run 100-01 200-01")), [7, 5]);
    assert_eq!(bytes(document(&stage, "remove 100-01 200-01")), [7, 5]);
}
