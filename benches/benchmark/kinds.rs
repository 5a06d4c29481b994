//! What real files are: object code, text, compressed, or something else, by their first bytes.

/// The kinds that files are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Elf,
    Text,
    Compressed,
    Other,
}

impl Kind {
    /// All kinds, in the order of the tables.
    pub(crate) const ALL: [Self; 4] = [Self::Elf, Self::Text, Self::Compressed, Self::Other];

    /// The kind of a file that begins so; 4 KiB are enough.
    pub(crate) fn of(begin: &[u8]) -> Self {
        let begin = &begin[..begin.len().min(4096)];
        if begin.starts_with(b"\x7fELF") || begin.starts_with(b"!<arch>\n") {
            Self::Elf
        } else if COMPRESSED.iter().any(|magic| begin.starts_with(magic)) {
            Self::Compressed
        } else if begin.iter().all(|&byte| byte >= b' ' || matches!(byte, b'\t'..=b'\r' | 0x1b)) {
            Self::Text
        } else {
            Self::Other
        }
    }
}

/// What gzip, zip, xz, zstd, bzip2, PNG, JPEG, GIF and WOFF2 files begin with.
const COMPRESSED: [&[u8]; 9] = [
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"wOF2",
];
