//! Writes one stream of xz with one block and the CRC-64 of its content, as `xz` does.
//!
//! The bytes depend on the content alone. The dictionary has 8 MiB, so that a reader needs little more memory than that;
//! the writer needs several times as much.

use std::io::{self, Write};

#[cfg(feature = "xz")]
use lzma_rust2::{Lzma2Options, Lzma2Writer};

#[cfg(feature = "xz")]
use super::check::CRC64;
#[cfg(feature = "xz")]
use super::header::{LZMA2, StreamFlags};

/// Whether this build can write xz. Every build reads it.
pub const IS_WRITTEN: bool = cfg!(feature = "xz");

/// The level: the default of `xz`, with a dictionary of 8 MiB. Higher levels only enlarge the dictionary.
#[cfg(feature = "xz")]
const LEVEL: u32 = 6;

/// The header of the only block, without its sum: its length in units of four bytes, less one; no flags; the filter, with
/// one byte for the size of its dictionary, 2^23; padding.
#[cfg(feature = "xz")]
const BLOCK_HEADER: [u8; 8] = [2, 0, LZMA2, 1, 22, 0, 0, 0];

/// The bytes of the block around its data: header and check.
#[cfg(feature = "xz")]
const AROUND_DATA: u64 = 12 + 8;

/// Compresses what is written to it into one stream. A flush makes everything written so far readable.
pub struct XzEncoder<W: Write> {
    #[cfg(feature = "xz")]
    data: Box<Lzma2Writer<CountedOutput<W>>>,
    #[cfg(feature = "xz")]
    sum: crc::Digest<'static, u64, crc::Table<16>>,
    #[cfg(feature = "xz")]
    size: u64,
    #[cfg(not(feature = "xz"))]
    inner: W,
}

/// An output, with the number of bytes written to it.
#[cfg(feature = "xz")]
struct CountedOutput<W> {
    inner: W,
    count: u64,
}

#[cfg(feature = "xz")]
impl<W: Write> Write for CountedOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(feature = "xz")]
impl<W: Write> XzEncoder<W> {
    /// Begins a stream; a build that cannot write xz refuses.
    pub fn new(mut out: W) -> io::Result<Self> {
        // In one piece: nobody may read the output yet who would make room in it.
        let mut start = super::MAGIC.to_vec();
        write_with_sum(&mut start, &StreamFlags::Crc64.bytes())?;
        write_with_sum(&mut start, &BLOCK_HEADER)?;
        out.write_all(&start)?;
        let out = CountedOutput { inner: out, count: 0 };
        let data = Box::new(Lzma2Writer::new(out, Lzma2Options::with_preset(LEVEL)));
        Ok(Self { data, sum: CRC64.digest(), size: 0 })
    }

    /// Ends the stream, and returns what it was written to.
    pub fn finish(self) -> io::Result<W> {
        let CountedOutput { inner: mut out, count: packed } = self.data.finish()?;
        pad(&mut out, packed)?;
        out.write_all(&self.sum.finalize().to_le_bytes())?;
        let mut index = vec![0, 1];
        push_number(&mut index, AROUND_DATA + packed);
        push_number(&mut index, self.size);
        let padding = index.len().next_multiple_of(4);
        index.resize(padding, 0);
        write_with_sum(&mut out, &index)?;
        // The footer has its sum first, and the length of the index with its sum in units of four bytes, less one.
        let length = u32::try_from(index.len() / 4).map_err(io::Error::other)?;
        let footer = [&length.to_le_bytes()[..], &StreamFlags::Crc64.bytes()].concat();
        out.write_all(&crc32fast::hash(&footer).to_le_bytes())?;
        out.write_all(&footer)?;
        out.write_all(b"YZ")?;
        Ok(out)
    }
}

#[cfg(feature = "xz")]
impl<W: Write> Write for XzEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.data.write(bytes)?;
        self.sum.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.data.flush()
    }
}

#[cfg(not(feature = "xz"))]
impl<W: Write> XzEncoder<W> {
    /// Begins a stream; a build that cannot write xz refuses.
    pub fn new(_: W) -> io::Result<Self> {
        let message = "this build of patchadm reads xz, and does not write it";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// Ends the stream, and returns what it was written to.
    pub fn finish(self) -> io::Result<W> {
        Ok(self.inner)
    }
}

#[cfg(not(feature = "xz"))]
impl<W: Write> Write for XzEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes bytes and their CRC-32.
#[cfg(feature = "xz")]
fn write_with_sum(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.write_all(&crc32fast::hash(bytes).to_le_bytes())
}

/// Fills `length` up to a multiple of four with zero bytes.
#[cfg(feature = "xz")]
fn pad(out: &mut impl Write, length: u64) -> io::Result<()> {
    (length..length.next_multiple_of(4)).try_for_each(|_| out.write_all(&[0]))
}

/// Adds a number in groups of seven bits, the lowest first.
#[cfg(feature = "xz")]
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [lowest, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(lowest);
            return;
        }
        bytes.push(0x80 | lowest);
    }
}
