//! Packages of the classic pkgmk, made again by ours. They are equal except for the first line of the pkgmap, whose
//! number depends on the file system of the making machine.

use std::fs;
use std::path::{Path, PathBuf};

use patchadm_svr4::format::pkgmap::{Pkgmap, member_name};
use patchadm_svr4::package::Ftype;

use crate::packages::files;
use crate::producer::{Producer, write};
use crate::scenario::shared;

/// The package directories of all sets.
fn packages(goldens: &Path) -> Vec<PathBuf> {
    let entries = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let sets = entries(&goldens.join("pkgs")).filter(|path| path.is_dir());
    let mut found: Vec<PathBuf> = sets.flat_map(|set| entries(&set).collect::<Vec<_>>()).collect();
    found.sort();
    found
}

/// The prototype of a package, its last entry first, with sources below `package`, which get the times of the pkgmap.
fn prototype(classic: &Path, map: &Pkgmap, workshop: &Producer) -> String {
    let text = fs::read_to_string(classic.join("pkgmap")).unwrap();
    let mut lines = String::new();
    let described: Vec<_> = map.entries.iter().zip(text.lines().skip(1)).collect();
    for (entry, line) in described.into_iter().rev() {
        let path = entry.path.to_string();
        let member = match entry.object.ftype {
            Ftype::Information if path == "pkginfo" => path.clone(),
            Ftype::Information => format!("install/{path}"),
            ftype if ftype.is_regular() => String::from_utf8(member_name(&entry.path)).unwrap(),
            _ => {
                lines += &format!("{line}\n");
                continue;
            }
        };
        let bytes = fs::read(classic.join(&member)).unwrap();
        write(&workshop.at("package").join(&member), &bytes, entry.object.content.mtime.unwrap());
        let mut fields: Vec<&str> = line.split(' ').collect();
        fields.truncate(fields.len() - 3);
        let place = fields.iter().position(|field| *field == path).unwrap();
        let renamed = format!("{path}=package/{member}");
        fields[place] = &renamed;
        lines += &format!("{}\n", fields.join(" "));
    }
    lines
}

/// Everything below a package directory but the first line of its pkgmap, which depends on the file system.
fn content(package: &Path) -> Vec<(String, String)> {
    let read = |name: &String| {
        let bytes = fs::read(package.join(name)).unwrap();
        let text = bytes.escape_ascii().to_string().replace("\\n", "\n");
        let rest = text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        if name == "pkgmap" { rest } else { text }
    };
    files(package).into_iter().map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn every_package_of_the_classic_pkgmk_is_made_again() {
    let Some(goldens) = shared("every package of the classic pkgmk", "goldens") else { return };
    let packages = packages(&goldens);
    assert!(packages.len() > 30, "{packages:?}");
    for classic in packages {
        let mut workshop = Producer::new();
        let map = Pkgmap::parse(&fs::read(classic.join("pkgmap")).unwrap()).unwrap();
        workshop.file("prototype", prototype(&classic, &map, &workshop));
        let own = map.entries.iter().find(|entry| entry.path.as_bytes() == b"pkginfo").unwrap();
        workshop.stage.set("SOURCE_DATE_EPOCH", own.object.content.mtime.unwrap().to_string());
        workshop.make("-r .");
        let name = classic.file_name().unwrap().to_str().unwrap();
        assert_eq!(content(&workshop.at("spool").join(name)), content(&classic), "{}", classic.display());
    }
}

#[test]
fn odd_names_are_packaged_and_sorted_as_by_the_classic_pkgmk() {
    let Some(golden) = shared("odd names", "goldens/27-order-names/out") else { return };
    let mut workshop = Producer::new();
    let names = ["a-b", "a.b", "aB", "ab", "a/b", "a/z", "a0", "Z", "_x", "zz", "é"];
    for name in names {
        let text = format!("{name}\n");
        write(&workshop.at("src").join(name), text.as_bytes(), 1_795_158_254);
    }
    let pkginfo = "PKG=SUNWord\nNAME=Ord\nARCH=i386\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/opt/o\n\
                   CLASSES=zz none aa\nBINDIR=usr/bin\nPSTAMP=vm20261120070415\n";
    workshop.file("pkginfo", pkginfo);
    workshop.file("prototype", fs::read(golden.join("prototype")).unwrap());
    workshop.stage.set("SOURCE_DATE_EPOCH", "1795158255");
    let run = workshop.run("pkgmk -o -r . -d spool -f prototype");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rest = |text: String| text.split_once('\n').unwrap().1.to_owned();
    let ours = fs::read_to_string(workshop.at("spool/SUNWord/pkgmap")).unwrap();
    assert_eq!(rest(ours), rest(fs::read_to_string(golden.join("pkgmap")).unwrap()));

    // These depend on the machine: the stamp, which this pkginfo has, and the blocks of a part.
    let counted = |line: &str| match (line.starts_with("part "), line.split_once(" blocks, ")) {
        (true, Some((_, entries))) => format!("part, {entries}"),
        _ => line.to_owned(),
    };
    let lines = |text: &str| {
        let other = |line: &&str| !line.contains("PSTAMP");
        text.lines().filter(other).map(counted).collect::<Vec<_>>()
    };
    let classic = fs::read_to_string(golden.join("pkgmk/stderr")).unwrap();
    assert_eq!(lines(&run.stderr), lines(&classic.replace("@WORK@/work-27/", "")));
}

#[test]
fn entries_of_a_part_are_counted_as_by_the_classic_pkgmk() {
    let Some(goldens) = shared("entries of a part", "goldens") else { return };
    let two = "i pkginfo\nd none bin 0755 root bin\nf none bin/stux=src 0755 root bin\n\
               f none share/shared=src 0644 root bin\ns none bin/stuxlink=stux\nd none share 0755 root bin\n";
    let same = "i pkginfo\nd none share 0755 root bin\nf none share/data=src 0644 root bin\n\
                f none share/shr=src 0644 root bin\nd none lib 0700 root sys\ns none lib/libstuf.so=libother\n";
    for (prototype, classic) in
        [(two, "26-messages/out/pkgmk/stderr"), (same, "21-shared-files/out/pkgmk.out")]
    {
        let workshop = Producer::with(prototype);
        workshop.file("src", "content");
        let run = workshop.run("pkgmk -d spool");
        let entries = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("part ")).unwrap();
            line.split_once(" blocks, ").unwrap().1.to_owned()
        };
        let classic = fs::read_to_string(goldens.join(classic)).unwrap();
        assert_eq!(entries(&run.stderr), entries(&classic), "{prototype}");
    }
}

#[test]
fn names_that_no_prototype_can_have_are_refused_in_the_words_of_the_classic_pkgmk() {
    let Some(golden) = shared("names that no prototype can have", "goldens/27-order-names/out") else {
        return;
    };
    for (name, step) in [("sp ace", "pkgmk-odd-sp_ace"), ("x=y", "pkgmk-odd-x_y")] {
        let workshop = Producer::with("");
        workshop.file("src/Z", "Z\n");
        workshop.file("proto1", format!("i pkginfo\nf none {name}=src/Z 0644 root sys\n"));
        let told = workshop.run("pkgmk -o -r . -d spool -f proto1").fails(1);
        let classic = fs::read_to_string(golden.join(step).join("stderr")).unwrap();
        assert_eq!(told.replace("    - line: 2\n", ""), classic);
    }
}
