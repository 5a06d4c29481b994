use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::packages::{DELIVERED, Package};
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

/// A root that belongs to an ordinary user, and a spool beside it with a file that should belong to another one.
fn stage_of_ordinary_user() -> Scenario {
    let stage = Scenario::new();
    let (uid, gid) = ordinary_ids(&stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\nadm:x:4:4::/:/bin/false\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\nadm:x:4:\n"));
    let package = Package::new("ACMEa").content('f', "log", 0o640, "adm adm", DELIVERED, "x\n");
    package.write(&stage.beside("spool"));
    stage
}

#[test]
fn an_owner_who_is_not_root_installs_into_a_tree_of_their_own() {
    let stage = stage_of_ordinary_user();
    let run = |line: &str| {
        let output = as_ordinary_user(&stage, line, &[&stage.root()]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run("pkgadd -n -R @ROOT@ -d spool ACMEa");
    let note = "NOTE: owners and groups that are recorded but not set: adm\n\nInstallation of <ACMEa> was successful.\n";
    assert_eq!((code, text.as_str()), (Some(0), note));
    let log = fs::metadata(stage.at("/opt/ACMEa/log")).unwrap();
    assert_eq!((log.uid(), log.gid()), ordinary_ids(&stage));
    assert_eq!(log.mtime(), DELIVERED);
    assert_eq!(stage.lines()[2], "/opt/ACMEa/log f none 0640 adm adm 2 130 1577836800 ACMEa");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(run("pkgrm -n -R @ROOT@ ACMEa").0, Some(0));
    assert_eq!(stage.tree().paths(), "etc etc/group etc/passwd");
}

#[test]
#[allow(clippy::print_stdout)] // a test that is skipped says so
fn nobody_installs_into_the_tree_of_somebody_else() {
    if !is_root() {
        crate::skipped("nobody installs into the tree of somebody else: only root can be two users");
        return;
    }
    let stage = stage_of_ordinary_user();
    let before = stage.everything();
    let line = "pkgadd -n -R @ROOT@ -d spool ACMEa";
    let output = as_ordinary_user(&stage, line, &[]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("belongs to another user"), "{text}");
    assert_same(&stage.everything(), &before);
}
