//! Files made by others, read and written back: real pkginfo, pkgmap, contents and admin files, and those that runs of
//! the classic tools left. The tests are skipped if these files are not available.

use std::fs;
use std::path::{Path, PathBuf};

use super::admin::Admin;
use super::contents::{ContentsReader, ContentsRecord, is_comment};
use super::depend::{Depend, DependError};
use super::params::{self, ParamFile};
use super::pkgmap::Pkgmap;
use super::{deletes, obsoleted_by, prototype, readme, remote, response, space};
use crate::package::ContentsLine;

/// Lines of the excerpts that are not objects, each with its error: paths from someone's search, and the odd lines of
/// another parser's tests.
const NO_OBJECTS: &[(&str, &str)] = &[
    ("/bin", "unknown ftype"),
    ("/boot/grub/bin/grub", "unknown ftype"),
    ("/boot/grub/bin/grub Z none 0555 root sys 378124 54144 1281112186 SUNWgrub", "unknown ftype"),
    ("/boot/grub/bin/grub f nonsense", "mode is not numeric."),
    ("/boot/x86.miniroot-safe", "unknown ftype"),
    ("/dev", "unknown ftype"),
    ("/devices/pseudo/arp@0:arp", "unknown ftype"),
    ("/etc/crypto/certs/SUNWObjectCA", "unknown ftype"),
    ("/etc/passwd", "unknown ftype"),
];

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared")
}

/// Returns all files below these directories for which `wanted` holds, with their paths below `../shared`.
fn files(test: &str, directories: &[&str], wanted: impl Fn(&str, &str) -> bool) -> Vec<(String, Vec<u8>)> {
    if !shared().is_dir() {
        crate::skipped(&format!("{test}: ../shared is not here"));
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = directories.iter().map(|name| shared().join(name)).collect();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            let below = path.strip_prefix(shared()).unwrap().to_str().unwrap().to_owned();
            let name = path.file_name().unwrap().to_str().unwrap();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && wanted(&below, name) {
                found.push((below, fs::read(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{test}: no files");
    found
}

#[test]
fn every_pkginfo_comes_back_and_says_the_same_when_written_plainly() {
    let wanted = |below: &str, name: &str| {
        name != "SOURCES.md"
            && (below.starts_with("realdata/pkginfo/") || name == "pkginfo" || name == "final.pkginfo")
    };
    for (below, text) in
        files("pkginfo", &["realdata/pkginfo", "realdata/contents", "goldens", "cases"], wanted)
    {
        let file = ParamFile::parse(&text).unwrap_or_else(|error| panic!("{below}: {error}"));
        assert_eq!(file.write(), text, "{below}");
        let plain = params::write(&file.params());
        assert_eq!(ParamFile::parse(&plain).unwrap().params(), file.params(), "{below}");
        if below.starts_with("goldens") && !below.starts_with("goldens/pkgs") {
            assert_eq!(plain.escape_ascii().to_string(), text.escape_ascii().to_string(), "{below}");
        }
    }
}

#[test]
fn every_pkgmap_comes_back_byte_for_byte() {
    let wanted = |_: &str, name: &str| name.ends_with("pkgmap");
    for (below, text) in files("pkgmap", &["realdata/pkgmap", "goldens", "cases"], wanted) {
        let map = Pkgmap::parse(&text).unwrap_or_else(|error| panic!("{below}: {error}"));
        assert_eq!(map.write().escape_ascii().to_string(), text.escape_ascii().to_string(), "{below}");
    }
}

#[test]
fn every_contents_line_comes_back_byte_for_byte() {
    let wanted = |below: &str, name: &str| {
        let database = name == "contents" || name.ends_with(".contents") || name.starts_with("contents-");
        database || below.starts_with("realdata/contents") && name.ends_with("-lines.txt")
    };
    for (below, text) in files("contents", &["realdata/contents", "goldens", "cases"], wanted) {
        for line in text.split(|&byte| byte == b'\n').filter(|line| !is_comment(line)) {
            let shown = line.escape_ascii().to_string();
            match ContentsLine::parse(line) {
                Ok(parsed) => assert_eq!(parsed.write().escape_ascii().to_string(), shown, "{below}"),
                Err(error) => {
                    let expected = NO_OBJECTS.iter().find(|(line, _)| *line == shown);
                    assert_eq!(
                        expected.map(|(_, reason)| *reason),
                        Some(&*error.to_string()),
                        "{below}: {shown}"
                    );
                }
            }
        }
        let comments =
            ContentsReader::new(&text[..]).filter(|r| matches!(r, Ok(ContentsRecord::Comment(_)))).count();
        assert!(comments <= 2 || !below.starts_with("goldens"), "{below}");
    }
}

#[test]
fn every_admin_file_is_understood() {
    let wanted = |below: &str, name: &str| {
        below.starts_with("realdata/admin/") && name != "SOURCES.md" || name == "admin"
    };
    for (below, text) in files("admin", &["realdata/admin", "goldens"], wanted) {
        let file = ParamFile::parse(&text).unwrap();
        assert_eq!(file.write(), text, "{below}");
        let (admin, unknown) = Admin::from_params(&file.params()).unwrap_or_else(|e| panic!("{below}: {e}"));
        assert_eq!(unknown, Vec::<String>::new(), "{below}");
        assert_ne!(admin, Admin::default(), "{below}");
    }
}

#[test]
fn the_small_files_of_a_patch_are_understood() {
    let wanted = |_: &str, name: &str| {
        ["remote", "obsoleted_by", "deletes"].contains(&name)
            || name.starts_with("response.")
            || name.starts_with("README.1")
            || name.starts_with("README.3")
    };
    for (below, text) in files("small files", &["goldens", "cases"], wanted) {
        match below.rsplit('/').next().unwrap() {
            "remote" => assert_eq!(remote::RemoteArchive::parse(&text).unwrap().write(), text, "{below}"),
            "obsoleted_by" => {
                assert_eq!(obsoleted_by::write(&obsoleted_by::parse(&text).unwrap()), text, "{below}");
            }
            "deletes" => assert_eq!(deletes::write(&deletes::parse(&text).unwrap()), text, "{below}"),
            name if name.starts_with("README.") => {
                assert_eq!(
                    readme::field(&text, "Patch-ID#").as_deref(),
                    name.strip_prefix("README."),
                    "{below}"
                );
            }
            _ => {
                let read = response::Response::parse(&text).unwrap();
                assert!(read.read_only.is_empty(), "{below}");
                let again = response::write(&read.params).unwrap_or_else(|error| panic!("{below}: {error}"));
                assert_eq!(response::Response::parse(&again).unwrap(), read, "{below}");
            }
        }
    }
}

#[test]
fn every_prototype_is_understood_and_says_the_same_when_written() {
    let wanted = |below: &str, name: &str| {
        below.starts_with("realdata/prototype/") && name != "SOURCES.md" || name == "prototype"
    };
    let mut entries = 0;
    for (below, text) in files("prototype", &["realdata/prototype", "goldens"], wanted) {
        for line in prototype::lines(&text) {
            let line = line.unwrap_or_else(|error| panic!("{below}: {error}"));
            entries += 1;
            let written = line.item.write();
            let mut item = line.item;
            if let prototype::PrototypeItem::Entry(entry) = &mut item {
                entry.has_extra_fields = false;
            }
            let again = prototype::lines(&written).next().unwrap().unwrap();
            assert_eq!(again.item, item, "{below}: line {}", line.number);
        }
    }
    assert!(entries == 0 || entries > 100_000, "{entries}");
}

#[test]
fn every_depend_file_is_understood_but_for_one_line() {
    let wanted = |below: &str, name: &str| {
        below.starts_with("realdata/depend/") && name != "SOURCES.md" || name == "depend"
    };
    let (mut dependencies, mut versions) = (0, 0);
    let files = files("depend", &["realdata/depend", "goldens", "cases"], wanted);
    for (below, text) in &files {
        let read = Depend::parse(text);
        dependencies += read.dependencies.len();
        versions += read.dependencies.iter().map(|one| one.versions.len()).sum::<usize>();
        let expected: &[DependError] = if below.ends_with("SUNWmpapi__depend") {
            &[DependError::Type { line: 50, found: "p".to_owned() }]
        } else {
            &[]
        };
        assert_eq!(read.skipped, expected, "{below}");
    }
    assert!(files.is_empty() || dependencies > 3_500 && versions > 5, "{dependencies} {versions}");
}

#[test]
fn every_space_file_is_understood() {
    let wanted = |below: &str, name: &str| {
        below.starts_with("realdata/space/") && name != "SOURCES.md" || name == "space"
    };
    let mut lines = 0;
    let files = files("space", &["realdata/space", "goldens", "cases"], wanted);
    for (below, text) in &files {
        lines += space::parse(text).unwrap_or_else(|error| panic!("{below}: {error}")).len();
    }
    assert!(files.is_empty() || lines >= 6, "{lines}");
}
