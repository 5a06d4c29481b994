use std::fs;
use std::path::Path;

use patchadm_svr4::package::{ContentsLine, Ftype};

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

/// Installs the objects of `contents` from the files of a package, as the classic tools did.
fn install(stage: &Scenario, package: &Path, contents: &str) {
    for line in contents.lines().filter(|line| !line.starts_with('#')) {
        let line = ContentsLine::parse(line.as_bytes()).unwrap();
        let path = line.path.to_string();
        let target = line.object.target.map(|target| String::from_utf8(target).unwrap());
        match (line.object.ftype, target) {
            (Ftype::Directory, _) => stage.directory(&path),
            (Ftype::Pipe, _) => stage.pipe(&path),
            (Ftype::Symlink, Some(target)) => stage.symlink(&path, &target),
            (Ftype::Link, Some(target)) => {
                let source = line.path.link_source(target.as_bytes()).unwrap();
                stage.link(&path, &source.to_string());
            }
            _ => {
                let file = match path.strip_prefix("/opt/SUNWstuf/") {
                    Some(relative) => package.join("reloc").join(relative),
                    None => package.join("root").join(&path[1..]),
                };
                stage.file(&path, fs::read(file).unwrap());
                stage.mode(&path, line.object.attributes.mode.unwrap().bits());
            }
        }
    }
}

#[test]
fn damage_is_reported_as_by_the_classic_tools() {
    let Some(goldens) = shared("damage", "goldens") else { return };
    let golden = |name: &str| fs::read_to_string(goldens.join(name).join("stderr")).unwrap();
    let snapshot = goldens.join("01-base-install/out/base/snap");
    let stage = stage(&snapshot);
    let contents = fs::read_to_string(snapshot.join("contents")).unwrap();
    install(&stage, &goldens.join("pkgs/base/SUNWstuf"), &contents);
    stage.file("/opt/SUNWstuf/etc/build.conf", "built for SUNWstuf\n"); // what its class script makes of it
    let check = |options: &str| stage.run(&format!("pkgchk {options} -R @ROOT@ SUNWstuf")).fails(1);
    assert_eq!(check(""), golden("01-base-install/out/pkgchk"));

    // The damage of scenario 19: a volatile file that was never made, and three objects of the package.
    let volatile = "/opt/SUNWstuf/mvol v none 0644 root root 1 1 981173106 SUNWstuf\n/opt/SUNWstuf/share d";
    stage.file("/var/sadm/install/contents", contents.replace("/opt/SUNWstuf/share d", volatile));
    assert_eq!(check(""), golden("19-pkgrm-installf/out/pkgchk-1"));
    let mut tool = fs::read(stage.at("/opt/SUNWstuf/bin/stuf")).unwrap();
    tool.extend(b"x\n");
    fs::write(stage.at("/opt/SUNWstuf/bin/stuf"), tool).unwrap();
    stage.mtime("/opt/SUNWstuf/bin/stuf", 1_795_158_252);
    stage.mode("/opt/SUNWstuf/bin/tool", 0o700);
    fs::remove_file(stage.at("/opt/SUNWstuf/share/old")).unwrap();
    assert_eq!(check(""), golden("19-pkgrm-installf/out/pkgchk-bad"));
    assert_eq!(check("-n"), golden("19-pkgrm-installf/out/pkgchk-bad-n"));

    assert_eq!(check("-f"), golden("19-pkgrm-installf/out/pkgchk-f"));
    assert_eq!(check("-q"), golden("19-pkgrm-installf/out/pkgchk-q"));
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
