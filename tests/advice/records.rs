//! Damaged records: the hint names a command that rebuilds them.

use std::fs;

use super::{Row, command_of, type_it};
use crate::adopt_refresh::{adopted, delivered};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

pub(super) const ROWS: &[Row] = &[
    ("RecordRepair::Package", package),
    ("RecordRepair::Installation", installation),
    ("RecordRepair::Owner", owner),
    ("RegistrationRepair::Refresh", refresh),
    ("RegistrationRepair::Adoption", adoption),
    ("RecordRepair::Contents", contents),
    ("RecordRepair::EmptyDirectory", empty_directory),
    ("RecordRepair::LostCopy", lost_copy),
];

const ADD: &str = "add -R @ROOT@ delivered/100-01";

/// A root with two packages, and a patch for one of them.
fn stage() -> Scenario {
    let web = || Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n");
    let stage = Scenario::with(&[web(), Package::new("ACMEdb").file("db", 0o644, "db\n")]);
    Patch::of("100-01", Package::new("ACMEdb").file("db", 0o644, "two\n")).directory(&stage);
    web().write(&stage.beside("spool"));
    stage
}

/// Asserts that the change is refused because of the damaged record.
fn refused(stage: &Scenario) -> String {
    stage.run(ADD).fails(1)
}

fn package() {
    let damaged = || {
        let stage = stage();
        fs::write(stage.at("/var/sadm/pkg/ACMEweb/pkginfo"), "").unwrap();
        stage
    };
    let stage = damaged();
    let said = refused(&stage);
    // The exit code is 1 if something could not be determined; the output says so.
    let run = type_it(&stage, &said, &[]);
    assert!(run.code == 0 || run.stdout.contains("it is rebuilt"), "{said}{run:?}");
    assert_eq!(stage.run(ADD).code, 0);
    let stage = damaged();
    assert!(refused(&stage).contains("reinstall ACMEweb with patchadm pkgadd"));
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    assert_eq!(stage.run(ADD).code, 0);
}

fn installation() {
    let stage = stage();
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb")).unwrap();
    let said = refused(&stage);
    assert!(said.contains("reinstall ACMEweb with patchadm pkgadd"), "{said}");
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    assert_eq!(stage.run(ADD).code, 0);
}

fn owner() {
    let stage = stage();
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb")).unwrap();
    let said = refused(&stage);
    assert_eq!(type_it(&stage, &said, &[]).code, 0, "{said}");
    assert_eq!(stage.run(ADD).code, 0);
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

/// A package adopted from dpkg, and a patch for it.
fn registered() -> Scenario {
    let stage = adopted();
    Patch::of("100-01", delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n")).directory(&stage);
    stage
}

fn refresh() {
    let stage = registered();
    fs::write(stage.at("/var/sadm/pkg/DEBweb/pkginfo"), "").unwrap();
    let said = refused(&stage);
    assert!(!said.contains("pkgadd"), "{said}");
    let run = type_it(&stage, &said, &[]);
    let made =
        "note: package DEBweb: its record was damaged and is rebuilt (@ROOT@/var/sadm/pkg/DEBweb/pkginfo: ";
    assert!(run.code == 0 && run.stderr.contains(made), "{run:?}");
    assert_eq!(stage.run(ADD).code, 0);
}

fn adoption() {
    let stage = registered();
    assert_eq!(stage.run(ADD).code, 0);
    fs::remove_dir_all(stage.at("/var/sadm/pkg/DEBweb")).unwrap();
    let said = stage.run("remove -R @ROOT@ 100-01").stderr;
    let run = type_it(&stage, &said, &[("NAME", "web")]);
    assert_eq!(run.code, 0, "{said} {run:?}");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

fn contents() {
    let stage = stage();
    fs::remove_file(stage.at("/var/sadm/install/contents")).unwrap();
    let said = refused(&stage);
    let run = type_it(&stage, &said, &[]);
    assert!(run.code == 0 || run.stdout.contains("it is rebuilt"), "{said}{run:?}");
    assert_eq!(stage.run(ADD).code, 0);
}

fn empty_directory() {
    let stage = stage();
    stage.directory("/var/sadm/pkg/ACMEgone");
    let said = refused(&stage);
    let command = command_of(&said, &[]);
    let path = command.strip_prefix("rmdir @ROOT@").unwrap_or_else(|| panic!("{said}"));
    fs::remove_dir(stage.at(path)).unwrap();
    assert_eq!(stage.run(ADD).code, 0);
}

fn lost_copy() {
    let stage = stage();
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb/save/pspool")).unwrap();
    let said = stage.run("check --contents -R @ROOT@");
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.stdout.contains("reinstall ACMEweb with patchadm pkgadd"), "{said:?}");
    assert_eq!(stage.run(ADD).code, 0, "it stops no change");
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    stage.run("check --contents -R @ROOT@").ok();
}
