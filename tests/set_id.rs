//! Set-id bits are given to known bytes only, and removed from files that a run has replaced.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

/// A registered set-id program that lost its bits, with these bytes.
fn tool(bytes: &str) -> Scenario {
    let stage = Scenario::new();
    stage.package("SUNWstuf", "NAME=Stuff\n");
    stage.file("/opt/stuf/tool", bytes);
    stage.mode("/opt/stuf/tool", 0o755);
    stage.mtime("/opt/stuf/tool", 981_173_106);
    stage.contents(&["/opt/stuf/tool f none 4755 root bin 6 542 981173106 SUNWstuf"]);
    stage
}

fn mode(stage: &Scenario, path: &str) -> u32 {
    fs::metadata(stage.at(path)).unwrap().mode() & 0o7777
}

#[test]
fn a_repair_gives_set_id_bits_to_the_recorded_bytes_only() {
    let stage = tool("hello\n");
    stage.run("pkgchk -f -R @ROOT@ SUNWstuf").ok();
    assert_eq!(mode(&stage, "/opt/stuf/tool"), 0o4755);

    // Bytes of the recorded length, then longer ones.
    for bytes in ["other\n", "hello and more\n"] {
        let stage = tool(bytes);
        let said = stage.run("pkgchk -f -R @ROOT@ SUNWstuf").fails(1);
        assert!(said.contains("@ROOT@/opt/stuf/tool\n"), "{said}");
        assert!(
            said.contains("attributes are left unchanged: the content differs from the record"),
            "{said}"
        );
        assert_eq!(mode(&stage, "/opt/stuf/tool"), 0o755);
    }
}

#[test]
fn a_repair_gives_no_owner_to_bytes_that_are_not_recorded() {
    if !is_root() {
        return crate::skipped("a repair of owners: only root gives files away");
    }
    let stage = tool("other\n");
    stage.contents(&["/opt/stuf/tool f none 0755 root bin 6 542 981173106 SUNWstuf"]);
    chown(stage.at("/opt/stuf/tool"), Some(1004), Some(1004)).unwrap();
    stage.run("pkgchk -f -R @ROOT@ SUNWstuf").fails(1);
    assert_eq!(fs::metadata(stage.at("/opt/stuf/tool")).unwrap().uid(), 1004);

    stage.file("/opt/stuf/tool", "hello\n");
    stage.mode("/opt/stuf/tool", 0o755);
    stage.mtime("/opt/stuf/tool", 981_173_106);
    stage.run("pkgchk -f -R @ROOT@ SUNWstuf").ok();
    assert_eq!(fs::metadata(stage.at("/opt/stuf/tool")).unwrap().uid(), 0);
}

/// A registered configuration file.
const CONF: &str = "/opt/stuf/conf";

#[test]
fn a_repair_opens_no_file_that_another_user_could_have_put_there() {
    if !is_root() {
        return crate::skipped("a repair in a directory of another user: not root");
    }
    let stage = Scenario::new();
    stage.package("SUNWstuf", "NAME=Stuff\n");
    stage.contents(&[
        "/opt/stuf/conf e none 0644 root bin 6 542 981173106 SUNWstuf",
        "/opt/stuf/pipe p none 0666 root bin SUNWstuf",
    ]);
    let conf = |owner: u32, bytes: &str| {
        stage.file(CONF, bytes);
        stage.mode(CONF, 0o600);
        chown(stage.at("/opt/stuf"), Some(owner), None).unwrap();
        stage.run("pkgchk -f -R @ROOT@ SUNWstuf")
    };
    let said = conf(1004, "secret\n").fails(1);
    for told in [
        "attributes are left unchanged: @ROOT@/opt/stuf/conf does not get its owner and mode",
        "because it could be another object: @ROOT@/opt/stuf belongs to uid 1004",
        "if it is the right one, use `chown 0:",
        "` and `chmod 0644`",
    ] {
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(mode(&stage, CONF), 0o600);
    assert_eq!(mode(&stage, "/opt/stuf/pipe"), 0o666, "the repair made it itself");

    conf(1004, "hello\n").ok();
    assert_eq!(mode(&stage, CONF), 0o644, "the recorded bytes are no secret");
    fs::hard_link(stage.at(CONF), stage.at("/opt/kept")).unwrap();
    conf(1004, "hello\n").fails(1);
    assert_eq!(mode(&stage, CONF), 0o600, "it has a second name");
    fs::remove_file(stage.at("/opt/kept")).unwrap();
    conf(0, "edited\n").fails(1);
    assert_eq!(mode(&stage, CONF), 0o644, "only root could have put it there");
}

/// Applies a patch that delivers the only program of a package with this mode and these bytes.
fn apply(stage: &Scenario, id: &str, mode: u32, bytes: &str) {
    stage.patchadd("", &Patch::of(id, Package::new("ACMEweb").file("bin/tool", mode, bytes))).ok();
}

/// A package whose only program a patch has made set-id.
fn set_id() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/tool", 0o755, "one\n")]);
    apply(&stage, "100-01", 0o4755, "two\n");
    stage
}

const TOOL: &str = "/opt/ACMEweb/bin/tool";

#[test]
fn a_backout_brings_set_id_bits_back_by_an_archive_that_is_bound_and_by_no_other() {
    for is_bound in [true, false] {
        let stage = set_id();
        apply(&stage, "101-01", 0o755, "three\n");
        assert_eq!(mode(&stage, TOOL), 0o755);
        if !is_bound {
            stage.forget_ledgers();
            stage.run("recover --adopt-undo -R @ROOT@ 101-01").ok();
        }
        stage.run("patchrm -R @ROOT@ 101-01");
        assert_eq!(mode(&stage, TOOL), if is_bound { 0o4755 } else { 0o755 });
    }
}

#[test]
fn a_link_that_somebody_kept_of_a_replaced_program_has_no_bits() {
    let stage = set_id();
    fs::hard_link(stage.at(TOOL), stage.at("/opt/kept")).unwrap();
    apply(&stage, "101-01", 0o4755, "three\n");
    assert_eq!((mode(&stage, "/opt/kept"), mode(&stage, TOOL)), (0o755, 0o4755));
}
