//! cpio archives in the ASCII formats of SVR4 package datastreams, read and written as streams.
//!
//! Reads `070701` ("newc"), `070702` ("crc", with verified sums) and `070707` ("odc"); writes newc and odc. The old binary
//! format is not supported. No length in an archive is trusted for an allocation. Hard links are not resolved: of newc
//! members with one inode number, perhaps only the last has data; `ino`, `nlink` and `size` tell the caller.
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

use std::io::{self, Read, Write};

/// The name of the member that ends an archive.
pub const TRAILER: &[u8] = b"TRAILER!!!";

/// The length of the longest member name, in bytes without its NUL.
pub const LONGEST_NAME: usize = 4096;

const NEWC_SIZE_END: u64 = 1 << 32;

const ODC_SIZE_END: u64 = 1 << 33;

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
    /// The name as written: any bytes but NUL, not checked to be a safe path.
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

const FILE_TYPE: u32 = 0o170_000;

impl CpioHeader {
    /// Describes a file of root on device 0. A time before 1970 or from 2106 on becomes the nearest possible one.
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

    /// Returns true if the member is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & FILE_TYPE == 0o100_000
    }

    /// Returns true if the member is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & FILE_TYPE == 0o040_000
    }

    /// Returns true if the member is a symbolic link, whose data is its target.
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
#[non_exhaustive]
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
    FormatChanged {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Newc,
    Crc,
    Odc,
}

/// A cpio archive read from buffered input. [`Read`] yields the current member, with [`CpioError`]s in [`io::Error`].
#[derive(Debug)]
pub struct CpioReader<R> {
    input: R,
    position: u64,
    magic: Option<Magic>,
    member: Option<CpioMember>,
    ended: bool,
}

#[derive(Debug)]
struct CpioMember {
    name: Vec<u8>,
    remaining: u64,
    /// The announced sum and the sum so far, in a crc archive.
    sum: Option<(u32, u32)>,
}

impl<R: Read> CpioReader<R> {
    /// Creates a reader of the archive that starts at the current position of `input`.
    pub fn new(input: R) -> Self {
        Self { input, position: 0, magic: None, member: None, ended: false }
    }

    /// Moves to the next member, or returns `None` at the end. Skips unread data, but verifies its checksum.
    pub fn next_member(&mut self) -> Result<Option<CpioHeader>, CpioError> {
        if self.ended {
            return Ok(None);
        }
        self.skip()?;
        let offset = self.position;
        let magic = self.magic()?;
        let (header, check) = match magic {
            Magic::Odc => (self.odc_header(offset)?, None),
            Magic::Newc | Magic::Crc => {
                let (header, check) = self.newc_header(offset)?;
                (header, (magic == Magic::Crc).then_some((check, 0)))
            }
        };
        if header.name == TRAILER {
            self.skip_exact(header.size)?;
            self.pad()?;
            self.ended = true;
            return Ok(None);
        }
        let sum = check.filter(|_| header.is_file());
        self.member = Some(CpioMember { name: header.name.clone(), remaining: header.size, sum });
        Ok(Some(header))
    }

    /// Skips the unread data of the current member.
    pub fn skip(&mut self) -> Result<(), CpioError> {
        if self.member.is_some() {
            io::copy(self, &mut io::sink())?;
            self.member = None;
            self.pad()?;
        }
        Ok(())
    }

    /// Moves past the padding to the next multiple of 512 bytes, and starts a new archive there.
    pub fn next_archive(&mut self) -> Result<(), CpioError> {
        self.skip_exact(self.position.next_multiple_of(BLOCK) - self.position)?;
        self.position = 0;
        self.magic = None;
        self.member = None;
        self.ended = false;
        Ok(())
    }

    /// Returns the input, positioned after the bytes read.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn magic(&mut self) -> Result<Magic, CpioError> {
        let offset = self.position;
        let mut bytes = [0; 6];
        self.fill(&mut bytes)?;
        let magic = match &bytes {
            b"070701" => Magic::Newc,
            b"070702" => Magic::Crc,
            b"070707" => Magic::Odc,
            _ => return Err(CpioError::Magic { offset, found: bytes.escape_ascii().to_string() }),
        };
        if *self.magic.get_or_insert(magic) != magic {
            return Err(CpioError::FormatChanged { offset });
        }
        Ok(magic)
    }

    fn newc_header(&mut self, offset: u64) -> Result<(CpioHeader, u32), CpioError> {
        const FIELDS: [&str; 13] = [
            "ino",
            "mode",
            "uid",
            "gid",
            "nlink",
            "mtime",
            "filesize",
            "devmajor",
            "devminor",
            "rdevmajor",
            "rdevminor",
            "namesize",
            "check",
        ];
        let mut head = [0; HEAD_LENGTH_NEWC - 6];
        self.fill(&mut head)?;
        let mut values = [0u32; 13];
        for ((value, digits), field) in values.iter_mut().zip(head.chunks_exact(8)).zip(FIELDS) {
            *value = u32::try_from(number(digits, 16).ok_or(CpioError::Digits { offset, field })?)
                .map_err(|_| CpioError::Digits { offset, field })?;
        }
        let [ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, namesize, check] = values;
        let name = self.name(offset, namesize.into())?;
        self.pad()?;
        let (mtime, size) = (mtime.into(), size.into());
        let (dev, rdev) = ((major, minor), (rmajor, rminor));
        Ok((CpioHeader { name, ino, mode, uid, gid, nlink, mtime, size, dev, rdev }, check))
    }

    fn odc_header(&mut self, offset: u64) -> Result<CpioHeader, CpioError> {
        let mut head = [0; HEAD_LENGTH_ODC - 6];
        self.fill(&mut head)?;
        let mut rest = &head[..];
        let mut take = |length: usize, field| {
            let (digits, tail) = rest.split_at_checked(length).unwrap_or_default();
            rest = tail;
            number(digits, 8).ok_or(CpioError::Digits { offset, field })
        };
        let mut short = |field| take(6, field).map(|value| u32::try_from(value).unwrap_or(u32::MAX));
        let [dev, ino] = [short("dev")?, short("ino")?];
        let [mode, uid, gid, nlink, rdev] =
            [short("mode")?, short("uid")?, short("gid")?, short("nlink")?, short("rdev")?];
        let mtime = take(11, "mtime")?;
        let namesize = take(6, "namesize")?;
        let size = take(11, "filesize")?;
        let name = self.name(offset, namesize)?;
        let split = |number: u32| (number >> 8, number & 0xff);
        Ok(CpioHeader { name, ino, mode, uid, gid, nlink, mtime, size, dev: split(dev), rdev: split(rdev) })
    }

    fn name(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, CpioError> {
        let bad = |reason| Err(CpioError::Name { offset, reason });
        let Some(length) = usize::try_from(length).ok().filter(|&length| length <= LONGEST_NAME + 1) else {
            return bad("is longer than 4096 bytes");
        };
        if length < 2 {
            return bad("is empty");
        }
        let mut name = vec![0; length];
        self.fill(&mut name)?;
        if name.pop() != Some(0) {
            return bad("is not ended by NUL");
        }
        if name.contains(&0) {
            return bad("has a NUL inside");
        }
        Ok(name)
    }

    /// Skips padding of newc to the next multiple of 4.
    fn pad(&mut self) -> Result<(), CpioError> {
        if self.magic == Some(Magic::Odc) {
            return Ok(());
        }
        self.skip_exact(self.position.next_multiple_of(4) - self.position)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), CpioError> {
        let mut rest = buffer;
        while !rest.is_empty() {
            match self.input.read(rest) {
                Ok(0) => return Err(CpioError::Truncated { place: "a header".to_owned() }),
                Ok(count) => {
                    self.position += count as u64;
                    rest = rest.get_mut(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn skip_exact(&mut self, count: u64) -> Result<(), CpioError> {
        if count == 0 {
            return Ok(());
        }
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        self.position += skipped;
        if skipped < count {
            return Err(CpioError::Truncated { place: "the padding".to_owned() });
        }
        Ok(())
    }
}

impl<R: Read> Read for CpioReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(member) = &mut self.member else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        if member.remaining == 0 {
            return match member.sum {
                Some((expected, actual)) if expected != actual => {
                    let name = member.name.escape_ascii().to_string();
                    Err(CpioError::Sum { name, expected, actual }.into())
                }
                _ => Ok(0),
            };
        }
        let most = buffer.len().min(usize::try_from(member.remaining).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            let place = format!("member <{}>", member.name.escape_ascii());
            return Err(CpioError::Truncated { place }.into());
        }
        member.remaining -= count as u64;
        self.position += count as u64;
        if let Some((_, sum)) = &mut member.sum {
            *sum = buffer[..count].iter().fold(*sum, |sum, &byte| sum.wrapping_add(byte.into()));
        }
        Ok(count)
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, &digit| {
        Some(value * u64::from(radix) + u64::from(char::from(digit).to_digit(radix)?))
    })
}

const ODC_SHORT_MAX: u32 = 0o777_777;

/// A cpio archive being written. Headers are written as given, but inode number 0 becomes the next of 1, 2, 3, …
#[derive(Debug)]
pub struct CpioWriter<W> {
    out: W,
    position: u64,
    format: CpioFormat,
    last_ino: u32,
}

impl<W: Write> CpioWriter<W> {
    /// Creates a writer of an archive that starts at the current position of `out`.
    pub fn new(out: W, format: CpioFormat) -> Self {
        Self { out, position: 0, format, last_ino: 0 }
    }

    /// Writes a member. `data` must have exactly the announced length. A file called `TRAILER!!!` is refused, because
    /// it ends the archive for every reader. After an error the archive is unusable.
    pub fn write_member(&mut self, header: &CpioHeader, data: impl Read) -> Result<(), CpioError> {
        let unwritable = |reason| Err(CpioError::Unwritable { name: header.shown(), reason });
        if header.name == TRAILER {
            return unwritable("this name ends an archive");
        }
        if header.name.is_empty() || header.name.len() > LONGEST_NAME || header.name.contains(&0) {
            return unwritable("a name has 1 to 4096 bytes and no NUL");
        }
        let ino = if header.ino == 0 { self.next_ino() } else { header.ino };
        self.head(header, ino)?;
        let expected = header.size;
        let mut data = data.take(expected.saturating_add(1));
        let actual = io::copy(&mut data.by_ref().take(expected), &mut self.out)?;
        let excess = if actual == expected { io::copy(&mut data, &mut io::sink())? } else { 0 };
        if actual + excess != expected {
            return Err(CpioError::SizeChanged { name: header.shown(), expected, actual: actual + excess });
        }
        self.position += actual;
        self.pad()
    }

    /// Flushes the output, in which every member so far is complete.
    pub fn flush(&mut self) -> Result<(), CpioError> {
        Ok(self.out.flush()?)
    }

    /// Writes the trailer, pads with NUL to a multiple of 512 bytes, and returns the output, not flushed.
    pub fn finish(mut self) -> Result<W, CpioError> {
        let mut trailer = CpioHeader::file(TRAILER, 0, 0, 0);
        trailer.mode = 0;
        self.head(&trailer, 0)?;
        self.zeros(self.position.next_multiple_of(BLOCK) - self.position)?;
        Ok(self.out)
    }

    fn next_ino(&mut self) -> u32 {
        let last = if self.format == CpioFormat::Odc { ODC_SHORT_MAX } else { u32::MAX };
        self.last_ino = if self.last_ino >= last { 1 } else { self.last_ino + 1 };
        self.last_ino
    }

    fn head(&mut self, header: &CpioHeader, ino: u32) -> Result<(), CpioError> {
        let head = match self.format {
            CpioFormat::Newc => newc_head(header, ino)?,
            CpioFormat::Odc => odc_head(header, ino)?,
        };
        self.put(head.as_bytes())?;
        self.put(&header.name)?;
        self.put(&[0])?;
        self.pad()
    }

    fn pad(&mut self) -> Result<(), CpioError> {
        if self.format == CpioFormat::Odc {
            return Ok(());
        }
        self.zeros(self.position.next_multiple_of(4) - self.position)
    }

    fn zeros(&mut self, count: u64) -> Result<(), CpioError> {
        const ZEROS: [u8; 512] = [0; 512];
        let count = usize::try_from(count).unwrap_or(ZEROS.len());
        self.put(ZEROS.get(..count).unwrap_or(&ZEROS))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CpioError> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

fn fit(header: &CpioHeader, field: &'static str, value: u64, end: u64) -> Result<u64, CpioError> {
    if value < end { Ok(value) } else { Err(CpioError::DoesNotFit { name: header.shown(), field, value }) }
}

fn newc_head(header: &CpioHeader, ino: u32) -> Result<String, CpioError> {
    let CpioHeader { mode, uid, gid, nlink, dev, rdev, .. } = header;
    let mtime = fit(header, "time", header.mtime, NEWC_SIZE_END)?;
    let size = fit(header, "size", header.size, NEWC_SIZE_END)?;
    let name_size = header.name.len() as u64 + 1;
    let mut head = String::with_capacity(6 + 13 * 8);
    head.push_str("070701");
    let owner = [ino, *mode, *uid, *gid, *nlink].map(u64::from);
    let devices = [dev.0, dev.1, rdev.0, rdev.1].map(u64::from);
    for field in owner.into_iter().chain([mtime, size]).chain(devices).chain([name_size, 0]) {
        push_hex(&mut head, field);
    }
    Ok(head)
}

fn push_hex(out: &mut String, field: u64) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let [_, _, _, _, bytes @ ..] = field.to_be_bytes();
    out.extend(bytes.into_iter().flat_map(|byte| [byte >> 4, byte & 0xf].map(|at| DIGITS[usize::from(at)])));
}

fn odc_head(header: &CpioHeader, ino: u32) -> Result<String, CpioError> {
    let short = |field, value: u32| fit(header, field, value.into(), u64::from(ODC_SHORT_MAX) + 1);
    let device = |field, (major, minor): (u32, u32)| {
        fit(header, field, minor.into(), 0x100)?;
        fit(header, field, major.into(), 0x400)?;
        Ok::<u32, CpioError>(major << 8 | minor)
    };
    let (dev, rdev) = (device("device", header.dev)?, device("device number", header.rdev)?);
    let ino = short("inode number", ino)?;
    let mode = short("mode", header.mode)?;
    let (uid, gid) = (short("owner", header.uid)?, short("group", header.gid)?);
    let nlink = short("number of links", header.nlink)?;
    let mtime = fit(header, "time", header.mtime, ODC_SIZE_END)?;
    let size = fit(header, "size", header.size, ODC_SIZE_END)?;
    let name_size = header.name.len() + 1;
    Ok(format!(
        "070707{dev:06o}{ino:06o}{mode:06o}{uid:06o}{gid:06o}{nlink:06o}{rdev:06o}{mtime:011o}{name_size:06o}{size:011o}"
    ))
}

#[cfg(test)]
mod reader_tests {
    use super::*;
    use crate::format::cpio::{CpioFormat, CpioWriter};

    fn archive(form: CpioFormat) -> Vec<u8> {
        let mut writer = CpioWriter::new(Vec::new(), form);
        writer.write_member(&CpioHeader::directory(b"bin", 0o755, 7), io::empty()).unwrap();
        writer.write_member(&CpioHeader::file(b"bin/x", 0o755, 8, 5), &b"hello"[..]).unwrap();
        writer.write_member(&CpioHeader::file(b"bin/\xff", 0o644, 9, 0), io::empty()).unwrap();
        writer.finish().unwrap()
    }

    type NameAndData = (Vec<u8>, Vec<u8>);

    fn names_and_data(bytes: &[u8]) -> Result<Vec<NameAndData>, CpioError> {
        let mut reader = CpioReader::new(bytes);
        let mut found = Vec::new();
        while let Some(header) = reader.next_member()? {
            let mut data = Vec::new();
            reader.read_to_end(&mut data)?;
            found.push((header.name, data));
        }
        reader.next_archive()?;
        Ok(found)
    }

    /// Adds checksums, as `cpio -H crc` would.
    fn with_sums(newc: &[u8], sums: &[u32]) -> Vec<u8> {
        let mut bytes = newc.to_vec();
        let heads: Vec<usize> = (0..bytes.len() - 6).filter(|&at| &bytes[at..at + 6] == b"070701").collect();
        for (index, at) in heads.into_iter().enumerate() {
            bytes[at + 5] = b'2';
            let sum = format!("{:08x}", sums.get(index).copied().unwrap_or(0));
            bytes[at + 102..at + 110].copy_from_slice(sum.as_bytes());
        }
        bytes
    }

    #[test]
    fn every_form_gives_the_same_members() {
        let expected = names_and_data(&archive(CpioFormat::Newc)).unwrap();
        assert_eq!(expected[1], (b"bin/x".to_vec(), b"hello".to_vec()));
        assert_eq!(expected[2].0, b"bin/\xff");
        assert_eq!(names_and_data(&archive(CpioFormat::Odc)).unwrap(), expected);
        let sum = b"hello".iter().map(|&b| u32::from(b)).sum();
        assert_eq!(names_and_data(&with_sums(&archive(CpioFormat::Newc), &[0, sum])).unwrap(), expected);
    }

    #[test]
    fn a_wrong_sum_is_found_even_when_the_data_is_skipped() {
        let bytes = with_sums(&archive(CpioFormat::Newc), &[0, 1]);
        assert!(matches!(names_and_data(&bytes), Err(CpioError::Sum { expected: 1, .. })));
        let mut reader = CpioReader::new(&bytes[..]);
        reader.next_member().unwrap();
        reader.next_member().unwrap();
        assert!(matches!(reader.next_member(), Err(CpioError::Sum { .. })));
    }

    #[test]
    fn an_archive_cut_anywhere_is_an_error() {
        for form in [CpioFormat::Newc, CpioFormat::Odc] {
            let whole = archive(form);
            for length in 0..whole.len() {
                let error = names_and_data(&whole[..length]).unwrap_err();
                assert!(matches!(error, CpioError::Truncated { .. }), "{form:?} {length}: {error}");
            }
        }
    }

    #[test]
    fn a_form_that_changes_in_mid_stream_is_refused() {
        let mut bytes = archive(CpioFormat::Newc);
        let second = (1..bytes.len()).find(|&at| bytes[at..].starts_with(b"070701")).unwrap();
        bytes[second + 5] = b'2';
        assert!(matches!(names_and_data(&bytes), Err(CpioError::FormatChanged { .. })));
    }

    #[test]
    fn headers_that_lie_are_refused_by_field() {
        let digits = |at: usize, text: &[u8]| {
            let mut bytes = archive(CpioFormat::Newc);
            bytes[at..at + text.len()].copy_from_slice(text);
            names_and_data(&bytes).unwrap_err().to_string()
        };
        assert_eq!(digits(14, b"  0x41ed"), "header at byte 0: field `mode` is not a number");
        assert_eq!(digits(94, b"ffffffff"), "header at byte 0: member name is longer than 4096 bytes");
        assert_eq!(digits(94, b"00000001"), "header at byte 0: member name is empty");
        assert_eq!(digits(94, b"00000003"), "header at byte 0: member name is not ended by NUL");
        assert_eq!(digits(111, b"\0"), "header at byte 0: member name has a NUL inside");
        assert_eq!(digits(0, b"070703"), "no cpio header at byte 0 (magic is <070703>)");
    }
}

#[cfg(test)]
mod writer_tests {
    use super::*;
    use crate::format::cpio::CpioReader;
    use proptest::prelude::*;

    #[test]
    fn a_newc_archive_is_what_cpio_writes_down_to_the_byte() {
        let mut writer = CpioWriter::new(Vec::new(), CpioFormat::Newc);
        writer.write_member(&CpioHeader::file(b"a", 0o644, 0x5e0b_e100, 2), &b"a\n"[..]).unwrap();
        let bytes = writer.finish().unwrap();
        let head = "07070100000001000081a4000000000000000000000001\
                    5e0be10000000002000000000000000000000000000000000000000200000000a\0a\n\0\0";
        assert_eq!(&bytes[..head.len()], head.as_bytes());
        assert!(bytes[head.len()..].starts_with(b"070701000000000000000000000000000000000000000100000000"));
        assert_eq!(bytes.len(), 512);
    }

    #[test]
    fn the_name_that_ends_archives_is_no_name_for_a_file() {
        let mut writer = CpioWriter::new(Vec::new(), CpioFormat::Newc);
        let error = writer.write_member(&CpioHeader::file(TRAILER, 0o644, 0, 0), io::empty()).unwrap_err();
        assert_eq!(error.to_string(), "member <TRAILER!!!>: this name ends an archive");
        assert!(writer.write_member(&CpioHeader::file(b"etc/TRAILER!!!", 0o644, 0, 0), io::empty()).is_ok());
    }

    #[test]
    fn data_shorter_or_longer_than_announced_is_an_error() {
        for data in [&b"1234"[..], b"123456"] {
            let mut writer = CpioWriter::new(Vec::new(), CpioFormat::Odc);
            let error = writer.write_member(&CpioHeader::file(b"x", 0o644, 0, 5), data).unwrap_err();
            assert!(matches!(error, CpioError::SizeChanged { expected: 5, .. }), "{error}");
        }
    }

    #[test]
    fn a_member_too_large_for_the_form_is_refused_before_its_data() {
        let header = CpioHeader::file(b"big", 0o644, 0, 1 << 32);
        let mut newc = CpioWriter::new(io::sink(), CpioFormat::Newc);
        assert!(matches!(
            newc.write_member(&header, io::empty()),
            Err(CpioError::DoesNotFit { field: "size", .. })
        ));
        assert_eq!(CpioFormat::for_size(1 << 32), Some(CpioFormat::Odc));
        assert_eq!(CpioFormat::for_size(1 << 33), None);
        let mut odc = CpioWriter::new(io::sink(), CpioFormat::Odc);
        let error = odc.write_member(&header, io::empty()).unwrap_err();
        assert!(matches!(error, CpioError::SizeChanged { .. }), "the header fits: {error}");
    }

    fn header() -> impl Strategy<Value = (CpioHeader, Vec<u8>)> {
        let name = prop::collection::vec(1u8..=255, 1..60).prop_filter("the trailer", |n| n != TRAILER);
        let data = prop::collection::vec(any::<u8>(), 0..200);
        let numbers =
            (1u32..0x3ffff, 0u32..0x3ffff, 0u32..0x3ffff, 1u32..9, any::<u32>(), 0u32..0x3ff, 0u32..0xff);
        (name, numbers, data).prop_map(|(name, (ino, uid, gid, nlink, mtime, major, minor), data)| {
            let size = data.len() as u64;
            let (mode, mtime, dev) = (0o100_600, mtime.into(), (major, minor));
            (CpioHeader { name, ino, mode, uid, gid, nlink, mtime, size, dev, rdev: (minor, 3) }, data)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(members in prop::collection::vec(header(), 0..6), odc: bool) {
            let form = if odc { CpioFormat::Odc } else { CpioFormat::Newc };
            let mut writer = CpioWriter::new(Vec::new(), form);
            for (header, data) in &members {
                writer.write_member(header, &data[..]).unwrap();
            }
            let bytes = writer.finish().unwrap();
            prop_assert_eq!(bytes.len() % 512, 0);
            let mut reader = CpioReader::new(&bytes[..]);
            for (header, data) in &members {
                let next = reader.next_member().unwrap();
                prop_assert_eq!(next.as_ref(), Some(header));
                let mut read = Vec::new();
                reader.read_to_end(&mut read).unwrap();
                prop_assert_eq!(&read, data);
            }
            prop_assert_eq!(reader.next_member().unwrap(), None);
            reader.next_archive().unwrap();
            prop_assert!(reader.into_inner().is_empty());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..400), magic in 0usize..4) {
            let mut bytes = [&b"070701"[..], b"070702", b"070707", b""][magic].to_vec();
            bytes.extend(tail.iter().map(|b| if magic < 3 && b % 8 != 0 { b'0' + b % 8 } else { *b }));
            let mut reader = CpioReader::new(&bytes[..]);
            while let Ok(Some(_)) = reader.next_member() {}
        }
    }
}
