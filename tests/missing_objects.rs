//! Objects that were removed by hand: a plan and its run name them before they are made again, and the backout removes
//! them, as it found them.

use std::fs;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn package(text: &str) -> Package {
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, text).file("share/doc/page", 0o644, text);
    package.directory("share").directory("share/doc")
}

#[test]
fn a_deleted_file_and_a_deleted_directory_are_named_as_missing_before_they_are_made_again() {
    let stage = Scenario::with(&[package("one\n")]);
    let patch = Patch::of("100-01", package("two\n")).directory(&stage);
    fs::remove_file(stage.at("/opt/ACMEweb/bin/httpd")).unwrap();
    fs::remove_dir_all(stage.at("/opt/ACMEweb/share")).unwrap();
    let before = stage.tree();
    let gone =
        ["bin/httpd", "share", "share/doc", "share/doc/page"].map(|path| format!("/opt/ACMEweb/{path}"));
    for ask in ["plan", "add --dry-run", "patchadd -a", "add"] {
        let run = stage.run(&format!("{ask} --json -R @ROOT@ {}", patch.display()));
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        let missing: Vec<&str> = document["patches"][0]["missing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        assert_eq!(missing, gone, "{ask}: {document}");
        if ask == "add" {
            stage.run("remove -R @ROOT@ 100-01").ok();
            assert_same(&stage.tree(), &before);
        }
        let said = stage.run(&format!("{} -R @ROOT@ {}", ask, patch.display())).ok();
        for path in &gone {
            let note = format!("@ROOT@{path} was missing; the run creates it again");
            assert!(said.contains(&note), "{ask}: {said}");
        }
    }
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "two\n");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_same(&stage.tree(), &before);
    let said = stage.run(&format!("patchadd -R @ROOT@ {}", patch.display())).ok();
    assert!(
        said.contains("NOTE: @ROOT@/opt/ACMEweb/bin/httpd was missing; the run creates it again"),
        "{said}"
    );
}

#[test]
fn what_nobody_recorded_and_what_is_there_is_not_missing() {
    let stage = Scenario::with(&[package("one\n")]);
    let patch = Patch::of("100-01", package("two\n").file("bin/new", 0o755, "new\n")).directory(&stage);
    let run = stage.run(&format!("add --json -R @ROOT@ {}", patch.display()));
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["patches"][0].get("missing"), None, "{document}");
}

#[test]
fn what_a_backout_makes_again_is_named_too() {
    let stage = Scenario::with(&[package("one\n")]);
    stage.patchadd("", &Patch::of("100-01", package("two\n"))).ok();
    fs::remove_file(stage.at("/opt/ACMEweb/bin/httpd")).unwrap();
    for ask in ["remove --dry-run", "remove"] {
        let said = stage.run(&format!("{ask} -R @ROOT@ 100-01")).ok();
        assert!(
            said.contains("@ROOT@/opt/ACMEweb/bin/httpd was missing; the run creates it again"),
            "{ask}: {said}"
        );
    }
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}
