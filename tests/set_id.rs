//! Set-id bits go to known bytes only, and leave those that a run has replaced.

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

    // As long as the one that is recorded, then longer.
    for bytes in ["other\n", "hello and more\n"] {
        let stage = tool(bytes);
        let said = stage.run("pkgchk -f -R @ROOT@ SUNWstuf").fails(1);
        assert!(said.contains("@ROOT@/opt/stuf/tool\n"), "{said}");
        assert!(said.contains("attributes are left as they are: the content is not as recorded"), "{said}");
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

/// A package with a set-id program, and a patch that takes its bits away.
fn patched() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/tool", 0o4755, "one\n")]);
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/tool", 0o755, "two\n"));
    stage.patchadd("", &patch).ok();
    stage
}

/// The only program of the package.
const TOOL: &str = "/opt/ACMEweb/bin/tool";

#[test]
fn a_backout_brings_set_id_bits_back_by_an_archive_that_is_bound_and_by_no_other() {
    let stage = patched();
    assert_eq!(mode(&stage, TOOL), 0o755);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(mode(&stage, TOOL), 0o4755);

    let stage = patched();
    fs::remove_file(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.sha256")).unwrap();
    stage.run("patchrm -R @ROOT@ 100-01");
    assert_eq!(mode(&stage, TOOL), 0o755);
}

#[test]
fn a_link_that_somebody_kept_of_a_replaced_program_has_no_bits() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/tool", 0o4755, "one\n")]);
    let kept = stage.at("/opt/kept");
    fs::hard_link(stage.at(TOOL), &kept).unwrap();
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/tool", 0o4755, "two\n"));
    stage.patchadd("", &patch).ok();
    assert_eq!((mode(&stage, "/opt/kept"), mode(&stage, TOOL)), (0o755, 0o4755));
}
