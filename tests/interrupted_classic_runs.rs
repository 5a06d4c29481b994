//! Roots on which a tool without recovery died while it applied a patch: the lock of the installation exists, the
//! records name the patch, half of its files are in place, and nothing was saved.

use std::fs;
use std::process::Command;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

const LOCK: &str = "/var/sadm/pkg/ACMEweb/!I-Lock!";
const UNDO: &str = "/var/sadm/pkg/ACMEweb/save/100-01";

fn patch() -> Patch {
    let files = Package::new("ACMEweb").file("bin/httpd", 0o755, "new\n").file("bin/tool", 0o755, "new\n");
    Patch::of("100-01", files)
}

fn whole() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "one\n")
        .file("bin/tool", 0o755, "one\n")
        .file("bin/more", 0o755, "one\n")])
}

/// A root on which the second file is still the old one; `saved` is true if undo data was made before the tool died.
fn half_patched(saved: bool) -> Scenario {
    interrupt(whole(), saved)
}

/// Leaves the patch half applied.
fn interrupt(stage: Scenario, saved: bool) -> Scenario {
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

/// The same root after another call of the tool, which found the patch applied, moved the records of the first call
/// aside, and restored the earlier ones.
fn put_back() -> Scenario {
    let stage = whole();
    let [package, before, killed] = ["pkg/ACMEweb", "before", "killed"].map(|name| {
        let at = if name.contains('/') { stage.at("/var/sadm") } else { stage.beside("") };
        at.join(name)
    });
    assert!(Command::new("cp").arg("-a").args([&package, &before]).status().unwrap().success());
    let stage = interrupt(stage, false);
    fs::rename(&package, killed.as_path()).unwrap();
    fs::rename(&before, &package).unwrap();
    fs::rename(&killed, package.join("ACMEweb")).unwrap();
    stage
}

#[test]
fn a_patch_whose_records_a_second_call_put_back_is_known_as_interrupted() {
    let stage = put_back();
    assert!(!stage.text("/var/sadm/pkg/ACMEweb/pkginfo").contains("100-01"));
    let before = stage.everything();
    let why = "applying it to package ACMEweb was interrupted, and a later call restored the records of the package, \
               but not its files";
    for (line, code) in [("patchrm -R @ROOT@ 100-01", 14), ("remove -R @ROOT@ 100-01", 3)] {
        let told = stage.run(line).fails(code);
        assert!(told.contains(why) && told.contains("var/sadm/pkg/ACMEweb/ACMEweb"), "{line}: {told}");
    }
    for options in ["", "-u", "-d"] {
        let told = stage.patchadd(options, &patch()).fails(10);
        assert!(told.contains(why), "{options}: {told}");
    }
    assert_eq!(before.difference(&stage.everything()), "");
    stage.patchadd("-u -d", &patch()).ok();
    assert!(!stage.at("/var/sadm/pkg/ACMEweb/ACMEweb").exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEweb").ok(), "");
    stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn list_verify_and_recover_say_that_a_patch_was_left_half_applied() {
    for (stage, why) in [(half_patched(false), "locked by `!I-Lock!`"), (put_back(), "ACMEweb/ACMEweb")] {
        let before = stage.everything();
        let listed = stage.run("list -R @ROOT@").ok();
        assert!(
            listed.starts_with("100-01  interrupted  ") && listed.contains("undo data: none"),
            "{listed}"
        );
        let shown = stage.run("show -R @ROOT@ 100-01").ok();
        assert!(shown.contains("State: interrupted\n"), "{shown}");

        let run = stage.run("check --contents -R @ROOT@");
        let found = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, 4, "{found}");
        assert!(found.contains("100-01: ") && found.contains(why), "{found}");
        assert!(found.contains("patches          attention  a patch was left half applied\n"), "{found}");
        let document = stage.run("check --contents --json -R @ROOT@").stdout;
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["sound"], false);
        let half = &document["interrupted"][0];
        assert_eq!((half["id"].as_str(), half["package"].as_str()), (Some("100-01"), Some("ACMEweb")));

        assert!(stage.run("check --contents -R @ROOT@ 100-01").stdout.contains(why));

        let told = stage.run("recover -R @ROOT@").ok();
        assert!(told.starts_with("No run was interrupted.\n  note: 100-01: applying it"), "{told}");
        assert!(told.contains(why) && told.contains("`patchadm patchadd -R @ROOT@ -u -d PATCH`"), "{told}");
        assert_eq!(before.difference(&stage.everything()), "");
    }
}

#[test]
fn whole_files_do_not_make_an_interrupted_patch_sound() {
    let stage = half_patched(false);
    fs::write(stage.at("/opt/ACMEweb/bin/tool"), "new\n").unwrap();
    stage.run("pkgchk -f -R @ROOT@ ACMEweb");
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEweb").ok(), "");
    assert_eq!(stage.run("check --contents -R @ROOT@").code, 4);
}

#[test]
fn another_patch_of_the_package_is_applied_with_a_warning_and_undone_exactly() {
    let stage = half_patched(false);
    let before = stage.tree();
    let other = Patch::of("200-01", Package::new("ACMEweb").file("bin/more", 0o755, "new\n"));
    let run = stage.patchadd("", &other);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let told = format!("{}{}", run.stdout, run.stderr);
    assert!(told.contains("100-01: applying it to package ACMEweb was interrupted"), "{told}");
    assert!(stage.at(LOCK).exists(), "the lock is that of the other patch");
    stage.run("patchrm -R @ROOT@ 100-01").fails(14);
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    assert_eq!(before.difference(&stage.tree()), "");
    stage.run("patchrm -R @ROOT@ 100-01").fails(14);
}

#[test]
fn the_lock_of_one_patch_stays_where_another_is_installed_again() {
    let stage = whole();
    let other = Patch::of("090-01", Package::new("ACMEweb").file("bin/more", 0o755, "new\n"));
    stage.patchadd("", &other).ok();
    let stage = interrupt(stage, false);
    assert_eq!(stage.patchadd("-u", &other).code, 0);
    assert!(stage.at(LOCK).exists());
    stage.run("patchrm -R @ROOT@ 100-01").fails(14);
}

#[test]
fn the_lock_goes_with_the_backout_of_a_half_applied_patch_that_has_undo_data() {
    let stage = whole();
    let before = stage.tree();
    let stage = interrupt(stage, true);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert!(!stage.at(LOCK).exists());
    assert_eq!(before.difference(&stage.tree()), "");
    assert_eq!(stage.run("list -R @ROOT@").ok(), "No patches are applied.\n");
}

#[test]
fn scripts_of_another_patch_do_not_run_where_they_would_take_the_lock_away() {
    let more = Package::new("ACMEweb").file("bin/more", 0o755, "new\n");
    let other = Patch::of("200-01", more.information("preinstall", "exit 0\n"));
    let stage = half_patched(false);
    let before = stage.everything();
    let told = stage.patchadd("", &other).fails(10);
    assert!(told.contains("patch 100-01 was left half applied to package ACMEweb"), "{told}");
    let told = stage.run("add -R @ROOT@ delivered/200-01").fails(3);
    assert!(told.contains("`patchadm patchadd -R @ROOT@ -u -d PATCH`"), "{told}");
    assert_eq!(before.difference(&stage.everything()), "");
}

#[test]
fn a_later_patch_without_undo_data_does_not_hide_the_interrupted_one() {
    let stage = half_patched(false);
    let other = Patch::of("200-01", Package::new("ACMEweb").file("bin/more", 0o755, "new\n"));
    assert_eq!(stage.patchadd("-d", &other).code, 0);
    stage.run("patchrm -R @ROOT@ 100-01").fails(14);
    stage.run("patchrm -R @ROOT@ 200-01").fails(4);
    let listed = stage.run("list -R @ROOT@").ok();
    assert!(listed.starts_with("100-01  interrupted ") && listed.contains("200-01  effective "), "{listed}");
}
