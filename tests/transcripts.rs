//! The whole output of patchadd and patchrm, and that a dry run changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::Tree;

fn stage() -> Scenario {
    let web = Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("bin/old", 0o755, "old\n");
    let stage = Scenario::with(&[web, Package::new("ACMEdb").file("bin/db", 0o755, "one\n")]);
    let web =
        Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").directory("share").deletes(&["bin/old"]);
    Patch::of("100-01", web)
        .package(Package::new("ACMEdb").file("bin/db", 0o755, "two\n"))
        .package(Package::new("ACMEx").file("bin/x", 0o755, "two\n"))
        .directory(&stage);
    stage
}

/// The lines of a transcript that are not empty: the blank ones vary with the copy.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_transcript_of_patchadd_is_the_one_that_scripts_know() {
    let stage = stage();
    let said = stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    assert_eq!(
        lines(&said),
        [
            "Validating patches...",
            "Loading patches installed on the system...",
            "Done!",
            "Loading patches requested to install.",
            "Done!",
            "Checking patches that you specified for installation.",
            "Done!",
            "Approved patches will be installed in this order:",
            "100-01",
            "Checking installed patches...",
            "Verifying sufficient filesystem capacity (dry run method)...",
            "Installing patch packages...",
            "Patch 100-01 has been successfully installed.",
            "See @ROOT@/var/sadm/patch/100-01/log for details",
            "Patch packages installed:",
            "  ACMEdb",
            "  ACMEweb",
        ]
    );
    let log = stage.text("/var/sadm/patch/100-01/log");
    assert!(log.contains("ACMEweb") && log.contains("/opt/ACMEweb/bin/httpd"), "{log}");
    assert_eq!(stage.text("/var/sadm/patch/100-01/README.100-01"), "Patch-ID# 100-01\n");
}

#[test]
fn the_transcript_of_patchrm_is_the_one_that_scripts_know() {
    let stage = stage();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let said = stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(
        lines(&said),
        [
            "Validating patches...",
            "Loading patches installed on the system...",
            "Done!",
            "Checking patches that you specified for removal.",
            "Done!",
            "Approved patches will be removed in this order:",
            "100-01",
            "Checking installed patches...",
            "Backing out patch 100-01...",
            "Patch 100-01 has been backed out.",
            "Done!",
        ]
    );
    assert!(!stage.at("/var/sadm/patch/100-01").exists());
}

#[test]
fn the_list_of_patches_has_a_line_for_each_with_its_relations_and_packages() {
    let stage = stage();
    assert_eq!(stage.run("patchadd -p -R @ROOT@").ok(), "No patches installed\n");
    assert_eq!(stage.run("showrev -p -R @ROOT@").ok(), "No patches are installed\n");
    let second = Patch::of("200-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"))
        .says("SUNW_OBSOLETES", "100-01 150-02")
        .says("SUNW_REQUIRES", "100-01")
        .says("SUNW_INCOMPAT", "999-01");
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    stage.patchadd("", &second).ok();
    let expected = "Patch: 100-01 Obsoletes:  Requires:  Incompatibles:  Packages: ACMEdb, ACMEweb\n\
                    Patch: 200-01 Obsoletes: 100-01, 150-02 Requires: 100-01 Incompatibles: 999-01 Packages: ACMEweb\n";
    assert_eq!(stage.run("patchadd -p -R @ROOT@").ok(), expected);
    assert_eq!(stage.run("showrev -p -R @ROOT@").ok(), expected);
    stage.run("patchrm -R @ROOT@ 200-01 100-01").ok();
    assert_eq!(stage.run("patchadd -p -R @ROOT@").ok(), "No patches installed\n");
}

#[test]
fn a_restricted_patch_keeps_its_undo_data_whatever_is_asked_for() {
    let stage = stage();
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "fixed\n");
    let said = stage.patchadd("-d", &Patch::of("IDR700-01", package)).ok();
    assert!(said.contains("NOTE: -d is ignored for restricted patch IDR700-01.\n"), "{said}");
    assert_eq!(said.matches("-d is ignored").count(), 1, "{said}");
    stage.run("patchrm -R @ROOT@ IDR700-01").ok();
}

#[test]
fn what_a_patch_asks_for_afterwards_is_said() {
    let stage = stage();
    let package = || Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n");
    let by_properties =
        Patch::of("300-01", package()).beside("patchinfo", "PATCH_PROPERTIES='rebootimmediate'\n");
    let by_readme = Patch::of("300-02", package())
        .beside("README.300-02", "Install Requirements: Reboot after installing this patch\n");
    let said = stage.patchadd("", &by_properties).ok();
    assert!(said.contains("Reboot this machine now to put the patch into effect.\n"), "{said}");
    let said = stage.patchadd("", &by_readme).ok();
    assert!(said.contains("Reboot this machine when convenient to put the patch into effect.\n"), "{said}");
}

/// Everything on a root, with the times of directories too: a file made and removed would be seen.
fn to_the_last_time(root: &Path) -> (Tree, BTreeMap<String, (i64, i64)>) {
    let tree = Tree::of(root, &[]);
    let time = |path: &str| {
        let seen = fs::symlink_metadata(root.join(path)).unwrap();
        (path.to_owned(), (seen.mtime(), seen.mtime_nsec()))
    };
    let times = tree.paths().split(' ').map(time).collect();
    (tree, times)
}

#[test]
fn what_would_be_done_is_told_and_nothing_is_touched() {
    let stage = stage();
    fs::remove_file(stage.at("/var/sadm/install/.lockfile")).unwrap();
    let untouched = |lines: &[&str]| {
        let before = to_the_last_time(&stage.root());
        let said: Vec<String> = lines.iter().map(|line| stage.run(line).ok()).collect();
        assert_eq!(to_the_last_time(&stage.root()), before);
        said
    };
    let said = untouched(&[
        "patchadd -a -R @ROOT@ delivered/100-01",
        "patchadd -a -u -d -R @ROOT@ delivered/100-01",
        "add --dry-run -R @ROOT@ delivered/100-01",
        "plan -R @ROOT@ delivered/100-01",
        "plan --json -R @ROOT@ delivered/100-01",
    ]);
    for line in [
        "  replace          @ROOT@/opt/ACMEdb/bin/db (4 bytes)",
        "  replace          @ROOT@/opt/ACMEweb/bin/httpd (4 bytes)",
        "  delete           @ROOT@/opt/ACMEweb/bin/old",
        "  add              @ROOT@/opt/ACMEweb/share",
    ] {
        assert!(said[..4].iter().all(|said| said.contains(line)), "{line}\n{}", said[0]);
    }
    assert!(said[0].ends_with("Patch 100-01 can be installed; nothing was changed.\n"), "{}", said[0]);

    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    fs::remove_file(stage.at("/var/sadm/install/.lockfile")).unwrap();
    let said = untouched(&[
        "patchrm -a -R @ROOT@ 100-01",
        "remove --dry-run -R @ROOT@ 100-01",
        "remove --dry-run -R @ROOT@ 100-01",
        "list -R @ROOT@",
        "show -R @ROOT@ 100-01",
    ]);
    assert!(said[0].contains("Patch 100-01 can be backed out; nothing was changed.\n"), "{}", said[0]);
    assert!(said[1].contains("  add              @ROOT@/opt/ACMEweb/bin/old"), "{}", said[1]);
}
