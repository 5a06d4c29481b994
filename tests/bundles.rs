//! Bundles: an operand that is a directory or an archive of several patches is a set of patches.

use std::fs;

use serde_json::json;

use crate::delivery::{Patch, archive};
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

/// A root, and a bundle `Rec`: 100-01 requires 300-01, 200-01 requires a patch that does not exist, 300 has two
/// revisions, one of them as an archive, and 400-01 is for another package.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("bin/httpd", "one\n")]);
    let bundle = stage.beside("Rec");
    patch("100-01").says("SUNW_REQUIRES", "300-01").write(&bundle);
    patch("200-01").says("SUNW_REQUIRES", "999-01").write(&bundle);
    patch("300-01").write(&bundle);
    patch("300-02").pack(&bundle, ".zip");
    Patch::of("400-01", Package::new("ACMEnone").file("bin/x", 0o755, "x\n")).write(&bundle);
    fs::write(bundle.join("CLUSTER_README"), "NAME: Recommended\n").unwrap();
    stage
}

/// Replaces the bundle with an archive of it.
fn archived(stage: &Scenario, suffix: &str) -> String {
    let bundle = stage.beside("Rec");
    archive(&bundle, suffix);
    fs::remove_dir_all(bundle).unwrap();
    format!("Rec{suffix}")
}

#[test]
fn every_patch_of_a_bundle_is_named_whatever_its_form() {
    let expected = |done: &str, [refused, superseded, strange]: [u8; 3]| {
        [
            format!("300-02 {done} 0"),
            format!("100-01 {done} 0"),
            format!("200-01 refused {refused}"),
            format!("300-01 superseded {superseded}"),
            format!("400-01 not-applicable {strange}"),
        ]
    };
    for (command, done, codes) in
        [("plan", "planned", [3, 0, 3]), ("add", "applied", [3, 0, 3]), ("patchadd", "applied", [25, 35, 8])]
    {
        for suffix in ["", ".tar", ".tar.gz", ".zip"] {
            let stage = stage();
            let name = if suffix.is_empty() { "Rec".to_owned() } else { archived(&stage, suffix) };
            let line = format!("{command} -R @ROOT@ --cache cache {name}");
            let document = document(&stage, &line);
            assert_eq!(verdicts(&document), expected(done, codes), "{line}");
            let unmet = &document["patches"][2];
            let reason = format!("it requires 999-01 or later, which is neither applied nor in {name}");
            assert_eq!(unmet["reason"], reason);
            assert_eq!((&unmet["named"], &unmet["depot"]), (&true.into(), &name.into()));
            assert_eq!(stage.at("/opt/ACMEweb/bin/300-02").exists(), done == "applied");
            if stage.beside("cache").exists() {
                let left = fs::read_dir(stage.beside("cache/spool")).unwrap().count();
                assert_eq!(left, 0, "{line}: what was unpacked is gone");
            }
        }
    }
}

#[test]
fn without_a_cache_an_archive_is_unpacked_elsewhere() {
    let stage = stage();
    let name = archived(&stage, ".tar");
    let document = document(&stage, &format!("add -R @ROOT@ --cache /dev/null/cache {name}"));
    assert_eq!(verdicts(&document)[..2], ["300-02 applied 0", "100-01 applied 0"]);
}

#[test]
fn the_order_of_a_bundle_says_which_patches_are_named() {
    let stage = stage();
    fs::write(stage.beside("Rec/patch_order"), "# the recommended ones\n100-01\n998-01\n").unwrap();
    let document = document(&stage, "add -R @ROOT@ Rec");
    assert_eq!(verdicts(&document), ["300-02 applied 0", "100-01 applied 0", "998-01 refused 1"]);
    let pulled = &document["patches"][0];
    assert_eq!((&pulled["named"], &pulled["because"]), (&false.into(), &json!(["100-01"])));
    assert_eq!(document["patches"][2]["reason"], "Rec does not have it");
}

#[test]
fn a_bundle_is_named_as_a_depot_too() {
    for suffix in ["", ".tar.gz"] {
        let stage = stage();
        fs::write(stage.beside("Rec/patch_order"), "100-01\n").unwrap();
        let name = if suffix.is_empty() { "Rec".to_owned() } else { archived(&stage, suffix) };
        let found = document(&stage, &format!("plan -R @ROOT@ --cache cache -M {name}"));
        assert_eq!(verdicts(&found), ["300-02 planned 0", "100-01 planned 0"], "{name}");
        let found = document(&stage, &format!("plan -R @ROOT@ --cache cache -M {name} 300-01"));
        assert_eq!(verdicts(&found), ["300-01 planned 0"], "{name}");
    }
}

#[test]
fn a_bundle_and_patches_beside_it_are_one_set() {
    let stage = stage();
    patch("999-01").directory(&stage);
    let document = document(&stage, "add -R @ROOT@ Rec delivered/999-01 --exclude 300-02");
    assert_eq!(
        verdicts(&document),
        [
            "300-01 applied 0",
            "100-01 applied 0",
            "999-01 applied 0",
            "200-01 applied 0",
            "300-02 refused 3",
            "400-01 not-applicable 3",
        ]
    );
}

#[test]
fn all_or_nothing_holds_for_a_bundle() {
    let stage = stage();
    let before = stage.everything();
    stage.run("add -R @ROOT@ Rec --all-or-nothing").fails(3);
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_damaged_patch_of_a_bundle_does_not_stop_the_others() {
    let stage = stage();
    fs::write(stage.beside("Rec/100-01/ACMEweb/pkgmap"), "rubbish\n").unwrap();
    let document = document(&stage, "add -R @ROOT@ Rec");
    let found = verdicts(&document);
    assert!(found.contains(&"300-02 applied 0".to_owned()), "{found:?}");
    assert!(found.contains(&"100-01 failed 1".to_owned()), "{found:?}");
}
