//! What a file is, by its first bytes and never by its name; and gzip or compress(1) taken off around it.
//!
//! One layer is taken off, as a stream: `x.tar.gz`, `x.tar.Z`, a datastream in either. Recognised and refused by
//! name are bzip2, xz and Zstandard. A gzip file may have several members, as `cat a.gz b.gz` makes it; anything
//! else behind a member is an error.

use std::error::Error;
use std::io::{self, Read};

use super::compress;
use super::datastream;
use super::gzip;

/// How much of a file [`detect`] needs to see.
pub const SNIFFED: usize = 512;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A package datastream.
    Datastream,
    /// A tar archive, of any age.
    Tar,
    /// A zip archive (a jar is one).
    Zip,
    /// gzip around something.
    Gzip,
    /// compress(1) around something.
    Compress,
    /// A form that is known and not read.
    Unsupported(&'static str),
    /// None of these.
    Unknown,
}

/// The compression that was around what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// compress(1).
    Compress,
}

/// Why the compression cannot be taken off. It travels inside [`io::Error`] through the readers above; see
/// [`EnvelopeError::is_inside`].
#[derive(Debug, thiserror::Error)]
#[error("cannot decompress: {0}")]
pub struct EnvelopeError(#[source] io::Error);

impl EnvelopeError {
    /// Whether `error` is, or comes from, damaged compressed data rather than from the disk.
    pub fn is_inside(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<Self>)
    }
}

/// What a file that begins with these bytes is; give it [`SNIFFED`] bytes, or the whole of a shorter file.
pub fn detect(start: &[u8]) -> Form {
    let begins = |magic: &[u8]| start.starts_with(magic);
    if begins(datastream::MAGIC) {
        Form::Datastream
    } else if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        Form::Zip
    } else if begins(b"\x1f\x8b") {
        Form::Gzip
    } else if begins(&compress::MAGIC) {
        Form::Compress
    } else if begins(b"BZh") {
        Form::Unsupported("bzip2")
    } else if begins(b"\xfd7zXZ\0") {
        Form::Unsupported("xz")
    } else if begins(b"\x28\xb5\x2f\xfd") {
        Form::Unsupported("zstd")
    } else if is_tar(start) {
        Form::Tar
    } else {
        Form::Unknown
    }
}

/// Whether a block is the header of a tar archive: by its checksum, which the oldest form has as well. The sum is
/// of all bytes with blanks in place of itself; old programs took the bytes as signed.
fn is_tar(start: &[u8]) -> bool {
    let Some(block) = start.get(..512) else { return false };
    let field = block.get(148..156).unwrap_or_default().trim_ascii_start();
    let digits = field.iter().take_while(|byte| (b'0'..=b'7').contains(byte));
    let expected = digits.fold(0i64, |sum, digit| sum * 8 + i64::from(digit - b'0'));
    let sum = |value: fn(u8) -> i64| {
        let bytes = block.iter().enumerate();
        bytes.map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { value(byte) }).sum::<i64>()
    };
    let named = block.first().is_some_and(|&byte| byte != 0);
    named && (sum(i64::from) == expected || sum(|byte| i64::from(byte.cast_signed())) == expected)
}

/// A file with its compression, if there is any, taken off.
pub struct Opened<'a> {
    /// What is inside; [`Form::Gzip`] or [`Form::Compress`] only where a file is compressed twice.
    pub form: Form,
    /// What was around it.
    pub compression: Option<Compression>,
    /// The content from its beginning.
    pub reader: Box<dyn Read + 'a>,
}

/// Looks what `input` is and takes one layer of compression off.
pub fn open<'a, R: Read + 'a>(mut input: R) -> io::Result<Opened<'a>> {
    let start = sniff(&mut input)?;
    let form = detect(&start);
    let whole = io::Cursor::new(start).chain(input);
    let (compression, mut plain): (_, Box<dyn Read + 'a>) = match form {
        Form::Gzip => {
            let decoder = gzip::Decoder::new(whole).map_err(tagged)?;
            (Compression::Gzip, Box::new(Decoding(decoder)))
        }
        Form::Compress => {
            let decoder = compress::Decoder::new(whole).map_err(tagged)?;
            (Compression::Compress, Box::new(Decoding(decoder)))
        }
        _ => return Ok(Opened { form, compression: None, reader: Box::new(whole) }),
    };
    let start = sniff(&mut plain)?;
    let form = detect(&start);
    let reader = Box::new(io::Cursor::new(start).chain(plain));
    Ok(Opened { form, compression: Some(compression), reader })
}

fn sniff(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(SNIFFED);
    input.take(SNIFFED as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// A decoder whose complaints about the data are told apart from failures of the disk below it.
struct Decoding<D>(D);

impl<D: Read> Read for Decoding<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(tagged)
    }
}

fn tagged(error: io::Error) -> io::Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let of_data = matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof);
    if of_data { io::Error::new(error.kind(), EnvelopeError(error)) } else { error }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn compressed(data: &[u8]) -> Vec<u8> {
        let mut encoder = compress::Encoder::new(Vec::new());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn tar() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_old();
        header.set_size(0);
        header.set_cksum();
        builder.append_data(&mut header, "103201-01/README", io::empty()).unwrap();
        builder.into_inner().unwrap()
    }

    struct BadDisk;
    impl Read for BadDisk {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("input/output error"))
        }
    }

    fn content(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        open(bytes)?.reader.read_to_end(&mut data)?;
        Ok(data)
    }

    #[test]
    fn a_file_is_what_its_first_bytes_say() {
        assert_eq!(detect(b"# PaCkAgE DaTaStReAm\n"), Form::Datastream);
        assert_eq!(detect(b"PK\x03\x04..."), Form::Zip);
        assert_eq!(detect(&tar()), Form::Tar, "a header of the seventh edition has no magic");
        assert_eq!(detect(b"BZh91AY"), Form::Unsupported("bzip2"));
        assert_eq!(detect(b"\xfd7zXZ\0"), Form::Unsupported("xz"));
        assert_eq!(detect(b"\x28\xb5\x2f\xfd"), Form::Unsupported("zstd"));
        for unknown in [&b""[..], b"PK", b"Hello", &[0; 512], &[b'x'; 512]] {
            assert_eq!(detect(unknown), Form::Unknown);
        }
    }

    #[test]
    fn both_compressions_are_taken_off() {
        let plain = tar();
        for (bytes, compression) in [
            (plain.clone(), None),
            (gzip(&plain), Some(Compression::Gzip)),
            (compressed(&plain), Some(Compression::Compress)),
        ] {
            let mut opened = open(&bytes[..]).unwrap();
            assert_eq!((opened.form, opened.compression), (Form::Tar, compression));
            let mut data = Vec::new();
            opened.reader.read_to_end(&mut data).unwrap();
            assert_eq!(data, plain);
        }
        assert_eq!(open(&gzip(&gzip(b"x"))[..]).unwrap().form, Form::Gzip);
    }

    #[test]
    fn a_gzip_file_may_have_several_members_and_nothing_else() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(content(&two).unwrap(), b"one two");
        let error = content(&[&two[..], b"garbage"].concat()).unwrap_err();
        assert!(EnvelopeError::is_inside(&error), "{error}");
    }

    #[test]
    fn damaged_compression_is_told_from_a_bad_disk() {
        let whole = gzip(&[7; 5000]);
        for length in 2..whole.len() {
            let error = content(&whole[..length]).unwrap_err();
            assert!(EnvelopeError::is_inside(&error), "{length}: {error}");
        }
        let mut flipped = whole.clone();
        let at = flipped.len() - 6;
        flipped[at] ^= 1;
        assert!(EnvelopeError::is_inside(&content(&flipped).unwrap_err()));

        let error = open(whole[..10].chain(BadDisk)).err().unwrap();
        assert!(!EnvelopeError::is_inside(&error), "{error}");
    }
}
