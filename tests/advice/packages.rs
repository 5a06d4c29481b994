//! Refusals of packages, in the words of pkgadd(1M) and pkgrm(1M).

use std::fs;

use super::{Row, type_it};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

pub(super) const ROWS: &[Row] = &[
    ("Reason::Interaction", interaction),
    ("Reason::Administration", administration),
    ("Reason::InUse", in_use),
    ("Reason::BasedirAnswered", basedir_answered),
    ("Reason::PatchesApplied", patches_applied),
    ("Reason::Adopted", adopted),
    ("Reason::NativeChanged", changed_by_dpkg),
    ("Reason::Unregistered", installed_by_dpkg),
    ("Reason::NotUndone", replaced),
];

fn add(options: &str, name: &str) -> String {
    format!("pkgadd -n {options} -R @ROOT@ -d spool {name}")
}

fn spool(stage: &Scenario, package: &Package) {
    package.write(&stage.beside("spool"));
}

/// Writes an admin file with the lines that the hint asks for.
fn admin_file(stage: &Scenario, said: &str) {
    let (_, words) =
        said.split_once("use an admin file (`-a FILE`) with ").unwrap_or_else(|| panic!("{said}"));
    let words = words.lines().next().unwrap().split(", or").next().unwrap().replace(" and ", ", ");
    stage.file("/admin", words.split(", ").map(|word| format!("{word}\n")).collect::<String>());
}

/// Asserts that the refusal goes away with the admin file that it asks for.
#[track_caller]
fn answered(stage: &Scenario, code: i32, options: &str, name: &str) {
    let said = stage.run(&add(options, name)).fails(code);
    admin_file(stage, &said);
    let run = stage.run(&add("-a @ROOT@/admin", name));
    assert_eq!(run.code, 0, "{said}{}", run.stderr);
}

/// Questions that the default answers leave open.
fn interaction() {
    let stage = Scenario::new();
    spool(&stage, &Package::new("ACMEa").file("a", 0o644, "a\n").information("preinstall", "exit 0\n"));
    answered(&stage, 5, "", "ACMEa");
    spool(&stage, &Package::new("ACMEb").file("b", 0o644, "b\n").information("depend", "P ACMEnone none\n"));
    answered(&stage, 5, "", "ACMEb");
    spool(&stage, &Package::new("ACMEc").file("c", 0o4755, "c\n"));
    answered(&stage, 5, "", "ACMEc");
    stage.file("/ask", "instance=ask\n");
    spool(&stage, &Package::new("ACMEd").file("d", 0o644, "d\n"));
    answered(&stage, 5, "-a @ROOT@/ask", "ACMEd");
    answered(&stage, 5, "-a @ROOT@/ask", "ACMEd");
    fs::write(stage.at("/var/sadm/pkg/ACMEd/!I-Lock!"), "").unwrap();
    answered(&stage, 5, "", "ACMEd");
    let _ = fs::remove_file(stage.at("/var/sadm/pkg/ACMEd/!I-Lock!"));
    spool(&stage, &Package::new("ACMEe").information("depend", "P ACMEd needed\n").file("e", 0o644, "e\n"));
    stage.run(&add("", "ACMEe")).fails(0);
    let said = stage.run("pkgrm -n -R @ROOT@ ACMEd").fails(5);
    admin_file(&stage, &said);
    assert_eq!(stage.run("pkgrm -n -a @ROOT@/admin -R @ROOT@ ACMEd").code, 0, "{said}");
}

/// The admin file says no; the hint names the line that says yes.
fn administration() {
    let stage = Scenario::new();
    stage.file("/quit", "instance=quit\naction=quit\nsetuid=quit\nidepend=quit\nbasedir=default\n");
    let quits = [
        Package::new("ACMEa").file("a", 0o644, "a\n").information("preinstall", "exit 0\n"),
        Package::new("ACMEb").file("b", 0o4755, "b\n"),
        Package::new("ACMEc").file("c", 0o644, "c\n").information("depend", "P ACMEnone none\n"),
    ];
    for (package, name) in quits.iter().zip(["ACMEa", "ACMEb", "ACMEc"]) {
        spool(&stage, package);
        answered(&stage, 4, "-a @ROOT@/quit", name);
    }
    spool(&stage, &Package::new("ACMEd").file("d", 0o644, "d\n"));
    stage.run(&add("", "ACMEd")).fails(0);
    answered(&stage, 4, "-a @ROOT@/quit", "ACMEd");
    spool(&stage, &Package::new("ACMEd").param("VERSION", "2.0").file("d", 0o644, "new\n"));
    answered(&stage, 4, "", "ACMEd");
    stage.file("/there", "basedir=/elsewhere\n");
    answered(&stage, 4, "-a @ROOT@/there", "ACMEd");
}

fn in_use() {
    let shared =
        |name: &str, text: &str| Package::new(name).param("BASEDIR", "/opt").file("shared", 0o644, text);
    let stage = Scenario::with(&[shared("ACMEone", "one\n")]);
    spool(&stage, &shared("ACMEtwo", "two\n"));
    answered(&stage, 5, "", "ACMEtwo");
    spool(&stage, &shared("ACMEthree", "three\n"));
    stage.file("/quit", "conflict=quit\nbasedir=default\n");
    answered(&stage, 4, "-a @ROOT@/quit", "ACMEthree");
}

fn basedir_answered() {
    let stage = Scenario::with(&[Package::new("ACMEa").file("a", 0o644, "a\n")]);
    spool(&stage, &Package::new("ACMEa").file("a", 0o644, "b\n"));
    stage.file("/response", "BASEDIR=/elsewhere\n");
    let said = stage.run(&add("-r @ROOT@/response", "ACMEa")).fails(99);
    let (_, answer) = said.split_once("answer ").unwrap_or_else(|| panic!("{said}"));
    stage.file("/response", format!("{}\n", answer.split(',').next().unwrap()));
    assert_eq!(stage.run(&add("-r @ROOT@/response", "ACMEa")).code, 0, "{said}");
    stage.file("/response", "");
    assert_eq!(stage.run(&add("-r @ROOT@/response", "ACMEa")).code, 0, "or nothing");
}

fn patches_applied() {
    let base = || Package::new("ACMEa").file("a", 0o644, "a\n");
    let stage = Scenario::with(&[base()]);
    for id in ["100-01", "100-02", "200-01"] {
        stage.patchadd("", &Patch::of(id, Package::new("ACMEa").file("a", 0o644, id))).ok();
    }
    let said = stage.run(&add("", "ACMEa")).fails(4);
    assert!(said.contains("`patchrm -R @ROOT@ 200-01 100-02 100-01`"), "{said}");
    assert_eq!(type_it(&stage, &said, &[]).code, 0, "{said}");
    assert_eq!(stage.run(&add("", "ACMEa")).code, 0);
}

fn replaced() {
    let version = |version: &str| Package::new("ACMEa").param("VERSION", version).file("a", 0o644, version);
    let stage = Scenario::with(&[version("1.0")]);
    spool(&stage, &version("2.0"));
    assert_eq!(stage.run(&add("--update", "ACMEa")).code, 0);
    let said = stage.run("undo -R @ROOT@").fails(3);
    spool(&stage, &version("1.0"));
    let run = type_it(&stage, &said, &[("DEVICE", "spool"), ("PKG", "ACMEa -n")]);
    assert_eq!(run.code, 0, "{said}{}", run.stderr);
    assert_eq!(stage.text("/opt/ACMEa/a"), "1.0");
}

fn changed_by_dpkg() {
    let stage = crate::adopt_refresh::upgraded();
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.ends_with("hint: patchadm -R @ROOT@ adopt --refresh\n"), "{said}");
    assert_eq!(type_it(&stage, &said, &[]).code, 0, "{said}");
    stage.run("remove -R @ROOT@ 100-01").fails(4);
}

fn installed_by_dpkg() {
    let stage = crate::adopt_in_run::installed();
    let patch = crate::adopt_in_run::fix(&stage, "1.0-1");
    let said = stage.run(&format!("add -R @ROOT@ {patch}")).fails(3);
    assert_eq!(type_it(&stage, &said, &[("PATCH", &patch)]).code, 0, "{said}");
}

fn adopted() {
    let stage = crate::adopt::of_dpkg();
    stage.run("adopt --dpkg web -R @ROOT@").ok();
    let said = stage.run("pkgrm -n -R @ROOT@ DEBweb").fails(1);
    assert!(said.contains("`patchadm -R @ROOT@ adopt --forget --pkg DEBweb`"), "{said}");
    assert_eq!(type_it(&stage, &said, &[]).code, 0, "{said}");
    assert_eq!(stage.text("/usr/bin/web"), "web\n");
}
