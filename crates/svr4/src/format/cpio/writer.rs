//! A writer of cpio archives. The same members give the same bytes.

use std::io::{self, Read, Write};

use super::{BLOCK, CpioError, CpioFormat, CpioHeader, LONGEST_NAME, TRAILER};

/// The largest value of a six-digit octal field.
const ODC_SHORT_MAX: u32 = 0o777_777;

/// A cpio archive being written. Members keep the order in which they are added, and their headers are
/// written as given, except that an inode number of 0 becomes the next of 1, 2, 3, …
#[derive(Debug)]
pub struct CpioWriter<W> {
    out: W,
    position: u64,
    form: CpioFormat,
    last_ino: u32,
}

impl<W: Write> CpioWriter<W> {
    /// Creates a writer of an archive that starts at the current position of `out`.
    pub fn new(out: W, form: CpioFormat) -> Self {
        Self { out, position: 0, form, last_ino: 0 }
    }

    /// Writes a member. `data` must have exactly the number of bytes that the header announces.
    ///
    /// A file that is really called `TRAILER!!!` is refused, because every reader would take it for the end
    /// of the archive. After an error the archive is unusable.
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
        let last = if self.form == CpioFormat::Odc { ODC_SHORT_MAX } else { u32::MAX };
        self.last_ino = if self.last_ino >= last { 1 } else { self.last_ino + 1 };
        self.last_ino
    }

    fn head(&mut self, header: &CpioHeader, ino: u32) -> Result<(), CpioError> {
        let head = match self.form {
            CpioFormat::Newc => newc_head(header, ino)?,
            CpioFormat::Odc => odc_head(header, ino)?,
        };
        self.put(head.as_bytes())?;
        self.put(&header.name)?;
        self.put(&[0])?;
        self.pad()
    }

    fn pad(&mut self) -> Result<(), CpioError> {
        if self.form == CpioFormat::Odc {
            return Ok(());
        }
        self.zeros(self.position.next_multiple_of(4) - self.position)
    }

    /// Writes NUL bytes, fewer than a block.
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

/// Returns `value` if it is below `end`.
fn fit(header: &CpioHeader, field: &'static str, value: u64, end: u64) -> Result<u64, CpioError> {
    if value < end { Ok(value) } else { Err(CpioError::DoesNotFit { name: header.shown(), field, value }) }
}

fn newc_head(header: &CpioHeader, ino: u32) -> Result<String, CpioError> {
    let CpioHeader { mode, uid, gid, nlink, dev, rdev, .. } = header;
    let mtime = fit(header, "time", header.mtime, super::NEWC_SIZE_END)?;
    let size = fit(header, "size", header.size, super::NEWC_SIZE_END)?;
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

/// Appends the eight lowest hexadecimal digits.
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
    let mtime = fit(header, "time", header.mtime, super::ODC_SIZE_END)?;
    let size = fit(header, "size", header.size, super::ODC_SIZE_END)?;
    let name_size = header.name.len() + 1;
    Ok(format!(
        "070707{dev:06o}{ino:06o}{mode:06o}{uid:06o}{gid:06o}{nlink:06o}{rdev:06o}{mtime:011o}{name_size:06o}{size:011o}"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::CpioReader;
    use super::*;
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
