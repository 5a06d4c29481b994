//! Detects a file's format by its first bytes, never by its name, and removes one layer of compression as a stream.
//!
//! Without the feature of bzip2, that compression is refused by name. A file may have several gzip members, bzip2 or xz
//! streams or Zstandard frames; other data after one is an error.

use std::error::Error;
use std::io::{self, Read};

use super::compress;
use super::datastream;
use super::gzip;
use super::xz;
use super::zstd;

/// The number of bytes that [`detect_format`] needs from the start of a file.
pub const SNIFFED: usize = 512;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerFormat {
    /// A package datastream.
    Datastream,
    /// A tar archive, of any variant.
    Tar,
    /// A zip archive, for example a jar.
    Zip,
    /// Data compressed by gzip.
    Gzip,
    /// Data compressed by compress(1).
    Compress,
    /// Data compressed by bzip2.
    Bzip2,
    /// Data compressed by xz.
    Xz,
    /// Data compressed by Zstandard.
    Zstd,
    /// Recognized by this name, but unreadable.
    Unsupported(&'static str),
    /// Not recognized.
    Unknown,
}

/// The compression around a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Compression by gzip.
    Gzip,
    /// Compression by compress(1).
    Compress,
    /// Compression by bzip2.
    Bzip2,
    /// Compression by xz.
    Xz,
    /// Compression by Zstandard.
    Zstd,
}

/// Why compressed data cannot be read. It travels inside [`io::Error`] through readers; see
/// [`ContainerError::is_inside`].
#[derive(Debug, thiserror::Error)]
#[error("cannot decompress: {0}")]
pub struct ContainerError(#[source] io::Error);

impl ContainerError {
    /// Returns true if `error` is about damaged compressed data, not about the disk.
    pub fn is_inside(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<Self>)
    }
}

/// Detects a file's format by its first [`SNIFFED`] bytes, or all bytes of a shorter file.
pub fn detect_format(start: &[u8]) -> ContainerFormat {
    let begins = |magic: &[u8]| start.starts_with(magic);
    if begins(datastream::MAGIC) {
        ContainerFormat::Datastream
    } else if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        ContainerFormat::Zip
    } else if begins(b"\x1f\x8b") {
        ContainerFormat::Gzip
    } else if begins(&compress::MAGIC) {
        ContainerFormat::Compress
    } else if begins(b"BZh") {
        if cfg!(feature = "bzip2") { ContainerFormat::Bzip2 } else { ContainerFormat::Unsupported("bzip2") }
    } else if begins(b"\xfd7zXZ\0") {
        ContainerFormat::Xz
    } else if begins(b"\x28\xb5\x2f\xfd") || matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        ContainerFormat::Zstd
    } else if is_tar(start) {
        ContainerFormat::Tar
    } else {
        ContainerFormat::Unknown
    }
}

/// Checks the sum of all bytes of a header, with blanks as the checksum. Old programs added signed bytes.
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

/// A file without its compression.
pub struct OpenedContainer<'a> {
    /// The format of the content; a compression only if the file is compressed twice.
    pub form: ContainerFormat,
    /// The compression removed, if any.
    pub compression: Option<Compression>,
    /// A reader of the content, from its start.
    pub reader: Box<dyn Read + 'a>,
}

/// Detects the format of `input` and removes one layer of compression.
pub fn open_container<'a, R: Read + 'a>(mut input: R) -> io::Result<OpenedContainer<'a>> {
    let start = sniff(&mut input)?;
    let form = detect_format(&start);
    let whole = io::Cursor::new(start).chain(input);
    let (compression, mut plain): (_, Box<dyn Read + 'a>) = match form {
        ContainerFormat::Gzip => {
            let decoder = gzip::GzipDecoder::new(whole).map_err(tagged)?;
            (Compression::Gzip, Box::new(Decoding(decoder)))
        }
        ContainerFormat::Compress => {
            let decoder = compress::CompressDecoder::new(whole).map_err(tagged)?;
            (Compression::Compress, Box::new(Decoding(decoder)))
        }
        #[cfg(feature = "bzip2")]
        ContainerFormat::Bzip2 => (Compression::Bzip2, Box::new(Decoding(bzip2_decoder(whole)))),
        ContainerFormat::Xz => {
            let decoder = xz::XzDecoder::new(whole).map_err(tagged)?;
            (Compression::Xz, Box::new(Decoding(decoder)))
        }
        ContainerFormat::Zstd => (Compression::Zstd, Box::new(Decoding(zstd::ZstdDecoder::new(whole)))),
        _ => return Ok(OpenedContainer { form, compression: None, reader: Box::new(whole) }),
    };
    let start = sniff(&mut plain)?;
    let form = detect_format(&start);
    let reader = Box::new(io::Cursor::new(start).chain(plain));
    Ok(OpenedContainer { form, compression: Some(compression), reader })
}

/// Reads all streams. A block needs 4 MB whatever the file states.
#[cfg(feature = "bzip2")]
fn bzip2_decoder<R: Read>(input: R) -> impl Read {
    bzip2::bufread::MultiBzDecoder::new(io::BufReader::with_capacity(1 << 16, input))
}

fn sniff(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(SNIFFED);
    input.take(SNIFFED as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Marks errors in the data, which separates them from I/O errors.
struct Decoding<D>(D);

impl<D: Read> Read for Decoding<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(tagged)
    }
}

fn tagged(error: io::Error) -> io::Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let of_data = matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof);
    if of_data { io::Error::new(error.kind(), ContainerError(error)) } else { error }
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
        let mut encoder = compress::CompressEncoder::new(Vec::new());
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
        open_container(bytes)?.reader.read_to_end(&mut data)?;
        Ok(data)
    }

    #[test]
    fn a_file_is_what_its_first_bytes_say() {
        assert_eq!(detect_format(b"# PaCkAgE DaTaStReAm\n"), ContainerFormat::Datastream);
        assert_eq!(detect_format(b"PK\x03\x04..."), ContainerFormat::Zip);
        assert_eq!(
            detect_format(&tar()),
            ContainerFormat::Tar,
            "a header of the seventh edition has no magic"
        );
        let refused = ContainerFormat::Unsupported("bzip2");
        let bzip2 = if cfg!(feature = "bzip2") { ContainerFormat::Bzip2 } else { refused };
        assert_eq!(detect_format(b"BZh91AY"), bzip2);
        assert_eq!(detect_format(b"\xfd7zXZ\0"), ContainerFormat::Xz);
        assert_eq!(detect_format(b"\x28\xb5\x2f\xfd"), ContainerFormat::Zstd);
        assert_eq!(
            detect_format(b"\x50\x2a\x4d\x18"),
            ContainerFormat::Zstd,
            "a skippable frame may come first"
        );
        for unknown in [&b""[..], b"PK", b"Hello", &[0; 512], &[b'x'; 512]] {
            assert_eq!(detect_format(unknown), ContainerFormat::Unknown);
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
            let mut opened = open_container(&bytes[..]).unwrap();
            assert_eq!((opened.form, opened.compression), (ContainerFormat::Tar, compression));
            let mut data = Vec::new();
            opened.reader.read_to_end(&mut data).unwrap();
            assert_eq!(data, plain);
        }
        assert_eq!(open_container(&gzip(&gzip(b"x"))[..]).unwrap().form, ContainerFormat::Gzip);
    }

    #[test]
    fn a_gzip_file_may_have_several_members_and_nothing_else() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(content(&two).unwrap(), b"one two");
        let error = content(&[&two[..], b"garbage"].concat()).unwrap_err();
        assert!(ContainerError::is_inside(&error), "{error}");
    }

    #[cfg(feature = "bzip2")]
    #[test]
    fn a_bzip2_file_may_have_several_streams_and_nothing_else() {
        let whole: &[u8] = include_bytes!("../testdata/seq.bz2");
        let text: Vec<u8> = (1..=2000).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        assert_eq!(content(whole).unwrap(), text);
        assert_eq!(content(&[whole, whole].concat()).unwrap(), [&text[..], &text[..]].concat());
        for rest in [&b"x"[..], b"garbage", b"BZ", &whole[..whole.len() - 1]] {
            let error = content(&[whole, rest].concat()).unwrap_err();
            assert!(ContainerError::is_inside(&error), "{rest:?}: {error}");
        }
        for length in 3..whole.len() {
            assert!(ContainerError::is_inside(&content(&whole[..length]).unwrap_err()), "{length}");
        }
        for at in 4..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (at % 8);
            assert!(content(&bytes).map_or(true, |read| read == text), "byte {at}");
        }
    }

    #[test]
    fn damaged_compression_is_told_from_a_bad_disk() {
        let whole = gzip(&[7; 5000]);
        for length in 2..whole.len() {
            let error = content(&whole[..length]).unwrap_err();
            assert!(ContainerError::is_inside(&error), "{length}: {error}");
        }
        let mut flipped = whole.clone();
        let at = flipped.len() - 6;
        flipped[at] ^= 1;
        assert!(ContainerError::is_inside(&content(&flipped).unwrap_err()));

        let error = open_container(whole[..10].chain(BadDisk)).err().unwrap();
        assert!(!ContainerError::is_inside(&error), "{error}");
    }
}
