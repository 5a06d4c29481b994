//! A fix is lost per path; all commands report that until it is repaired.

use std::fmt::Write as _;
use std::fs;

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, NOTHING, of_dpkg, patch_of};
use crate::packages::{DELIVERED, Package};

const TOOL: &str = "/usr/lib/acme/tool";
const MORE: &str = "/usr/lib/acme/more";
const CONF: &str = "/etc/acme.conf";

fn acme(version: &str) -> Deb {
    let tool = Deb::new("acme", version).with_mode(TOOL, 0o755, &format!("tool of {version}\n"));
    tool.with_mode(MORE, 0o644, &format!("more of {version}\n"))
}

fn with_setting(version: &str, setting: &str) -> Deb {
    acme(version).file(CONF, setting)
}

fn sets(package: Package) -> Package {
    package.content('e', &CONF[1..], 0o644, "root root", DELIVERED, "setting=fixed\n")
}

fn fixes(package: Package) -> Package {
    package.file(&TOOL[1..], 0o755, "tool fixed\n")
}

/// Version 1 with a setting, adopted, and a patch of the tool and the setting.
fn patched(root: &DpkgRoot) {
    root.install(&with_setting("1", "setting=1\n"));
    root.adopt(&["acme"]);
    root.applied(&Patch::of("100-01", sets(fixes(of_dpkg("acme", "1")))));
}

#[test]
fn a_patch_is_lost_with_its_program_although_its_configuration_still_stands() {
    for root in DpkgRoot::both("a lost program beside a patched configuration") {
        patched(&root);
        let said = root.upgrade(&with_setting("2", "setting=1\n"));
        assert_eq!(root.content(CONF), "setting=fixed\n");
        assert!(said.contains("stays as patched"), "{said}");
        assert!(said.contains("--force-confmiss"), "{said}");
        root.tells(&[("100-01", End::Lost(&[TOOL]))]);
        root.remove("100-01");
        root.run("undo -R @ROOT@");
        assert_eq!(root.content(CONF), "setting=fixed\n");
        assert_eq!(root.content(TOOL), "tool of 2\n");
        assert_eq!(root.verified(), [CONF]);
    }
}

#[test]
fn the_configuration_of_version_1_never_comes_back_under_version_3() {
    for root in DpkgRoot::both("a patched configuration and --force-confold") {
        root.install(&with_setting("1", "setting=1\n"));
        root.adopt(&["acme"]);
        root.applied(&Patch::of("100-01", sets(of_dpkg("acme", "1"))));
        root.build(&with_setting("3", "setting=3\n"));
        let said = root.dpkg_done("--force-confold -i [acme_3]") + &root.refresh();
        let advice =
            "stays as patched; to get the file of acme 3, delete it and reinstall acme with --force-confmiss";
        assert!(said.contains(advice), "{said}");
        let list = root.unwatched("list --check -R @ROOT@");
        assert_eq!(list.code, 0, "its bytes are there: {}", list.said());
        root.remove("100-01");
        root.run("undo -R @ROOT@");
        assert_eq!(root.content(CONF), "setting=fixed\n");
        assert_eq!(root.verified(), [CONF]);
        fs::remove_file(root.at(CONF)).unwrap();
        root.dpkg_done("--force-confmiss -i [acme_3]");
        assert_eq!(root.content(CONF), "setting=3\n", "the advice works");
    }
}

#[test]
fn a_configuration_that_dpkg_wrote_over_the_patched_one_is_lost() {
    for root in DpkgRoot::both("a patched configuration and --force-confnew") {
        root.install(&with_setting("1", "setting=1\n"));
        root.adopt(&["acme"]);
        root.applied(&Patch::of("100-01", sets(of_dpkg("acme", "1"))));
        root.build(&with_setting("3", "setting=3\n"));
        root.dpkg_done("--force-confnew -i [acme_3]");
        root.refresh();
        root.tells(&[("100-01", End::Lost(&[CONF]))]);
        root.remove("100-01");
        assert_eq!(root.content(CONF), "setting=3\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_setuid_bit_that_a_patch_took_away_and_a_reinstallation_gave_back_is_a_lost_fix() {
    for root in DpkgRoot::both("a setuid bit that is back") {
        let acme = Deb::new("acme", "1").with_mode(TOOL, 0o4755, "tool of 1\n").file(MORE, "more of 1\n");
        root.install(&acme);
        root.adopt(&["acme"]);
        let package = of_dpkg("acme", "1").file(&TOOL[1..], 0o755, "tool of 1\n");
        root.applied(&Patch::of("100-01", package));
        assert_eq!(root.attributes(TOOL), "755 0:0");
        root.upgrade(&acme);
        assert_eq!(root.attributes(TOOL), "4755 0:0");
        root.tells(&[("100-01", End::Lost(&[TOOL]))]);
        root.remove("100-01");
        assert_eq!(root.attributes(TOOL), "4755 0:0");
    }
}

#[test]
fn one_lost_mode_of_a_patch_is_enough() {
    for root in DpkgRoot::both("a lost mode beside a kept file") {
        root.install(&Deb::new("acme", "1").with_mode(TOOL, 0o4755, "tool of 1\n").file(CONF, "setting=1\n"));
        root.adopt(&["acme"]);
        let package = sets(of_dpkg("acme", "1")).file(&TOOL[1..], 0o755, "tool of 1\n");
        root.applied(&Patch::of("100-01", package));
        root.upgrade(&Deb::new("acme", "1").with_mode(TOOL, 0o4755, "tool of 1\n").file(CONF, "setting=1\n"));
        root.tells(&[("100-01", End::PartlyLost(&[TOOL]))]);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(CONF), "setting=1\n", "the version is the same");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn the_hook_prints_every_lost_fix_first_and_then_one_line() {
    let Some(root) = DpkgRoot::opened("the lines of the hook") else { return };
    let root = root.with_hooks(true);
    let files = |version: &str| {
        let text = format!("of {version}\n");
        (0..5).fold(Deb::new("acme", version), |deb, number| {
            deb.file(&format!("/usr/lib/acme/{number}"), &text)
        })
    };
    root.install(&files("1"));
    root.adopt(&["acme"]);
    for number in 0..5 {
        let path = format!("/usr/lib/acme/{number}");
        root.applied(&patch_of(&format!("10{number}-01"), "acme", "1", &[(&path, "fixed\n")]));
    }
    let said = root.install(&files("2"));
    let mut dpkgs = true;
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| {
            let is_ours = !dpkgs;
            dpkgs &= !line.starts_with("Setting up");
            is_ours
        })
        .collect();
    let (lost, rest) = ours.split_at(ours.len().min(5));
    for number in 0..5 {
        let id = format!("10{number}-01");
        assert_eq!(
            lost.iter().filter(|line| line.contains(&id) && line.contains("LOST")).count(),
            1,
            "{id}: {said}"
        );
    }
    assert_eq!(rest.len(), 1, "{said}");
}

#[test]
fn a_lost_fix_is_good_again_with_a_reinstallation_that_has_exactly_its_files() {
    for root in DpkgRoot::both("a rebuilt version with the files of the patch") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        root.applied(&Patch::of("100-01", fixes(of_dpkg("acme", "1"))));
        root.upgrade(&acme("1"));
        root.tells(&[("100-01", End::Lost(&[TOOL]))]);
        root.upgrade(&Deb::new("acme", "1").with_mode(TOOL, 0o755, "tool fixed\n").file(MORE, "more of 1\n"));
        let list = root.unwatched("list --check -R @ROOT@");
        assert!(list.code == 0 && !list.stdout.contains("LOST"), "{} {}", list.code, list.said());
    }
}

#[test]
fn a_version_that_is_known_to_have_the_fix_contains_it_although_a_file_of_the_patch_still_stands() {
    for root in DpkgRoot::both("a fixed version beside a patched configuration") {
        root.install(&with_setting("1", "setting=1\n"));
        root.adopt(&["acme"]);
        let package = sets(fixes(of_dpkg("acme", "1"))).param("PATCH_FIXED_IN", "dpkg acme >= 2");
        root.applied(&Patch::of("100-01", package));
        root.upgrade(&with_setting("2", "setting=1\n"));
        root.tells(&[("100-01", End::Contained)]);
        assert_eq!(root.content(CONF), "setting=fixed\n");
    }
}

#[test]
fn fixes_are_lost_and_good_again_with_the_versions_that_are_known_to_have_them() {
    for root in DpkgRoot::both("versions with and without fixes") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        let of_tool = fixes(of_dpkg("acme", "1")).param("PATCH_FIXED_IN", "dpkg acme >= 2");
        let of_more = of_dpkg("acme", "1").file(&MORE[1..], 0o644, "more fixed\n");
        root.applied(&Patch::of("100-01", of_tool));
        root.applied(&Patch::of("200-01", of_more.param("PATCH_FIXED_IN", "dpkg acme >= 3")));
        root.upgrade(&acme("2"));
        root.tells(&[("100-01", End::Contained), ("200-01", End::Lost(&[MORE]))]);
        root.upgrade(&acme("1"));
        root.tells(&[("100-01", End::Lost(&[TOOL])), ("200-01", End::Lost(&[MORE]))]);
        root.upgrade(&acme("3"));
        let list = root.unwatched("list --check -R @ROOT@");
        assert!(list.code == 0 && !list.stdout.contains("LOST"), "{} {}", list.code, list.said());
    }
}

#[test]
fn of_superseded_patches_only_the_last_one_alarms() {
    for root in DpkgRoot::both("superseded patches that are lost") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        for (id, text) in [("100-01", "tool fixed\n"), ("100-02", "tool fixed better\n")] {
            let package = of_dpkg("acme", "1").file(&TOOL[1..], 0o755, text);
            root.applied(&Patch::of(id, package));
        }
        root.upgrade(&acme("2"));
        let list = root.unwatched("list --check -R @ROOT@");
        let lost: Vec<&str> = list.stdout.lines().filter(|line| line.contains("LOST")).collect();
        assert!(list.code == 4 && lost.len() == 1 && lost[0].starts_with("100-02"), "{}", list.said());
    }
}

#[test]
fn a_configuration_that_a_version_without_the_fix_left_as_patched_is_contained_and_stays_so() {
    for root in DpkgRoot::both("a patched configuration and a downgrade") {
        root.install(&with_setting("2", "setting=1\n"));
        root.adopt(&["acme"]);
        let package = of_dpkg("acme", "2").param("PATCH_FIXED_IN", "dpkg acme >= 3");
        root.applied(&Patch::of("100-01", sets(package)));
        root.upgrade(&with_setting("1", "setting=1\n"));
        assert_eq!(root.content(CONF), "setting=fixed\n");
        root.tells(&[("100-01", End::Contained)]);
        root.ok("adopt --refresh -R @ROOT@");
        root.tells(&[("100-01", End::Contained)]);
    }
}

#[test]
fn an_accepted_loss_and_one_that_was_patched_anew_alarm_nobody() {
    for root in DpkgRoot::both("an accepted loss") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        root.applied(&Patch::of("100-01", fixes(of_dpkg("acme", "1"))));
        root.upgrade(&acme("2"));
        root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
        root.tells(&[("100-01", End::Ended)]);

        root.applied(&Patch::of("200-01", fixes(of_dpkg("acme", "2"))));
        root.upgrade(&acme("3"));
        root.tells(&[("200-01", End::Lost(&[TOOL]))]);
        root.applied(&Patch::of("200-02", fixes(of_dpkg("acme", "3"))));
        let list = root.unwatched("list --check -R @ROOT@");
        assert_eq!(list.code, 0, "{}", list.said());
    }
}

#[test]
fn a_deletion_that_dpkg_takes_back_is_lost() {
    for root in DpkgRoot::both("a deleted file that is back") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        root.applied(&Patch::of("100-01", of_dpkg("acme", "1").deletes(&[MORE])));
        assert_eq!(root.content(MORE), NOTHING);
        root.upgrade(&acme("2"));
        root.tells(&[("100-01", End::Lost(&[MORE]))]);
        root.remove("100-01");
        assert_eq!(root.content(MORE), "more of 2\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn five_lost_patches_are_five_in_every_answer() {
    for root in DpkgRoot::both("five lost patches") {
        let files = |version: &str| {
            let text = format!("of {version}\n");
            (0..5).fold(Deb::new("acme", version), |deb, number| {
                deb.file(&format!("/usr/lib/acme/{number}"), &text)
            })
        };
        root.install(&files("1"));
        root.adopt(&["acme"]);
        let mut paths = Vec::new();
        for number in 0..5 {
            let mut path = String::new();
            write!(path, "/usr/lib/acme/{number}").unwrap();
            root.applied(&patch_of(&format!("10{number}-01"), "acme", "1", &[(&path, "fixed\n")]));
            paths.push((format!("10{number}-01"), path));
        }
        root.upgrade(&files("2"));
        let list = root.unwatched("list --check -R @ROOT@");
        assert_eq!(list.stdout.lines().filter(|line| line.contains("LOST")).count(), 5, "{}", list.said());
        let verify = root.unwatched("check --contents -R @ROOT@");
        assert_eq!(
            verify.stdout.lines().filter(|line| line.contains("LOST")).count(),
            5,
            "{}",
            verify.said()
        );
    }
}
