//! Input that cannot be trusted: it is named, and stops nothing.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use serde_json::Value;

use super::{OLD, Pair, package};
use crate::compiled::Compiler;
use crate::delivery::Patch;
use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::scenario::Scenario;

const KEPT: &str = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";

/// The paths that the plan of a patch did not understand.
fn not_understood(document: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(document).unwrap();
    let all = document["patches"][0]["shlibs"]["not_understood"].as_array().unwrap().clone();
    assert!(all.iter().all(|one| !one["reason"].as_str().unwrap().is_empty()));
    all.iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect()
}

fn plan(stage: &Scenario, patch: &Patch) -> String {
    stage.run(&format!("plan --json --libs keep -R @ROOT@ {}", patch.directory(stage).display())).ok()
}

#[test]
fn files_that_are_not_understood_are_named_and_stop_nothing() {
    let Some(pair) = Pair::new("files that are not understood") else { return };
    let stage = &pair.stage;
    let whole = fs::read(stage.at(OLD)).unwrap();
    stage.file("/opt/cut", &whole[..100]);
    let mut outside = whole.clone();
    // The program headers are beyond the end of the file.
    outside[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    stage.file("/opt/outside", &outside);
    stage.file("/opt/short", b"\x7fELF");
    stage.file("/opt/text", "a text\n");
    stage.pipe("/opt/pipe");
    let document = plan(stage, &pair.patch);
    assert_eq!(not_understood(&document), ["/opt/cut", "/opt/outside", "/opt/short"]);
    assert_eq!(super::told(&document).unwrap(), [KEPT]);
    assert_eq!(stage.apply_tells("--libs keep", &pair.patch), [KEPT]);
}

#[test]
fn what_an_ordinary_user_may_not_read_is_named_and_stops_nothing() {
    let Some(pair) = Pair::new("what may not be read") else { return };
    let stage = &pair.stage;
    let (uid, gid) = ordinary_ids(stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\n"));
    stage.file("/opt/secret", fs::read(stage.at(OLD)).unwrap());
    stage.mode("/opt/secret", 0o000);
    stage.directory("/opt/closed");
    fs::set_permissions(stage.at("/opt/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let line = format!("plan --json --libs keep -R @ROOT@ {}", pair.patch.directory(stage).display());
    let output = as_ordinary_user(stage, &line, &[&stage.root()]).output().unwrap();
    let document = String::from_utf8(output.stdout).unwrap();
    assert_eq!(not_understood(&document), ["/opt/secret"]);
    let parsed: Value = serde_json::from_str(&document).unwrap();
    let skipped = &parsed["patches"][0]["shlibs"]["skipped"];
    assert!(skipped.as_array().unwrap().iter().any(|path| path == "/opt/closed"), "{skipped}");
    assert_eq!(super::told(&document).unwrap(), [KEPT]);
    fs::set_permissions(stage.at("/opt/closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_of_ten_gigabytes_costs_nothing() {
    let Some(pair) = Pair::new("a file of ten gigabytes") else { return };
    let stage = &pair.stage;
    let program = fs::read(stage.at(super::USER)).unwrap();
    stage.file("/opt/huge", &program);
    let file = fs::File::options().write(true).open(stage.at("/opt/huge")).unwrap();
    file.set_len(10 << 30).unwrap();
    stage.file("/opt/strings", &program);
    let file = fs::File::options().read(true).write(true).open(stage.at("/opt/strings")).unwrap();
    file.set_len(10 << 30).unwrap();
    lengthen_strings(&program, &file);
    let run = stage.limited(
        "ulimit -v 2000000",
        &format!("plan --json --libs keep -R @ROOT@ {}", pair.patch.directory(stage).display()),
    );
    let document = run.ok();
    let told = super::told(&document).unwrap();
    assert!(told[0].contains("needed /opt/huge") && told[0].contains("needed /usr/bin/p"), "{told:?}");
    let known =
        not_understood(&document).contains(&"/opt/strings".to_owned()) || told[0].contains("/opt/strings");
    assert!(known, "{document}");
}

/// Makes the string table of a program four gigabytes long.
fn lengthen_strings(program: &[u8], file: &fs::File) {
    let word = |at: usize| u64::from_le_bytes(program[at..at + 8].try_into().unwrap());
    let half = |at: usize| usize::from(u16::from_le_bytes(program[at..at + 2].try_into().unwrap()));
    let headers = usize::try_from(word(32)).unwrap();
    let dynamic =
        (0..half(56)).map(|index| headers + 56 * index).find(|at| program[*at..*at + 4] == [2, 0, 0, 0]);
    let start = usize::try_from(word(dynamic.unwrap() + 8)).unwrap();
    let tag = (start..).step_by(16).find(|at| word(*at) == 10).unwrap();
    file.write_all_at(&(4u64 << 30).to_le_bytes(), tag as u64 + 8).unwrap();
}

#[test]
fn a_library_that_is_a_link_out_of_the_root_is_looked_for_inside() {
    let Some(compiler) = Compiler::found("a link out of the root") else { return };
    let old = compiler.library_with("libx.so.1", &[], &[]);
    let program = compiler.program_with(&["libx.so.1"], &[]);
    let library = package("ACMEx", &[]).symlink(OLD, "../../../libx.so.1");
    let stage = &Scenario::with(&[library, package("ACMEp", &[(super::USER, &program)])]);
    fs::write(stage.beside("libx.so.1"), &old).unwrap();
    let patch = Patch::of("100-01", package("ACMEx", &[("usr/lib/new", b"new")]).deletes(&[OLD]));
    // Inside the root, the link leads to nothing, so no program has found anything through it.
    assert_eq!(super::told(&plan(stage, &patch)).unwrap(), Vec::<String>::new());
    // Inside the root, the link leads to this file.
    stage.file("/libx.so.1", &old);
    let told = super::told(&plan(stage, &patch)).unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("for needed /usr/bin/p"), "{told:?}");
    assert_eq!(fs::read(stage.beside("libx.so.1")).unwrap(), old);
}

#[test]
fn links_in_circles_lead_to_nothing() {
    let Some(pair) = Pair::new("setup links in circles") else { return };
    let stage = &pair.stage;
    stage.directory("/lib");
    stage.symlink("/lib/libx.so.1", "libx.so.1.0");
    stage.symlink("/lib/libx.so.1.0", "../lib/libx.so.1");
    stage.symlink("/lib/deep", "deep/deep");
    stage.symlink("/usr/lib/all", "/");
    assert_eq!(stage.apply_tells("--libs keep", &pair.patch), [KEPT]);
}

#[test]
fn settings_that_include_themselves_are_read_once() {
    let Some(pair) = Pair::new("settings that include themselves") else { return };
    let stage = &pair.stage;
    let library = fs::read(stage.at(OLD)).unwrap();
    stage.install(&package("ACMEy", &[("opt/y/lib/libx.so.1", &library)]));
    stage.file("/etc/ld.so.conf", "include ld.so.conf\ninclude /etc/ld.so.conf.d/*.conf\n");
    stage.file("/etc/ld.so.conf.d/a.conf", "include ../ld.so.conf\ninclude *.conf\n/opt/y/lib\n");
    // The program finds the other library, before and after.
    assert_eq!(super::told(&plan(stage, &pair.patch)).unwrap(), Vec::<String>::new());
    let patch =
        Patch::of("300-01", package("ACMEy", &[("opt/y/new", b"new")]).deletes(&["opt/y/lib/libx.so.1"]));
    assert_eq!(super::told(&plan(stage, &patch)).unwrap(), Vec::<String>::new());
    let both = Patch::new("400-01")
        .package(package("ACMEy", &[("opt/y/new", b"new")]).deletes(&["opt/y/lib/libx.so.1"]))
        .package(package("ACMEx", &[("usr/lib/new", b"new")]).deletes(&[OLD]));
    let kept = "ACMEy-SO keeps libx.so.1 (/opt/y/lib/libx.so.1) for needed /usr/bin/p";
    assert_eq!(super::told(&plan(stage, &both)).unwrap(), [kept]);
}

#[test]
fn a_package_with_the_name_of_one_that_keeps_libraries_is_left_alone() {
    let Some(pair) = Pair::new("a package with that name") else { return };
    let stage = &pair.stage;
    stage.install(&package("ACMEx-SO", &[("opt/so", b"something else\n")]));
    let told = stage.apply_tells("--libs keep", &pair.patch);
    assert_eq!(told.len(), 1);
    let keeper = told[0].split(' ').next().unwrap();
    assert!(keeper.starts_with("ACMEx-") && keeper.ends_with("-SO") && keeper.len() == 17, "{keeper}");
    assert_eq!(stage.packages().split(' ').count(), 4);
    stage.remove_tells("", "100-01");
    assert_eq!(stage.packages(), "ACMEp ACMEx ACMEx-SO");
}
