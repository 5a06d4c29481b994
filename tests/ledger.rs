//! The ledger of a root lists the undo archives that its runs made. A backout trusts no others.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use patchadm_rootfs::Digest;
use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::assert_same;
use crate::undo_data::{patch, stage};

const LEDGER: &str = "/var/sadm/patchadm/ledger/ACMEweb";

fn archive(id: &str) -> String {
    format!("/var/sadm/pkg/ACMEweb/save/{id}/undo.gz")
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

/// Changes the ledger of a package as if the run that wrote the archive of a patch had written these bytes.
pub(crate) fn vouch(root: &Path, package: &str, patch: &str, bytes: &[u8]) {
    let ledger = root.join("var/sadm/patchadm/ledger").join(package);
    let lines = fs::read_to_string(&ledger).unwrap();
    let vouched = lines.lines().map(|line| {
        let mut line: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        if line["patch"] == patch {
            line["undo"] = format!("b3:{}", hex(bytes)).into();
            line["size"] = bytes.len().into();
        }
        format!("{}\n", Value::Object(line))
    });
    let vouched: String = vouched.collect();
    fs::write(ledger, vouched).unwrap();
}

/// Removes the ledger of a package: its archives are then those of other tools, or nobody's.
pub(crate) fn disown(root: &Path, package: &str) {
    let ledger = root.join("var/sadm/patchadm/ledger").join(package);
    if ledger.exists() {
        fs::remove_file(ledger).unwrap();
    }
}

fn lines(stage: &Scenario) -> Vec<Value> {
    let text = fs::read_to_string(stage.at(LEDGER)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_applied_patch_has_a_line_with_the_digest_of_its_archive() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    stage.patchadd("-d", &patch("200-01")).ok();
    let [one, two] = &lines(&stage)[..] else { panic!() };
    let bytes = fs::read(stage.at(&archive("100-01"))).unwrap();
    assert_eq!(one["patch"], "100-01");
    assert_eq!(one["undo"], format!("b3:{}", hex(&bytes)));
    assert_eq!((&one["size"], &one["where"]), (&bytes.len().into(), &"save".into()));
    let said = stage.run("pkgparam -R @ROOT@ ACMEweb PATCH_INFO_100-01").ok();
    let pkginfo = stage.text("/var/sadm/pkg/ACMEweb/pkginfo");
    let info = pkginfo.lines().find_map(|line| line.strip_prefix("PATCH_INFO_100-01=")).unwrap();
    assert_eq!(said.trim_end(), info.trim_end());
    assert_eq!(one["info"], format!("b3:{}", hex(info.as_bytes())));
    assert_eq!((&two["undo"], &two["why"]), (&Value::Null, &"no-undo".into()));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(stage.at(LEDGER)).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn several_patches_of_one_run_each_have_their_line_and_a_backout_takes_its_line_away() {
    let stage = stage();
    let [one, two] = [patch("100-01"), patch("200-01")].map(|patch| patch.directory(&stage));
    stage.run(&format!("patchadd -R @ROOT@ {} {}", one.display(), two.display())).ok();
    let all = lines(&stage);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["run"], all[1]["run"]);
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    assert_eq!(lines(&stage).len(), 1);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert!(!stage.at(LEDGER).exists());
}

#[test]
fn a_package_that_goes_takes_its_ledger_along() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    stage.run("pkgrm -n -R @ROOT@ ACMEweb").fails(0);
    assert!(!stage.at(LEDGER).exists());
}

#[test]
fn a_name_that_changes_leaves_the_line_as_it_is() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    let before = lines(&stage);
    stage.patchadd("", &patch("100-02")).ok();
    assert!(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/obsolete.gz").exists());
    assert_eq!(lines(&stage)[..1], before[..]);
    stage.run("patchrm -R @ROOT@ 100-02").ok();
    assert_eq!(lines(&stage), before);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
}

#[test]
fn an_older_save_directory_brought_back_from_a_backup_is_refused() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    let save = stage.at("/var/sadm/pkg/ACMEweb/save/100-01");
    let older = ["undo.gz", "undo.b3"].map(|name| (name, fs::read(save.join(name)).unwrap()));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    stage.file("/opt/ACMEweb/bin/httpd", "edited by the administrator\n");
    stage.run("patchadd -u -R @ROOT@ delivered/100-01").ok();
    for (name, bytes) in older {
        fs::write(save.join(name), bytes).unwrap();
    }
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    assert!(said.contains("(an older copy, or somebody else's)"), "{said}");
    assert!(said.contains("--adopt-undo"), "{said}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn an_archive_of_ours_that_no_line_names_is_refused() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    disown(&stage.root(), "ACMEweb");
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    assert!(said.contains("--adopt-undo"), "{said}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_ledger_that_is_garbage_is_damage_and_nothing_is_changed() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    stage.file(LEDGER, "garbage\n");
    let before = stage.everything();
    stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    stage.patchadd("", &patch("200-01")).fails(28);
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_run_that_ends_early_leaves_the_ledger_as_it_was() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    let before = stage.text(LEDGER);
    let bad = Patch::of(
        "200-01",
        Package::new("ACMEweb").file("bin/tool", 0o755, "two\n").information("postinstall", "exit 1\n"),
    );
    let said = stage.patchadd("", &bad);
    assert_ne!(said.code, 0);
    assert_eq!(stage.text(LEDGER), before);
}

#[test]
fn of_many_roots_the_archives_of_each_are_adopted() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    disown(&stage.root(), "ACMEweb");
    let other = stage.beside("other");
    assert!(Command::new("cp").arg("-a").arg(stage.root()).arg(&other).status().unwrap().success());
    fs::write(other.join("opt/ACMEweb/bin/httpd"), "somebody else's\n").unwrap();
    let line = format!("recover --adopt-undo -R @ROOT@ -R {}", other.display());
    let run = stage.run(&line);
    assert_eq!(run.code, 3, "{}{}", run.stdout, run.stderr);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.matches(": 0 of 1 undo archives registered").count() == 2, "{said}");
    assert!(said.contains("matches; specify 100-01 to register it") && said.contains("bin/httpd"), "{said}");
    assert!(!stage.at(LEDGER).exists());
    stage.run("recover --adopt-undo -R @ROOT@ 100-01").ok();
    assert_eq!(lines(&stage)[0]["adopted"], true);
    let run = stage.run(&format!("recover --json --adopt-undo -R @ROOT@ -R {} 100-01", other.display()));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["roots"][0]["result"], "nothing-to-do", "{document}");
    assert_eq!(document["roots"][1]["result"], "done", "{document}");
}

#[test]
fn an_archive_that_others_could_exchange_is_not_adopted() {
    let stage = stage();
    let undo = stage.beside("undo");
    fs::create_dir(&undo).unwrap();
    stage.patchadd(&format!("-B {}", undo.display()), &patch("100-01")).ok();
    disown(&stage.root(), "ACMEweb");
    fs::set_permissions(&undo, Permissions::from_mode(0o1777)).unwrap();
    let line = format!("recover --adopt-undo --undo-dir {} -R @ROOT@ 100-01", undo.display());
    let said = stage.run(&line).fails(3);
    assert!(said.contains("is writable by others"), "{said}");
    assert!(!stage.at(LEDGER).exists());
    fs::set_permissions(&undo, Permissions::from_mode(0o755)).unwrap();
    stage.run(&line).ok();
}

#[test]
fn an_archive_of_an_earlier_application_is_adopted_only_by_its_name() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    let save = "/var/sadm/pkg/ACMEweb/save/100-01";
    let earlier = ["undo.gz", "undo.b3"].map(|name| {
        let name = format!("{save}/{name}");
        (name.clone(), fs::read(stage.at(&name)).unwrap())
    });
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    for (name, bytes) in earlier {
        fs::write(stage.at(&name), bytes).unwrap();
    }
    disown(&stage.root(), "ACMEweb");
    let said = stage.run("recover -R @ROOT@ --adopt-undo");
    assert_eq!(said.code, 3, "{}", said.stdout);
    assert!(said.stdout.contains("an undo archive of run 2-"), "{}", said.stdout);
    assert!(said.stdout.contains(" of 2026-11-20 07:00"), "{}", said.stdout);
    assert!(said.stdout.contains(" has reversed the change it was made for"), "{}", said.stdout);
    assert!(!stage.at(LEDGER).exists());
    stage.run("recover -R @ROOT@ --adopt-undo 100-01").ok();
    assert_eq!(lines(&stage)[0]["adopted"], true);
}

#[test]
fn recover_adopts_an_archive_that_fits_and_names_one_that_does_not() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    stage.file(LEDGER, "garbage\n");
    let run = stage.run("recover -R @ROOT@ --adopt-undo");
    assert_eq!(run.code, 3, "{run:?}");
    let said = run.stdout;
    assert!(said.contains("matches; specify 100-01 to register it"), "{said}");
    assert_eq!(stage.text(LEDGER), "garbage\n");
    let said = stage.run("recover -R @ROOT@ --adopt-undo 100-01").ok();
    assert!(said.contains("100-01"), "{said}");
    assert_eq!(lines(&stage)[0]["adopted"], true);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");

    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    disown(&stage.root(), "ACMEweb");
    stage.file("/opt/ACMEweb/bin/httpd", "somebody else's\n");
    let said = stage.run("recover -R @ROOT@ --adopt-undo");
    assert_eq!(said.code, 3);
    assert!(said.stdout.contains("bin/httpd"), "{}", said.stdout);
    assert!(!stage.at(LEDGER).exists());
}
