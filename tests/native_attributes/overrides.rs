//! `dpkg-statoverride` decides about mode and owner, regardless of patches and undo archives.

use std::fs;
use std::os::unix::fs::chown;

use crate::adopt_refresh::delivered;
use crate::delivery::Patch;
use crate::native_attributes::{WEB, add, adopted, fix, mode, owners, plan, remove};
use crate::scenario::{Scenario, is_root};

const OVERRIDES: &str = "/var/lib/dpkg/statoverride";

/// Has the effect of `dpkg-statoverride --update --add`.
fn overridden(stage: &Scenario, bits: u32, path: &str) {
    stage.file(OVERRIDES, format!("root adm {bits:04o} {path}\n"));
    let at = stage.at(path);
    if is_root() {
        chown(&at, Some(0), Some(54321)).unwrap();
    }
    stage.mode(path, bits);
}

#[test]
fn an_override_counts_when_a_patch_brings_the_file_and_when_it_goes() {
    let stage = adopted();
    overridden(&stage, 0o710, WEB);
    let note =
        "@ROOT@/usr/bin/web has mode 0710, owner root and group adm by dpkg-statoverride of /usr/bin/web";
    let said = plan(&stage, "", &fix(0o755));
    assert!(!is_root() || said.contains(note), "{said}");
    add(&stage, "", &fix(0o755));
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web fixed\n", 0o710));
    assert_eq!(stage.run("check --contents -R @ROOT@").code, 0, "the record says the same");
    remove(&stage, "100-01");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o710));
    if is_root() {
        assert_eq!(owners(&stage, WEB), (0, 54321));
    }
}

#[test]
fn one_that_was_made_after_the_patch_is_not_undone_with_it() {
    let stage = adopted();
    add(&stage, "", &fix(0o711));
    overridden(&stage, 0o700, WEB);
    let said = remove(&stage, "100-01");
    assert!(said.contains("by dpkg-statoverride of /usr/bin/web, regardless of its earlier state"), "{said}");
    assert_eq!((stage.text(WEB).as_str(), mode(&stage, WEB)), ("web one\n", 0o700));
}

#[test]
fn one_that_is_not_on_the_file_yet_comes_with_the_patch() {
    let stage = adopted();
    stage.file(OVERRIDES, "#0 #0 0500 /usr/bin/web\n");
    let said = add(&stage, "", &fix(0o755));
    assert!(said.contains("has mode 0500"), "{said}");
    assert_eq!(mode(&stage, WEB), 0o500);
}

#[test]
fn a_set_id_bit_that_the_patch_removes_stays_with_the_override_and_the_plan_says_so() {
    if !is_root() {
        return crate::skipped(
            "a_set_id_bit_that_the_patch_removes: only root has set-id programs of an override",
        );
    }
    let stage = adopted();
    overridden(&stage, 0o4750, WEB);
    let set_id = Patch::of("100-01", delivered("1.0-1").file("usr/bin/web", 0o4755, "web set-id\n"));
    add(&stage, "", &set_id);
    let removes = Patch::of("200-01", delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n"));
    let said = plan(&stage, "", &removes);
    let note = "keeps its set-id bits, which the patch removes, because of its override";
    assert!(said.contains(note), "{said}");
    assert!(add(&stage, "", &removes).contains(note));
    assert_eq!((mode(&stage, WEB), owners(&stage, WEB)), (0o4750, (0, 54321)));
}

#[test]
fn a_file_that_the_patch_adds_has_the_attributes_of_its_override() {
    let stage = adopted();
    stage.file(OVERRIDES, "#0 #0 0600 /usr/share/web/new\n");
    let patch = Patch::of("100-01", delivered("1.0-1").file("usr/share/web/new", 0o644, "new\n"));
    add(&stage, "", &patch);
    assert_eq!(mode(&stage, "/usr/share/web/new"), 0o600);
    remove(&stage, "100-01");
    assert!(!stage.at("/usr/share/web/new").exists());
}

#[test]
fn the_override_of_a_diverted_file_is_found_by_the_path_in_the_list() {
    let stage = Scenario::new();
    crate::adopt_refresh::dpkg_installs(&stage, None, &crate::adopt_refresh::ONE, &[]);
    stage.mode(WEB, 0o755);
    fs::rename(stage.at(WEB), stage.at("/usr/bin/web.real")).unwrap();
    stage.file(WEB, "another\n");
    stage.file("/var/lib/dpkg/diversions", "/usr/bin/web\n/usr/bin/web.real\nother\n");
    stage.file(OVERRIDES, "#0 #0 0500 /usr/bin/web\n#0 #0 0511 /usr/bin/web.real\n");
    stage.run("adopt --dpkg web -R @ROOT@").ok();
    let patch = Patch::of("100-01", delivered("1.0-1").file("usr/bin/web.real", 0o755, "web fixed\n"));
    let said = add(&stage, "", &patch);
    assert!(said.contains("by dpkg-statoverride of /usr/bin/web,"), "{said}");
    assert_eq!(mode(&stage, "/usr/bin/web.real"), 0o500);
}

#[test]
fn a_file_that_dpkg_would_refuse_is_named_and_nothing_is_changed() {
    let stage = adopted();
    stage.file(OVERRIDES, "root adm 0700 /usr/bin/web\nroot adm 0711 /usr/bin/web\n");
    let before = stage.tree();
    let at = fix(0o755).directory(&stage);
    let run = stage.run(&format!("add -R @ROOT@ {}", at.display()));
    assert_ne!(run.code, 0);
    assert!(
        run.stderr.contains("the file statoverride of dpkg: line 2: the path has an override already"),
        "{}",
        run.stderr
    );
    if is_root() {
        stage.file(OVERRIDES, "nobodyatall adm 0700 /usr/bin/web\n");
        let run = stage.run(&format!("add -R @ROOT@ {}", at.display()));
        assert_ne!(run.code, 0);
        assert!(run.stderr.contains("nobodyatall"), "{}", run.stderr);
    }
    fs::remove_file(stage.at(OVERRIDES)).unwrap();
    let after = stage.tree();
    assert_eq!(after.difference(&before).lines().filter(|line| !line.contains("statoverride")).count(), 0);
}

#[test]
fn a_check_expects_what_the_override_says_and_a_repair_restores_it() {
    let stage = adopted();
    stage.file(OVERRIDES, "#0 #0 0500 /usr/bin/web\n");
    let said = stage.run("pkgchk -R @ROOT@ DEBweb");
    assert!(
        format!("{}{}", said.stdout, said.stderr).contains("permissions <0500> expected <0755> actual"),
        "{said:?}"
    );
    stage.run("pkgchk -f -R @ROOT@ DEBweb");
    assert_eq!(mode(&stage, WEB), 0o500);
    stage.mode(WEB, 0o755);
    stage.file(OVERRIDES, "nonsense\n");
    let run = stage.run("pkgchk -f -R @ROOT@ DEBweb");
    assert!(run.stderr.contains("the file statoverride of dpkg: line 1"), "{run:?}");
    assert_eq!(mode(&stage, WEB), 0o755);
}

#[test]
fn other_packages_know_no_overrides() {
    let stage = Scenario::with(&[crate::packages::Package::new("ACMEweb").file("bin/web", 0o755, "one\n")]);
    stage.file(OVERRIDES, "nonsense\n");
    let patch = Patch::of("100-01", crate::packages::Package::new("ACMEweb").file("bin/web", 0o755, "two\n"));
    add(&stage, "", &patch);
    assert_eq!(mode(&stage, "/opt/ACMEweb/bin/web"), 0o755);
}
