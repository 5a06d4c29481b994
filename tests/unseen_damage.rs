//! Records from which something is missing that must be there: found by everybody who needs them, although each is a file
//! that makes sense. What another tool may have changed is no damage, and `verify` names it.

use std::fs;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

const CONTENTS: &str = "/var/sadm/install/contents";
const PKGINFO: &str = "/var/sadm/pkg/ACMEweb/pkginfo";

fn web(httpd: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, format!("{httpd}\n")).file("etc/conf", 0o644, "port\n")
}

/// A package with a patch.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("one")]);
    stage.patchadd("", &Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))).ok();
    stage
}

fn without_lines(stage: &Scenario, path: &str, is_gone: impl Fn(&str) -> bool) {
    let text = stage.text(path);
    let kept: String = text.split_inclusive('\n').filter(|line| !is_gone(line)).collect();
    assert_ne!(kept, text, "{path}");
    fs::write(stage.at(path), kept).unwrap();
}

/// Every question and change is refused, names what is missing in this record, and changes nothing.
#[track_caller]
fn everybody_misses(stage: &Scenario, record: &str, missing: &str) {
    let patch = Patch::of("100-02", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"));
    patch.directory(stage);
    let before = stage.everything();
    for (line, code) in [
        ("list -R @ROOT@", 28),
        ("show -R @ROOT@ 100-01", 28),
        ("verify -R @ROOT@", 1),
        ("pkgchk -R @ROOT@", 99),
        ("plan -R @ROOT@ delivered/100-02", 28),
        ("patchadd -R @ROOT@ delivered/100-02", 28),
        ("patchrm -R @ROOT@ 100-01", 5),
    ] {
        let run = stage.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, code, "{line}: {said}");
        assert!(said.contains(record) && said.contains(missing), "{line}: {said}");
    }
    crate::tree::assert_same(&stage.everything(), &before);
}

#[test]
fn a_line_that_is_gone_from_contents_is_missed_and_made_anew() {
    let stage = stage();
    let line = |line: &str| line.starts_with("/opt/ACMEweb/etc/conf ");
    let whole = stage.text(CONTENTS);
    without_lines(&stage, CONTENTS, line);
    let missing = "1 objects of packages are there and have no line, which had one after run";
    everybody_misses(&stage, "@ROOT@/var/sadm/install/contents", missing);
    stage.run("pkgchk -f -R @ROOT@").ok();
    let conf = |text: &str| text.lines().find(|one| line(one)).map(str::to_owned);
    assert_eq!(conf(&stage.text(CONTENTS)), conf(&whole));
    assert!(stage.run("verify -R @ROOT@").ok().ends_with("no undo data is damaged.\n"));
}

#[test]
fn what_another_tool_took_out_of_contents_and_off_the_disk_is_a_change_that_verify_names() {
    let stage = stage();
    without_lines(&stage, CONTENTS, |line| line.starts_with("/opt/ACMEweb/etc/conf "));
    fs::remove_file(stage.at("/opt/ACMEweb/etc/conf")).unwrap();
    let said = stage.run("verify -R @ROOT@").ok();
    let note = "@ROOT@/var/sadm/install/contents: changed since run 2, not by this program\n";
    assert!(said.contains(note), "{said}");
    let document: Value = serde_json::from_str(&stage.run("verify -R @ROOT@ --json").ok()).unwrap();
    assert_eq!((&document["sound"], &document["changed_records"][0]["run"]), (&true.into(), &2.into()));
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "new\n"))).ok();
    assert!(!stage.run("verify -R @ROOT@").ok().contains("changed since"));
}

#[test]
fn a_pkginfo_that_was_cut_at_the_end_of_a_line_is_missed_and_made_anew() {
    for (name, missing) in [
        ("PATCHLIST=", "PATCHLIST lacks 100-01, which run "),
        ("PATCH_INFO_100-01=", "it has no PATCH_INFO_100-01: lines are missing"),
        ("PKG=", "it has no PKG: lines are missing"),
        ("INSTDATE=", "it has no INSTDATE: lines are missing"),
        ("VERSION=", "it has no VERSION: lines are missing"),
    ] {
        let stage = stage();
        let whole = stage.text(PKGINFO);
        without_lines(&stage, PKGINFO, |line| line.starts_with(name));
        everybody_misses(&stage, "@ROOT@/var/sadm/pkg/ACMEweb/pkginfo", missing);
        stage.run("pkgchk -f -R @ROOT@ ACMEweb");
        let has = |text: &str| text.lines().any(|line| line.starts_with(name));
        assert!(has(&whole) && has(&stage.text(PKGINFO)), "{name}: {}", stage.text(PKGINFO));
        stage.run("verify -R @ROOT@").ok();
    }
}

#[test]
fn a_parameter_that_another_tool_set_is_a_change_that_verify_names_until_the_next_run() {
    let stage = stage();
    let text = stage.text(PKGINFO) + "SITE=a\n";
    fs::write(stage.at(PKGINFO), text).unwrap();
    let said = stage.run("verify -R @ROOT@").ok();
    let note = "@ROOT@/var/sadm/pkg/ACMEweb/pkginfo: changed since run 2, not by this program\n";
    assert!(said.contains(note), "{said}");
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "new\n"))).ok();
    assert!(!stage.run("verify -R @ROOT@").ok().contains("changed since"));
}

#[test]
fn a_package_that_lost_its_copy_of_what_was_delivered_is_told_and_nothing_stops() {
    let stage = stage();
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb/save/pspool")).unwrap();
    let lost = "@ROOT@/var/sadm/pkg/ACMEweb/save/pspool/ACMEweb/pkgmap: it is not there, and was after run 2";
    for (line, code) in [
        ("list -R @ROOT@", 0),
        ("show -R @ROOT@ 100-01", 0),
        ("verify -R @ROOT@", 1),
        ("pkgchk -R @ROOT@", 99),
    ] {
        let run = stage.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, code, "{line}: {said}");
        assert!(said.contains(lost), "{line}: {said}");
    }
    assert!(stage.run("verify -R @ROOT@").stdout.contains("100-01: can be backed out"));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
}

#[test]
fn a_root_that_no_run_left_a_stamp_in_has_nothing_to_miss() {
    let stage = stage();
    fs::remove_file(stage.at("/var/sadm/patchadm/contents.stamp")).unwrap();
    without_lines(&stage, CONTENTS, |line| line.starts_with("/opt/ACMEweb/etc/conf "));
    stage.run("list -R @ROOT@").ok();
    let said = stage.run("verify -R @ROOT@").ok();
    assert!(!said.contains("changed since"), "{said}");
}

#[test]
fn undo_data_that_nobody_read_is_not_said_to_be_of_use() {
    let stage = stage();
    let archive = stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let said = stage.run("show -R @ROOT@ 100-01").ok();
    assert!(said.contains("not checked: its records allow it, its undo data was not read"), "{said}");
    let document: Value = serde_json::from_str(&stage.run("list -R @ROOT@ --json").ok()).unwrap();
    let listed = &document["patches"][0];
    assert_eq!((&listed["removable"]["now"], &listed["checked"]), (&true.into(), &false.into()));
    let run = stage.run("verify -R @ROOT@ --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["patches"][0]["checked"]), (4, &true.into()));
}
