use std::fs;
use std::path::Path;

use crate::scenario::{Scenario, shared};

/// A scenario with the package database that the classic tools left in `snapshot`.
fn stage(snapshot: &Path) -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/contents", fs::read(snapshot.join("contents")).unwrap());
    for package in fs::read_dir(snapshot.join("pkg")).unwrap() {
        let package = package.unwrap();
        let pkginfo = fs::read_to_string(package.path().join("pkginfo")).unwrap();
        stage.package(package.file_name().to_str().unwrap(), &pkginfo);
    }
    stage
}

#[test]
fn listings_of_a_classic_database_are_those_of_the_classic_tools() {
    let Some(golden) = shared("listings of a classic database", "goldens/01-base-install/out") else {
        return;
    };
    for (snapshot, line, name) in [
        ("base2", "pkginfo -R @ROOT@", "pkginfo"),
        ("base2", "pkginfo -x -R @ROOT@", "pkginfo-x"),
        ("base", "pkginfo -l -R @ROOT@ SUNWstuf", "pkginfo-l"),
        ("base", "pkgparam -v -R @ROOT@ SUNWstuf", "pkgparam"),
        ("base", "pkgparam -R @ROOT@ SUNWstuf VERSION BASEDIR NOPE", "pkgparam1"),
        ("base", "pkgchk -R @ROOT@ -l SUNWstuf", "pkgchk-l"),
        ("base", "pkgchk -R @ROOT@ -l -p /opt/SUNWstuf/bin/stuf", "pkgchk-lp"),
    ] {
        let expected = fs::read_to_string(golden.join(name).join("stdout")).unwrap();
        assert_eq!(stage(&golden.join(snapshot).join("snap")).run(line).ok(), expected, "{line}");
    }
}

#[test]
fn packages_to_be_installed_are_listed_as_by_the_classic_tools() {
    let Some(goldens) = shared("packages to be installed", "goldens") else { return };
    let out = goldens.join("14-datastream/out");
    let stage = Scenario::new();
    for device in [goldens.join("pkgs/base"), goldens.join("pkgs/base.ds")] {
        for (line, name) in [
            ("pkginfo -d", "pkginfo-ds/stdout"),
            ("pkginfo -l SUNWstux -d", "pkginfo-ds-l/stdout"),
            ("pkgparam SUNWstux VERSION -d", "pkgparam-ds/stdout"),
        ] {
            let line = format!("{line} {}", device.display());
            assert_eq!(stage.run(&line).ok(), fs::read_to_string(out.join(name)).unwrap(), "{line}");
        }
    }
}
