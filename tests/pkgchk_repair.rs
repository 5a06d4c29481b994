use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::hostile_roots::{can_trace, killed_at_rename};
use crate::scenario::Scenario;

/// A package with a file, links and directories, all of them damaged.
fn damaged() -> Scenario {
    let stage = Scenario::new();
    stage.package("SUNWstuf", "NAME=Stuff\n");
    stage.file("/opt/stuf/bin/tool", "hello\n");
    stage.mode("/opt/stuf/bin/tool", 0o600);
    stage.mtime("/opt/stuf/bin/tool", 1_795_158_252);
    stage.file("/opt/stuf/bin/hard", "hello\n");
    stage.symlink("/opt/stuf/bin/soft", "elsewhere");
    stage.contents(&[
        "/opt/stuf/bin d none 0750 root bin SUNWstuf",
        "/opt/stuf/bin/again=tool l none SUNWstuf",
        "/opt/stuf/bin/hard=./tool l none SUNWstuf",
        "/opt/stuf/bin/soft=./tool s none SUNWstuf",
        "/opt/stuf/bin/softer=./tool s none SUNWstuf",
        "/opt/stuf/bin/tool f none 4755 root bin 6 542 981173106 SUNWstuf",
        "/opt/stuf/lib d none 0711 root bin SUNWstuf",
        "/opt/stuf/lib/deep d none 0755 root bin SUNWstuf",
    ]);
    stage
}

#[test]
fn attributes_times_directories_and_links_are_put_right() {
    let stage = damaged();
    assert_eq!(stage.run("pkgchk -f -R @ROOT@ SUNWstuf").ok(), "");
    let tool = fs::metadata(stage.at("/opt/stuf/bin/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.mtime(), tool.nlink()), (0o4755, 981_173_106, 3));
    for soft in ["soft", "softer"] {
        let target = fs::read_link(stage.at(&format!("/opt/stuf/bin/{soft}"))).unwrap();
        assert_eq!(target.to_str(), Some("./tool"));
    }
    assert_eq!(fs::metadata(stage.at("/opt/stuf/lib")).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "and nothing is left to be done");
    let names = fs::read_dir(stage.at("/opt/stuf/bin")).unwrap().count();
    assert_eq!(names, 5, "and nothing of the repair itself");
}

#[test]
fn content_stays_and_is_reported_with_what_else_cannot_be_put_right() {
    let stage = damaged();
    fs::write(stage.at("/opt/stuf/bin/tool"), "other\n").unwrap();
    fs::remove_file(stage.at("/opt/stuf/bin/soft")).unwrap();
    stage.file("/opt/stuf/bin/soft", "an administrator wrote this\n");
    assert_eq!(
        stage.run("pkgchk -f -R @ROOT@ SUNWstuf").fails(1),
        "ERROR: @ROOT@/opt/stuf/bin/hard
    pathname not properly linked to <./tool>
    unable to create link to <./tool>
ERROR: @ROOT@/opt/stuf/bin/soft
    file type <s> expected <f> actual
ERROR: @ROOT@/opt/stuf/bin/tool
    permissions <4755> expected <0600> actual
    file cksum <542> expected <556> actual
    attributes are left unchanged: the content differs from the record
"
    );
    assert_eq!(fs::read_to_string(stage.at("/opt/stuf/bin/hard")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(stage.at("/opt/stuf/bin/tool")).unwrap(), "other\n");
    assert!(fs::read_to_string(stage.at("/opt/stuf/bin/soft")).unwrap().starts_with("an administrator"));
}

#[test]
fn no_link_of_the_tree_leads_a_repair_out_of_the_root() {
    let stage = damaged();
    let outside = stage.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("tool"), "hello\n").unwrap();
    fs::remove_dir_all(stage.at("/opt/stuf/bin")).unwrap();
    stage.symlink("/opt/stuf/bin", outside.to_str().unwrap());
    let before = fs::metadata(outside.join("tool")).unwrap();
    stage.run("pkgchk -f -R @ROOT@ SUNWstuf").fails(1);
    let after = fs::metadata(outside.join("tool")).unwrap();
    assert_eq!((before.mode(), before.ctime_nsec()), (after.mode(), after.ctime_nsec()));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn only_what_is_asked_for_is_put_right() {
    let stage = damaged();
    stage.run("pkgchk -f -c -R @ROOT@ -p /opt/stuf/bin/tool").ok();
    let tool = fs::metadata(stage.at("/opt/stuf/bin/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.mtime()), (0o600, 981_173_106));
}

#[test]
fn a_repair_needs_the_lock_of_the_root() {
    let stage = damaged();
    let install = patchadm_rootfs::Root::open(&stage.root()).unwrap();
    let lock = patchadm_rootfs::Lock::take(&install, "patchadd", |_| false).unwrap();
    let text = stage.run("pkgchk -f -R @ROOT@ SUNWstuf").fails(64);
    assert!(text.starts_with("pkgchk: ERROR: @ROOT@/var/sadm/install/.lockfile is locked by "), "{text}");
    assert_eq!(fs::metadata(stage.at("/opt/stuf/bin/tool")).unwrap().mode() & 0o7777, 0o600);
    drop(lock);
    stage.run("pkgchk -f -R @ROOT@ SUNWstuf").ok();
}

#[test]
fn what_is_nobodys_in_an_exclusive_directory_is_named_and_removed() {
    let stage = Scenario::new();
    stage.package("SUNWx", "NAME=X\n");
    stage.file("/opt/x/known", "a\n");
    stage.file("/opt/x/below/deep", "a\n");
    stage.contents(&[
        "/opt/x x none 0755 root root SUNWx",
        "/opt/x/below/deep f none 0644 root root 2 107 981173106 SUNWother",
        "/opt/x/known f none 0644 root root 2 107 981173106 SUNWx",
        "/other/way f none 0644 root root 2 107 981173106 SUNWother",
    ]);
    stage.file("/opt/x/way", "a\n");
    stage.symlink("/other", "opt/x");
    assert_eq!(stage.run("pkgchk -x -R @ROOT@ SUNWx").ok(), "");
    stage.file("/opt/x/stray", "a\n");
    stage.file("/opt/x/full/stray", "a\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@ SUNWx").ok(), "", "they are looked for with -x only");
    let hidden = |name: &str| format!("ERROR: @ROOT@/opt/x/{name}\n    hidden file in exclusive directory\n");
    assert_eq!(
        stage.run("pkgchk -x -R @ROOT@ SUNWx").fails(1),
        format!("{}{}", hidden("full"), hidden("stray"))
    );
    assert_eq!(
        stage.run("pkgchk -f -x -R @ROOT@ SUNWx").fails(1),
        format!("{}    unable to remove hidden file\n", hidden("full"))
    );
    assert!(!stage.at("/opt/x/stray").exists() && stage.at("/opt/x/known").exists());
    assert!(stage.at("/opt/x/way").exists(), "it is somebody's, by another way");
    assert!(stage.at("/opt/x/full/stray").exists(), "a directory that is not empty stays");
}

#[test]
fn a_repair_says_that_it_rolled_an_interrupted_run_back() {
    if !can_trace() {
        return crate::missing("strace", "a repair after an interrupted run");
    }
    let package = |text: &str| Package::new("ACMEweb").file("bin/httpd", 0o755, text);
    let stage = Scenario::with(&[package("one\n")]);
    Patch::of("100-01", package("two\n")).directory(&stage);
    assert!(killed_at_rename(&stage, "patchadd -R @ROOT@ delivered/100-01", 3));
    let journal = fs::read(stage.at("/var/sadm/patchadm/journal")).unwrap();
    let run = patchadm_changeset::format::journal::parse_head(&journal).unwrap().header.run;
    let repaired = stage.run("pkgchk -f -R @ROOT@");
    let note = format!("NOTE: Interrupted run {run} was rolled back: everything is as before.\n");
    assert_eq!((repaired.code, repaired.stdout, repaired.stderr), (0, String::new(), note));
    assert_eq!(stage.run("pkgchk -f -R @ROOT@").stderr, "", "it is said once");
}
