//! A tree that belongs to an ordinary user is patched and backed out by them; one that belongs to another user is not.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::delivery::Patch;
use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::packages::{DELIVERED, Package};
use crate::records::Before;
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::assert_same;

/// A tree of an ordinary user, a package for it, and a patch with an object that should belong to `adm`.
fn stage() -> Scenario {
    let stage = Scenario::new();
    let (uid, gid) = ordinary_ids(&stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\nadm:x:4:4::/:/bin/false\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\nadm:x:4:\n"));
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("bin/old", 0o755, "old\n");
    package.write(&stage.beside("spool"));
    let patch = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "two\n")
        .content('f', "log", 0o640, "adm adm", DELIVERED, "log\n")
        .deletes(&["bin/old"]);
    Patch::of("100-01", patch).directory(&stage);
    stage
}

fn run(stage: &Scenario, line: &str) -> Run {
    let output = as_ordinary_user(stage, line, &[&stage.root()]).output().unwrap();
    let text =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(stage.root().to_str().unwrap(), "@ROOT@");
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn the_owner_of_a_tree_patches_it_and_backs_out_and_is_told_whose_owners_are_recorded_only() {
    let stage = stage();
    assert_eq!(run(&stage, "pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    let before = Before::of(&stage);
    let said = run(&stage, "patchadd -R @ROOT@ delivered/100-01").ok();
    assert!(said.contains("NOTE: owners and groups that are recorded but not set: adm\n"), "{said}");
    let log = fs::metadata(stage.at("/opt/ACMEweb/log")).unwrap();
    assert_eq!((log.uid(), log.gid()), ordinary_ids(&stage));
    assert_eq!((log.mode() & 0o7777, log.mtime()), (0o640, DELIVERED));
    assert!(stage.lines().iter().any(|line| line.starts_with("/opt/ACMEweb/log f none 0640 adm adm 4 ")));
    assert_eq!(run(&stage, "pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "root knows that owners were recorded only");
    assert_eq!(run(&stage, "pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "100-01\n");

    run(&stage, "patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "the ordinary user backed it out");
}

#[test]
#[allow(clippy::print_stdout)] // a test that is skipped says so
fn the_tree_of_somebody_else_is_left_alone() {
    if !is_root() {
        crate::skipped("the tree of somebody else: only root can be two users");
        return;
    }
    let stage = stage();
    stage.run("pkgadd -n -R @ROOT@ -d spool ACMEweb");
    let before = stage.everything();
    let refused = |line: &str, code: i32, ending: &str| {
        let output = as_ordinary_user(&stage, line, &[]).output().unwrap();
        let said =
            String::from_utf8(output.stderr).unwrap().replace(stage.root().to_str().unwrap(), "@ROOT@");
        assert_eq!(output.status.code(), Some(code), "{said}");
        let expected = "ERROR: @ROOT@ belongs to another user, and you are not root.\nNothing was changed.\nRun it as \
                        the owner of the root directory, or as root, with `--as-owner` if that is another user.\n";
        assert_eq!(said, format!("{expected}{ending}\n"));
        assert_same(&stage.everything(), &before);
    };
    refused("patchadd -R @ROOT@ delivered/100-01", 3, "Patchadd is terminating.");
    refused("patchrm -R @ROOT@ 100-01", 3, "Patchrm is terminating.");
    // Queries are allowed.
    let asked = |line: &str| as_ordinary_user(&stage, line, &[]).output().unwrap().status.code();
    assert_eq!(asked("patchadd -p -R @ROOT@"), Some(0));
}

#[test]
#[allow(clippy::print_stdout)] // a test that is skipped says so
fn what_only_root_can_make_or_replace_is_refused_before_any_change() {
    if !is_root() {
        crate::skipped("what only root can make: only root can give files away");
        return;
    }
    let stage = stage();
    assert_eq!(run(&stage, "pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    let device = Package::new("ACMEweb").line("null", "c none null 1 3 0666 root root");
    Patch::of("200-01", device).directory(&stage);
    let set_id = Package::new("ACMEweb").content('f', "su", 0o4755, "adm adm", DELIVERED, "x\n");
    Patch::of("300-01", set_id).directory(&stage);
    for patch in ["200-01", "300-01"] {
        let before = stage.everything();
        let said = run(&stage, &format!("patchadd -R @ROOT@ delivered/{patch}")).fails(10);
        assert!(said.contains("only root can make"), "{said}");
        assert_same(&stage.everything(), &before);
    }
}
