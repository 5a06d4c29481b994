//! `build --fixes` and `lint`: a new patch lists its fixes in a form that scanners know.

use std::fs;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::patch_documents::document;
use crate::scenario::Scenario;

/// Three trees beside the root, each with another program.
fn trees() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    for (tree, text) in [("old", "one\n"), ("new", "two\n"), ("newer", "three\n")] {
        let bin = stage.beside(tree).join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("httpd"), text).unwrap();
    }
    stage
}

fn build(id: &str, to: &str, options: &str) -> String {
    format!(
        "build --id {id} --from old --to {to} -o {id} --pkg ACMEweb --arch all --base-version 1.0 \
         --basedir /opt/ACMEweb --owner root:root {options}"
    )
}

#[test]
fn a_patch_that_is_built_says_what_it_fixes_in_its_packages_its_patchinfo_and_its_readme() {
    let stage = trees();
    stage.run(&build("100-01", "new", "--fixes CVE-2026-1234,ACME-17 --fixes ACME-17 --bug typo")).ok();
    let read = |name: &str| fs::read_to_string(stage.beside("100-01").join(name)).unwrap();
    assert!(read("patchinfo").contains("PATCH_FIXES=\"CVE-2026-1234 ACME-17\"\n"), "{}", read("patchinfo"));
    assert!(read("ACMEweb/pkginfo").contains("PATCH_FIXES=CVE-2026-1234 ACME-17\n"));
    let readme = read("README.100-01");
    assert!(readme.contains("Bugs fixed with this patch: \ntypo\nCVE-2026-1234\nACME-17\n"), "{readme}");
    let shown = document(&stage, "show 100-01");
    assert_eq!(shown["answers"][0]["fixes"], json!(["CVE-2026-1234", "ACME-17"]));
    assert!(stage.run("show 100-01").ok().contains("       Fixes: CVE-2026-1234, ACME-17\n"));
}

#[test]
fn a_later_revision_fixes_what_the_earlier_one_does() {
    let stage = trees();
    stage.run(&build("100-01", "new", "--fixes CVE-2026-1234")).ok();
    stage.run(&build("100-02", "newer", "--previous 100-01 --fixes CVE-2026-1235")).ok();
    let shown = document(&stage, "show 100-02");
    let mut fixes: Vec<&str> =
        shown["answers"][0]["fixes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    fixes.sort_unstable();
    assert_eq!(fixes, ["CVE-2026-1234", "CVE-2026-1235"]);
}

#[test]
fn what_no_scanner_would_know_is_refused_before_anything_is_written() {
    let stage = trees();
    for (fixes, told) in [
        ("CVE-26-1234", "<CVE-26-1234> is not the id of a CVE record: its year does not have four digits"),
        ("cve-2026-1234", "capital letters"),
        ("a/b", "it may contain only letters"),
    ] {
        let said = stage.run(&build("100-01", "new", &format!("--fixes {fixes}"))).fails(2);
        assert!(said.contains(told), "{fixes}: {said}");
        assert!(!stage.beside("100-01").exists());
    }
}

#[test]
fn lint_tells_ids_that_are_none_and_those_that_are_named_twice() {
    let stage = Scenario::new();
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n");
    let patch = Patch::of("100-01", package.param("PATCH_FIXES", "CVE-2026-12 ACME-17"))
        .beside("patchinfo", "PATCH_FIXES=\"ACME-17 ACME-17 <b>\"\n");
    patch.directory(&stage);
    let said = document(&stage, "lint delivered/100-01");
    let found: Vec<(String, String)> = said["patches"][0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| {
            finding["code"].as_str().unwrap().starts_with("fixes") || finding["code"] == "patchinfo"
        })
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            (text("code"), text("text"))
        })
        .collect();
    let codes: Vec<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["patchinfo", "fixes", "fixes", "fixes-twice"], "{found:?}");
    assert!(found[0].1.contains("PATCH_FIXES is missing CVE-2026-12"), "{found:?}");
    assert!(found[1].1.contains("its number does not have 4 to 19 digits"), "{found:?}");
    let explained = stage.run("help lint:fixes").ok();
    assert!(
        explained.starts_with("fixes (lint error): The list of fixed problems contains an id"),
        "{explained}"
    );
}
