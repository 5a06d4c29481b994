//! `--adopt` and `--refresh` of patch verbs: the command updates registrations before it changes patches.

use crate::adopt_refresh::{ONE, adopted, delivered, dpkg_installs, patched_at_two_paths, upgraded};
use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::scenario::Scenario;

/// A root with a dpkg package that is not adopted.
pub(crate) fn installed() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/contents", "");
    std::fs::create_dir_all(stage.at("/var/sadm/pkg")).unwrap();
    dpkg_installs(&stage, None, &ONE, &[]);
    stage
}

/// A patch for this version of the package.
pub(crate) fn fix(stage: &Scenario, version: &str) -> String {
    let package = delivered(version).file("usr/lib/libweb.so", 0o644, "lib fixed\n");
    Patch::of("100-01", package).directory(stage).display().to_string()
}

#[test]
fn a_patch_for_a_package_of_dpkg_names_the_option_that_adopts_it_and_with_it_goes_in_and_out() {
    let stage = installed();
    let patch = fix(&stage, "1.0-1");
    let (tree, before) = (stage.tree(), stage.everything());
    let said = stage.run(&format!("add -R @ROOT@ {patch}")).fails(3);
    assert!(said.contains("dpkg web:amd64 1.0-1 is installed, and was not adopted"), "{said}");
    assert!(said.contains("add --adopt PATCH"), "{said}");
    assert!(said.contains("plan --adopt PATCH` shows the effect\n"), "{said}");
    let said = stage.run(&format!("plan --adopt -R @ROOT@ {patch}")).ok();
    assert!(said.contains("Package DEBweb would be adopted from dpkg web:amd64: 8 objects.\n"), "{said}");
    assert!(said.contains("100-01: would be applied"), "{said}");
    assert_eq!(stage.everything(), before, "a plan changes nothing");

    let said = stage.run(&format!("add --adopt -R @ROOT@ {patch}")).ok();
    assert!(said.contains("Adopted package DEBweb from dpkg web:amd64: 8 objects.\n"), "{said}");
    assert!(said.contains("100-01: applied"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib fixed\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb PATCHLIST").ok(), "100-01\n");
    assert_eq!(stage.run("history -R @ROOT@").ok().lines().count(), 1, "it is one run");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(
        stage.run("check --contents -R @ROOT@").ok().lines().last(),
        Some("undo-data        ok         undo data of 1 patch is intact")
    );

    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.tree(), tree, "the files are as dpkg left them");
    assert_eq!(
        stage.run("pkgparam -R @ROOT@ DEBweb NATIVE_VERSION").ok(),
        "1.0-1\n",
        "the registration stays"
    );
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_patch_may_name_a_package_as_dpkg_does() {
    let stage = installed();
    let package = Package::new("web").param("BASEDIR", "/").param("ARCH", "amd64");
    let fixed = |version: &str| {
        package.clone().param("VERSION", version).file("usr/lib/libweb.so", 0o644, "lib fixed\n")
    };
    let patch = Patch::of("100-01", fixed("1.0-1")).directory(&stage).display().to_string();
    let said = stage.run(&format!("add -R @ROOT@ {patch}")).fails(3);
    assert!(said.contains("dpkg web:amd64 1.0-1 is installed, and was not adopted"), "{said}");
    assert!(said.contains("add --adopt PATCH"), "{said}");
    let said = stage.run(&format!("add --adopt -R @ROOT@ {patch}")).ok();
    assert!(said.contains("Adopted package web from dpkg web:amd64: 8 objects.\n"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib fixed\n");
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib one\n");

    let other = Patch::of("200-01", fixed("1.0-9")).directory(&stage).display().to_string();
    stage.run(&format!("add --adopt -R @ROOT@ {other}")).fails(3);
}

#[test]
fn a_root_that_never_had_a_package_database_gets_one_with_the_first_patch_that_goes_in() {
    let stage = Scenario::bare();
    dpkg_installs(&stage, None, &ONE, &[]);
    let patch = fix(&stage, "1.0-1");
    let wrong = Patch::of("101-01", delivered("0.9-1").file("usr/bin/web", 0o755, "web\n")).directory(&stage);
    let wrong = wrong.display();
    let before = stage.everything();
    let said = stage.run(&format!("add -R @ROOT@ {patch}")).fails(3);
    assert!(said.contains("add --adopt PATCH"), "{said}");
    stage.run(&format!("plan --adopt -R @ROOT@ {patch}")).ok();
    for verb in ["add", "plan", "add --adopt", "plan --adopt"] {
        let said = stage.run(&format!("{verb} -R @ROOT@ {wrong}")).fails(3);
        let why = "dpkg web:amd64 1.0-1 is installed, and the patch is for DEBweb (amd64) 0.9-1";
        assert!(said.contains(why) && !said.contains("no package database"), "{verb}: {said}");
    }
    assert_eq!(stage.everything(), before, "nothing is made for a refusal or a plan");
    stage.run(&format!("add --adopt -R @ROOT@ {patch}")).ok();
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("list -R @ROOT@").ok().split_whitespace().nth(1), Some("effective"));
}

#[test]
fn what_is_adopted_on_demand_is_what_adopt_would_have_made_of_it() {
    let (one, other) = (installed(), installed());
    let patch = fix(&one, "1.0-1");
    one.run(&format!("add --adopt -R @ROOT@ {patch}")).ok();
    other.run("adopt --dpkg web -R @ROOT@").ok();
    other.run(&format!("add -R @ROOT@ {}", fix(&other, "1.0-1"))).ok();
    let records = |stage: &Scenario| {
        let contents = stage.text("/var/sadm/install/contents");
        let lines: Vec<String> = contents
            .lines()
            .filter(|line| line.contains("DEBweb") && !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        let pkginfo = stage.text("/var/sadm/pkg/DEBweb/pkginfo");
        let stamped = ["NATIVE_STAMP=", "INSTDATE=", "PATCH_INFO_"];
        let params: Vec<String> = pkginfo
            .lines()
            .filter(|line| !stamped.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect();
        (params, lines.len())
    };
    assert_eq!(records(&one), records(&other));
}

#[test]
fn nothing_is_adopted_for_a_patch_that_does_not_go_in() {
    let stage = installed();
    let wrong = fix(&stage, "0.9-1");
    let tree = stage.tree();
    let said = stage.run(&format!("add --adopt -R @ROOT@ {wrong}")).fails(3);
    let why = "dpkg web:amd64 1.0-1 is installed, and the patch is for DEBweb (amd64) 0.9-1";
    assert!(said.contains(why) && !said.contains("missing -M"), "{said}");
    let needy = Patch::of(
        "101-01",
        delivered("1.0-1").file("usr/bin/web", 0o755, "web\n").param("SUNW_REQUIRES", "999-01"),
    );
    let needy = needy.directory(&stage).display().to_string();
    stage.run(&format!("add --adopt -R @ROOT@ {needy}")).fails(3);
    let said = stage.run(&format!("plan --adopt -R @ROOT@ {needy}")).fails(3);
    assert!(!said.contains("would be adopted"), "{said}");
    assert!(!stage.at("/var/sadm/pkg/DEBweb").exists(), "neither of them is a reason to adopt it");
    assert_eq!(stage.tree(), tree);
}

#[test]
fn the_policy_adopts_without_an_option_and_bytes_that_are_not_those_of_dpkg_are_named() {
    let stage = installed();
    stage.file("/etc/patchadm/policy", "adopt=auto\nedited=replace\n");
    stage.file("/usr/share/web/data", "data of an administrator\n");
    let patch = fix(&stage, "1.0-1");
    let said = stage.run(&format!("add -R @ROOT@ {patch}")).ok();
    let differs = said.find("/usr/share/web/data differs from what dpkg recorded").unwrap();
    assert!(differs < said.find("Adopted package DEBweb").unwrap(), "{said}");
}

#[test]
fn a_file_that_was_edited_before_the_adoption_stops_a_patch_until_somebody_decides() {
    let stage = installed();
    stage.file("/usr/lib/libweb.so", "lib of an administrator\n");
    let patch = fix(&stage, "1.0-1");
    let said = stage.run(&format!("add --adopt -R @ROOT@ {patch}")).fails(3);
    assert!(said.contains("1 file is modified locally"), "{said}");
    assert!(said.contains("@ROOT@/usr/lib/libweb.so\n"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib of an administrator\n");
    stage.run(&format!("add --adopt --edited replace -R @ROOT@ {patch}")).ok();
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib fixed\n");
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib of an administrator\n");
    let said = stage.run(&format!("add -R @ROOT@ {patch}")).fails(3);
    assert!(said.contains("1 file is modified locally"), "{said}");
}

#[test]
fn a_configuration_file_that_was_edited_before_the_adoption_stays_and_the_new_one_lies_beside_it() {
    let stage = installed();
    let list = stage.text("/var/lib/dpkg/info/web.list") + "/etc\n/etc/web.conf\n";
    stage.file("/var/lib/dpkg/info/web.list", list);
    stage.file("/var/lib/dpkg/info/web.conffiles", "/etc/web.conf\n");
    // The checksum of `port=1\n`.
    let status =
        stage.text("/var/lib/dpkg/status") + "Conffiles:\n /etc/web.conf 741f79f0829b750b5754bf70564e4c29\n";
    stage.file("/var/lib/dpkg/status", status);
    stage.file("/etc/web.conf", "port=1\nmine=1\n");
    let content = delivered("1.0-1").content('e', "etc/web.conf", 0o644, "root root", DELIVERED, "port=2\n");
    let patch = Patch::of("100-01", content).directory(&stage).display().to_string();
    stage.run(&format!("add --adopt -R @ROOT@ {patch}")).ok();
    assert_eq!(stage.text("/etc/web.conf"), "port=1\nmine=1\n");
    assert_eq!(stage.text("/etc/web.conf.patch-100-01"), "port=2\n");
}

#[test]
fn an_add_refreshes_first_where_that_is_asked_for_and_its_plan_says_so() {
    let stage = upgraded();
    let package = delivered("1.0-2").file("usr/bin/web", 0o755, "web fixed\n");
    let patch = Patch::of("101-01", package).directory(&stage).display().to_string();
    let before = stage.everything();
    let said = stage.run(&format!("plan --refresh -R @ROOT@ {patch}")).ok();
    assert!(
        said.contains("Package DEBweb would follow dpkg: web 1.0-1 became 1.0-2, 8 objects.\n"),
        "{said}"
    );
    assert!(said.contains("101-01: would be applied"), "{said}");
    assert_eq!(stage.everything(), before, "a plan changes nothing");
    let said = stage.run(&format!("add --refresh -R @ROOT@ {patch}")).ok();
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)\n"), "{said}");
    assert!(said.contains("101-01: applied"), "{said}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb PATCHLIST").ok(), "101-01\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_remove_refreshes_first_and_a_patch_that_ends_with_that_is_no_failure() {
    let stage = upgraded();
    let said = stage.run("remove --dry-run --refresh -R @ROOT@ 100-01").ok();
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)\n"), "{said}");
    let said = stage.run("remove --refresh -R @ROOT@ 100-01").ok();
    assert!(said.contains("100-01: LOST to web 1.0-2 (dpkg)\n"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib two\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb PATCHLIST").ok(), "\n");
}

#[test]
fn a_remove_with_a_refresh_backs_out_what_stands() {
    let stage = adopted();
    patched_at_two_paths(&stage);
    // dpkg reinstalls the same version, and a path filter keeps a file of the patch.
    dpkg_installs(&stage, Some(&ONE), &ONE, &["/usr/lib/libweb.so"]);
    stage.run("remove --dry-run --refresh -R @ROOT@ 100-01").ok();
    let said = stage.run("remove --refresh -R @ROOT@ 100-01").ok();
    assert!(said.contains("100-01: PARTLY LOST to web 1.0-1 (dpkg)"), "{said}");
    assert!(said.contains("100-01: removed"), "{said}");
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib one\n", "what the filter had kept");
    assert_eq!(stage.text("/usr/bin/web"), "web one\n");
    assert_eq!(stage.run("list --check -R @ROOT@").code, 0, "a patch that was removed is no loss");
}
