//! Records with missing parts: every command that needs them notices, although each is still a valid file. Changes
//! that another tool may have made are no damage, and `check --contents` names them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

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

/// Asserts that `check --contents` finds no damage, and no changes by other programs.
#[track_caller]
fn assert_unchanged(stage: &Scenario, after: &str) {
    let run = stage.run("check --contents --json -R @ROOT@");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["changed_records"]), (0, &Value::Null), "{after}: {}", run.stdout);
}

/// Asserts that every query and change is refused, names what is missing in this record, and changes nothing.
#[track_caller]
fn everybody_misses(stage: &Scenario, record: &str, missing: &str) {
    let patch = Patch::of("100-02", Package::new("ACMEweb").file("bin/httpd", 0o755, "three\n"));
    patch.directory(stage);
    let before = stage.everything();
    for (line, code) in [
        ("list -R @ROOT@", 1),
        ("show -R @ROOT@ 100-01", 1),
        ("check --contents -R @ROOT@", 4),
        ("pkgchk -R @ROOT@", 99),
        ("plan -R @ROOT@ delivered/100-02", 1),
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
    let missing = "1 objects of packages exist without the line that they had after run";
    everybody_misses(&stage, "@ROOT@/var/sadm/install/contents", missing);
    stage.run("pkgchk -f -R @ROOT@").ok();
    let conf = |text: &str| text.lines().find(|one| line(one)).map(str::to_owned);
    assert_eq!(conf(&stage.text(CONTENTS)), conf(&whole));
    assert_unchanged(&stage, "a line is made anew");
}

#[test]
fn what_another_tool_took_out_of_contents_and_off_the_disk_is_a_change_that_verify_names() {
    let stage = stage();
    without_lines(&stage, CONTENTS, |line| line.starts_with("/opt/ACMEweb/etc/conf "));
    fs::remove_file(stage.at("/opt/ACMEweb/etc/conf")).unwrap();
    let said = stage.run("check --contents -R @ROOT@").ok();
    let note = "@ROOT@/var/sadm/install/contents: changed since run 2, not by this program\n";
    assert!(said.contains(note), "{said}");
    let document: Value = serde_json::from_str(&stage.run("check --contents -R @ROOT@ --json").ok()).unwrap();
    assert_eq!((&document["sound"], &document["changed_records"][0]["run"]), (&true.into(), &2.into()));
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "new\n"))).ok();
    assert!(!stage.run("check --contents -R @ROOT@").ok().contains("changed since"));
}

#[test]
fn a_pkginfo_that_was_cut_at_the_end_of_a_line_is_missed_and_made_anew() {
    for (name, missing) in [
        ("PATCHLIST=", "PATCHLIST is missing 100-01, which run "),
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
        assert_unchanged(&stage, name);
    }
}

#[test]
fn a_parameter_that_another_tool_set_is_a_change_that_verify_names_until_the_next_run() {
    let stage = stage();
    let text = stage.text(PKGINFO) + "SITE=a\n";
    fs::write(stage.at(PKGINFO), text).unwrap();
    let said = stage.run("check --contents -R @ROOT@").ok();
    let note = "@ROOT@/var/sadm/pkg/ACMEweb/pkginfo: changed since run 2, not by this program\n";
    assert!(said.contains(note), "{said}");
    stage.patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "new\n"))).ok();
    assert!(!stage.run("check --contents -R @ROOT@").ok().contains("changed since"));
}

#[test]
fn a_package_that_lost_its_copy_of_what_was_delivered_is_told_and_nothing_stops() {
    let stage = stage();
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb/save/pspool")).unwrap();
    let lost = "@ROOT@/var/sadm/pkg/ACMEweb/save/pspool/ACMEweb/pkgmap: it is missing, although it existed after run 2";
    for (line, code) in [
        ("list -R @ROOT@", 0),
        ("show -R @ROOT@ 100-01", 0),
        ("check --contents -R @ROOT@", 4),
        ("pkgchk -R @ROOT@", 1),
        ("pkgchk -f -R @ROOT@", 1),
    ] {
        let run = stage.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, code, "{line}: {said}");
        assert!(said.contains(lost), "{line}: {said}");
    }
    stage.mode("/opt/ACMEweb/etc/conf", 0o600);
    stage.run("pkgchk -f -R @ROOT@");
    assert_eq!(
        fs::metadata(stage.at("/opt/ACMEweb/etc/conf")).unwrap().mode() & 0o777,
        0o644,
        "objects are compared and mended"
    );
    assert!(stage.run("check --contents -v -R @ROOT@").stdout.contains("100-01: can be removed"));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
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
    assert!(said.contains("can probably be removed; `check --contents` verifies it"), "{said}");
    let document: Value = serde_json::from_str(&stage.run("list -R @ROOT@ --json").ok()).unwrap();
    let listed = &document["patches"][0];
    assert_eq!((&listed["removable"]["now"], &listed["checked"]), (&true.into(), &false.into()));
    let run = stage.run("check --contents -R @ROOT@ --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["patches"][0]["checked"]), (4, &true.into()));
}

#[test]
fn no_run_of_this_program_is_taken_for_a_change_by_another_one() {
    let stage = Scenario::with(&[web("one")]);
    let scripts = Package::new("ACMEweb").information("postinstall", "exit 0\n");
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    Patch::of("200-01", scripts).directory(&stage);
    web("one").write(&stage.beside("spool"));
    Package::new("ACMEtool").file("bin/tool", 0o755, "tool\n").write(&stage.beside("spool"));
    stage.file("/opt/more", "more\n");
    for line in [
        "pkgadd -n -R @ROOT@ -d spool ACMEweb",
        "pkgadd -n -R @ROOT@ -d spool ACMEweb",
        "pkgadd -n -R @ROOT@ -d spool ACMEtool",
        "patchadd -R @ROOT@ delivered/100-01",
        "patchadd -R @ROOT@ delivered/200-01",
        "patchrm -R @ROOT@ 200-01",
        "add --scripts run -R @ROOT@ delivered/200-01",
        "undo-data drop -R @ROOT@ 200-01",
        "installf -R @ROOT@ ACMEweb /opt/more f 0644 root root",
        "removef -R @ROOT@ ACMEweb /opt/more",
        "removef -f -R @ROOT@ ACMEweb",
        "pkgrm -n -R @ROOT@ ACMEtool",
        "patchrm -R @ROOT@ 100-01",
    ] {
        let run = stage.run(line);
        assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
        assert_unchanged(&stage, line);
    }
}

#[test]
fn what_another_program_changed_is_taken_over_with_a_note() {
    let stage = stage();
    for path in [PKGINFO, CONTENTS] {
        let text = stage.text(path);
        let more =
            if path == PKGINFO { "SITE=a\n" } else { "/opt/other f none 0644 root root 1 1 1 ACMEweb\n" };
        fs::write(stage.at(path), text + more).unwrap();
    }
    let patch = Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "new\n"));
    patch.directory(&stage);
    let said = stage.run("add -R @ROOT@ delivered/200-01").ok();
    for path in [PKGINFO, CONTENTS] {
        let note = format!("@ROOT@{path}: changed since run 2, not by this program; the change is kept");
        assert!(said.contains(&note), "{said}");
    }
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb SITE").ok(), "a\n");
}

#[test]
fn a_package_that_was_just_installed_is_bound_too() {
    let stage = Scenario::with(&[web("one")]);
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb/save/pspool")).unwrap();
    let said = stage.run("check --contents -R @ROOT@").stdout;
    assert!(said.contains("pspool/ACMEweb/pkgmap: it is missing, although it existed after run 1"), "{said}");
    let text = stage.text(PKGINFO) + "SITE=a\n";
    fs::write(stage.at(PKGINFO), text).unwrap();
    assert!(
        stage
            .run("check --contents -R @ROOT@")
            .stdout
            .contains("pkginfo: changed since run 1, not by this program")
    );
}

#[test]
fn an_object_that_removef_gave_up_is_not_missed_when_another_tool_takes_another_line() {
    let stage = Scenario::with(&[web("one")]);
    stage.run("removef -R @ROOT@ ACMEweb /opt/ACMEweb/etc/conf").ok();
    stage.run("removef -f -R @ROOT@ ACMEweb").ok();
    stage.file("/opt/ACMEweb/etc/conf", "mine\n");
    without_lines(&stage, CONTENTS, |line| line.starts_with("/opt/ACMEweb/bin/httpd "));
    fs::remove_file(stage.at("/opt/ACMEweb/bin/httpd")).unwrap();
    stage.run("list -R @ROOT@").ok();
    assert!(stage.run("check --contents -R @ROOT@").ok().contains("contents: changed since run "));
}

#[test]
fn a_stamp_that_is_not_the_one_of_the_last_run_is_named_and_nothing_is_concluded_from_it() {
    const STAMP: &str = "/var/sadm/patchadm/contents.stamp";
    let other_byte = |stage: &Scenario| {
        let mut bytes = fs::read(stage.at(STAMP)).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        fs::write(stage.at(STAMP), bytes).unwrap();
    };
    let gone = |stage: &Scenario| fs::remove_file(stage.at(STAMP)).unwrap();
    let older = |stage: &Scenario| {
        let before = fs::read(stage.at(STAMP)).unwrap();
        stage
            .patchadd("", &Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "new\n")))
            .ok();
        fs::write(stage.at(STAMP), before).unwrap();
    };
    for (damage, run) in [("other byte", 2), ("gone", 2), ("older", 3)] {
        let stage = stage();
        match damage {
            "other byte" => other_byte(&stage),
            "gone" => gone(&stage),
            _ => older(&stage),
        }
        let document: Value =
            serde_json::from_str(&stage.run("check --contents --json -R @ROOT@").ok()).unwrap();
        let changed = document["changed_records"].as_array().unwrap();
        assert_eq!((changed.len(), &changed[0]["run"]), (1, &run.into()), "{document}");
        assert!(changed[0]["path"].as_str().unwrap().ends_with("contents.stamp"), "{document}");
        stage.run("list -R @ROOT@").ok();
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        assert_unchanged(&stage, "a run leaves another one");
    }
}
