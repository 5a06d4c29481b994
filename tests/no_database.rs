//! Roots without a package database: a command that cannot look does not claim that there is nothing.

use std::path::Path;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

/// Every query and every change, with its exit code for a root without records.
const COMMANDS: &[(&str, i32)] = &[
    ("list -R @ROOT@", 1),
    ("show -R @ROOT@ 100-01", 1),
    ("recover -R @ROOT@", 1),
    ("recover -R @ROOT@ --adopt-undo", 1),
    ("plan -R @ROOT@ delivered/100-01", 1),
    ("remove -R @ROOT@ --dry-run 100-01", 1),
    ("add -R @ROOT@ delivered/100-01", 1),
    ("remove -R @ROOT@ 100-01", 1),
    ("patchadd -R @ROOT@ delivered/100-01", 7),
    ("patchadd -a -R @ROOT@ delivered/100-01", 7),
    ("patchadd -p -R @ROOT@", 7),
    ("patchrm -R @ROOT@ 100-01", 2),
    ("showrev -p -R @ROOT@", 1),
    ("showrev -a -R @ROOT@", 1),
    ("pkginfo -R @ROOT@", 1),
    ("pkginfo -x -R @ROOT@", 1),
    ("pkginfo -l -R @ROOT@", 1),
    ("pkginfo -R @ROOT@ ACMEweb", 1),
    ("pkgparam -R @ROOT@ ACMEweb", 1),
    ("pkgchk -R @ROOT@", 99),
    ("pkgchk -f -R @ROOT@", 99),
    ("pkgchk -l -R @ROOT@", 99),
    ("pkgrm -n -R @ROOT@ ACMEweb", 1),
    ("pkgrm -n -R @ROOT@ -Y application", 1),
    ("installf -R @ROOT@ ACMEweb /x d 0755 root root", 1),
    ("removef -R @ROOT@ ACMEweb /x", 1),
];

fn assert_told(stage: &Scenario, line: &str, code: i32) {
    let run = stage.run(line);
    assert_eq!(run.code, code, "{line}: {}{}", run.stdout, run.stderr);
    let told = "no package database below @ROOT@; specify the right root with -R";
    assert!(run.stderr.contains(told), "{line}: {}", run.stderr);
    let (command, rest) = line.split_once(' ').unwrap();
    let run = stage.run(&format!("{command} --json {rest}"));
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&document["exit_code"], &document["cause"]),
        (&code.into(), &"no-database".into()),
        "{line}: {document}"
    );
}

#[test]
fn a_root_without_records_is_an_error_of_every_command_that_needs_them() {
    let stage = Scenario::bare();
    Patch::of("100-01", Package::new("ACMEweb").file("a", 0o644, "a\n")).directory(&stage);
    for (line, code) in COMMANDS {
        assert_told(&stage, line, *code);
    }
    assert!(!stage.at("/var").exists(), "nothing was made");
    stage.directory("/var/sadm/install");
    for (line, code) in COMMANDS {
        assert_told(&stage, line, *code);
    }
}

#[test]
fn pkgadd_makes_the_database_of_a_new_root_and_then_every_query_has_an_answer() {
    let stage = Scenario::bare();
    Package::new("ACMEweb").file("lib/a", 0o644, "x\n").write(&stage.beside("spool"));
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    assert_eq!(stage.run("list -R @ROOT@").ok(), "No patches are applied.\n");
    assert_eq!(stage.run("showrev -p -R @ROOT@").ok(), "No patches are installed\n");
    assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn a_root_that_the_environment_names_is_a_named_one() {
    let mut stage = Scenario::bare();
    let root = stage.root();
    stage.set("PKG_INSTALL_ROOT", root);
    for line in ["pkginfo", "pkginfo -l", "list", "showrev -p"] {
        let run = stage.run(line);
        assert!(run.stderr.contains("no package database below @ROOT@"), "{line}: {}", run.stderr);
    }
}

#[test]
fn a_new_system_that_nobody_named_has_no_packages_and_that_is_no_error() {
    if Path::new("/var/sadm").exists() {
        crate::skipped("a_new_system_that_nobody_named: there is a /var/sadm here");
        return;
    }
    let stage = Scenario::bare();
    for line in ["pkginfo", "pkginfo -x", "pkginfo -l"] {
        assert_eq!(stage.run(line).ok(), "", "{line}");
    }
    for (line, code) in [("pkginfo -R /", 1), ("pkginfo ACMEweb", 1), ("list", 1), ("showrev -p", 1)] {
        let run = stage.run(line);
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{line}: {}", run.stderr);
        assert!(run.stderr.contains("no package database below /; specify the right root"), "{}", run.stderr);
    }
}

#[test]
fn what_a_delivered_patch_says_of_itself_needs_no_root() {
    let stage = Scenario::bare();
    Patch::of("100-01", Package::new("ACMEweb").file("a", 0o644, "a\n")).directory(&stage);
    assert!(stage.run("show -R @ROOT@ delivered/100-01").ok().contains("State: delivered"));
}
