//! rpm packages whose archive has no names and sizes, as those of files of 4 GiB and more: made by hand as rpm writes them,
//! and one that rpmbuild itself makes.

use std::fs;
use std::process::Command;

use super::*;
use patchadm_releases::ReleaseObjectKind;
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader, CpioWriter};

/// The types of values in a header.
const INT16: u32 = 3;
const INT32: u32 = 4;
const INT64: u32 = 5;
const STRING: u32 = 6;
const STRINGS: u32 = 8;

/// A file of a package.
struct RpmFile {
    name: &'static str,
    mode: u16,
    /// Its size in the header, and the bytes of it in the archive.
    size: u64,
    data: &'static str,
    target: &'static str,
    inode: u32,
}

fn file(name: &'static str, data: &'static str, inode: u32) -> RpmFile {
    RpmFile { name, mode: 0o100_644, size: data.len() as u64, data, target: "", inode }
}

/// Returns every kind of member: a directory, two names of one file, an empty file, a link.
fn files() -> Vec<RpmFile> {
    let directory = RpmFile { mode: 0o040_755, size: 4096, ..file("", "", 1) };
    let first_name = RpmFile { size: 7, ..file("one", "", 2) };
    let link = RpmFile { mode: 0o120_777, size: 3, data: "one", target: "one", ..file("s", "", 5) };
    let files = [directory, file("empty", "", 3), file("large", "content", 4), first_name];
    files.into_iter().chain([link, file("two", "shared\n", 2)]).collect()
}

/// A value of a header under construction.
struct HeaderBuilder {
    index: Vec<u8>,
    store: Vec<u8>,
    count: u32,
}

impl HeaderBuilder {
    fn new() -> Self {
        Self { index: Vec::new(), store: Vec::new(), count: 0 }
    }

    fn put(&mut self, tag: u32, value_type: u32, count: usize, bytes: &[u8]) {
        let width = match value_type {
            INT16 => 2,
            INT32 => 4,
            INT64 => 8,
            _ => 1,
        };
        self.store.resize(self.store.len().next_multiple_of(width), 0);
        let [at, count] = [self.store.len(), count].map(|number| u32::try_from(number).unwrap());
        for word in [tag, value_type, at, count] {
            self.index.extend(word.to_be_bytes());
        }
        self.store.extend(bytes);
        self.count += 1;
    }

    fn texts(&mut self, tag: u32, value_type: u32, texts: &[&str]) {
        let bytes: Vec<u8> = texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
        self.put(tag, value_type, texts.len(), &bytes);
    }

    fn words(&mut self, tag: u32, words: impl Iterator<Item = u32>) {
        let bytes: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
        self.put(tag, INT32, bytes.len() / 4, &bytes);
    }

    fn finish(self) -> Vec<u8> {
        let sizes =
            [self.count.to_be_bytes(), u32::try_from(self.store.len()).unwrap().to_be_bytes()].concat();
        [&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0], &sizes[..], &self.index, &self.store].concat()
    }
}

/// Returns the header of a package of these files.
fn header(files: &[RpmFile], has_sizes: bool) -> Vec<u8> {
    let mut header = HeaderBuilder::new();
    for (tag, text) in [(1000, "acmebig"), (1001, "1.0"), (1002, "1"), (1022, "noarch")] {
        header.texts(tag, STRING, &[text]);
    }
    let count = files.len();
    let modes: Vec<u8> = files.iter().flat_map(|file| file.mode.to_be_bytes()).collect();
    header.put(1030, INT16, count, &modes);
    header.put(1033, INT16, count, &vec![0; 2 * count]);
    header.words(1034, files.iter().map(|_| 1_600_000_000));
    header.texts(1036, STRINGS, &files.iter().map(|file| file.target).collect::<Vec<_>>());
    header.words(1037, files.iter().map(|_| 0));
    header.texts(1039, STRINGS, &vec!["root"; count]);
    header.texts(1040, STRINGS, &vec!["root"; count]);
    header.words(1095, files.iter().map(|_| 1));
    header.words(1096, files.iter().map(|file| file.inode));
    header.words(1116, files.iter().map(|file| u32::from(!file.name.is_empty())));
    let names: Vec<&str> =
        files.iter().map(|file| if file.name.is_empty() { "acme" } else { file.name }).collect();
    header.texts(1117, STRINGS, &names);
    header.texts(1118, STRINGS, &["/opt/", "/opt/acme/"]);
    if has_sizes {
        let sizes: Vec<u8> = files.iter().flat_map(|file| file.size.to_be_bytes()).collect();
        header.put(5008, INT64, count, &sizes);
    }
    header.finish()
}

/// Adds a part, begun at a multiple of 4 bytes.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// Returns the archive of these files, in the order of rpm: names of one file together, after all others.
fn archive(files: &[RpmFile]) -> Vec<u8> {
    let has_other_names = |file: &RpmFile| files.iter().filter(|one| one.inode == file.inode).count() > 1;
    let (linked, single): (Vec<usize>, Vec<usize>) =
        (0..files.len()).partition(|&at| has_other_names(&files[at]));
    let mut archive = Vec::new();
    for at in single.into_iter().chain(linked) {
        pad(&mut archive);
        archive.extend(format!("07070X{at:08x}").bytes());
        pad(&mut archive);
        archive.extend(files[at].data.bytes());
    }
    pad(&mut archive);
    archive.extend(format!("070701{}{}{}", "0".repeat(32), "00000001", "0".repeat(48)).bytes());
    archive.extend(b"0000000b00000000TRAILER!!!\0");
    pad(&mut archive);
    archive
}

fn package(header: &[u8], archive: &[u8]) -> Vec<u8> {
    let mut lead = [0; 96];
    lead[..4].copy_from_slice(b"\xed\xab\xee\xdb");
    let mut signature = HeaderBuilder::new();
    signature.texts(999, STRING, &["none"]);
    let mut signature = signature.finish();
    signature.resize(signature.len().next_multiple_of(8), 0);
    [&lead[..], &signature, header, archive].concat()
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acmebig.rpm");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// Returns the fault of a package of this header and archive.
fn fault(header: &[u8], archive: &[u8]) -> String {
    let (_dir, path) = written(&package(header, archive));
    refused(&path)
}

#[test]
fn an_archive_without_names_and_sizes_has_those_of_the_header() {
    let files = files();
    let (_dir, path) = written(&package(&header(&files, true), &archive(&files)));
    let release = opened(&path);
    let package = &release.packages[0];
    let paths: Vec<String> = package.objects.iter().map(|object| object.path.to_string()).collect();
    let below = ["empty", "large", "one", "s", "two"].map(|name| format!("/opt/acme/{name}"));
    assert_eq!(paths, [&["/opt/acme".to_owned()], &below[..]].concat());
    let found = contents(package);
    let found: Vec<(&str, &[u8])> =
        found.iter().map(|(path, bytes)| (path.trim_start_matches("/opt/acme/"), &bytes[..])).collect();
    assert_eq!(found, [("empty", &b""[..]), ("large", b"content"), ("one", b"shared\n")]);
    let groups = ["/opt/acme/one", "/opt/acme/two"].map(|path| object(package, path).link_group());
    assert!(groups[0].is_some() && groups[0] == groups[1]);
    assert_eq!(object(package, "/opt/acme/s").kind, ReleaseObjectKind::Symlink(b"one".to_vec()));
}

#[test]
fn an_archive_without_names_that_does_not_fit_its_header_is_refused() {
    let files = files();
    let (right, bytes) = (header(&files, true), archive(&files));
    assert!(fault(&header(&files, false), &bytes).contains("the header does not state their sizes"));
    let exchanged = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        fault(&right, &bytes)
    };
    let other = "07070X00000006";
    assert!(exchanged("07070X00000002", other).contains("00000006, which the header does not list"));
    assert!(exchanged("07070X00000002", "07070X+0000002").contains("+0000002, which the header"));
    assert!(exchanged("07070X00000002", "07070X00000001").contains("two members are called"));
    assert!(exchanged("07070X00000002", "07070200000002").contains("no cpio header"));
    assert!(exchanged("TRAILER!!!", "TRAILER???").contains("with and without a name"));
    let end = bytes.windows(11).position(|part| part == b"TRAILER!!!\0").unwrap() + 11;
    for length in 0..end {
        fault(&right, &bytes[..length]);
    }
    let mut larger = files;
    larger[2].size = u64::MAX;
    assert!(fault(&header(&larger, true), &bytes).contains("damaged"));
    larger[2].size = 3;
    assert!(fault(&header(&larger, true), &bytes).contains("damaged"));
}

#[test]
fn names_that_share_a_long_directory_are_refused_before_they_are_put_together() {
    let mut header = HeaderBuilder::new();
    for (tag, text) in [(1000, "acmebig"), (1001, "1.0"), (1002, "1"), (1022, "noarch")] {
        header.texts(tag, STRING, &[text]);
    }
    let count = 600;
    header.put(1030, INT16, count, &0o100_644_u16.to_be_bytes().repeat(count));
    header.words(1116, (0..count).map(|_| 0));
    header.texts(1117, STRINGS, &vec!["name"; count]);
    header.texts(1118, STRINGS, &[format!("/{}/", "x".repeat(1 << 20)).as_str()]);
    header.put(5008, INT64, count, &vec![0; 8 * count]);
    let told = "it has more than 512.0 MiB of paths, link targets and attributes";
    assert_eq!(fault(&header.finish(), b"07070X"), told);
}

#[test]
fn directories_of_the_archive_that_the_header_does_not_list_are_nothing_and_listed_ones_occur_once() {
    let files = files();
    let with = |names: &[&str]| {
        let mut archive = CpioWriter::new(Vec::new(), CpioFormat::Newc);
        for name in ["opt/acme", "opt/acme/s"].iter().chain(names) {
            archive.write_member(&CpioHeader::directory(name.as_bytes(), 0o755, 0), io::empty()).unwrap();
        }
        for file in files.iter().filter(|file| file.mode & 0o170_000 == 0o100_000) {
            let data = if file.inode == 2 { "shared\n" } else { file.data };
            let name = format!("opt/acme/{}", file.name);
            let member = CpioHeader::file(name.as_bytes(), 0o644, 0, data.len() as u64);
            archive.write_member(&member, data.as_bytes()).unwrap();
        }
        let (_dir, path) = written(&package(&header(&files, false), &archive.finish().unwrap()));
        open(path.as_os_str(), 2).map(|_| ()).map_err(|error| error.problem.to_string())
    };
    assert_eq!(with(&[]), Ok(()));
    assert_eq!(with(&["opt/other", "opt/other"]), Ok(()));
    assert_eq!(with(&["opt/acme"]), Err("two members are called </opt/acme>".to_owned()));
}

/// The spec file for `rpmbuild`: a file of 4 GiB and one byte, which is sparse and so takes no room.
const SPEC: &str = "Name: acmebig\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\nAutoReqProv: no\n\
    %description\nx\n%install\nmkdir -p %{buildroot}/opt/acme\ncd %{buildroot}/opt/acme\n\
    truncate -s 4294967297 huge\necho one > one\nln one two\nln -s one link\n: > empty\n\
    %files\n%dir /opt/acme\n/opt/acme/*\n";

#[test]
fn a_package_of_rpmbuild_with_a_file_over_4_gib_is_read_to_its_end() {
    let test = "a_package_of_rpmbuild_with_a_file_over_4_gib_is_read_to_its_end";
    if std::env::var_os("PATCHADM_TESTS").is_none_or(|value| value != "whole") {
        return crate::skipped(&format!("{test}: it is played with PATCHADM_TESTS=whole"));
    }
    if Command::new("rpmbuild").arg("--version").output().is_err() {
        return crate::skipped(&format!("{test}: rpmbuild is not here"));
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big.spec"), SPEC).unwrap();
    let top = dir.path().display();
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "big.spec", "--define", &format!("_topdir {top}/top")]);
    rpmbuild.args(["--define", "_binary_payload w1.zstdio", "--define", "__os_install_post %{nil}"]);
    let built = rpmbuild.current_dir(dir.path()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let release = opened(&dir.path().join("top/RPMS/noarch/acmebig-1.0-1.noarch.rpm"));
    let package = &release.packages[0];
    let size = |name: &str| object(package, &format!("/opt/acme/{name}")).content().unwrap().size;
    assert_eq!(["huge", "one", "two", "empty"].map(size), [4_294_967_297, 4, 4, 0]);
    let (mut read, wanted) = (0, |path: &ObjectPath| path.name() == b"huge");
    let copied = package.contents.each(&wanted, &mut |_, data| {
        read = io::copy(data, &mut io::sink())?;
        Ok(())
    });
    assert_eq!((copied.is_ok(), read), (true, 4_294_967_297));
}
