//! cpio archives in the ASCII formats of SVR4 package datastreams, read and written as streams.
//!
//! The reader knows the SVR4 format `070701` ("newc", `cpio -c`), the same with checksums `070702` ("crc":
//! the sum of the data bytes, verified), and the older portable format `070707` ("odc"). The writer knows
//! newc and odc. Names are bytes. Nothing seeks, and no length in an archive is trusted for an allocation.
//!
//! The old binary format is not supported. Hard links are not resolved: a group of newc members with one
//! inode number and a link count above 1 may carry the data in its last member only; `ino`, `nlink` and
//! `size` tell the caller.
//!
//! ```
//! use std::io::Read;
//! use patchadm_svr4::format::cpio::{CpioError, CpioFormat, CpioHeader, CpioReader, CpioWriter};
//!
//! let mut writer = CpioWriter::new(Vec::new(), CpioFormat::Newc);
//! writer.write_member(&CpioHeader::file(b"motd", 0o644, 1_600_000_000, 6), &b"hello\n"[..])?;
//! let archive = writer.finish()?;
//!
//! let mut reader = CpioReader::new(&archive[..]);
//! let header = reader.next_member()?.expect("one member");
//! assert_eq!((&header.name[..], header.size), (&b"motd"[..], 6));
//! let mut text = String::new();
//! reader.read_to_string(&mut text)?;
//! assert_eq!(text, "hello\n");
//! # Ok::<(), CpioError>(())
//! ```

mod reader;
mod writer;

use std::io;

pub use reader::CpioReader;
pub use writer::CpioWriter;

/// The name of the member that ends an archive.
pub const TRAILER: &[u8] = b"TRAILER!!!";

/// The length of the longest member name, in bytes without its NUL.
pub const LONGEST_NAME: usize = 4096;

/// The smallest size that does not fit a newc member, whose size field has 8 hexadecimal digits.
pub(crate) const NEWC_SIZE_END: u64 = 1 << 32;

/// The smallest size that does not fit an odc member, whose size field has 11 octal digits.
pub(crate) const ODC_SIZE_END: u64 = 1 << 33;

/// The block size that each archive of a datastream is padded to, in bytes.
pub const BLOCK: u64 = 512;

const HEAD_LENGTH_NEWC: usize = 110;
const HEAD_LENGTH_ODC: usize = 76;

/// The formats that a [`CpioWriter`] can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpioFormat {
    /// `070701`: members below 4 GiB.
    Newc,
    /// `070707`: members below 8 GiB, and 18 bits for every number other than size and time.
    Odc,
}

impl CpioFormat {
    /// Returns the format for an archive whose largest member has `largest` bytes, or `None` from 8 GiB on.
    pub fn for_size(largest: u64) -> Option<Self> {
        match largest {
            0..NEWC_SIZE_END => Some(Self::Newc),
            NEWC_SIZE_END..ODC_SIZE_END => Some(Self::Odc),
            _ => None,
        }
    }
}

/// The header of an archive member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpioHeader {
    /// The member's name as written: any bytes but NUL, not checked to be a safe path.
    pub name: Vec<u8>,
    /// The inode number. A writer replaces 0 by the next free number of its archive.
    pub ino: u32,
    /// The file type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The number of hard links.
    pub nlink: u32,
    /// The modification time, in seconds since 1970.
    pub mtime: u64,
    /// The size of the data, in bytes.
    pub size: u64,
    /// The major and minor number of the device that held the file.
    pub dev: (u32, u32),
    /// The major and minor number that a device node stands for.
    pub rdev: (u32, u32),
}

/// The bits of a mode that hold the file type.
const FILE_TYPE: u32 = 0o170_000;

impl CpioHeader {
    /// Describes a regular file of root on device 0. A time that no archive can hold (before 1970, from 2106
    /// on) becomes the nearest one that fits.
    pub fn file(name: &[u8], permissions: u32, mtime: i64, size: u64) -> Self {
        Self::new(name, 0o100_000 | (permissions & 0o7777), 1, mtime, size)
    }

    /// Describes a directory of root; the time is treated as by [`CpioHeader::file`].
    pub fn directory(name: &[u8], permissions: u32, mtime: i64) -> Self {
        Self::new(name, 0o040_000 | (permissions & 0o7777), 2, mtime, 0)
    }

    fn new(name: &[u8], mode: u32, nlink: u32, mtime: i64, size: u64) -> Self {
        let mtime = u32::try_from(mtime.max(0)).unwrap_or(u32::MAX).into();
        let name = name.to_vec();
        Self { name, ino: 0, mode, uid: 0, gid: 0, nlink, mtime, size, dev: (0, 0), rdev: (0, 0) }
    }

    /// Returns whether the member is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & FILE_TYPE == 0o100_000
    }

    /// Returns whether the member is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & FILE_TYPE == 0o040_000
    }

    /// Returns whether the member is a symbolic link, whose data is its target.
    pub fn is_symlink(&self) -> bool {
        self.mode & FILE_TYPE == 0o120_000
    }

    /// Returns the name as a message shows it, escaped.
    pub fn shown(&self) -> String {
        self.name.escape_ascii().to_string()
    }
}

/// The reason an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// An unknown magic number at the start of a header.
    #[error("no cpio header at byte {offset} (magic is <{found}>)")]
    Magic {
        /// The offset of the header in the archive, in bytes.
        offset: u64,
        /// The six bytes found, escaped.
        found: String,
    },
    /// A header in another format than the first one.
    #[error("the form of the archive changes at byte {offset}")]
    FormChanged {
        /// The offset of the header in the archive, in bytes.
        offset: u64,
    },
    /// A header field that is not a number.
    #[error("header at byte {offset}: field `{field}` is not a number")]
    Digits {
        /// The offset of the header in the archive, in bytes.
        offset: u64,
        /// The field's name.
        field: &'static str,
    },
    /// A member name that is empty, too long, or not terminated by NUL.
    #[error("header at byte {offset}: member name {reason}")]
    Name {
        /// The offset of the header in the archive, in bytes.
        offset: u64,
        /// The fault, as the message words it.
        reason: &'static str,
    },
    /// The data of a crc member does not have its sum.
    #[error("member <{name}>: sum of bytes {actual:08x}, expected {expected:08x}")]
    Sum {
        /// The member's name, escaped.
        name: String,
        /// The sum that the header announces.
        expected: u32,
        /// The sum of the data.
        actual: u32,
    },
    /// An end of input before the trailer or inside the padding after it.
    #[error("unexpected end of archive in {place}")]
    Truncated {
        /// The part that was cut: `member <name>`, `a header` or `the padding`.
        place: String,
    },
    /// A member that does not fit the format being written.
    #[error("member <{name}>: {field} {value} does not fit the archive")]
    DoesNotFit {
        /// The member's name, escaped.
        name: String,
        /// The field's name.
        field: &'static str,
        /// The value that does not fit.
        value: u64,
    },
    /// A member name that an archive cannot hold.
    #[error("member <{name}>: {reason}")]
    Unwritable {
        /// The member's name, escaped.
        name: String,
        /// The rule that the name breaks.
        reason: &'static str,
    },
    /// A member whose data is not as long as its header announces.
    #[error("member <{name}>: {actual} bytes of data, header says {expected}")]
    SizeChanged {
        /// The member's name, escaped.
        name: String,
        /// The number of bytes announced.
        expected: u64,
        /// The number of bytes given; a lower bound if there were too many.
        actual: u64,
    },
    /// A failure of the input or output.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for CpioError {
    /// Unwraps a [`CpioError`] that travelled through [`std::io::Read`].
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
