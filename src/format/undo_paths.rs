//! `undo.paths`: which paths the undo archive beside it changed (patchadm-undo(5)), without opening the archive.
//!
//! ```text
//! <marker of the root>
//! <the first 16 bytes of the SHA-256 of a path, in hexadecimal>      sorted, each path once
//! ```
//! Whoever plans a change asks every archive of a package about a few paths; five hundred archives answer from a line
//! each instead of being decompressed. The manifest in the archive is what counts when something is restored.

use sha2::{Digest as _, Sha256};

use crate::package::{Digest, ObjectPath};

/// Hexadecimal digits of a line.
const DIGITS: usize = 32;
/// Hexadecimal digits of a marker.
const MARKER: usize = 16;

/// The file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoPaths {
    bytes: Vec<u8>,
}

/// A path as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathDigest(String);

impl PathDigest {
    /// That of a path.
    pub fn of(path: &ObjectPath) -> Self {
        let mut text = Digest(Sha256::digest(path.as_bytes()).into()).to_string();
        text.truncate(DIGITS);
        Self(text)
    }
}

impl UndoPaths {
    /// Reads the file; none where it is anything else.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let lines = bytes.get(MARKER + 1..)?;
        let is_whole = bytes.get(MARKER) == Some(&b'\n') && lines.len() % (DIGITS + 1) == 0;
        let mut ends = lines.iter().skip(DIGITS).step_by(DIGITS + 1);
        (is_whole && ends.all(|&end| end == b'\n')).then_some(Self { bytes })
    }

    /// The file.
    pub fn write<'a>(marker: &str, paths: impl Iterator<Item = &'a ObjectPath>) -> Vec<u8> {
        let mut digests: Vec<PathDigest> = paths.map(PathDigest::of).collect();
        digests.sort_unstable();
        digests.dedup();
        let mut out = format!("{marker}\n");
        for PathDigest(digest) in digests {
            out.push_str(&digest);
            out.push('\n');
        }
        out.into_bytes()
    }

    /// The marker of the root whose objects the archive saves.
    pub fn marker(&self) -> &[u8] {
        self.bytes.get(..MARKER).unwrap_or_default()
    }

    /// Whether the archive changed a path.
    pub fn has(&self, PathDigest(digest): &PathDigest) -> bool {
        let lines = self.bytes.get(MARKER + 1..).unwrap_or_default();
        let (lines, _) = lines.as_chunks::<{ DIGITS + 1 }>();
        lines.binary_search_by(|line| line[..DIGITS].cmp(digest.as_bytes())).is_ok()
    }
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
            &good[..good.len() - 1],
            &[&good[..], b"\n"].concat(),
        ] {
            assert_eq!(UndoPaths::parse(bad.to_vec()), None, "{}", bad.escape_ascii());
        }
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
        }
    }
}
