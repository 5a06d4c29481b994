//! Roots where a tool without recovery died while it applied a patch: the lock of the installation is there, the records
//! name the patch, half of its files are in place, and nothing was saved.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

const LOCK: &str = "/var/sadm/pkg/ACMEweb/!I-Lock!";
const UNDO: &str = "/var/sadm/pkg/ACMEweb/save/100-01";

fn patch() -> Patch {
    let files = Package::new("ACMEweb").file("bin/httpd", 0o755, "new\n").file("bin/tool", 0o755, "new\n");
    Patch::of("100-01", files)
}

/// A root where the second file is still the old one; `saved` says whether undo data was made before the end came.
fn half_patched(saved: bool) -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "one\n")
        .file("bin/tool", 0o755, "one\n")]);
    stage.patchadd("", &patch()).ok();
    let tool = stage.lines().iter().find_map(|line| {
        let path = line.split(' ').next()?;
        path.ends_with("bin/tool").then(|| path.to_owned())
    });
    fs::write(stage.at(&tool.unwrap()), "one\n").unwrap();
    fs::write(stage.at(LOCK), "").unwrap();
    if !saved {
        fs::remove_dir_all(stage.at(UNDO)).unwrap();
        stage.forget_ledgers();
    }
    stage
}

#[test]
fn patchrm_says_14_where_a_patch_was_left_half_applied() {
    let stage = half_patched(false);
    let before = stage.everything();
    let told = stage.run("patchrm -R @ROOT@ 100-01").fails(14);
    assert!(told.contains("applying it to package ACMEweb was interrupted"), "{told}");
    assert!(told.contains("`!I-Lock!`") && told.contains("there is no undo data"), "{told}");
    assert_eq!(before.difference(&stage.everything()), "");
}

#[test]
fn patchadd_says_what_it_found_and_u_refuses_without_undo_data() {
    let stage = half_patched(false);
    let before = stage.tree();
    for options in ["", "-u"] {
        let told = stage.patchadd(options, &patch()).fails(10);
        assert!(told.contains("applying it to package ACMEweb was interrupted"), "{options}: {told}");
    }
    assert_eq!(before.difference(&stage.tree()), "");
    assert!(stage.at(LOCK).exists());
}

#[test]
fn who_gives_the_way_back_up_finishes_the_patch() {
    let stage = half_patched(false);
    stage.patchadd("-u -d", &patch()).ok();
    assert!(!stage.at(LOCK).exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEweb").ok(), "");
    stage.run("patchrm -R @ROOT@ 100-01").fails(4);
}

#[test]
fn u_repairs_a_half_applied_patch_that_has_undo_data() {
    let stage = half_patched(true);
    stage.patchadd("-u", &patch()).ok();
    assert!(!stage.at(LOCK).exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEweb").ok(), "");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEweb").ok(), "");
}

#[test]
fn a_patch_without_undo_data_in_a_package_that_is_whole_is_no_interrupted_one() {
    let stage = half_patched(false);
    fs::remove_file(stage.at(LOCK)).unwrap();
    stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    stage.patchadd("", &patch()).fails(2);
}
