//! Datastreams that the classic tools and real vendors made: read, written again, compared.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pkgtrans::read_stream;
use crate::scenario::{Scenario, shared};
use crate::tree::{Tree, assert_same};

/// A variant: its name, true if the classic pkgadd accepted it, our exit code, and our reason.
type Variant = (&'static str, bool, i32, &'static str);

/// Ours refuses streams that wrote outside of the package or installed half of it, and reads compressed ones.
const VARIANTS: [Variant; 19] = [
    ("ref", true, 0, ""),
    ("dotslash", true, 0, ""),
    ("extra-dotdot", true, 99, "package SUNWstux: member path <../../escaped-rel> has a `..` component"),
    ("fmt-bin", true, 99, "datastream table of contents: no cpio header at byte 0"),
    ("fmt-crc", true, 0, ""),
    ("fmt-newc", true, 0, ""),
    ("fmt-odc", true, 0, ""),
    ("fmt-ustar", false, 99, "datastream table of contents: no cpio header at byte 0"),
    ("gz", false, 0, ""),
    ("hdr1024", false, 99, "datastream table of contents: no cpio header at byte 0"),
    ("hdrnopad", false, 99, "the header is not padded to a multiple of 512 bytes"),
    ("junk", false, 99, "neither a package, nor a patch, nor an archive"),
    ("missingfile", true, 1, "package SUNWstux, file bin/stux: missing from the source"),
    ("nopad-first", false, 99, "package SUNWstux"),
    ("nopad-last", false, 99, "package SUNWstux: unexpected end of archive in the padding"),
    ("pad5120", false, 99, "package SUNWstux: no cpio header at byte 0"),
    ("trail", true, 0, ""),
    ("truncated", false, 99, "package SUNWstux: unexpected end of archive in member <"),
    ("extra-absolute", true, 99, "has an absolute name"),
];

#[test]
fn streams_are_accepted_and_refused_as_the_table_says() {
    let Some(out) = shared("variants of streams", "goldens/28-stream-variants/out") else { return };
    let summary = fs::read_to_string(out.join("summary")).unwrap();
    for (name, classic, code, reason) in VARIANTS {
        let line = summary.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        // 2 is a package that was installed in part.
        assert_eq!(["rc=0", "rc=2"].iter().any(|code| line.contains(code)), classic, "{line}");
        let path = out.join(format!("{name}.ds"));
        if !path.exists() {
            continue;
        }
        let stage = Scenario::new();
        fs::create_dir(stage.beside("to")).unwrap();
        let run = stage.run(&format!("pkgtrans {} to SUNWstux", path.display()));
        assert_eq!(run.code, code, "{name}: {}", run.stderr);
        assert!(run.stderr.contains(reason), "{name}: {}", run.stderr);
        let there = stage.run("pkginfo -q -d to SUNWstux").code == 0;
        assert_eq!(there, code == 0, "{name}");
        assert!(!stage.beside("escaped-rel").exists());
    }
}

/// Translates a device into the new directory `to`.
fn unpacked(stage: &Scenario, device: &Path, to: &str) {
    fs::create_dir(stage.beside(to)).unwrap();
    let run = stage.run(&format!("pkgtrans {} {to} all", device.display()));
    assert_eq!(run.code, 0, "{}: {}", device.display(), run.stderr);
}

#[test]
fn a_stream_has_what_the_classic_command_puts_into_it() {
    let Some(goldens) = shared("streams of the classic pkgtrans", "goldens") else { return };
    let out = goldens.join("14-datastream/out");
    let stage = Scenario::new();
    unpacked(&stage, &goldens.join("pkgs/base.ds"), "base");
    unpacked(&stage, &goldens.join("pkgs/103600-01.ds"), "patch");
    for (step, from, file, words) in [
        ("pkgtrans-1", "base", "one.ds", "SUNWstux"),
        ("pkgtrans-2", "base", "two.ds", "SUNWstuf SUNWstux"),
        ("pkgtrans-all", "base", "all.ds", "all"),
        ("pkgtrans-rev", "base", "rev.ds", "SUNWstux SUNWstuf"),
        ("pkgtrans-patch", "patch", "patch.ds", "SUNWstuf SUNWstux"),
    ] {
        let run = stage.run(&format!("pkgtrans -s {from} {file} {words}"));
        let stderr = fs::read_to_string(out.join(step).join("stderr")).unwrap();
        assert_eq!((run.code, run.stderr), (0, stderr), "{step}");
        let bytes = fs::read(stage.beside(from).join(file)).unwrap();
        let classic = fs::read(out.join(file)).unwrap();
        let header = |bytes: &[u8]| bytes[..512].to_vec();
        assert!(header(&bytes) == header(&classic), "{file}");
        assert_eq!(bytes.len(), classic.len(), "{file}");
        // The same packages, and the same members with the same modes and bytes; the times of files, too.
        let (packages, parts) = read_stream(&bytes);
        let (classic_packages, classic_parts) = read_stream(&classic);
        assert_eq!(packages, classic_packages, "{file}");
        assert!(parts == classic_parts, "{file}");
    }
}

#[test]
fn packages_of_the_classic_tools_go_round_and_stay_what_they_are() {
    let Some(goldens) = shared("streams of the classic tools", "goldens/pkgs") else { return };
    for stream in with_extension(&goldens, "ds") {
        goes_round(&stream);
        let stage = Scenario::new();
        unpacked(&stage, &stream, "one");
        let directory = stream.with_extension("");
        for package in fs::read_dir(stage.beside("one")).unwrap() {
            let package = package.unwrap();
            let [ours, classic] =
                [package.path(), directory.join(package.file_name())].map(|path| sums(&path));
            assert_eq!(ours, classic, "{}", stream.display());
        }
    }
}

#[test]
fn packages_of_real_vendors_are_listed_and_go_round() {
    let Some(streams) = shared("packages of real vendors", "realdata/datastream") else { return };
    let mut found = Vec::new();
    for stream in fs::read_dir(streams).unwrap() {
        let vendor = stream.unwrap().path();
        if vendor.is_dir() {
            found.extend(with_extension(&vendor, "pkg"));
        }
    }
    assert_eq!(found.len(), 5);
    let stage = Scenario::new();
    let mut names = Vec::new();
    for stream in found {
        goes_round(&stream);
        let copy = stage.beside("copy.pkg");
        fs::write(&copy, fs::read(&stream).unwrap()).unwrap();
        names.push(stage.run("pkginfo -L -d copy.pkg").ok().trim().to_owned());
        let long = stage.run("pkginfo -l -d copy.pkg").ok();
        assert!(long.contains("\n    STATUS:  spooled\n"), "{long}");
    }
    names.sort();
    assert_eq!(names, ["CSWcas-cpsampleconf", "CSWcommon", "CSWpca", "MDXapc", "wzfsadm"]);
}

/// Converts a stream to a directory and back, twice: from the second stream on nothing changes, and the directories
/// have the contents of the first stream.
fn goes_round(stream: &Path) {
    let stage = Scenario::new();
    unpacked(&stage, stream, "one");
    let again = |from: &str| {
        let run =
            stage.run(&format!("pkgtrans -s {from} {} all", stage.beside(&format!("{from}.ds")).display()));
        assert_eq!(run.code, 0, "{}", run.stderr);
        fs::read(stage.beside(&format!("{from}.ds"))).unwrap()
    };
    let second = again("one");
    unpacked(&stage, &stage.beside("one.ds"), "two");
    let third = again("two");
    assert!(second == third, "{}", stream.display());
    assert_same(&Tree::of(&stage.beside("two"), &[]), &Tree::of(&stage.beside("one"), &[]));

    let (packages, parts) = read_stream(&fs::read(stream).unwrap());
    let (packages_again, parts_again) = read_stream(&second);
    assert_eq!(packages, packages_again);
    assert_eq!(parts.len(), parts_again.len());
    for (part, part_again) in parts.iter().zip(&parts_again) {
        assert!(part.keys().eq(part_again.keys()), "{:?}, {:?}", part.keys(), part_again.keys());
        for (name, (mode, mtime, data)) in part.iter().filter(|(_, (.., data))| data.is_some()) {
            let (mode_again, mtime_again, data_again) = &part_again[name];
            assert_eq!((mode & 0o777, mtime), (mode_again & 0o777, mtime_again), "{name}");
            assert!(data == data_again, "{name}");
        }
    }
}

/// Path and bytes of every file below a directory.
fn sums(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let names = crate::packages::files(directory).into_iter();
    names.map(|name| (name.clone(), fs::read(directory.join(&name)).unwrap())).collect()
}

fn with_extension(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    found.sort();
    found
}
