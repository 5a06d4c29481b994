//! Damaged and inconsistent patches. Applying or validating one prints a single line that names the patch and, if
//! known, the package, file and line; ends with the exit code of patchadd; and leaves the root unchanged.

use std::fs;
use std::path::{Path, PathBuf};

use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream;
use patchadm_svr4::package::PkgInst;

use crate::delivery::{Patch, archive, gzip};
use crate::packages::{self, Package};
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

/// A file whose bytes do not compress.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..20_000).map(|_| next()).collect()
}

fn stage() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("lib/x", 0o644, "x\n")])
}

/// The patch to damage, as a directory.
fn delivered(stage: &Scenario) -> PathBuf {
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").file("lib/x", 0o644, noise());
    Patch::of("100-01", package).directory(stage)
}

/// Asserts that a source is refused with this code and one line with all these words, and that nothing changes.
#[track_caller]
fn refused(stage: &Scenario, what: &str, source: &Path, code: i32, words: &[&str]) {
    let before = stage.everything();
    for options in ["", "-a "] {
        let run = stage.run(&format!("patchadd {options}-R @ROOT@ {}", source.display()));
        assert_same(&stage.everything(), &before);
        assert_eq!(run.code, code, "{what}: {}{}", run.stdout, run.stderr);
        let line = run.stderr.lines().next().unwrap();
        let is_refusal = line.starts_with("ERROR: ") && run.stderr.ends_with("\nPatchadd is terminating.\n");
        assert!(is_refusal && run.stderr.matches("ERROR").count() == 1, "{what}: {}", run.stderr);
        let name = source.file_stem().unwrap().to_str().unwrap().trim_end_matches(".tar");
        for word in words.iter().chain([&name]) {
            assert!(line.contains(word), "{what}: {word} is not in: {line}");
        }
    }
}

/// Replaces a part of a file.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// A name, a function that damages the directory of the package, the exit code, and words of the message.
type Damage = (&'static str, fn(&Path), i32, &'static [&'static str]);

const DAMAGES: &[Damage] = &[
    ("no package in it", |package| fs::remove_dir_all(package).unwrap(), 33, &[]),
    ("no pkgmap", |package| fs::remove_file(package.join("pkgmap")).unwrap(), 33, &[]),
    (
        "a pkginfo with an open quote",
        |package| edit(&package.join("pkginfo"), "NAME=", "NAME=\""),
        28,
        &["package ACMEweb", "pkginfo", "line 2"],
    ),
    (
        "a pkgmap line that does not parse",
        |package| edit(&package.join("pkgmap"), "1 f none bin/httpd 0755", "1 f none bin/httpd 0799"),
        28,
        &["package ACMEweb", "pkgmap", "line 2"],
    ),
    (
        "a pkgmap line of an unknown type",
        |package| edit(&package.join("pkgmap"), "1 f none bin/httpd", "1 q none bin/httpd"),
        28,
        &["package ACMEweb", "pkgmap", "line 2"],
    ),
    (
        "a path with ..",
        |package| edit(&package.join("pkgmap"), "bin/httpd", "../../etc/shadow"),
        28,
        &["package ACMEweb", "pkgmap", "line 2", "`..`"],
    ),
    (
        "an absolute path with ..",
        |package| edit(&package.join("pkgmap"), "bin/httpd", "/opt/../etc/shadow"),
        28,
        &["package ACMEweb", "pkgmap", "line 2", "`..`"],
    ),
    (
        "a path twice",
        |package| {
            let pkgmap = fs::read_to_string(package.join("pkgmap")).unwrap();
            let line = pkgmap.lines().find(|line| line.contains("httpd")).unwrap();
            fs::write(package.join("pkgmap"), format!("{pkgmap}{line}\n")).unwrap();
        },
        28,
        &["package ACMEweb", "bin/httpd"],
    ),
    (
        "another checksum",
        |package| fs::write(package.join("reloc/bin/httpd"), "owt\u{1}").unwrap(),
        10,
        &["ackage ACMEweb", "bin/httpd: "],
    ),
    (
        "another size",
        |package| fs::write(package.join("reloc/bin/httpd"), "three\n").unwrap(),
        10,
        &["ackage ACMEweb", "bin/httpd: size "],
    ),
    (
        "a file that is missing",
        |package| fs::remove_file(package.join("reloc/lib/x")).unwrap(),
        10,
        &["ackage ACMEweb", "lib/x: ", "missing"],
    ),
    (
        "a directory in place of a file",
        |package| {
            fs::remove_file(package.join("reloc/lib/x")).unwrap();
            fs::create_dir(package.join("reloc/lib/x")).unwrap();
        },
        10,
        &["ackage ACMEweb", "lib/x: "],
    ),
    (
        "a symbolic link in place of a file",
        |package| {
            fs::remove_file(package.join("reloc/lib/x")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", package.join("reloc/lib/x")).unwrap();
        },
        13,
        &["package ACMEweb", "file lib/x", "symbolic link included in patch"],
    ),
    (
        "an information file that is not what the pkgmap says",
        |package| edit(&package.join("pkginfo"), "VERSION=1.0", "VERSION=1.0 "),
        10,
        &["package ACMEweb", "pkginfo"],
    ),
];

#[test]
fn damaged_directories_are_refused_by_package_file_and_line() {
    for (what, damage, code, words) in DAMAGES {
        let stage = stage();
        let directory = delivered(&stage);
        damage(&directory.join("ACMEweb"));
        refused(&stage, what, &directory, *code, words);
    }
}

#[test]
fn lies_inside_a_package_are_refused_by_name() {
    let stage = stage();
    let web = || Package::new("ACMEweb");
    let lies = [
        (
            "an unknown owner",
            web().content('f', "bin/httpd", 0o755, "nosuch root", 0, "two\n"),
            "package ACMEweb, path @ROOT@/opt/ACMEweb/bin/httpd: owner nosuch does not exist in this root",
        ),
        (
            "an unknown group",
            web().content('f', "bin/httpd", 0o755, "root nosuch", 0, "two\n"),
            "package ACMEweb, path @ROOT@/opt/ACMEweb/bin/httpd: group nosuch does not exist in this root",
        ),
        (
            "a way through a link of the same patch",
            web().symlink("way", "/etc").file("way/shadow", 0o644, "mine\n"),
            "/opt/ACMEweb/way",
        ),
        ("a way through a file", web().file("bin/httpd/x", 0o644, "x\n"), "/opt/ACMEweb/bin/httpd"),
        ("a hard link to nothing", web().link("bin/other", "./nosuch"), "/opt/ACMEweb/bin/other"),
        ("a variable without value", web().file("$NOWHERE/x", 0o644, "x\n"), "$NOWHERE/x"),
        ("deletes with ..", web().file("bin/httpd", 0o755, "two\n").deletes(&["../../etc/passwd"]), ".."),
    ];
    // Without privileges, names are only recorded, and may be unknown.
    let first = if is_root() { 0 } else { 2 };
    for (number, (what, package, words)) in lies.into_iter().enumerate().skip(first) {
        let patch = Patch::of(&format!("{}-01", 100 + number), package).directory(&stage);
        let run = stage.run(&format!("patchadd -a -R @ROOT@ {}", patch.display()));
        refused(&stage, what, &patch, run.code, &[words]);
        assert!([10, 28].contains(&run.code), "{what}: {}", run.code);
    }
}

#[test]
fn damaged_archives_are_refused() {
    let stage = stage();
    let directory = delivered(&stage);
    let cut = |suffix: &str| {
        let path = archive(&directory, suffix);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        path
    };
    refused(&stage, "half a datastream", &cut(".ds"), 33, &["archive", "package ACMEweb"]);
    refused(&stage, "half a tar", &cut(".tar"), 33, &["damaged"]);
    refused(&stage, "half a zip", &cut(".zip"), 33, &[]);
    refused(&stage, "half a gzip", &cut(".tar.gz"), 39, &[]);
    refused(&stage, "half a compress", &cut(".tar.Z"), 33, &[]);
    for suffix in [".tar.bz2", ".tar.xz", ".tar.zst", ".ds.bz2", ".ds.xz", ".ds.zst"] {
        refused(&stage, &format!("half of {suffix}"), &cut(suffix), 39, &["cannot decompress"]);
    }
    for (suffix, code) in [(".tar.gz", 39), (".zip", 33)] {
        let path = archive(&directory, suffix);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        refused(&stage, "a flipped bit", &path, code, &[]);
    }
    for (name, bytes) in [("empty-01", &b""[..]), ("rubbish-01", b"This is no patch at all.\n")] {
        let path = stage.beside(name);
        fs::write(&path, bytes).unwrap();
        refused(&stage, name, &path, 33, &[]);
    }
}

/// A tar archive with one member, whose name may be invalid.
fn tar_with(name: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000004");
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend([&b"evil"[..], &[0; 508 + 1024]].concat());
    bytes
}

#[test]
fn members_that_lead_out_of_an_archive_are_refused_and_written_nowhere() {
    let stage = stage();
    let victim = stage.beside("victim");
    for name in ["/tmp/../@", "../victim", "100-01/../../victim", "100-01/ACMEweb/../../../victim"] {
        let name = name.replace("/tmp/../@", victim.to_str().unwrap());
        for (suffix, bytes) in [(".tar", tar_with(&name)), (".tar.gz", gzip(&tar_with(&name)))] {
            let path = stage.beside(&format!("hostile{suffix}"));
            fs::write(&path, bytes).unwrap();
            refused(&stage, &name, &path, 33, &[&format!("member <{name}>")]);
        }
        assert!(!victim.exists(), "{name}");
    }
}

#[test]
fn a_datastream_with_an_absolute_member_is_refused() {
    let stage = stage();
    let victim = stage.beside("victim");
    let package = delivered(&stage).join("ACMEweb");
    let read = |name: &str| fs::read(package.join(name)).unwrap();
    let announced = datastream::DatastreamPackage {
        inst: PkgInst::new("ACMEweb").unwrap(),
        parts: 1,
        max_blocks: 100,
        pkginfo: read("pkginfo"),
        pkgmap: read("pkgmap"),
    };
    let mut part = datastream::DatastreamWriter::new(Vec::new(), &[announced], 0)
        .unwrap()
        .begin_part(CpioFormat::Newc)
        .unwrap();
    let mut add = |name: &str, bytes: &[u8]| {
        part.write_member(&CpioHeader::file(name.as_bytes(), 0o644, 0, bytes.len() as u64), bytes).unwrap();
    };
    for name in packages::files(&package) {
        add(&name, &read(&name));
    }
    add(victim.to_str().unwrap(), b"evil");
    let stream = stage.beside("hostile.ds");
    fs::write(&stream, part.finish().unwrap().finish().unwrap()).unwrap();
    refused(&stage, "an absolute member", &stream, 33, &[victim.to_str().unwrap()]);
    assert!(!victim.exists());
}

#[test]
fn a_refusal_of_a_verb_says_what_failed_and_why_and_that_nothing_was_changed() {
    let stage = stage();
    let directory = delivered(&stage);
    fs::write(directory.join("ACMEweb/reloc/bin/httpd"), "three\n").unwrap();
    let before = stage.everything();
    let said = stage.run(&format!("add -R @ROOT@ {}", directory.display())).fails(1);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("patchadm: error: patch 100-01 was not applied: "), "{said}");
    assert!(lines[0].ends_with("package ACMEweb, file bin/httpd: size 6, expected 4"), "{said}");
    assert_eq!(lines[1], "    nothing was changed");
    assert_same(&stage.everything(), &before);
}
