//! Packages that go: with a successor, a fix is lost; without one, it went with its package. Both are foreseen in the
//! same words.

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, NOTHING, of_dpkg, patch_of};
use crate::packages::DELIVERED;

const SO: &str = "/usr/lib/libssl.so.3";
const STOP: &str = "native_upgrade=stop\n";

fn libssl3(version: &str) -> Deb {
    Deb::new("libssl3", version).file(SO, &format!("libssl {version}\n"))
}

/// The package of the same library under another name.
fn libssl3t64(version: &str) -> Deb {
    let renamed = Deb::new("libssl3t64", version).field("Provides", "libssl3");
    let renamed = renamed.field("Replaces", "libssl3").field("Conflicts", "libssl3");
    renamed.file(SO, &format!("libssl t64 {version}\n"))
}

/// A root that refuses lost fixes beforehand, with a patch of the library that may name the version with its fix.
fn patched(root: &DpkgRoot, fixed_in: Option<&str>) {
    root.install(&libssl3("3.0"));
    root.adopt(&["libssl3"]);
    let package = of_dpkg("libssl3", "3.0").file(&SO[1..], 0o644, "libssl fixed\n");
    let package = match fixed_in {
        Some(fixed_in) => package.param("PATCH_FIXED_IN", fixed_in),
        None => package,
    };
    root.applied(&Patch::of("100-01", package));
    root.stage.file("/etc/patchadm/policy", STOP);
}

/// The rename, as apt would report it.
fn rename(root: &DpkgRoot, version: &str) -> String {
    root.change("libssl3", Some("3.0"), None, '>')
        + &root.change("libssl3t64", None, Some(&libssl3t64(version)), '<')
}

#[test]
fn a_fix_is_lost_to_the_package_that_has_the_library_under_another_name_and_apt_is_stopped_before() {
    for fixed_in in [None, Some("dpkg libssl3 >= 3.1")] {
        for root in DpkgRoot::both("a package with another name") {
            patched(&root, fixed_in);
            let stopped = root.foresee(&rename(&root, "3.2"));
            assert!(
                stopped.code == 3 && stopped.said().contains("100-01 would be LOST"),
                "{} {}",
                stopped.code,
                stopped.said()
            );
            assert!(stopped.said().contains("libssl3t64"), "{}", stopped.said());
            root.upgrade(&libssl3t64("3.2"));
            assert_eq!(root.content(SO), "libssl t64 3.2\n");
            root.tells(&[("100-01", End::Lost(&[SO]))]);
            let list = root.unwatched("list -R @ROOT@").said();
            assert!(list.contains("libssl3t64 3.2"), "{list}");
            root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
            root.tells(&[("100-01", End::Ended)]);
            assert!(root.verified().is_empty(), "{:?}", root.verified());
        }
    }
}

#[test]
fn a_successor_that_the_patch_names_has_its_fix() {
    for root in DpkgRoot::both("a named successor") {
        patched(&root, Some("dpkg libssl3 >= 3.1, dpkg libssl3t64 >= 3.1"));
        let foreseen = root.foresee(&rename(&root, "3.2"));
        assert_eq!(foreseen.code, 0, "{}", foreseen.said());
        root.upgrade(&libssl3t64("3.2"));
        root.tells(&[("100-01", End::Contained)]);
        let said = root.upgrade(&libssl3t64("3.0"));
        assert!(said.contains("100-01: LOST to libssl3t64 3.0 (dpkg)"), "{said}");
        root.tells(&[("100-01", End::Lost(&[SO]))]);
    }
}

#[test]
fn a_successor_in_a_version_without_the_fix_loses_it() {
    for root in DpkgRoot::both("a named successor that is too old") {
        patched(&root, Some("dpkg libssl3t64 >= 3.3"));
        let stopped = root.foresee(&rename(&root, "3.2"));
        assert_eq!(stopped.code, 3, "{}", stopped.said());
        root.upgrade(&libssl3t64("3.2"));
        root.tells(&[("100-01", End::Lost(&[SO]))]);
        // The successor is not adopted; its version at each moment counts.
        root.upgrade(&libssl3t64("3.3"));
        let list = root.unwatched("list --check -R @ROOT@");
        assert!(list.code == 0 && !list.stdout.contains("LOST"), "{} {}", list.code, list.said());
        root.upgrade(&libssl3t64("3.2"));
        root.tells(&[("100-01", End::Lost(&[SO]))]);
    }
}

#[test]
fn a_removal_without_a_successor_is_told_and_alarms_nobody() {
    for words in ["-r", "-P"] {
        for root in DpkgRoot::both("a removal without a successor") {
            patched(&root, None);
            let foreseen = root.foresee(&root.change("libssl3", Some("3.0"), None, '>'));
            assert_eq!(foreseen.code, 0, "{}", foreseen.said());
            assert_eq!(foreseen.said().lines().count(), 1, "{}", foreseen.said());
            assert!(foreseen.said().contains("100-01"), "{}", foreseen.said());
            root.dpkg_done(&format!("{words} libssl3"));
            root.refresh();
            root.tells(&[("100-01", End::Ended)]);
            assert_eq!(root.content(SO), NOTHING);
            let history = root.unwatched("history -R @ROOT@").stdout;
            let told = |line: &str| line.contains(" adopt ") && line.contains("DEBlibssl3 (removed)");
            assert!(history.lines().any(told), "{history}");
            let history = root.unwatched("history --json -R @ROOT@").stdout;
            let history: serde_json::Value = serde_json::from_str(&history).unwrap();
            let runs = history["runs"].as_array().unwrap().iter();
            let refreshed: Vec<_> = runs.filter_map(|run| run["refreshed"].as_array()).flatten().collect();
            let removed = serde_json::json!({
                "package": "DEBlibssl3", "manager": "dpkg", "name": "libssl3", "from": "3.0", "to": null
            });
            assert_eq!(refreshed, [&removed], "{refreshed:?}");
        }
    }
}

#[test]
fn an_edited_configuration_keeps_the_name_that_a_patch_gave_it_when_its_package_is_purged() {
    const CONF: &str = "/etc/acme.conf";
    const KEPT: &str = "/etc/acme.conf.edited-100-01";
    for root in DpkgRoot::both("a purge after an edit") {
        root.install(&Deb::new("acme", "1").file(CONF, "setting=1\n"));
        root.adopt(&["acme"]);
        root.stage.file(CONF, "setting=mine\n");
        let package = of_dpkg("acme", "1");
        let package = package.content('e', &CONF[1..], 0o644, "root root", DELIVERED, "setting=fixed\n");
        let run = root.add("--edited replace", &Patch::of("100-01", package));
        assert_eq!(run.code, 0, "{}", run.said());
        assert_eq!(root.content(KEPT), "setting=mine\n");
        let said = root.dpkg_done("-P acme") + &root.refresh();
        assert!(said.contains("the edited version stays as"), "{said}");
        assert_eq!(root.content(KEPT), "setting=mine\n");
        assert_eq!(root.content(&format!("{KEPT}.2")), NOTHING);
        assert_eq!(root.content(CONF), NOTHING);
    }
}

#[test]
fn an_edited_configuration_keeps_that_name_although_the_patch_stands_without_it() {
    const CONF: &str = "/etc/acme.conf";
    const KEPT: &str = "/etc/acme.conf.edited-100-01";
    for root in DpkgRoot::both("an edit of a configuration that is handed over") {
        root.install(&Deb::new("acme", "1").file(CONF, "setting=1\n"));
        root.adopt(&["acme"]);
        root.stage.file(CONF, "setting=mine\n");
        let package = of_dpkg("acme", "1").file("usr/share/acme/new", 0o644, "new\n");
        let package = package.content('e', &CONF[1..], 0o644, "root root", DELIVERED, "setting=fixed\n");
        let run = root.add("--edited replace", &Patch::of("100-01", package));
        assert_eq!(run.code, 0, "{}", run.said());
        root.build(&Deb::new("acme", "2").file(CONF, "setting=2\n"));
        root.dpkg_done("--force-confold -i [acme_2]");
        root.refresh();
        root.tells(&[("100-01", End::Stands)]);
        for _ in 0..2 {
            assert_eq!(root.content(KEPT), "setting=mine\n");
            assert_eq!(root.content(&format!("{KEPT}.2")), NOTHING);
            assert_eq!(root.content(CONF), "setting=fixed\n");
            root.remove("100-01");
        }
        assert_eq!(root.content("/usr/share/acme/new"), NOTHING);
    }
}

#[test]
fn an_earlier_loss_ends_with_the_package() {
    for root in DpkgRoot::both("a removal after a loss") {
        patched(&root, None);
        root.upgrade(&libssl3("3.1"));
        root.tells(&[("100-01", End::Lost(&[SO]))]);
        root.dpkg_done("-r libssl3");
        root.refresh();
        root.tells(&[("100-01", End::Ended)]);
    }
}

#[test]
fn a_takeover_by_another_package_is_foreseen_and_alarmed_until_it_is_accepted() {
    for root in DpkgRoot::both("a takeover") {
        patched(&root, None);
        let taker = Deb::new("openssl", "4").field("Replaces", "libssl3").file(SO, "libssl of openssl 4\n");
        let stopped = root.foresee(&root.change("openssl", None, Some(&taker), '<'));
        assert!(
            stopped.code == 3 && stopped.said().contains("100-01 would be LOST"),
            "{} {}",
            stopped.code,
            stopped.said()
        );
        root.upgrade(&taker);
        assert_eq!(root.content(SO), "libssl of openssl 4\n");
        root.tells(&[("100-01", End::Lost(&[SO]))]);
        root.remove("100-01");
        assert_eq!(root.content(SO), "libssl of openssl 4\n");
        root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
        root.tells(&[("100-01", End::Ended)]);
    }
}

#[test]
fn a_downgrade_below_the_fix_is_foreseen_although_the_patch_has_ended() {
    for root in DpkgRoot::both("a foreseen downgrade below the fix") {
        patched(&root, Some("dpkg libssl3 >= 3.1"));
        let up = root.foresee(&root.change("libssl3", Some("3.0"), Some(&libssl3("3.1")), '<'));
        assert_eq!(up.code, 0, "{}", up.said());
        root.upgrade(&libssl3("3.1"));
        root.tells(&[("100-01", End::Contained)]);
        let down = root.foresee(&root.change("libssl3", Some("3.1"), Some(&libssl3("3.0")), '>'));
        assert!(
            down.code == 3 && down.said().contains("100-01 would be LOST"),
            "{} {}",
            down.code,
            down.said()
        );
        root.upgrade(&libssl3("3.0"));
        root.tells(&[("100-01", End::Lost(&[SO]))]);
    }
}

#[test]
fn a_removal_takes_the_directories_along_that_the_patch_added() {
    for root in DpkgRoot::both("an empty directory of a patch") {
        root.install(&Deb::new("acme", "1").file("/usr/share/acme/data", "data of 1\n"));
        root.adopt(&["acme"]);
        let files = [("/usr/share/acme/data", "fixed\n"), ("/usr/share/acme/more/deep/file", "more\n")];
        root.applied(&patch_of("100-01", "acme", "1", &files));
        root.dpkg_done("-r acme");
        root.refresh();
        assert_eq!(root.content("/usr/share/acme"), NOTHING);
        root.tells(&[("100-01", End::Ended)]);
    }
}
