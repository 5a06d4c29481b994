//! `undo.paths`: the paths that the undo archive beside it changed (patchadm-undo(5)), readable without opening the
//! archive.
//!
//! ```text
//! <marker of the root> b3 <CRC-32C of the lines below, in hexadecimal>
//! <the first 16 bytes of the BLAKE3 of a path, in hexadecimal>      sorted, each path once
//! ```
//! Planning a change asks every archive of a package about a few paths; five hundred archives answer from one line each
//! instead of being decompressed. The manifest in the archive counts when something is restored, and if the list is
//! damaged.

use patchadm_rootfs::Digest;
use patchadm_svr4::package::ObjectPath;

/// Hexadecimal digits of a line.
const DIGITS: usize = 32;
/// Hexadecimal digits of a marker.
const MARKER: usize = 16;
/// Bytes of the first line: marker, the word `b3` between blanks, eight digits, newline.
const HEAD: usize = MARKER + 13;

/// The parsed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoPaths {
    bytes: Vec<u8>,
}

/// A path in the form of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathDigest(String);

impl PathDigest {
    /// Returns the digest of a path.
    pub fn of(path: &ObjectPath) -> Self {
        let mut text = Digest::of(path.as_bytes()).to_string();
        text.truncate(DIGITS);
        Self(text)
    }
}

impl UndoPaths {
    /// Reads the file; returns `None` if it is anything else.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let (head, lines) = bytes.split_at_checked(HEAD)?;
        (head.get(MARKER..)? == checksum(lines).as_bytes()).then_some(Self { bytes })
    }

    /// Returns the bytes of the file.
    pub fn write<'a>(marker: &str, paths: impl Iterator<Item = &'a ObjectPath>) -> Vec<u8> {
        let mut digests: Vec<PathDigest> = paths.map(PathDigest::of).collect();
        digests.sort_unstable();
        digests.dedup();
        let lines: String = digests.into_iter().map(|PathDigest(digest)| digest + "\n").collect();
        format!("{marker}{}{lines}", checksum(lines.as_bytes())).into_bytes()
    }

    /// Returns the marker of the root whose objects the archive saves.
    pub fn marker(&self) -> &[u8] {
        self.bytes.get(..MARKER).unwrap_or_default()
    }

    /// Returns the number of its paths.
    pub fn count(&self) -> usize {
        self.bytes.len().saturating_sub(HEAD) / (DIGITS + 1)
    }

    /// Returns all of its paths.
    pub fn digests(&self) -> impl Iterator<Item = PathDigest> {
        let (lines, _) = self.bytes.get(HEAD..).unwrap_or_default().as_chunks::<{ DIGITS + 1 }>();
        let digits = lines.iter().map(|line| String::from_utf8_lossy(&line[..DIGITS]));
        digits.map(|digest| PathDigest(digest.into_owned()))
    }

    /// Returns whether the archive changed a path.
    pub fn has(&self, PathDigest(digest): &PathDigest) -> bool {
        let lines = self.bytes.get(HEAD..).unwrap_or_default();
        let (lines, _) = lines.as_chunks::<{ DIGITS + 1 }>();
        lines.binary_search_by(|line| line[..DIGITS].cmp(digest.as_bytes())).is_ok()
    }
}

/// Returns the part of the first line after the marker, for these lines.
fn checksum(lines: &[u8]) -> String {
    format!(" b3 {:08x}\n", crc32c::crc32c(lines))
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
}
