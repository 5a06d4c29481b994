//! Objects that no package can have: the root directory, and an owner or group whose number means none.

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

/// The number by which system calls leave an owner unchanged.
const NONE: &str = "4294967295";

/// Asserts that a package cannot be installed, with these words, and that nothing is changed.
#[track_caller]
fn refused(stage: &Scenario, package: &Package, words: &[&str]) {
    package.write(&stage.beside("spool"));
    let before = stage.everything();
    let run = stage.run("pkgadd -n -R @ROOT@ -d spool ACMEodd");
    assert_ne!(run.code, 0, "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {}", run.stderr);
    }
    assert_same(&stage.everything(), &before);
}

#[test]
fn the_root_directory_is_no_object_of_a_package() {
    let line = "d none / 0755 root root";
    for package in [
        Package::new("ACMEodd").line("/", line),
        Package::new("ACMEodd").param("BASEDIR", "/").line("/", line),
    ] {
        refused(&Scenario::new(), &package, &["the root directory"]);
    }
    let stage = Scenario::new();
    stage.install(&Package::new("ACMEweb").file("a", 0o644, "x\n"));
    Patch::of("100-01", Package::new("ACMEweb").line("/", line)).directory(&stage);
    let text = stage.run("patchadd -R @ROOT@ delivered/100-01").fails(10);
    assert!(text.contains("the root directory"), "{text}");
}

#[test]
fn an_owner_whose_number_means_none_is_refused_by_name() {
    for owners in [format!("{NONE} root"), format!("root {NONE}")] {
        let package = Package::new("ACMEodd").content('f', "a", 0o644, &owners, 0, "x\n");
        refused(&Scenario::new(), &package, &[NONE]);
    }
}

#[test]
fn an_account_of_a_root_with_that_number_is_not_known() {
    if !is_root() {
        return;
    }
    let stage = Scenario::new();
    stage.file("/etc/passwd", format!("root:x:0:0::/:/bin/sh\nodd:x:{NONE}:{NONE}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:0:\nodd:x:{NONE}:\n"));
    for (owners, word) in [("odd root", "owner odd"), ("root odd", "group odd")] {
        let package = Package::new("ACMEodd").content('f', "a", 0o644, owners, 0, "x\n");
        refused(&stage, &package, &[word]);
    }
}

#[test]
fn a_line_of_contents_with_that_owner_is_damage() {
    let stage = Scenario::new();
    stage.install(&Package::new("ACMEweb").file("a", 0o644, "x\n"));
    let lines = stage.lines().join("\n");
    stage.file("/var/sadm/install/contents", format!("{lines}\n/z f none 0644 {NONE} root 1 1 1 ACMEweb\n"));
    Package::new("ACMEodd").file("z", 0o644, "x\n").param("BASEDIR", "/").write(&stage.beside("spool"));
    let run = stage.run("pkgchk -R @ROOT@ ACMEweb");
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains(NONE), "{}", run.stderr);
    let run = stage.run("pkgadd -n -R @ROOT@ -d spool ACMEodd");
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains(NONE), "{}", run.stderr);
}
