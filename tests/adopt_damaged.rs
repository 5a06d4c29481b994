//! `adopt --refresh` rebuilds damaged and lost records of adopted packages from the records of dpkg.

use std::fs;

use crate::adopt_refresh::{ONE, TWO, adopted, delivered, dpkg_installs, patched};
use crate::delivery::Patch;
use crate::scenario::Scenario;

const RECORDS: &str = "/var/sadm/pkg/DEBweb";

/// Output of a refresh if dpkg changed nothing. A repair shows only on standard error.
const AS_IT_IS: &str = "All adopted packages match their package manager.\n";

fn pkginfo(stage: &Scenario) -> String {
    stage.text(&format!("{RECORDS}/pkginfo"))
}

fn parameter(stage: &Scenario, name: &str) -> String {
    stage.run(&format!("pkgparam -R @ROOT@ DEBweb {name}")).ok().trim().to_owned()
}

/// Ways to damage a pkginfo.
const DAMAGES: [fn(&Scenario); 2] = [
    |stage| stage.file(&format!("{RECORDS}/pkginfo"), "PKG=DEBweb\nno parameter\n"),
    |stage| fs::remove_file(stage.at(&format!("{RECORDS}/pkginfo"))).unwrap(),
];

/// Asserts that commands advise `adopt --refresh`, and that it alone repairs the record. Returns its output.
fn refresh_repairs(stage: &Scenario) -> String {
    // Without patches, only commands that read the package report the damage.
    let said = stage.run("list -R @ROOT@").stderr + &stage.run("pkginfo -R @ROOT@").stderr;
    assert!(said.contains("run `patchadm -R @ROOT@ adopt --refresh`"), "{said}");
    assert!(!said.contains("pkgadd"), "{said}");
    let run = stage.run("adopt --refresh -R @ROOT@");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("package DEBweb: its record was damaged and is rebuilt"), "{}", run.stderr);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    run.stdout
}

#[test]
fn a_refresh_makes_a_damaged_or_lost_pkginfo_anew() {
    for damage in DAMAGES {
        let stage = adopted();
        let tree = stage.tree();
        let stamp = parameter(&stage, "NATIVE_STAMP");
        damage(&stage);
        assert_eq!(refresh_repairs(&stage), AS_IT_IS);
        assert_eq!(parameter(&stage, "PATCHADM_ADOPTED"), "dpkg web:amd64");
        assert_eq!(parameter(&stage, "NATIVE_VERSION"), "1.0-1");
        assert_eq!(parameter(&stage, "NATIVE_STAMP"), stamp, "it follows dpkg again");
        assert_eq!(stage.tree(), tree);
        assert_eq!(stage.run("list --check -R @ROOT@").code, 0);
        assert_eq!(stage.run("adopt --refresh -R @ROOT@").ok(), AS_IT_IS);
    }
}

#[test]
fn a_registration_that_followed_an_upgrade_can_be_made_anew_as_well() {
    let stage = adopted();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    for damage in DAMAGES {
        damage(&stage);
        assert_eq!(refresh_repairs(&stage), AS_IT_IS);
        assert_eq!(parameter(&stage, "PATCHADM_ADOPTED"), "dpkg web:amd64");
        assert_eq!(parameter(&stage, "VERSION"), "1.0-2");
    }
}

#[test]
fn patches_are_still_applied_after_that_and_can_be_removed() {
    for damage in DAMAGES {
        let stage = adopted();
        let tree = stage.tree();
        patched(&stage);
        let second = delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n");
        stage.patchadd("", &Patch::of("200-01", second)).ok();
        damage(&stage);
        assert_eq!(refresh_repairs(&stage), AS_IT_IS);
        assert_eq!(parameter(&stage, "PATCHLIST"), "100-01 200-01");
        let listed = stage.run("list --check -R @ROOT@").ok();
        let stand = ["100-01  effective", "200-01  effective"].iter().all(|line| listed.contains(line));
        assert!(stand, "{listed}");
        stage.run("remove -R @ROOT@ 200-01 100-01").ok();
        assert_eq!(stage.tree(), tree);
    }
}

#[test]
fn an_upgrade_between_the_damage_and_the_repair_is_told_as_ever() {
    let stage = adopted();
    patched(&stage);
    DAMAGES[0](&stage);
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let said = refresh_repairs(&stage);
    assert!(said.contains("Package DEBweb follows dpkg: web 1.0-1 became 1.0-2"), "{said}");
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib two\n");
    assert_eq!(stage.run("list --check -R @ROOT@").code, 4);
}

#[test]
fn where_nothing_says_which_package_it_was_it_is_adopted_again_by_its_name() {
    let spooled = format!("{RECORDS}/save/pspool");
    for is_patched in [false, true] {
        let stage = adopted();
        if is_patched {
            patched(&stage);
        }
        let tree = stage.tree();
        DAMAGES[1](&stage);
        fs::remove_dir_all(stage.at(&spooled)).unwrap();
        let said = stage.run("adopt --refresh -R @ROOT@").fails(1);
        assert!(said.contains("run `patchadm -R @ROOT@ adopt --dpkg NAME`"), "{said}");
        let run = stage.run("adopt --dpkg web -R @ROOT@");
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.starts_with("Adopted package DEBweb"), "{}", run.stdout);
        let ended = "patches of package DEBweb end with its old record, and can be applied again: 100-01";
        assert_eq!(run.stderr.contains(ended), is_patched, "{}", run.stderr);
        assert_eq!(stage.tree(), tree, "no object is touched");
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
        assert_eq!(stage.run("check --contents -R @ROOT@").code, 0);
        assert_eq!(stage.run("list -R @ROOT@").ok(), "No patches are applied.\n");
        assert!(pkginfo(&stage).contains("PATCHADM_ADOPTED=dpkg web:amd64\n"));
    }
}

#[test]
fn a_lost_directory_and_an_empty_one_are_registered_again() {
    for is_empty in [false, true] {
        let stage = adopted();
        fs::remove_dir_all(stage.at(RECORDS)).unwrap();
        if is_empty {
            stage.directory(RECORDS);
        }
        let said = stage.run("check --contents -R @ROOT@").stdout;
        assert!(said.contains("run `patchadm -R @ROOT@ adopt --dpkg NAME`"), "{said}");
        let run = stage.run("adopt --dpkg web -R @ROOT@");
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.starts_with("Adopted package DEBweb: 8 objects.\nhint: "), "{}", run.stdout);
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
        assert_eq!(stage.run("list --check -R @ROOT@").code, 0);
    }
}

#[test]
fn adopting_again_does_not_end_patches_that_a_refresh_can_save() {
    let stage = adopted();
    patched(&stage);
    DAMAGES[0](&stage);
    let before = stage.everything();
    let said = stage.run("adopt --dpkg web -R @ROOT@").fails(1);
    assert!(said.contains("adopt --refresh`"), "{said}");
    assert_eq!(stage.everything(), before);
    refresh_repairs(&stage);
}
