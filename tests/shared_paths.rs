//! Patches that have a path in common, with undo data and without, of one package and of several: the objects of a
//! later patch stay as long as it is applied, even if it found them as it delivers them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use patchadm_changeset::format::manifest::UndoManifest;
use patchadm_rootfs::Digest;
use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::scenario::{Scenario, shared};
use crate::scripted_backouts;

const HTTPD: &str = "/opt/ACMEweb/bin/httpd";

/// A package, or a part of it, that delivers `httpd` and `other`; an empty text is not delivered.
fn web(name: &str, httpd: &str, other: &str) -> Package {
    let deliver = |package: Package, path: &str, text: &str| {
        if text.is_empty() {
            return package;
        }
        package.content('f', path, 0o755, "root root", DELIVERED, text)
    };
    let package = Package::new(name).param("BASEDIR", "/opt/ACMEweb");
    deliver(deliver(package, "bin/httpd", httpd), &format!("bin/{name}"), other)
}

/// A root with a package to which 100-01 is applied. 200-01, which delivers the same file as 100-01 and another one,
/// is available.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("ACMEweb", "old\n", "old\n")]);
    Patch::of("100-01", web("ACMEweb", "fixed\n", "")).directory(&stage);
    Patch::of("200-01", web("ACMEweb", "fixed\n", "new\n")).directory(&stage);
    stage
}

fn kept(id: &str) -> String {
    format!("/var/sadm/pkg/ACMEweb/save/{id}/manifest.gz")
}

/// Asserts that 100-01 can be backed out, and that `httpd`, which a later patch without undo data has, is left alone.
/// The manifest of the later patch then records the state before 100-01 as the one that it found.
#[track_caller]
fn goes(stage: &Scenario, heir: &str) {
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(fs::read_to_string(stage.at(HTTPD)).unwrap(), "fixed\n");
    let bytes = fs::read(stage.at(&kept(heir))).unwrap();
    assert_eq!(line_of(stage, heir)["manifest"], format!("b3:{}", Digest::of(&bytes)));
    let manifest = manifest(&bytes);
    let httpd = manifest.objects.iter().find(|object| object.path == HTTPD).unwrap();
    let was = httpd.was.as_ref().unwrap().b3.as_ref().map(ToString::to_string);
    assert_eq!(was, Some(Digest::of(b"old\n").to_string()));
    stage.run("check --contents -R @ROOT@").ok();
}

/// Asserts that 100-01 cannot be backed out, because a later patch has `httpd`, and that nothing happens to it.
#[track_caller]
fn stays(stage: &Scenario, by: &str) {
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.contains(HTTPD) && said.contains(by), "{said}");
    assert_eq!(fs::read_to_string(stage.at(HTTPD)).unwrap(), "fixed\n");
}

#[track_caller]
fn line_of(stage: &Scenario, id: &str) -> Value {
    let lines = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["patch"] == id).unwrap()
}

fn manifest(compressed: &[u8]) -> UndoManifest {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(compressed), &mut text).unwrap();
    UndoManifest::parse(&text).unwrap()
}

#[test]
fn a_patch_without_undo_data_keeps_its_manifest_and_its_fix() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("add -R @ROOT@ --no-undo delivered/200-01").ok();
    let at = stage.at(&kept("200-01"));
    assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(at.with_file_name("undo.paths").exists() && !at.with_file_name("undo.gz").exists());
    assert!(!stage.at(&kept("100-01")).exists(), "its archive has the manifest");
    let bytes = fs::read(&at).unwrap();
    let manifest = manifest(&bytes);
    let digest = Digest::of(&bytes);
    let line = line_of(&stage, "200-01");
    assert_eq!(line["manifest"], format!("b3:{digest}"));
    assert_eq!((&line["undo"], &line["why"]), (&Value::Null, &"no-undo".into()));
    let httpd = manifest.objects.iter().find(|object| object.path == HTTPD).unwrap();
    assert!(httpd.delivered && httpd.was == httpd.became && httpd.was.is_some());
    assert!(manifest.objects.iter().all(|object| object.member.is_none()), "nothing is saved");
    stage.run("check --contents -R @ROOT@").ok();
    assert!(
        stage.run("check --contents -v -R @ROOT@ 200-01").ok().contains("there is no undo data for package")
    );
    goes(&stage, "200-01");
    stage.run("remove -R @ROOT@ 200-01").fails(3);
}

#[test]
fn what_is_kept_of_patches_in_one_run_takes_over_what_another_one_found() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    Patch::of("300-01", web("ACMEweb", "fixed\n", "newer\n")).directory(&stage);
    stage.run("add -R @ROOT@ --no-undo delivered/200-01 delivered/300-01").ok();
    assert!(stage.at(&kept("200-01")).exists() && stage.at(&kept("300-01")).exists());
    goes(&stage, "200-01");
}

#[test]
fn a_kept_manifest_that_is_lost_or_another_one_is_told_by_verify_and_its_paths_are_not_given_up() {
    for is_lost in [true, false] {
        let stage = stage();
        stage.run("add -R @ROOT@ delivered/100-01").ok();
        stage.run("add -R @ROOT@ --no-undo delivered/200-01").ok();
        let at = stage.at(&kept("200-01"));
        if is_lost {
            fs::remove_file(&at).unwrap();
        } else {
            fs::write(&at, "another").unwrap();
        }
        let said = stage.run("check --contents -R @ROOT@");
        assert_eq!(said.code, 4, "{said:?}");
        assert!(said.stdout.contains("save/200-01/manifest.gz of a patch without undo data"), "{said:?}");
        let said = stage.run("remove -R @ROOT@ 100-01").fails(1);
        assert!(said.contains("save/200-01/manifest.gz"), "{said}");
        assert_eq!(fs::read_to_string(stage.at(HTTPD)).unwrap(), "fixed\n");
    }
}

#[test]
fn without_its_ledger_a_kept_manifest_is_a_hint_until_it_is_adopted() {
    let stage = stage();
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    stage.run("add -R @ROOT@ --no-undo delivered/200-01").ok();
    fs::remove_file(stage.at("/var/sadm/patchadm/ledger/ACMEweb")).unwrap();
    stage.run("remove -R @ROOT@ 100-01").fails(3);
    stage.run("recover -R @ROOT@ --adopt-undo 100-01 200-01").ok();
    assert!(line_of(&stage, "200-01")["manifest"].is_string());
    goes(&stage, "200-01");
}

#[test]
fn what_a_later_patch_of_another_package_delivers_stays_with_its_patch() {
    for choice in ["", "--no-undo "] {
        let stage = Scenario::with(&[web("ACMEweb", "old\n", "old\n"), web("ACMEadd", "old\n", "add\n")]);
        let before = stage.tree();
        Patch::of("100-01", web("ACMEweb", "fixed\n", "")).directory(&stage);
        Patch::of("200-01", web("ACMEadd", "fixed\n", "new\n")).directory(&stage);
        stage.run("add -R @ROOT@ delivered/100-01").ok();
        stage.run(&format!("add -R @ROOT@ {choice}delivered/200-01")).ok();
        stays(&stage, "200-01");
        if choice.is_empty() {
            stage.run("remove -R @ROOT@ 100-01 200-01").ok();
            let differences = before.difference(&stage.tree());
            assert!(differences.is_empty(), "{differences}");
        }
    }
}

#[test]
fn what_an_earlier_patch_of_another_package_delivers_is_no_reason_against_a_backout() {
    for at_once in [false, true] {
        let stage = Scenario::with(&[web("ACMEweb", "old\n", "old\n"), web("ACMEadd", "old\n", "add\n")]);
        Patch::of("100-01", web("ACMEweb", "fixed\n", "new\n")).directory(&stage);
        Patch::of("200-01", web("ACMEadd", "fixed again\n", "new\n")).directory(&stage);
        if at_once {
            stage.run("add -R @ROOT@ delivered/100-01 delivered/200-01").ok();
            stays_at(&stage, "fixed again\n");
        } else {
            stage.run("add -R @ROOT@ delivered/200-01").ok();
            stage.run("add -R @ROOT@ delivered/100-01").ok();
            let said = stage.run("remove -R @ROOT@ 200-01").fails(3);
            assert!(said.contains(HTTPD) && said.contains("100-01"), "{said}");
            stage.run("remove -R @ROOT@ 100-01").ok();
            assert_eq!(fs::read_to_string(stage.at(HTTPD)).unwrap(), "fixed again\n");
            stage.run("remove -R @ROOT@ 200-01").ok();
        }
        stage.run("check --contents -R @ROOT@").ok();
    }
}

/// Asserts that the older of two patches of one run cannot be backed out first.
#[track_caller]
fn stays_at(stage: &Scenario, text: &str) {
    stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert_eq!(fs::read_to_string(stage.at(HTTPD)).unwrap(), text);
    stage.run("remove -R @ROOT@ 200-01").ok();
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(fs::read_to_string(stage.at(HTTPD)).unwrap(), "old\n");
}

#[test]
fn what_scripts_applied_without_undo_data_keeps_a_manifest_as_well() {
    let Some(goldens) = shared("what_scripts_applied_without_undo_data_keeps_a_manifest_as_well", "goldens")
    else {
        return;
    };
    let Some(stage) = scripted_backouts::Stage::new(&goldens) else { return };
    let delivered = goldens.join("pkgs/103203-01");
    stage.ok(&format!("patchadd -d --scripts run -R @ROOT@ {}", delivered.display()));
    let save = stage.scenario.at("/var/sadm/pkg/SUNWstuf/save/103203-01");
    let manifest = manifest(&fs::read(save.join("manifest.gz")).unwrap());
    let data = manifest.objects.iter().find(|object| object.path == "/opt/SUNWstuf/share/data").unwrap();
    let digest = |text: &[u8]| Digest::of(text).to_string();
    let is: String = digest(&fs::read(stage.scenario.at("/opt/SUNWstuf/share/data")).unwrap());
    assert!(data.delivered && data.was != data.became);
    assert_eq!(data.became.as_ref().unwrap().b3.as_ref().map(ToString::to_string), Some(is));
    assert!(save.join("undo.paths").exists());
    stage.ok("check --contents -R @ROOT@");
    let (code, said) = stage.run("patchrm -R @ROOT@ 103203-01");
    assert_eq!(code, 4, "{said}");
}

#[test]
fn what_another_package_delivers_since_stays_when_the_patch_goes_and_goes_with_the_package() {
    for verb in ["remove", "patchrm"] {
        let stage = Scenario::with(&[web("ACMEweb", "old\n", "")]);
        let patch = Patch::of("100-01", web("ACMEweb", "new\n", "").file("share/common", 0o644, "common\n"));
        stage.patchadd("", &patch).ok();
        let other = Package::new("ACMEother").param("BASEDIR", "/opt/ACMEweb").file(
            "share/common",
            0o644,
            "common\n",
        );
        stage.install(&other);
        let said = stage.run(&format!("{verb} -R @ROOT@ 100-01")).ok();
        assert!(said.contains("/opt/ACMEweb/share/common stays: ACMEother also owns it"), "{said}");
        assert_eq!(stage.text(HTTPD), "old\n");
        assert_eq!(stage.text("/opt/ACMEweb/share/common"), "common\n");
        let contents = stage.text("/var/sadm/install/contents");
        let owners =
            |path: &str| contents.lines().find(|line| line.starts_with(&format!("{path} "))).unwrap();
        assert!(owners("/opt/ACMEweb/share/common").ends_with(" ACMEother"), "{contents}");
        stage.run("pkgchk -R @ROOT@").ok();
        assert_eq!(stage.run("pkgrm -n -R @ROOT@ ACMEother").code, 0);
        assert!(stage.at("/opt/ACMEweb/share/common").symlink_metadata().is_err());
        stage.run("pkgchk -R @ROOT@").ok();
    }
}
