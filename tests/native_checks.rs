//! Fixes that dpkg overwrote: the exit codes of `--check`, the output of `show`, and the requirements of other
//! patches.

use std::fs;

use serde_json::{Value, json};

use crate::adopt_refresh::{ONE, TWO, Version, adopted, delivered, dpkg_installs, upgraded};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::schema::assert_document;

const LOST: &str = "/var/sadm/patchadm/lost";

/// The patch of the library, with the version that has its fix.
fn fix(fixed_in: &str) -> Patch {
    let package = delivered("1.0-1").param("PATCH_FIXED_IN", fixed_in);
    Patch::of("100-01", package.file("usr/lib/libweb.so", 0o644, "lib fixed\n"))
}

/// A patch of a package of its own that requires the one of the library.
fn other() -> Patch {
    Patch::of("200-01", Package::new("ACMEshop").file("bin/shop", 0o755, "shop two\n"))
        .says("SUNW_REQUIRES", "100-01")
}

/// A root with both packages, to which the patch of the library is applied; the other patch is delivered.
fn stage(fixed_in: &str) -> Scenario {
    let stage = adopted();
    stage.install(&Package::new("ACMEshop").file("bin/shop", 0o755, "shop one\n"));
    stage.patchadd("", &fix(fixed_in)).ok();
    other().directory(&stage);
    stage
}

/// The same root after dpkg has installed the next version and a refresh has recorded it.
fn refreshed(fixed_in: &str) -> Scenario {
    let stage = stage(fixed_in);
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    stage
}

fn document(stage: &Scenario, line: &str) -> Value {
    let run = stage.run(line);
    assert_document(line, run.stdout.as_bytes());
    serde_json::from_str(&run.stdout).unwrap()
}

/// A cross-reference that lists the patch of the shop.
fn with_cross_reference(stage: &Scenario) {
    let line = "100007|01|Nov/12/26|R| | |  |Unbundled|i386;|ACMEshop:1.0;|shop\n";
    let text = format!("## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Nov/19/26 ##\n{line}");
    fs::write(stage.beside("patchdiag.xref"), text).unwrap();
}

#[test]
fn every_check_ends_with_4_until_a_lost_fix_is_accepted() {
    let stage = upgraded();
    stage.run("adopt --refresh -R @ROOT@").ok();
    with_cross_reference(&stage);
    let lost = "100-01: LOST to web 1.0-2 (dpkg)";
    for line in ["check --contents", "missing --xref patchdiag.xref --check"] {
        let run = stage.run(&format!("{line} -R @ROOT@"));
        assert_eq!(run.code, 4, "{line}");
        assert!(run.stdout.contains(lost), "{}", run.stdout);
        let document = document(&stage, &format!("{line} --json -R @ROOT@"));
        assert_eq!(document["exit_code"], 4, "{line}");
        assert_eq!(document["lost"][0]["id"], "100-01", "{line}");
        assert_eq!(document["lost"][0]["outcome"], "lost", "{line}");
    }
    let quiet = stage.run("check --contents -q -R @ROOT@");
    assert_eq!(quiet.code, 4);
    let next = "`patchadm -R @ROOT@ add PATCH` applies a patch for web 1.0-2, or accept the loss; \
                `patchadm -R @ROOT@ adopt --refresh --accept 100-01`";
    assert!(quiet.stderr.contains(&format!("native: {lost}; {next}")), "{}", quiet.stderr);
    let status = stage.run("status -R @ROOT@").ok();
    let next = "`patchadm -R @ROOT@ add PATCH` applies a patch that brings back the fix of 100-01";
    assert!(status.contains(next), "{status}");
    stage.run("adopt --refresh --accept 100-01 -R @ROOT@").ok();
    for line in ["list --check", "check --contents", "missing --xref patchdiag.xref --check"] {
        assert_eq!(stage.run(&format!("{line} -R @ROOT@")).code, 0, "{line}");
    }
}

#[test]
fn every_check_ends_with_4_while_a_registration_is_stale_although_nothing_is_lost() {
    let stage = adopted();
    with_cross_reference(&stage);
    let again = Version { version: "1.0-2", ..ONE };
    dpkg_installs(&stage, Some(&ONE), &again, &[]);
    for line in ["list --check", "check --contents", "missing --xref patchdiag.xref --check"] {
        let run = stage.run(&format!("{line} -R @ROOT@"));
        assert_eq!(run.code, 4, "{line}");
        let note = "note: package DEBweb: dpkg changed web from 1.0-1 to 1.0-2 since it was adopted; \
                    run `patchadm -R @ROOT@ adopt --refresh`\n";
        assert_eq!(run.stderr, note, "{line}");
        if line != "check --contents" {
            let run = stage.run(&format!("{} -R @ROOT@", line.replace(" --check", "")));
            assert_eq!((run.code, run.stderr.as_str()), (0, note), "{line}");
        }
        let document = document(&stage, &format!("{line} --json -R @ROOT@"));
        assert_eq!(document["stale"][0]["package"], "DEBweb", "{line}");
    }
    stage.run("adopt --refresh -R @ROOT@").ok();
    for line in ["list --check", "check --contents", "missing --xref patchdiag.xref --check"] {
        assert_eq!(stage.run(&format!("{line} -R @ROOT@")).code, 0, "{line}");
    }
}

#[test]
fn damage_comes_before_a_lost_fix_and_that_before_a_missing_patch() {
    let stage = refreshed("dpkg web >= 1.0-3");
    with_cross_reference(&stage);
    let unknown = "missing --xref patchdiag.xref -R @ROOT@ --check 100007 999999";
    assert_eq!(stage.run(unknown).code, 4, "an unknown patch");
    let found = |line: &str| {
        let said = document(&stage, &format!("{line} --json -R @ROOT@"));
        (said["exit_code"].as_u64().unwrap(), said["cause"].as_str().unwrap().to_owned())
    };
    let analyze = "missing --xref patchdiag.xref --check";
    let run = stage.run(&format!("{analyze} -R @ROOT@"));
    assert!(run.code == 4 && run.stdout.contains("100007 -- < 01"), "{}", run.stdout);
    assert_eq!(found(analyze), (4, "native-changed".to_owned()));
    stage.file("/opt/ACMEshop/bin/shop", "mine\n");
    assert_eq!(found("check --contents"), (4, "edited".to_owned()));
    stage.file("/opt/ACMEshop/bin/shop", "shop one\n");
    stage.run("adopt --refresh --accept 100-01 -R @ROOT@").ok();
    assert_eq!(found(analyze), (4, "missing".to_owned()));
}

#[test]
fn a_lost_fix_of_one_of_many_roots_is_told_by_the_code_and_first_on_the_page() {
    let stage = refreshed("dpkg web >= 1.0-3");
    with_cross_reference(&stage);
    for line in ["list --check", "check --contents", "missing --xref patchdiag.xref --check"] {
        let run = stage.run(&format!("{line} --roots @ROOT@"));
        assert_eq!(run.code, 4, "{line}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("LOST to web 1.0-2 (dpkg)"), "{line}: {}", run.stdout);
        let found = document(&stage, &format!("{line} --json --roots @ROOT@"));
        fs::write(stage.beside("found.json"), found.to_string()).unwrap();
    }
    let page = stage.run("report page found.json").ok();
    let (lost, table) = (page.find("100-01: lost to web 1.0-2 (dpkg)"), page.find("<table"));
    assert!(lost.is_some() && lost < table, "{lost:?} {table:?}");
}

#[test]
fn a_requirement_of_a_contained_patch_is_met() {
    let stage = refreshed("dpkg web >= 1.0-2");
    let why = stage.run("show -R @ROOT@ delivered/200-01").ok();
    assert!(why.contains("    Requires: 100-01 (contained in web 1.0-2 (dpkg))\n"), "{why}");
    let why = document(&stage, "show --json -R @ROOT@ delivered/200-01")["answers"][0].clone();
    let need = json!({ "requirement": "100-01", "met_by": "100-01", "contained_in": "web 1.0-2 (dpkg)" });
    assert_eq!(why["needs"], json!([need]));
    assert!(stage.run("plan -R @ROOT@ delivered/200-01").ok().contains("200-01"));
    stage.run("patchadd -R @ROOT@ delivered/200-01").ok();
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    stage.run("add -R @ROOT@ delivered/200-01").ok();
}

#[test]
fn a_requirement_of_a_lost_patch_is_not_met_even_where_that_is_offered_for_another_version() {
    let stage = refreshed("dpkg web >= 1.0-3");
    let before = stage.tree();
    let why = stage.run("show -R @ROOT@ delivered/200-01").ok();
    assert!(why.contains("    Requires: 100-01 (not applied)\n"), "{why}");
    stage.run("patchadd -R @ROOT@ delivered/200-01").fails(25);
    for line in [
        "plan -R @ROOT@ delivered/200-01",
        "add -R @ROOT@ delivered/200-01",
        "add -R @ROOT@ delivered/100-01 delivered/200-01",
        "add -R @ROOT@ -M delivered 200-01",
        "update -R @ROOT@ -M delivered",
    ] {
        let run = stage.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(run.code != 0 && said.contains("100-01"), "{line}: {} {said}", run.code);
    }
    assert_eq!(stage.tree(), before);
    // A later version with the fix meets the requirement.
    dpkg_installs(&stage, Some(&TWO), &Version { version: "1.0-3", ..TWO }, &[]);
    stage.run("add -R @ROOT@ delivered/200-01").ok();
}

#[test]
fn a_refresh_says_who_requires_what_is_lost_and_removes_nobody_for_it() {
    let stage = stage("dpkg web >= 1.0-3");
    stage.patchadd("", &other()).ok();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let said = stage.run("adopt --refresh --dry-run -R @ROOT@").ok();
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)\n  required by 200-01\n"), "{said}");
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)\n  required by 200-01\n"), "{said}");
    assert_eq!(stage.text("/opt/ACMEshop/bin/shop"), "shop two\n");
    assert!(stage.run("list -R @ROOT@").ok().contains("200-01  effective"));
}

#[test]
fn a_refresh_is_silent_about_what_is_contained_until_an_older_version_loses_it() {
    let stage = stage("dpkg web >= 1.0-2");
    stage.patchadd("", &other()).ok();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let said = stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(said.contains("100-01: contained") && !said.contains("required by"), "{said}");
    dpkg_installs(&stage, Some(&TWO), &ONE, &[]);
    let run = stage.run("adopt --refresh -R @ROOT@");
    assert_eq!(run.stderr, "note: 100-01: LOST to web 1.0-1 (dpkg); required by 200-01\n");
    assert!(stage.run("list -R @ROOT@").ok().contains("200-01  effective"));
}

#[test]
fn a_refresh_in_the_same_run_counts_for_the_requirements_of_the_patch() {
    let stage = stage("dpkg web >= 1.0-2");
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("plan --refresh -R @ROOT@ delivered/200-01").ok();
    stage.run("add --refresh -R @ROOT@ delivered/200-01").ok();
    let stage = self::stage("dpkg web >= 1.0-3");
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    for line in ["plan --refresh", "add --refresh"] {
        let run = stage.run(&format!("{line} -R @ROOT@ delivered/200-01"));
        assert!(run.code != 0, "{line}: {}", run.stdout);
    }
}

#[test]
fn the_list_of_ended_patches_alone_meets_nothing() {
    let stage = refreshed("dpkg web >= 1.0-2");
    let own = stage.text(LOST);
    let refused = |stage: &Scenario, what: &str| {
        assert_eq!(stage.run("patchadd -R @ROOT@ delivered/200-01").code, 25, "{what}");
    };
    for (what, forged) in [
        ("no word of a version", own.replace("dpkg web >= 1.0-2", "")),
        ("a version to come", own.replace(">= 1.0-2", ">= 1.0-9")),
        ("another package", own.replace("\"package\":\"web\"", "\"package\":\"shop\"")),
        ("another manager", own.replace("\"manager\":\"dpkg\"", "\"manager\":\"rpm\"")),
        ("another root", own.replace("\"root\":\"", "\"root\":\"00")),
        ("nothing", String::new()),
    ] {
        assert_ne!(forged, own, "{what}");
        stage.file(LOST, forged);
        refused(&stage, what);
    }
    stage.file(LOST, &own);
    let status = stage.text("/var/lib/dpkg/status");
    for (what, text) in [
        ("removed", status.replace("install ok installed", "deinstall ok config-files")),
        ("half installed", status.replace("install ok installed", "install reinstreq half-installed")),
        ("an older version", status.replace("1.0-2", "1.0-1")),
        ("cut short", status.replace("Version: 1.0-2\n", "")),
    ] {
        stage.file("/var/lib/dpkg/status", text);
        refused(&stage, what);
    }
    stage.file("/var/lib/dpkg/status", &status);
    stage.run("patchadd -R @ROOT@ delivered/200-01").ok();
}

#[test]
fn show_says_which_versions_have_the_fix_and_what_a_refresh_would_make_of_the_patch() {
    let fixed = "dpkg web >= 1.0-3, rpm web >= 1.0-4";
    let stage = stage(fixed);
    for line in ["show -R @ROOT@ 100-01", "show -R @ROOT@ delivered/100-01"] {
        let said = stage.run(line).ok();
        assert!(said.contains(&format!("    Fixed in: {fixed}\n")), "{said}");
        let document = document(&stage, &line.replace("show", "show --json"));
        assert_eq!(document["answers"][0]["fixed_in"], fixed);
    }
    let silent = document(&stage, "show --json -R @ROOT@ delivered/200-01")["answers"][0].clone();
    assert_eq!(silent["answers"][0]["fixed_in"], Value::Null);
    assert!(!stage.run("show -R @ROOT@ delivered/200-01").ok().contains("Fixed in"));
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let run = stage.run("show -R @ROOT@ 100-01");
    assert!(run.stdout.contains("       State: LOST to web 1.0-2 (dpkg)\n"), "{}", run.stdout);
    assert!(run.stderr.contains("dpkg changed web from 1.0-1 to 1.0-2"), "{}", run.stderr);
    let document = document(&stage, "show --json -R @ROOT@ 100-01");
    assert_eq!(document["answers"][0]["state"], json!(["lost"]));
    assert_eq!(document["answers"][0]["native"], "LOST to web 1.0-2 (dpkg)");
}
