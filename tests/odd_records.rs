//! Unusual records are no reason to stop every command: each is carried along, and matters to its own package only.

use std::fs;

use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::Scenario;

const CONTENTS: &str = "/var/sadm/install/contents";

fn web() -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")
}

fn db() -> Package {
    Package::new("ACMEdb").file("bin/db", 0o755, "one\n")
}

/// Lines for fonts as some systems shipped them, with plain blanks in paths.
const FONTS: [&str; 2] = [
    "/zz/a link=two  words here s none ZZfonts",
    "/zz/two  words f none 0444 root sys 2 130 679609720 ZZfonts",
];

fn with_fonts() -> Scenario {
    let stage = Scenario::with(&[web(), db()]);
    fs::remove_dir_all(stage.at("/var/sadm/patchadm")).unwrap();
    stage.package("ZZfonts", "PKG=ZZfonts\nNAME=fonts\nARCH=all\nVERSION=1\nCLASSES=none\n");
    stage.file("/zz/two  words", "x\n");
    stage.symlink("/zz/a link", "two  words here");
    stage.mode("/zz/two  words", 0o444);
    let mut lines = stage.lines();
    lines.extend(FONTS.map(str::to_owned));
    fs::write(stage.at(CONTENTS), lines.join("\n") + "\n").unwrap();
    stage
}

#[test]
fn a_line_with_blanks_in_its_path_stops_nobody_and_stays_byte_for_byte() {
    let stage = with_fonts();
    let is_there = |stage: &Scenario| FONTS.iter().all(|line| stage.lines().iter().any(|one| one == line));
    assert!(stage.run("pkginfo -l -R @ROOT@ ACMEweb").ok().contains("ACMEweb"));
    stage.run("pkgchk -R @ROOT@ ACMEweb").ok();
    stage.run("pkgchk -f -R @ROOT@ ACMEweb").ok();
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
    stage.patchadd("", &patch).ok();
    assert!(is_there(&stage), "a merge keeps it");
    let second = Patch::of("200-01", Package::new("ACMEdb").file("bin/db", 0o755, "two\n"));
    stage.patchadd("", &second).ok();
    assert!(is_there(&stage), "so does one by the stamp of the last run");
    stage.run("remove -R @ROOT@ 200-01 100-01").ok();
    fs::write(stage.at(CONTENTS), format!("rubbish\n{}", stage.text(CONTENTS))).unwrap();
    let run = stage.run("pkgchk -f -R @ROOT@");
    // The delivered state of the fonts is unknown.
    assert_eq!((run.code, run.stderr.as_str()), (1, ""), "{}", run.stdout);
    assert!(is_there(&stage) && !stage.text(CONTENTS).starts_with("rubbish"), "and a repair");
}

#[test]
fn such_a_line_is_about_the_object_with_that_name() {
    let stage = with_fonts();
    let said = stage.command("show -R @ROOT@").arg("/zz/two  words").output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("ZZfonts"), "{said:?}");
    fs::remove_file(stage.at("/zz/two  words")).unwrap();
    let run = stage.run("pkgchk -n -R @ROOT@ ZZfonts");
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(run.code != 0 && said.contains("/zz/two  words") && !said.contains("a link"), "{said}");
    let run = stage.run("pkgrm -n -R @ROOT@ ZZfonts");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!stage.lines().iter().any(|line| line.contains("ZZfonts")));
    assert!(fs::symlink_metadata(stage.at("/zz/a link")).is_err(), "the other object went, too");
}

#[test]
fn a_package_without_version_stops_only_those_who_change_it() {
    let stage = Scenario::with(&[web(), db()]);
    let pkginfo = "/var/sadm/pkg/ACMEdb/pkginfo";
    let whole = stage.text(pkginfo);
    let lacking: String = whole.split_inclusive('\n').filter(|line| !line.starts_with("VERSION=")).collect();
    fs::write(stage.at(pkginfo), lacking).unwrap();
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
    stage.patchadd("", &patch).ok();
    assert!(stage.run("list -R @ROOT@").ok().contains("100-01"));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    stage.install(&Package::new("ACMEmore").file("more", 0o644, "more\n"));
    let run = stage.run("pkgrm -n -R @ROOT@ ACMEmore");
    assert_eq!(run.code, 0, "{}", run.stderr);
    stage.run("pkgchk -R @ROOT@ ACMEweb").ok();

    let of_db = Patch::of("300-01", Package::new("ACMEdb").file("bin/db", 0o755, "two\n"));
    let both = Patch::of("400-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))
        .package(Package::new("ACMEdb").file("bin/db", 0o755, "two\n"));
    let damage = "@ROOT@/var/sadm/pkg/ACMEdb/pkginfo: it has no VERSION: lines are missing";
    let refused = |line: String, code: i32| {
        let run = stage.run(&line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, code, "{line}: {said}");
        assert!(said.contains(damage), "{line}: {said}");
    };
    for patch in [&of_db, &both] {
        refused(format!("patchadd -R @ROOT@ {}", patch.directory(&stage).display()), 28);
        refused(format!("plan -R @ROOT@ {}", patch.directory(&stage).display()), 1);
    }
    refused("pkgrm -n -R @ROOT@ ACMEdb".to_owned(), 99);
    refused("removef -R @ROOT@ ACMEdb /opt/ACMEdb/bin/db".to_owned(), 99);
    refused("check --contents -R @ROOT@".to_owned(), 4);
    refused("pkgchk -R @ROOT@".to_owned(), 99);
    stage.run("pkgchk -f -R @ROOT@ ACMEdb");
    assert!(stage.text(pkginfo).contains("\nVERSION="), "{}", stage.text(pkginfo));
    stage.patchadd("", &of_db).ok();
}

#[test]
fn an_archive_keeps_its_name_where_another_file_has_the_one_of_obsolete_archives() {
    let stage = Scenario::with(&[web()]);
    let revision = |id: &str, text: &str| {
        Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, format!("{text}\n")))
    };
    stage.patchadd("", &revision("100-01", "two")).ok();
    let save = "/var/sadm/pkg/ACMEweb/save/100-01";
    stage.file(&format!("{save}/obsolete.gz"), "left over\n");
    let before = stage.everything();
    stage.patchadd("", &revision("100-02", "three")).ok();
    assert!(stage.at(&format!("{save}/undo.gz")).exists());
    assert_eq!(stage.text(&format!("{save}/obsolete.gz")), "left over\n");
    let shown = stage.run("show -R @ROOT@ 100-01").ok();
    assert!(shown.contains("superseded"), "{shown}");
    stage.run("patchrm -R @ROOT@ 100-02").ok();
    let after = stage.everything();
    assert!(!before.difference(&after).contains(save), "{}", before.difference(&after));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn the_first_package_of_a_root_may_have_no_object_that_is_installed() {
    let stage = Scenario::new();
    fs::remove_dir_all(stage.at("/var")).unwrap_or_default();
    stage.install(
        &Package::new("ACMEcls").of_class("none", 'f', "f", 0o644, "text\n").param("CLASSES", "preserve"),
    );
    assert!(stage.at(CONTENTS).exists());
    stage.run("status -R @ROOT@").ok();
    stage.run("pkgchk -R @ROOT@").ok();
    stage.run("check --contents -R @ROOT@").ok();
    let run = stage.run("pkgrm -n -R @ROOT@ ACMEcls");
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_root_that_an_earlier_release_left_without_contents_can_be_worked_on() {
    let stage = Scenario::new();
    fs::remove_dir_all(stage.at("/var")).unwrap_or_default();
    stage.install(
        &Package::new("ACMEcls").of_class("none", 'f', "f", 0o644, "text\n").param("CLASSES", "preserve"),
    );
    fs::remove_file(stage.at(CONTENTS)).unwrap();
    fs::remove_file(stage.at("/var/sadm/patchadm/contents.stamp")).unwrap_or_default();
    stage.run("status -R @ROOT@").ok();
    stage.install(&web());
    stage.run("pkgchk -R @ROOT@").ok();
}

#[test]
fn without_proc_a_change_is_refused_by_that_name() {
    let stage = Scenario::with(&[web()]);
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    db().write(&stage.beside("spool"));
    let Some(root) = Mounted::new("a machine without /proc", stage, "mount -t tmpfs tmpfs /proc") else {
        return;
    };
    for line in [
        "patchadd -R @ROOT@ delivered/100-01",
        "plan -R @ROOT@ delivered/100-01",
        "pkgadd -n -R @ROOT@ -d spool ACMEdb",
        "pkgrm -n -R @ROOT@ ACMEweb",
    ] {
        let run = root.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(run.code != 0 && said.contains("/proc is not mounted"), "{line}: {}: {said}", run.code);
    }
    assert!(root.run("pkginfo -R @ROOT@").ok().contains("ACMEweb"), "what needs none works");
}
