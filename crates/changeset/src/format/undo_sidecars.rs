//! Files beside an undo archive (patchadm-undo(5)). `undo.paths` ([`UndoPaths`]) lists changed paths, so that planning
//! need not decompress hundreds of archives. The manifest counts for restoring, and if the list is damaged.
//! ```text
//! <marker of the root> b3 <CRC-32C of the lines below, in hexadecimal>
//! <the first 16 bytes of the BLAKE3 of a path, in hexadecimal>      sorted, each path once
//! ```
//! `undo.b3` ([`UndoDigest`]) shows people digest, original name and run, as b3sum(1) does; the program ignores it.
//! ```text
//! <BLAKE3 of the archive>  <its name>  <the run>
//! ```
//! `delivered` ([`DeliveredObjects`]) lists delivered objects, so that a backout need not read unedited ones.
//! ```text
//! <CRC-32C of the lines below, in hexadecimal>
//! <inode> <birth time or -> <status change time> <BLAKE3> <path, escaped>
//! ```
//! Times are `seconds.nanoseconds`. No program can set the status change time, so an object with the same inode and
//! times holds the same bytes. The list is a hint: ignored if damaged, and line by line if objects do not match.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;

use patchadm_rootfs::{Digest, Inode, Timestamp};
use patchadm_svr4::package::{ObjectPath, escape, unescape};

const DIGITS: usize = 32;
const MARKER: usize = 16;
const HEAD: usize = MARKER + 13;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoPaths {
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathDigest(String);

impl PathDigest {
    pub fn of(path: &ObjectPath) -> Self {
        let mut text = Digest::of(path.as_bytes()).to_string();
        text.truncate(DIGITS);
        Self(text)
    }
}

impl UndoPaths {
    /// `None` if malformed.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let (head, lines) = bytes.split_at_checked(HEAD)?;
        (head.get(MARKER..)? == checksum(lines).as_bytes()).then_some(Self { bytes })
    }

    pub fn write<'a>(marker: &str, paths: impl Iterator<Item = &'a ObjectPath>) -> Vec<u8> {
        let mut digests: Vec<PathDigest> = paths.map(PathDigest::of).collect();
        digests.sort_unstable();
        digests.dedup();
        let lines: String = digests.into_iter().map(|PathDigest(digest)| digest + "\n").collect();
        format!("{marker}{}{lines}", checksum(lines.as_bytes())).into_bytes()
    }

    /// Of the root with the saved objects.
    pub fn marker(&self) -> &[u8] {
        self.bytes.get(..MARKER).unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.bytes.len().saturating_sub(HEAD) / (DIGITS + 1)
    }

    pub fn digests(&self) -> impl Iterator<Item = PathDigest> {
        let (lines, _) = self.bytes.get(HEAD..).unwrap_or_default().as_chunks::<{ DIGITS + 1 }>();
        let digits = lines.iter().map(|line| String::from_utf8_lossy(&line[..DIGITS]));
        digits.map(|digest| PathDigest(digest.into_owned()))
    }

    pub fn has(&self, PathDigest(digest): &PathDigest) -> bool {
        let lines = self.bytes.get(HEAD..).unwrap_or_default();
        let (lines, _) = lines.as_chunks::<{ DIGITS + 1 }>();
        lines.binary_search_by(|line| line[..DIGITS].cmp(digest.as_bytes())).is_ok()
    }
}

fn checksum(lines: &[u8]) -> String {
    format!(" b3 {:08x}\n", crc32c::crc32c(lines))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoDigest {
    /// BLAKE3 of the archive.
    pub b3: Digest,
    /// Without double blanks and newlines.
    pub name: Vec<u8>,
    /// `<number>-<16 hexadecimal digits>`.
    pub run: String,
}

impl UndoDigest {
    /// `None` if malformed.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (digest, rest) = text.strip_suffix(b"\n")?.split_at_checked(64)?;
        let rest = rest.strip_prefix(b"  ")?;
        let gap = rest.windows(2).rposition(|pair| pair == b"  ")?;
        let (name, run) = (rest.get(..gap)?, rest.get(gap + 2..)?);
        let is_run = !run.is_empty() && run.iter().all(u8::is_ascii_graphic);
        let is_name = !name.is_empty() && !name.contains(&b'\n');
        (is_run && is_name).then_some(())?;
        Some(Self {
            b3: Digest::from_hex(str::from_utf8(digest).ok()?)?,
            name: name.to_vec(),
            run: String::from_utf8_lossy(run).into_owned(),
        })
    }

    pub fn write(&self) -> Vec<u8> {
        let digest = self.b3.to_string();
        [digest.as_bytes(), b"  ", &self.name, b"  ", self.run.as_bytes(), b"\n"].concat()
    }
}

pub const DELIVERED: &[u8] = b"delivered";
/// 256 MiB.
pub const LARGEST_DELIVERED: u64 = 256 << 20;

const CHECKSUM: usize = 8;

/// Right after the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredIdentity {
    /// A copy has another inode or birth time.
    pub inode: Inode,
    pub changed: Timestamp,
    pub b3: Digest,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveredObjects(pub BTreeMap<ObjectPath, DeliveredIdentity>);

impl DeliveredObjects {
    /// `None` if malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (stated, lines) = bytes.split_at_checked(CHECKSUM + 1)?;
        if stated != head(crc32c::crc32c(lines)).as_bytes() {
            return None;
        }
        let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(line).collect::<Option<_>>().map(Self)
    }

    /// In the order of paths.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = write_listed(self.0.iter().map(|(path, object)| (path, *object)), &mut bytes);
        bytes
    }
}

/// Objects must be in path order. Each line is made twice, because the checksum comes first; so the file is never in
/// memory.
pub fn write_listed<'l>(
    objects: impl Iterator<Item = (&'l ObjectPath, DeliveredIdentity)> + Clone,
    to: &mut impl Write,
) -> io::Result<()> {
    let lines = objects.map(|(path, object)| written(path, object));
    let sum = lines.clone().fold(0, |sum, line| crc32c::crc32c_append(sum, &line));
    to.write_all(head(sum).as_bytes())?;
    for line in lines {
        to.write_all(&line)?;
    }
    Ok(())
}

fn written(path: &ObjectPath, object: DeliveredIdentity) -> Vec<u8> {
    let born = object.inode.born.map_or_else(|| "-".to_owned(), |born| born.to_string());
    let mut line = format!("{} {born} {} {} ", object.inode.number, object.changed, object.b3).into_bytes();
    line.extend_from_slice(&escape(path.as_bytes()));
    line.push(b'\n');
    line
}

fn head(checksum: u32) -> String {
    format!("{checksum:08x}\n")
}

fn line(line: &[u8]) -> Option<(ObjectPath, DeliveredIdentity)> {
    let mut words = line.splitn(5, |&byte| byte == b' ');
    let mut text = || std::str::from_utf8(words.next()?).ok();
    let (number, born, changed, digest) = (text()?, text()?, text()?, text()?);
    let born = if born == "-" { None } else { Some(Timestamp::parse(born)?) };
    let inode = Inode { number: number.parse().ok()?, born };
    let object =
        DeliveredIdentity { inode, changed: Timestamp::parse(changed)?, b3: Digest::from_hex(digest)? };
    Some((ObjectPath::new(&unescape(words.next()?)).ok()?, object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn anything_else_is_no_list_of_paths() {
        let path = ObjectPath::new(b"/opt/a").unwrap();
        let good = UndoPaths::write("0123456789abcdef", [&path].into_iter());
        assert!(UndoPaths::parse(good.clone()).unwrap().has(&PathDigest::of(&path)));
        for bad in [
            &b""[..],
            b"0123456789abcdef",
            b"0123456789abcdefx",
            b"0123456789abcdef\n",
            &good[..good.len() - 1],
            &[&good[..], b"\n"].concat(),
        ] {
            assert_eq!(UndoPaths::parse(bad.to_vec()), None, "{}", bad.escape_ascii());
        }
        for at in MARKER..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(UndoPaths::parse(bad), None, "byte {at}");
        }
        let of_another_root = [b"f", &good[1..]].concat();
        assert_eq!(UndoPaths::parse(of_another_root).unwrap().marker(), b"f123456789abcdef");
    }

    proptest! {
        #[test]
        fn a_list_has_what_was_written_and_nothing_else(
            paths in prop::collection::btree_set("/[a-d]{1,3}", 0..30),
            asked in "/[a-d]{1,3}",
        ) {
            let of = |path: &String| ObjectPath::new(path.as_bytes()).unwrap();
            let listed: Vec<ObjectPath> = paths.iter().map(of).collect();
            let bytes = UndoPaths::write("0123456789abcdef", listed.iter().chain(listed.first()));
            let list = UndoPaths::parse(bytes).unwrap();
            prop_assert_eq!(list.marker(), b"0123456789abcdef");
            prop_assert!(listed.iter().all(|path| list.has(&PathDigest::of(path))));
            prop_assert_eq!(list.has(&PathDigest::of(&of(&asked))), paths.contains(&asked));
            let mut digests: Vec<PathDigest> = listed.iter().map(PathDigest::of).collect();
            digests.sort();
            prop_assert_eq!(list.count(), digests.len());
            prop_assert_eq!(list.digests().collect::<Vec<_>>(), digests);
        }
    }

    const LINE: &str =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  undo.gz  17-00000000000000ab\n";

    #[test]
    fn the_line_has_the_digest_the_name_and_the_run() {
        let digest = UndoDigest::parse(LINE.as_bytes()).unwrap();
        assert_eq!((&digest.name[..], digest.run.as_str()), (&b"undo.gz"[..], "17-00000000000000ab"));
        assert_eq!(digest.write(), LINE.as_bytes());
    }

    #[test]
    fn anything_else_is_none() {
        for (from, to) in
            [("\n", ""), ("\n", "\n\n"), ("  17", " 17"), ("ba78", "BA7x"), ("undo.gz", ""), ("17-", "1 7-")]
        {
            assert_eq!(UndoDigest::parse(LINE.replacen(from, to, 1).as_bytes()), None, "{from:?} as {to:?}");
        }
    }

    fn list() -> DeliveredObjects {
        let object = |number, born| DeliveredIdentity {
            inode: Inode { number, born },
            changed: Timestamp { seconds: 1_700_000_000, nanoseconds: 7 },
            b3: Digest::of(b"bytes"),
        };
        let path = |path: &[u8]| ObjectPath::new(path).unwrap();
        DeliveredObjects(BTreeMap::from([
            (path(b"/opt/a b\n\xff"), object(12, Some(Timestamp { seconds: -1, nanoseconds: 999_999_999 }))),
            (path(b"/opt/c"), object(u64::MAX, None)),
        ]))
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(DeliveredObjects::parse(&list().write()), Some(list()));
        assert_eq!(
            DeliveredObjects::parse(&DeliveredObjects::default().write()),
            Some(DeliveredObjects::default())
        );
    }

    #[test]
    fn a_list_with_any_other_byte_is_none() {
        let written = list().write();
        assert_eq!(DeliveredObjects::parse(b""), None);
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 1;
            assert_eq!(DeliveredObjects::parse(&damaged), None, "byte {at}");
            assert_eq!(DeliveredObjects::parse(&written[..at]), None, "cut at {at}");
        }
    }
}
