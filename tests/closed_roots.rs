//! Roots that cannot be changed: read-only, of another user, or locked. All commands, classic and modern, distinguish
//! these in the same way.

use std::process::Command;

use patchadm_rootfs::{Lock, Root};
use serde_json::Value;

use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

/// A root with a patched package, and a patch for the commands.
fn stage() -> Scenario {
    let package = |text| Package::new("ACMEweb").file("bin/httpd", 0o755, text);
    let stage = Scenario::with(&[package("one\n")]);
    stage.patchadd("", &Patch::of("100-01", package("two\n"))).ok();
    Patch::of("100-02", package("three\n")).directory(&stage);
    stage
}

/// Every command that changes a root, and its exit codes for a root that is read-only, a root of another user, and a
/// locked root.
const COMMANDS: [(&str, [i32; 3]); 11] = [
    ("patchadd -R @ROOT@ delivered/100-02", [7, 3, 64]),
    ("patchrm -R @ROOT@ 100-01", [7, 3, 19]),
    ("add -R @ROOT@ delivered/100-02", [1, 3, 6]),
    ("remove -R @ROOT@ 100-01", [1, 3, 6]),
    ("recover -R @ROOT@", [1, 3, 6]),
    ("recover -R @ROOT@ --adopt-undo", [1, 3, 6]),
    ("pkgadd -n -R @ROOT@ -d spool ACMEweb", [1, 1, 64]),
    ("pkgrm -n -R @ROOT@ ACMEweb", [1, 1, 64]),
    ("installf -R @ROOT@ ACMEweb /opt/ACMEweb/log d 0755 root root", [1, 1, 64]),
    ("removef -R @ROOT@ ACMEweb /opt/ACMEweb/bin/httpd", [1, 1, 64]),
    ("pkgchk -f -R @ROOT@", [1, 1, 64]),
];

/// Commands that only plan, and their exit codes for a root that is read-only and a root of another user.
const PLANS: [(&str, [i32; 2]); 6] = [
    ("plan -R @ROOT@ delivered/100-02", [1, 3]),
    ("add --dry-run -R @ROOT@ delivered/100-02", [1, 3]),
    ("patchadd -a -R @ROOT@ delivered/100-02", [7, 3]),
    ("remove --dry-run -R @ROOT@ 100-01", [1, 3]),
    ("remove --dry-run -R @ROOT@ 100-01", [1, 3]),
    ("patchrm -a -R @ROOT@ 100-01", [7, 3]),
];

/// Runs a command with text output and with `--json`. Returns its exit code, its messages and its cause.
#[track_caller]
fn given(line: &str, command: impl Fn(&str) -> Command) -> (i32, String, String) {
    let (text, document) =
        (command(line).output().unwrap(), command(&format!("{line} --json")).output().unwrap());
    let document: Value =
        serde_json::from_slice(&document.stdout).unwrap_or_else(|error| panic!("{line}: {error}"));
    let code = text.status.code().unwrap();
    assert_eq!(document["exit_code"], code, "{line}: {document}");
    (code, String::from_utf8(text.stderr).unwrap(), document["cause"].as_str().unwrap().to_owned())
}

#[test]
fn a_read_only_root_is_told_by_every_command() {
    let test = "a_read_only_root_is_told_by_every_command";
    let mount = "mount --bind \"$ROOT\" \"$ROOT\"; mount -o remount,bind,ro \"$ROOT\"";
    let Some(mounted) = Mounted::new(test, stage(), mount) else { return };
    let commands = COMMANDS.iter().map(|(line, [code, ..])| (*line, *code));
    for (line, expected) in commands.chain(PLANS.iter().map(|(line, [code, _])| (*line, *code))) {
        let (code, said, name) = given(line, |line| mounted.command(line));
        assert_eq!(code, expected, "{line}: {said}");
        assert_eq!(name, "read-only", "{line}: {said}");
        assert!(said.contains("is read-only"), "{line}: {said}");
    }
}

#[test]
fn a_root_of_somebody_else_is_told_by_every_command() {
    if !is_root() {
        crate::skipped("a_root_of_somebody_else_is_told_by_every_command: only root can be two users");
        return;
    }
    let stage = stage();
    let before = stage.everything();
    let commands = COMMANDS.iter().map(|(line, [_, code, _])| (*line, *code));
    for (line, expected) in commands.chain(PLANS.iter().map(|(line, [_, code])| (*line, *code))) {
        let (code, said, name) = given(line, |line| as_ordinary_user(&stage, line, &[]));
        assert_eq!(code, expected, "{line}: {said}");
        assert_eq!(name, "no-rights", "{line}: {said}");
        assert!(said.contains("belongs to another user, and you are not root"), "{line}: {said}");
    }
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_locked_root_is_told_by_every_command_and_a_plan_needs_no_lock() {
    let stage = stage();
    let lock = Lock::take(&Root::open(&stage.root()).unwrap(), "pkgadd", |_| false).unwrap();
    for (line, [_, _, expected]) in COMMANDS {
        let (code, said, name) = given(line, |line| stage.command(line));
        assert_eq!(code, expected, "{line}: {said}");
        assert_eq!(name, "locked", "{line}: {said}");
        assert!(said.contains(".lockfile is locked by process"), "{line}: {said}");
    }
    for (line, _) in PLANS {
        assert_eq!(stage.run(line).code, 0, "{line}");
    }
    drop(lock);
}

#[test]
fn records_that_belong_to_another_user_are_no_rights_of_the_owner_of_the_root() {
    if !is_root() {
        crate::skipped(
            "records_that_belong_to_another_user_are_no_rights_of_the_owner_of_the_root: not root",
        );
        return;
    }
    let stage = stage();
    as_ordinary_user(&stage, "list", &[]);
    std::os::unix::fs::chown(stage.root(), Some(crate::everyman::NOBODY), None).unwrap();
    for line in ["add -R @ROOT@ delivered/100-02", "plan -R @ROOT@ delivered/100-02"] {
        let (code, said, _) = given(line, |line| as_ordinary_user(&stage, line, &[]));
        assert_eq!(code, 3, "{line}: {said}");
        assert!(said.contains("var/sadm/install belongs to another user"), "{line}: {said}");
    }
}
