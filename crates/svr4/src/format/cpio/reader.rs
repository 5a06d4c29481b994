//! A reader of cpio archives, member by member.

use std::io::{self, Read};

use super::{BLOCK, CpioError, CpioHeader, HEAD_LENGTH_NEWC, HEAD_LENGTH_ODC, LONGEST_NAME, TRAILER};

/// The format of an archive, by the magic number of its first header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Newc,
    Crc,
    Odc,
}

/// A cpio archive being read. [`Read`] yields the data of the current member and ends with it; its errors are
/// [`CpioError`]s inside [`io::Error`].
///
/// Headers are read in small pieces, so the input should be buffered.
#[derive(Debug)]
pub struct CpioReader<R> {
    input: R,
    /// The number of bytes read since the start of this archive.
    position: u64,
    magic: Option<Magic>,
    member: Option<CpioMember>,
    ended: bool,
}

/// The member whose data is being read.
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

    /// Moves to the next member and returns its header, or `None` at the end of the archive. Unread data of
    /// the current member is skipped; a checksum is verified all the same.
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

    /// Moves past the padding at the end of an archive, to the next multiple of 512 bytes, and starts a new
    /// archive there.
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
            return Err(CpioError::FormChanged { offset });
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

    /// Skips the padding of a newc header or of newc data to the next multiple of 4.
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
        let wanted = buffer.len().min(usize::try_from(member.remaining).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..wanted])?;
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

/// Parses a field that consists of digits only. Fields have at most 11 digits, so nothing overflows.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, &digit| {
        Some(value * u64::from(radix) + u64::from(char::from(digit).to_digit(radix)?))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{CpioFormat, CpioWriter};
    use super::*;

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

    /// Returns the same archive with checksums, as `cpio -H crc` would write it.
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
        assert!(matches!(names_and_data(&bytes), Err(CpioError::FormChanged { .. })));
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
