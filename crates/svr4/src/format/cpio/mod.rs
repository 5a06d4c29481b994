//! cpio archives in the ASCII forms that SVR4 package datastreams are made of, read and written as streams.
//!
//! Read are the SVR4 form `070701` ("newc", `cpio -c`), the same with checksums `070702` ("crc", the sum of the
//! data bytes, verified), and the older portable form `070707` ("odc"). Written are newc and odc. Names are bytes.
//! Nothing seeks, and no length that comes from the archive is trusted for an allocation.
//!
//! Not read: the old binary form. Not resolved here: hard links; a group of newc members with one inode number
//! and a link count above 1 may carry the data in its last member only, and the caller sees `ino`, `nlink` and
//! `size` to tell.

mod reader;
mod writer;

use std::io;

pub use reader::CpioReader;
pub use writer::CpioWriter;

/// The name of the member that ends an archive.
pub const TRAILER: &[u8] = b"TRAILER!!!";

/// The longest member name, in bytes, without its NUL.
pub const LONGEST_NAME: usize = 4096;

/// The first size that a newc member cannot have: its field has 8 hexadecimal digits.
pub const NEWC_SIZE_END: u64 = 1 << 32;

/// The first size that an odc member cannot have: its field has 11 octal digits.
pub const ODC_SIZE_END: u64 = 1 << 33;

/// Bytes that every archive of a datastream is padded to.
pub const BLOCK: u64 = 512;

const HEAD_LENGTH_NEWC: usize = 110;
const HEAD_LENGTH_ODC: usize = 76;

/// The forms that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpioFormat {
    /// `070701`: members below 4 GiB.
    Newc,
    /// `070707`: members below 8 GiB, 18 bits for every number but size and time.
    Odc,
}

impl CpioFormat {
    /// The form that can hold a member of `largest` bytes; none from 8 GiB on.
    pub fn for_size(largest: u64) -> Option<Self> {
        match largest {
            0..NEWC_SIZE_END => Some(Self::Newc),
            NEWC_SIZE_END..ODC_SIZE_END => Some(Self::Odc),
            _ => None,
        }
    }
}

/// What an archive says about a member, before its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpioHeader {
    /// The name as the archive has it: any bytes but NUL, not checked to be a safe path.
    pub name: Vec<u8>,
    /// Inode number; a writer replaces 0 by the next free one of its archive.
    pub ino: u32,
    /// `st_mode`: file type and permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Number of links.
    pub nlink: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u64,
    /// Bytes of data.
    pub size: u64,
    /// Major and minor number of the device the file was on.
    pub dev: (u32, u32),
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
}

/// The bits of a mode that say what a file is.
const FILE_TYPE: u32 = 0o170_000;

impl CpioHeader {
    /// A regular file of root with these permission bits, device 0; a time that no archive can hold (before 1970,
    /// from 2106 on) becomes the nearest one that it can.
    pub fn file(name: &[u8], permissions: u32, mtime: i64, size: u64) -> Self {
        Self::new(name, 0o100_000 | (permissions & 0o7777), 1, mtime, size)
    }

    /// A directory of root; time as in [`CpioHeader::file`].
    pub fn directory(name: &[u8], permissions: u32, mtime: i64) -> Self {
        Self::new(name, 0o040_000 | (permissions & 0o7777), 2, mtime, 0)
    }

    fn new(name: &[u8], mode: u32, nlink: u32, mtime: i64, size: u64) -> Self {
        let mtime = u32::try_from(mtime.max(0)).unwrap_or(u32::MAX).into();
        let name = name.to_vec();
        Self { name, ino: 0, mode, uid: 0, gid: 0, nlink, mtime, size, dev: (0, 0), rdev: (0, 0) }
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & FILE_TYPE == 0o100_000
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & FILE_TYPE == 0o040_000
    }

    /// Whether it is a symbolic link; its data is the target.
    pub fn is_symlink(&self) -> bool {
        self.mode & FILE_TYPE == 0o120_000
    }

    /// The name for a message.
    pub fn shown(&self) -> String {
        self.name.escape_ascii().to_string()
    }
}

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// Neither of the known magic numbers stands where a header should begin.
    #[error("no cpio header at byte {offset} (magic is <{found}>)")]
    Magic {
        /// Where, counted from the beginning of the archive.
        offset: u64,
        /// The six bytes found.
        found: String,
    },
    /// A header of another form than the first one.
    #[error("the form of the archive changes at byte {offset}")]
    FormChanged {
        /// Where, counted from the beginning of the archive.
        offset: u64,
    },
    /// A field is not a number.
    #[error("header at byte {offset}: field `{field}` is not a number")]
    Digits {
        /// Where the header begins.
        offset: u64,
        /// The field.
        field: &'static str,
    },
    /// The name is empty, too long, or not ended by NUL.
    #[error("header at byte {offset}: member name {reason}")]
    Name {
        /// Where the header begins.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The data of a crc member does not have its sum.
    #[error("member <{name}>: sum of bytes {actual:08x}, expected {expected:08x}")]
    Sum {
        /// The member.
        name: String,
        /// What the header says.
        expected: u32,
        /// What the data has.
        actual: u32,
    },
    /// The input ends before the trailer, or before the padding after it.
    #[error("unexpected end of archive in {place}")]
    Truncated {
        /// `member <name>`, `a header` or `the padding`.
        place: String,
    },
    /// A member that the form written cannot hold.
    #[error("member <{name}>: {field} {value} does not fit the archive")]
    DoesNotFit {
        /// The member.
        name: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A name that an archive cannot hold.
    #[error("member <{name}>: {reason}")]
    Unwritable {
        /// The member.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// The data given for a member is not as long as its header says.
    #[error("member <{name}>: {actual} bytes of data, header says {expected}")]
    SizeChanged {
        /// The member.
        name: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes given; at least this many where there were too many.
        actual: u64,
    },
    /// The input or output failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for CpioError {
    /// Takes a [`CpioError`] that travelled through [`std::io::Read`] out again.
    fn from(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Io)
    }
}

impl From<CpioError> for io::Error {
    fn from(error: CpioError) -> Self {
        match error {
            CpioError::Io(error) => error,
            CpioError::Truncated { .. } => Self::new(io::ErrorKind::UnexpectedEof, error),
            _ => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
