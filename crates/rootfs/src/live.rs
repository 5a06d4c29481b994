//! Objects of the root as they were seen, down to the last attribute.

use std::collections::BTreeMap;
use std::fmt;

use super::FileType;
use patchadm_svr4::package::{ContentInfo, Mode};

/// Extended attributes: name (`user.x`, `security.capability`, …) to value. ACLs are among them on Linux.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A point in time as a file system keeps it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds of that second, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Makes the time of a whole second, as in a pkgmap.
    pub fn whole(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// Parses the displayed form: `seconds.nanoseconds`.
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, nanoseconds) = text.split_once('.')?;
        Some(Self { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }
}

/// A BLAKE3 digest: its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Parses 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        let mut doubt = 0;
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().as_chunks().0) {
            let [high, low] = digits.map(|digit: u8| NIBBLES[usize::from(digit)]);
            doubt |= high | low;
            *byte = high << 4 | low;
        }
        (doubt & NO_DIGIT == 0).then_some(Self(bytes))
    }
}

/// The value of each byte that is a hexadecimal digit; [`NO_DIGIT`] for every other.
const NIBBLES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xf0;

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (two, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *two = [byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The file type of an object in the root, with the data specific to that type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveKind {
    /// A regular file.
    Regular {
        /// The size in bytes.
        size: u64,
        /// The BLAKE3 of the bytes.
        b3: Digest,
        /// The System V sum of the bytes.
        cksum: u16,
    },
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device.
    Device {
        /// Whether it is a block device; otherwise a character device.
        block: bool,
        /// The major device number.
        major: u32,
        /// The minor device number.
        minor: u32,
    },
}

impl LiveKind {
    /// Returns the file type alone.
    pub fn file_type(&self) -> FileType {
        match self {
            Self::Regular { .. } => FileType::Regular,
            Self::Directory => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Pipe => FileType::Pipe,
            Self::Socket => FileType::Socket,
            Self::Device { block: true, .. } => FileType::Block,
            Self::Device { block: false, .. } => FileType::Character,
        }
    }
}

/// The identity of an object among others that look the same: its inode number and birth time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Inode {
    /// The inode number.
    pub number: u64,
    /// The birth time, if the file system keeps one.
    pub born: Option<Timestamp>,
}

/// An object of the root as it was seen; never the target of a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The file type and content.
    pub kind: LiveKind,
    /// The permission bits.
    pub mode: Mode,
    /// The numeric owner.
    pub uid: u32,
    /// The numeric group.
    pub gid: u32,
    /// The modification time.
    pub mtime: Timestamp,
    /// The status change time, which shows changes together with size and modification time.
    pub ctime: Timestamp,
    /// The identity of the object.
    pub inode: Inode,
    /// The number of its names.
    pub links: u64,
    /// The extended attributes.
    pub xattrs: Xattrs,
    /// The reason why no rename may touch it (immutable, append-only, a mount point), or `None`.
    pub obstacle: Option<&'static str>,
}

impl Live {
    /// Tells whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == LiveKind::Directory
    }

    /// Returns the size in bytes of a regular file.
    pub fn size(&self) -> Option<u64> {
        match self.kind {
            LiveKind::Regular { size, .. } => Some(size),
            _ => None,
        }
    }

    /// Returns size, sum and time of a regular file, as a line of `contents` has them.
    pub fn content_info(&self) -> Option<ContentInfo> {
        match self.kind {
            LiveKind::Regular { size, cksum, .. } => {
                Some(ContentInfo { size: Some(size), cksum: Some(cksum), mtime: Some(self.mtime.seconds) })
            }
            _ => None,
        }
    }

    /// Returns the digest of a regular file.
    pub fn digest(&self) -> Option<Digest> {
        match self.kind {
            LiveKind::Regular { b3, .. } => Some(b3),
            _ => None,
        }
    }

    /// Returns the major and minor number of a device.
    pub fn device(&self) -> Option<(u32, u32)> {
        match self.kind {
            LiveKind::Device { major, minor, .. } => Some((major, minor)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sixty_four_hexadecimal_digits_and_nothing_else() {
        let text = "0123456789abcdef".repeat(4);
        let digest = Digest::from_hex(&text).unwrap();
        assert_eq!((digest.0[0], digest.0[31], digest.to_string()), (0x01, 0xef, text.clone()));
        assert_eq!(Digest::from_hex(&text.to_uppercase()), Some(digest));
        for other in
            [&text[1..], &format!("{text}0"), &text.replacen("01", "+1", 1), &text.replacen('0', "g", 1)]
        {
            assert_eq!(Digest::from_hex(other), None, "{other}");
        }
    }
}
