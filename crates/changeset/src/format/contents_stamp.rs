//! `var/sadm/patchadm/contents.stamp` (contents(5)): facts about the `contents` of the last run. While it fits (inode,
//! size, time), binary search and splicing work; otherwise everything is read. It proves nothing, since writers of
//! records may write it, but shows changes by others.
//!
//! ```text
//! 1024 bytes  CRC-32C and one JSON object, padded with blanks      as a sector of the journal
//! lines       <source> <name>                                      escaped as in contents, in the order of their bytes
//! lines       <package> <lines>                                    in the order of their bytes
//! lines       <package> <run> <BLAKE3 of pkginfo> s|-              in the order of their bytes; s: with a spooled copy
//!              <path>                                              after its package: given up, although the object stays
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::format::journal;
use crate::format::journal::SECTOR;
use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::format::contents::{is_comment, owner_names, path_of, with_escaped_blanks};
use patchadm_svr4::package::{Ftype, ObjectPath, PkgInst, escape, unescape};

/// Versions 1 and 2 had SHA-256 digests; 3 had no facts about packages.
const VERSION: u32 = 4;
/// Bytes. Lookups do not use the stamp of a database with more hard links.
pub const MOST_LINK_BYTES: usize = 8 << 20;
pub const STAMP_HEAD: usize = 2 * SECTOR;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsStamp {
    pub inode: Inode,
    pub size: u64,
    pub mtime: Timestamp,
    /// Bytes before the trailer.
    pub body: u64,
    /// BLAKE3.
    pub b3: Digest,
    /// Bytes of lines about hard links.
    pub links: u64,
    /// Bytes of lines about owners.
    pub owners: u64,
    /// Bytes of lines about pkginfo files.
    pub packages: u64,
    /// The run that wrote `contents`.
    pub run: u64,
    /// The run that wrote the stamp; every run does.
    pub by: u64,
    /// Hard links and owners are listed, so lookups may use the stamp.
    pub is_listed: bool,
    /// BLAKE3 of all lines after the head.
    pub lines: Digest,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    inode: Inode,
    size: u64,
    mtime: Timestamp,
    body: u64,
    b3: String,
    links: u64,
    owners: u64,
    packages: u64,
    run: u64,
    by: u64,
    listed: bool,
    lines: String,
}

impl ContentsStamp {
    /// Reads the first [`STAMP_HEAD`] bytes; `None` if malformed or of another version.
    pub fn parse(head: &[u8]) -> Option<Self> {
        let head: Head = journal::checked_values(head.trim_ascii_end()).next()?;
        let Head { version, inode, size, mtime, body, b3, links, owners, packages, run, by, listed, lines } =
            head;
        let makes_sense = version == VERSION && body <= size;
        let (b3, lines) = (Digest::from_hex(&b3)?, Digest::from_hex(&lines)?);
        let is_listed = listed;
        let stamp = Self { inode, size, mtime, body, b3, links, owners, packages, run, by, is_listed, lines };
        makes_sense.then_some(stamp)
    }

    /// Bytes of the whole file.
    pub fn length(&self) -> Option<u64> {
        (STAMP_HEAD as u64).checked_add(self.links)?.checked_add(self.owners)?.checked_add(self.packages)
    }

    /// The lines come from [`Links::into_bytes`], [`OwnerCounts::into_bytes`] and [`BoundPackages::write`]; their
    /// lengths and digest replace the fields.
    pub fn write(&self, links: &[u8], owners: &[u8], packages: &[u8]) -> Vec<u8> {
        let Self { inode, size, mtime, body, ref b3, run, by, is_listed, .. } = *self;
        let (version, b3) = (VERSION, b3.to_string());
        let lines = [links, owners, packages].concat();
        let head = Head {
            version,
            inode,
            size,
            mtime,
            body,
            b3,
            links: links.len() as u64,
            owners: owners.len() as u64,
            packages: packages.len() as u64,
            run,
            by,
            listed: is_listed,
            lines: Digest::of(&lines).to_string(),
        };
        let mut out = journal::checked_line(&head);
        out.pop();
        out.resize(STAMP_HEAD - 1, b' ');
        out.push(b'\n');
        out.extend_from_slice(&lines);
        out
    }
}

/// Packages in a database, each with its number of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerCounts {
    counts: BTreeMap<Vec<u8>, u64>,
    /// A line could not be parsed, so nothing is known.
    is_odd: bool,
}

impl OwnerCounts {
    /// `None` if malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let count = |line: &[u8]| {
            let at = line.iter().position(|&byte| byte == b' ')?;
            let count = std::str::from_utf8(line.get(at + 1..)?).ok()?.parse().ok()?;
            Some((line.get(..at)?.to_vec(), count))
        };
        Some(Self { counts: lines.map(count).collect::<Option<_>>()?, is_odd: false })
    }

    pub fn note(&mut self, raw: &[u8]) {
        let Some(names) = owner_names(raw) else {
            self.is_odd |= !is_comment(raw);
            return;
        };
        for name in names {
            match self.counts.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(name.to_vec(), 1)),
            }
        }
    }

    /// Reverses [`note`](Self::note).
    pub fn forget(&mut self, raw: &[u8]) {
        for name in owner_names(raw).into_iter().flatten() {
            match self.counts.get_mut(name) {
                Some(1) => drop(self.counts.remove(name)),
                Some(count) => *count -= 1,
                None => self.is_odd = true,
            }
        }
    }

    pub fn count(&self, name: &[u8]) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// In byte order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.counts.keys().map(Vec::as_slice)
    }

    /// `None` if a line could not be parsed.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        let line = |(name, count): (Vec<u8>, u64)| [name, format!(" {count}\n").into_bytes()].concat();
        (!self.is_odd).then(|| self.counts.into_iter().flat_map(line).collect())
    }
}

/// In order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Links {
    lines: Vec<Vec<u8>>,
    bytes: usize,
}

impl Links {
    /// Ignores other lines.
    pub fn note(&mut self, raw: &[u8]) {
        let Some(line) = link_line(raw) else { return };
        self.bytes = self.bytes.saturating_add(line.len() + 1);
        if self.bytes <= MOST_LINK_BYTES {
            self.lines.push(line);
        } else {
            self.lines = Vec::new();
        }
    }

    /// Sorted; `None` if they exceed [`MOST_LINK_BYTES`].
    pub fn into_bytes(mut self) -> Option<Vec<u8>> {
        if self.bytes > MOST_LINK_BYTES {
            return None;
        }
        self.lines.sort_unstable();
        let mut bytes = Vec::with_capacity(self.bytes);
        for line in self.lines {
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
        }
        Some(bytes)
    }
}

pub(crate) fn link_line(raw: &[u8]) -> Option<Vec<u8>> {
    let (name, source) = link_of(raw)?;
    let mut line = beginning(&source);
    line.extend_from_slice(&escape(name.as_bytes()));
    Some(line)
}

/// The prefix of lines with links to `source`.
pub fn beginning(source: &ObjectPath) -> Vec<u8> {
    let mut line = escape(source.as_bytes());
    line.push(b' ');
    line
}

pub fn name_in(line: &[u8]) -> Option<ObjectPath> {
    let at = line.iter().position(|&byte| byte == b' ')?;
    ObjectPath::new(&unescape(line.get(at + 1..)?)).ok()
}

/// Returns name and source of a hard link; reads only the first three fields.
pub fn link_of(raw: &[u8]) -> Option<(ObjectPath, ObjectPath)> {
    match with_escaped_blanks(raw) {
        Some(escaped) => plain_link_of(&escaped),
        None => plain_link_of(raw),
    }
}

fn plain_link_of(raw: &[u8]) -> Option<(ObjectPath, ObjectPath)> {
    let blanks = raw.iter().take_while(|byte| b" \t".contains(byte)).count();
    if raw.get(blanks + path_of(raw).len()) != Some(&b'=') || is_comment(raw) {
        return None;
    }
    let mut fields = raw.split(|&b| b == b' ' || b == b'\t').filter(|field| !field.is_empty());
    let first = fields.next()?;
    let equals = first.iter().position(|&b| b == b'=')?;
    let is_volume = |field: &&[u8]| field.iter().all(u8::is_ascii_digit);
    let ftype = fields.find(|field| !is_volume(field))?;
    if *ftype != [Ftype::Link.letter()] {
        return None;
    }
    let (name, target) = (first.get(..equals)?, first.get(equals + 1..)?);
    let name = ObjectPath::new(&unescape(name)).ok()?;
    let source = name.link_source(&unescape(target)).ok()?;
    Some((name, source))
}

/// As a run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPackage {
    pub run: u64,
    pub pkginfo: Digest,
    /// `save/pspool` had a copy of its pkgmap.
    pub is_spooled: bool,
    /// Lines were removed, but objects stay, as after removef(1M).
    pub given_up: BTreeSet<ObjectPath>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundPackages(BTreeMap<PkgInst, BoundPackage>);

impl BoundPackages {
    /// `None` if malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut packages = Self::default();
        let mut last = None;
        let lines = bytes.strip_suffix(b"\n").map_or(&[][..], |lines| lines).split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(path) = line.strip_prefix(b" ") {
                let package: &PkgInst = last.as_ref()?;
                let path = ObjectPath::new(&unescape(path)).ok()?;
                packages.0.get_mut(package)?.given_up.insert(path);
                continue;
            }
            let (name, bound) = package_of(std::str::from_utf8(line).ok()?)?;
            last = Some(name.clone());
            packages.set(name, bound);
        }
        (bytes.is_empty() || bytes.ends_with(b"\n")).then_some(packages)
    }

    pub fn write(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (name, bound) in &self.0 {
            let copy = if bound.is_spooled { "s" } else { "-" };
            lines.extend_from_slice(format!("{name} {} {} {copy}\n", bound.run, bound.pkginfo).as_bytes());
            for path in &bound.given_up {
                lines.push(b' ');
                lines.extend_from_slice(&escape(path.as_bytes()));
                lines.push(b'\n');
            }
        }
        lines
    }

    pub fn get(&self, package: &PkgInst) -> Option<&BoundPackage> {
        self.0.get(package)
    }

    pub fn get_mut(&mut self, package: &PkgInst) -> Option<&mut BoundPackage> {
        self.0.get_mut(package)
    }

    /// Iterates in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&PkgInst, &BoundPackage)> {
        self.0.iter()
    }

    pub fn set(&mut self, package: PkgInst, bound: BoundPackage) {
        self.0.insert(package, bound);
    }

    pub fn remove(&mut self, package: &PkgInst) {
        self.0.remove(package);
    }
}

fn package_of(line: &str) -> Option<(PkgInst, BoundPackage)> {
    let mut words = line.split(' ');
    let name = PkgInst::new(words.next()?).ok()?;
    let run = words.next()?.parse().ok()?;
    let pkginfo = Digest::from_hex(words.next()?)?;
    let is_spooled = match words.next()? {
        "s" => true,
        "-" => false,
        _ => return None,
    };
    let bound = BoundPackage { run, pkginfo, is_spooled, given_up: BTreeSet::new() };
    words.next().is_none().then_some((name, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> ContentsStamp {
        let mtime = Timestamp { seconds: 1_577_836_800, nanoseconds: 123_456_789 };
        let inode = Inode { number: 4711, born: Some(mtime) };
        ContentsStamp {
            inode,
            size: 1000,
            mtime,
            body: 900,
            b3: Digest([7; 32]),
            links: 20,
            owners: 6,
            packages: 5,
            run: 17,
            by: 18,
            is_listed: true,
            lines: Digest::of(b"/opt/a /opt/b\n/o /p\nX 700\nX 17\n"),
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is_a_stamp() {
        let bytes = stamp().write(b"/opt/a /opt/b\n/o /p\n", b"X 700\n", b"X 17\n");
        assert_eq!(bytes.len() as u64, stamp().length().unwrap());
        assert_eq!(ContentsStamp::parse(&bytes[..STAMP_HEAD]), Some(stamp()));
        for damage in [0, 20, 100] {
            let mut bytes = bytes.clone();
            bytes[damage] ^= 1;
            assert_eq!(ContentsStamp::parse(&bytes[..STAMP_HEAD]), None, "byte {damage}");
        }
        for other in [&b""[..], b"\n", &[b' '; STAMP_HEAD], b"00000000 {}"] {
            assert_eq!(ContentsStamp::parse(other), None);
        }
    }

    #[test]
    fn a_stamp_of_an_earlier_version_is_none() {
        let bytes = stamp().write(b"", b"", b"");
        let mut head: serde_json::Value = journal::checked_values(bytes.trim_ascii_end()).next().unwrap();
        assert!(ContentsStamp::parse(&journal::checked_line(&head)).is_some());
        let sha256 = head.as_object_mut().unwrap().remove("b3").unwrap();
        head["sha256"] = sha256;
        for version in [1, 2, 3, 4] {
            head["version"] = version.into();
            assert_eq!(ContentsStamp::parse(&journal::checked_line(&head)), None, "{version}");
        }
    }

    #[test]
    fn the_largest_values_fit_into_the_head() {
        let mtime = Timestamp { seconds: i64::MIN, nanoseconds: 999_999_999 };
        let inode = Inode { number: u64::MAX, born: Some(mtime) };
        let most = u64::MAX;
        let stamp = ContentsStamp {
            inode,
            size: most,
            mtime,
            body: most,
            b3: Digest([255; 32]),
            links: 0,
            owners: 0,
            packages: 0,
            run: most,
            by: most,
            is_listed: false,
            lines: Digest::of(b""),
        };
        assert_eq!(ContentsStamp::parse(&stamp.write(b"", b"", b"")), Some(stamp));
    }

    #[test]
    fn packages_are_counted_line_by_line_and_gone_with_the_last() {
        let lines = [
            "/opt d none 0755 root root X Y",
            "/opt/a 1 f none 0755 root root 6 542 1577836800 +X",
            "/opt/b=a l none Y\\:cfg",
            "/opt/c c none 1 2 0644 root root Z",
        ];
        let mut owners = OwnerCounts::default();
        for line in lines {
            owners.note(line.as_bytes());
        }
        owners.note(b"# a comment");
        let bytes = owners.clone().into_bytes().unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), "X 2\nY 2\nZ 1\n");
        assert_eq!(OwnerCounts::parse(&bytes), Some(owners.clone()));
        owners.forget(lines[3].as_bytes());
        owners.forget(lines[0].as_bytes());
        assert_eq!(owners.names().collect::<Vec<_>>(), [b"X", b"Y"]);
        owners.note(b"/opt/d f none 0644");
        assert_eq!(owners.into_bytes(), None, "a line that makes no sense");
        assert_eq!(OwnerCounts::parse(b"X\n"), None);
    }

    #[test]
    fn links_are_listed_by_their_sources_and_other_lines_are_not() {
        let mut links = Links::default();
        for line in [
            "/opt/d=../opt/./a 1 l none Y\\",
            "/opt/c\\040c=a l none X",
            "/opt/s=a s none X",
            "/opt/l f none 0644 l l 1 2 3 l",
            "/opt/b=a l none +X Y:cfg",
            "# /opt/x=y l none X",
            "",
        ] {
            links.note(line.as_bytes());
        }
        let bytes = links.into_bytes().unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), "/opt/a /opt/b\n/opt/a /opt/c\\040c\n/opt/a /opt/d\n");
        let source = ObjectPath::new(b"/opt/a").unwrap();
        let names: Vec<_> = bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| line.starts_with(&beginning(&source)))
            .map(|line| name_in(line).unwrap().to_string())
            .collect();
        assert_eq!(names, ["/opt/b", "/opt/c c", "/opt/d"]);
    }

    #[test]
    fn a_database_with_too_many_links_gets_no_stamp() {
        let mut links = Links::default();
        let target = "x".repeat(200);
        for number in 0..20_000 {
            links.note(format!("/{target}/{number}=/{target}/{target} l none X").as_bytes());
        }
        assert_eq!(links.into_bytes(), None);
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let mut packages = BoundPackages::default();
        for (name, is_spooled) in [("X.2", true), ("ACMEweb", false), ("GONE", true)] {
            let paths: &[&[u8]] = if is_spooled { &[b"/opt/a b\n", b"/opt/c"] } else { &[] };
            let given_up = paths.iter().map(|path| ObjectPath::new(path).unwrap()).collect();
            let bound = BoundPackage { run: u64::MAX, pkginfo: Digest([7; 32]), is_spooled, given_up };
            packages.set(PkgInst::new(name).unwrap(), bound);
        }
        packages.remove(&PkgInst::new("GONE").unwrap());
        let text = packages.write();
        assert_eq!(BoundPackages::parse(&text), Some(packages.clone()));
        assert_eq!(packages.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["ACMEweb", "X.2"]);
        let text = String::from_utf8(text).unwrap();
        for (from, to) in [
            ("ACMEweb", "../x"),
            (" -", ""),
            (" -", " x"),
            (" -", " - -"),
            ("07", "xy"),
            (" 1", " a"),
            (" /opt/c", " opt/c"),
        ] {
            assert_eq!(BoundPackages::parse(text.replacen(from, to, 1).as_bytes()), None, "{from} {to}");
        }
        assert_eq!(BoundPackages::parse(b""), Some(BoundPackages::default()));
        for odd in [&b" /opt/c\n"[..], b"X.2", b"ACMEweb 1\n"] {
            assert_eq!(BoundPackages::parse(odd), None, "{odd:?}");
        }
    }
}
