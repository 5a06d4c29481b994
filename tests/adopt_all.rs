//! `patchadm adopt --all` adopts every package of dpkg and rpm in one run.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use crate::scenario::Scenario;

/// A native package: its name, its architecture, its files.
struct Native<'a>(&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Writes the files and records of installed dpkg packages.
fn dpkg_has(stage: &Scenario, packages: &[Native<'_>]) {
    let mut status = String::new();
    for Native(name, arch, files) in packages {
        let (mut list, mut sums) = ("/.\n/usr\n/usr/share\n".to_owned(), String::new());
        for (path, content) in *files {
            stage.file(path, content);
            writeln!(list, "{path}").unwrap();
            let sum: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(sums, "{sum}  {}", &path[1..]).unwrap();
        }
        for (suffix, text) in [("list", &list), ("md5sums", &sums)] {
            stage.file(&format!("/var/lib/dpkg/info/{name}:{arch}.{suffix}"), text);
        }
        writeln!(
            status,
            "Package: {name}\nStatus: install ok installed\nArchitecture: {arch}\nVersion: 1-1\n"
        )
        .unwrap();
    }
    stage.file("/var/lib/dpkg/status", &status);
}

const WEB: Native<'_> =
    Native("web", "amd64", &[("/usr/bin/web", "web\n"), ("/usr/share/web/data", "data\n")]);
const LONG: Native<'_> =
    Native("libgstreamer-plugins-base1.0-0", "amd64", &[("/usr/lib/libgst.so", "gst\n")]);

#[test]
fn every_package_of_dpkg_is_adopted_in_one_run_and_those_that_come_later_with_the_next() {
    let stage = Scenario::new();
    dpkg_has(&stage, &[WEB, LONG]);
    let before = stage.everything();
    let said = stage.run("adopt --all --dry-run -R @ROOT@").ok();
    assert_eq!(said, "2 packages would be adopted: 7 objects.\n");
    assert_eq!(stage.everything(), before);
    assert_eq!(stage.run("adopt --all -R @ROOT@").ok(), "Adopted 2 packages: 7 objects.\n");
    assert_eq!(stage.run("history -R @ROOT@").ok().lines().count(), 1);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb NATIVE_VERSION").ok(), "1-1\n");
    let packages = stage.run("pkginfo -R @ROOT@").ok();
    let long = packages.lines().find(|line| line.contains("DEBlibgstreamer-plugins-b-")).unwrap();
    assert!(long.contains("libgstreamer-plugins-b-"), "a long name is cut: {packages}");

    let tool = Native("tool", "amd64", &[("/usr/bin/tool", "tool\n")]);
    dpkg_has(&stage, &[WEB, LONG, tool]);
    // dpkg would not touch the lists of the other packages, but `dpkg_has` rewrites them.
    stage.run("adopt --refresh -R @ROOT@").ok();
    let said = stage.run("adopt --all -R @ROOT@").ok();
    assert_eq!(said, "Adopted 1 package: 3 objects. 2 were adopted before.\n");
    assert_eq!(
        stage.run("adopt --all -R @ROOT@").ok(),
        "Adopted 0 packages: 0 objects. 3 were adopted before.\n"
    );
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn two_architectures_share_their_files_and_each_has_a_name() {
    let stage = Scenario::new();
    let shared = ("/usr/share/doc/libz/copyright", "free\n");
    let one = [shared, ("/usr/lib/x86_64/libz.so", "amd64\n")];
    let other = [shared, ("/usr/lib/i386/libz.so", "i386\n")];
    dpkg_has(&stage, &[Native("libz", "amd64", &one), Native("libz", "i386", &other)]);
    assert_eq!(stage.run("adopt --all -R @ROOT@").ok(), "Adopted 2 packages: 8 objects.\n");
    let line = stage.text("/var/sadm/install/contents");
    let line = line.lines().find(|line| line.starts_with(shared.0)).unwrap().to_owned();
    assert!(line.ends_with("DEBlibz DEBlibz.i386"), "{line}");
    stage.run("adopt --forget --pkg DEBlibz.i386 -R @ROOT@").ok();
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn what_cannot_be_adopted_is_left_with_its_reason_and_keeps_nothing_else_from_it() {
    let stage = Scenario::new();
    let gone = Native("gone", "amd64", &[]);
    dpkg_has(&stage, &[WEB, gone]);
    let status = stage.text("/var/lib/dpkg/status")
        + "Package: half\nStatus: install reinstreq half-installed\nArchitecture: amd64\nVersion: 1\n\n\
           Package: ../../etc\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n";
    stage.file("/var/lib/dpkg/status", &status);
    std::fs::remove_file(stage.at("/var/lib/dpkg/info/gone:amd64.list")).unwrap();
    let said = stage.run("adopt --all -R @ROOT@").ok();
    assert!(said.starts_with("Adopted 1 package: 4 objects.\n"), "{said}");
    for reason in [
        "dpkg package gone: there is no list of its paths",
        "dpkg package half: dpkg has not finished with it",
        "dpkg package ../../etc: it is not a valid package name",
    ] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

#[test]
fn a_root_without_either_package_manager_is_told_and_gets_no_database() {
    let stage = Scenario::new();
    let before = stage.everything();
    let said = stage.run("adopt --all -R @ROOT@").fails(1);
    assert!(said.contains("the root has no records of dpkg or rpm"), "{said}");
    assert_eq!(stage.everything(), before);
}
