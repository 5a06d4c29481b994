//! Reads xz streams with padding between them, and writes xz in builds with that feature.
//!
//! The reader verifies headers, block checks (CRC-32, CRC-64, SHA-256), sizes, index and footer. It refuses a dictionary of
//! more than 64 MiB before allocating it, and filters other than LZMA2. The caller must limit the output.

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use crc::{Crc, Digest, Table};
use lzma_rust2::Lzma2Reader;
use sha2::{Digest as _, Sha256};

use crate::compressed_input::{CompressedInput, damaged};

#[cfg(feature = "xz")]
use lzma_rust2::Lzma2Options;
#[cfg(feature = "xz")]
use lzma_rust2::Lzma2Writer;

pub(crate) const MAGIC: &[u8; 6] = b"\xfd7zXZ\0";

pub(crate) struct XzDecoder<R> {
    place: XzPosition<R>,
    flags: StreamFlags,
    blocks: IndexDigest,
}

/// Place of the next byte.
enum XzPosition<R> {
    BetweenBlocks(CompressedInput<R>),
    InBlock(Box<OpenBlock<R>>),
    Ended,
}

/// A block being read.
struct OpenBlock<R> {
    data: Lzma2Reader<CompressedInput<R>>,
    header: BlockHeader,
    start: u64,
    size: u64,
    check: BlockCheck,
}

impl<R: Read> XzDecoder<R> {
    /// Reads `input` from its first byte, and the first stream's header at once.
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut input = CompressedInput::new(input);
        let magic = input.array::<6>()?;
        if &magic != MAGIC {
            return Err(damaged("no xz stream"));
        }
        let flags = StreamFlags::read(&mut input)?;
        Ok(Self { place: XzPosition::BetweenBlocks(input), flags, blocks: IndexDigest::default() })
    }

    fn advance(&mut self, mut input: CompressedInput<R>) -> io::Result<XzPosition<R>> {
        let before = input.count();
        let [size] = input.array()?;
        if size > 0 {
            let header = BlockHeader::read(size, &mut input)?;
            let start = input.count();
            let data = Lzma2Reader::new(input, header.dictionary, None);
            let check = BlockCheck::new(self.flags);
            return Ok(XzPosition::InBlock(Box::new(OpenBlock { data, header, start, size: 0, check })));
        }
        let blocks = std::mem::take(&mut self.blocks);
        blocks.compare(&mut input)?;
        self.flags.read_footer(&mut input, before)?;
        self.next_stream(input)
    }

    /// Skips padding and reads a stream header.
    fn next_stream(&mut self, mut input: CompressedInput<R>) -> io::Result<XzPosition<R>> {
        loop {
            let four = input.up_to_four()?;
            match &four[..] {
                [] => return Ok(XzPosition::Ended),
                [0, 0, 0, 0] => {}
                begin if MAGIC.starts_with(begin) && begin.len() == 4 => break,
                _ => {
                    return Err(damaged("unexpected data after an xz stream"));
                }
            }
        }
        if input.array::<2>()? != MAGIC[4..] {
            return Err(damaged("no xz stream after the padding"));
        }
        self.flags = StreamFlags::read(&mut input)?;
        Ok(XzPosition::BetweenBlocks(input))
    }
}

impl<R: Read> OpenBlock<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(buffer);
        let count = count.map_err(|error| self.data.inner_mut().error(error))?;
        self.size += count as u64;
        if self.header.content_size.is_some_and(|size| self.size > size) {
            return Err(damaged("an xz block is longer than its header says"));
        }
        self.check.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn close(self, blocks: &mut IndexDigest) -> io::Result<CompressedInput<R>> {
        let mut input = self.data.into_inner();
        let packed = input.count() - self.start;
        let is_announced = |announced: Option<u64>, size| announced.is_none_or(|announced| announced == size);
        if !is_announced(self.header.packed_size, packed)
            || !is_announced(self.header.content_size, self.size)
        {
            return Err(damaged("the size of an xz block differs from its header"));
        }
        read_padding(&mut input, packed)?;
        let length = self.check.length();
        self.check.compare(&mut input)?;
        blocks.add(self.header.length + packed + length, self.size);
        Ok(input)
    }
}

impl<R: Read> Read for XzDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.place = match std::mem::replace(&mut self.place, XzPosition::Ended) {
                XzPosition::Ended => return Ok(0),
                XzPosition::BetweenBlocks(input) => self.advance(input)?,
                XzPosition::InBlock(mut block) => {
                    let count = block.read(buffer)?;
                    if count > 0 {
                        self.place = XzPosition::InBlock(block);
                        return Ok(count);
                    }
                    XzPosition::BetweenBlocks(block.close(&mut self.blocks)?)
                }
            };
        }
    }
}

/// In bytes, as for `xz -9`.
const LARGEST_DICTIONARY: u32 = 64 << 20;

/// The only filter read, at the end of every chain.
const LZMA2: u8 = 0x21;

/// The check after each block, as a stream declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamFlags {
    NoCheck,
    Crc32,
    Crc64,
    Sha256,
}

impl StreamFlags {
    fn read<R: Read>(input: &mut CompressedInput<R>) -> io::Result<Self> {
        let flags = input.array::<2>()?;
        if input.array()? != crc32fast::hash(&flags).to_le_bytes() {
            return Err(damaged("the header of an xz stream does not match its checksum"));
        }
        match flags {
            [0, 0] => Ok(Self::NoCheck),
            [0, 1] => Ok(Self::Crc32),
            [0, 4] => Ok(Self::Crc64),
            [0, 10] => Ok(Self::Sha256),
            [_, check] => Err(damaged(format!("xz with a check of type {check} is not supported"))),
        }
    }

    fn bytes(self) -> [u8; 2] {
        match self {
            Self::NoCheck => [0, 0],
            Self::Crc32 => [0, 1],
            Self::Crc64 => [0, 4],
            Self::Sha256 => [0, 10],
        }
    }

    /// Reads the footer; the index began after `index_start` bytes of input.
    fn read_footer<R: Read>(self, input: &mut CompressedInput<R>, index_start: u64) -> io::Result<()> {
        let index_size = input.count() - index_start;
        let sum = input.array::<4>()?;
        let [s0, s1, s2, s3, check @ ..] = input.array::<6>()?;
        let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let magic = input.array::<2>()?;
        let is_whole = sum == crc32fast::hash(&[s0, s1, s2, s3, check[0], check[1]]).to_le_bytes();
        if is_whole && &magic == b"YZ" && check == self.bytes() && (size + 1) * 4 == index_size {
            return Ok(());
        }
        Err(damaged("the footer of an xz stream does not match it"))
    }
}

#[derive(Debug)]
struct BlockHeader {
    length: u64,
    /// Bytes of LZMA2 data, if stated.
    packed_size: Option<u64>,
    /// Bytes of content, if stated.
    content_size: Option<u64>,
    dictionary: u32,
}

impl BlockHeader {
    fn read<R: Read>(first: u8, input: &mut CompressedInput<R>) -> io::Result<Self> {
        let length = (u64::from(first) + 1) * 4;
        let mut bytes = vec![first];
        input.take(length - 1).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let damage = || damaged("the header of an xz block is damaged");
        let (fields, sum) = bytes.split_last_chunk::<4>().ok_or_else(damage)?;
        if *sum != crc32fast::hash(fields).to_le_bytes() {
            return Err(damaged("the header of an xz block does not match its checksum"));
        }
        Self::parse(length, fields.get(1..).unwrap_or_default())?.ok_or_else(damage)
    }

    /// Returns `None` if fields are cut short.
    fn parse(length: u64, mut fields: &[u8]) -> io::Result<Option<Self>> {
        let Some(flags) = fields.split_off_first().copied() else { return Ok(None) };
        if flags & 0x3c != 0 {
            return Err(damaged("an xz block has flags of a later version"));
        }
        let mut size_if = |flag| if flags & flag == 0 { Some(None) } else { number(&mut fields).map(Some) };
        let (Some(packed_size), Some(content_size)) = (size_if(0x40), size_if(0x80)) else { return Ok(None) };
        let Some(filter) = number(&mut fields) else { return Ok(None) };
        if flags & 3 != 0 || filter != u64::from(LZMA2) {
            return Err(damaged(format!("xz with the filter {filter:#x} is not supported")));
        }
        let &[1, bits, ref padding @ ..] = fields else { return Ok(None) };
        let is_padding = padding.iter().all(|&byte| byte == 0);
        let dictionary = dictionary(bits)?;
        Ok(is_padding.then_some(Self { length, packed_size, content_size, dictionary }))
    }
}

fn dictionary(bits: u8) -> io::Result<u32> {
    let size = match bits {
        0..=39 => u64::from(2 | (bits & 1)) << (u32::from(bits) / 2 + 11),
        40 => u64::from(u32::MAX),
        _ => return Err(damaged("an xz block does not specify its dictionary size")),
    };
    match u32::try_from(size) {
        Ok(size) if size <= LARGEST_DICTIONARY => Ok(size),
        _ => Err(damaged(format!("xz with a dictionary of {} MiB, more than 64, is refused", size >> 20))),
    }
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..9 {
        let &byte = bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (byte != 0 || at == 0).then_some(value);
        }
    }
    None
}

/// Reads zeros up to a multiple of four.
fn read_padding<R: Read>(input: &mut CompressedInput<R>, length: u64) -> io::Result<()> {
    for _ in length..length.next_multiple_of(4) {
        if input.array()? != [0u8] {
            return Err(damaged("the padding of an xz stream is not empty"));
        }
    }
    Ok(())
}

static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&crc::CRC_64_XZ);

/// The sum of a block in progress.
enum BlockCheck {
    Nothing,
    Crc32(crc32fast::Hasher),
    Crc64(Digest<'static, u64, Table<16>>),
    Sha256(Box<Sha256>),
}

impl BlockCheck {
    fn new(flags: StreamFlags) -> Self {
        match flags {
            StreamFlags::NoCheck => Self::Nothing,
            StreamFlags::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            StreamFlags::Crc64 => Self::Crc64(CRC64.digest()),
            StreamFlags::Sha256 => Self::Sha256(Box::default()),
        }
    }

    /// In bytes.
    fn length(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Crc32(_) => 4,
            Self::Crc64(_) => 8,
            Self::Sha256(_) => 32,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Crc32(sum) => sum.update(bytes),
            Self::Crc64(sum) => sum.update(bytes),
            Self::Sha256(sum) => sum.update(bytes),
        }
    }

    fn compare<R: Read>(self, input: &mut CompressedInput<R>) -> io::Result<()> {
        let is_right = match self {
            Self::Nothing => true,
            Self::Crc32(sum) => input.array()? == sum.finalize().to_le_bytes(),
            Self::Crc64(sum) => input.array()? == sum.finalize().to_le_bytes(),
            Self::Sha256(sum) => input.array::<32>()? == *sum.finalize(),
        };
        if is_right { Ok(()) } else { Err(damaged("an xz block does not match its checksum")) }
    }
}

/// Number of blocks and a sum of their sizes: a list would take memory for each.
#[derive(Default)]
struct IndexDigest {
    count: u64,
    sum: u64,
}

impl IndexDigest {
    fn add(&mut self, packed: u64, content: u64) {
        let mut digest = CRC64.digest_with_initial(self.sum);
        digest.update(&packed.to_le_bytes());
        digest.update(&content.to_le_bytes());
        self.sum = digest.finalize();
        self.count += 1;
    }

    fn compare<R: Read>(self, input: &mut CompressedInput<R>) -> io::Result<()> {
        let start = input.count() - 1;
        let mut hashed = Hashed { input, sum: crc32fast::Hasher::new() };
        hashed.sum.update(&[0]);
        let mut listed = Self::default();
        let count = hashed.number()?;
        if count != self.count {
            return Err(damaged("the index of an xz stream does not list its blocks"));
        }
        for _ in 0..count {
            let (packed, content) = (hashed.number()?, hashed.number()?);
            listed.add(packed, content);
        }
        let Hashed { input, mut sum } = hashed;
        let length = input.count() - start;
        read_padding(input, length)?;
        for _ in length..length.next_multiple_of(4) {
            sum.update(&[0]);
        }
        if input.array()? != sum.finalize().to_le_bytes() {
            return Err(damaged("the index of an xz stream does not match its checksum"));
        }
        if listed.sum == self.sum {
            Ok(())
        } else {
            Err(damaged("the index of an xz stream has different sizes from its blocks"))
        }
    }
}

/// Bytes of an index, with their sum.
struct Hashed<'a, R> {
    input: &'a mut CompressedInput<R>,
    sum: crc32fast::Hasher,
}

impl<R: Read> Hashed<'_, R> {
    fn number(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for at in 0..9 {
            let [byte] = self.input.array()?;
            self.sum.update(&[byte]);
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number in the index of an xz stream is too long"))
    }
}

/// True if this build can write xz. Every build reads it.
pub const IS_WRITTEN: bool = cfg!(feature = "xz");

/// The default of `xz`, with a dictionary of 8 MiB. Higher levels only enlarge the dictionary.
#[cfg(feature = "xz")]
const LEVEL: u32 = 6;

/// The only block's header without its sum: length in units of four bytes, less one; no flags; filter; one byte for
/// dictionary size 2^23; padding.
#[cfg(feature = "xz")]
const BLOCK_HEADER: [u8; 8] = [2, 0, LZMA2, 1, 22, 0, 0, 0];

/// Header and check around the data.
#[cfg(feature = "xz")]
const AROUND_DATA: u64 = 12 + 8;

/// Compresses its input into one stream. A flush makes earlier bytes readable.
pub struct XzEncoder<W: Write> {
    #[cfg(feature = "xz")]
    data: Box<Lzma2Writer<CountedOutput<W>>>,
    #[cfg(feature = "xz")]
    sum: Digest<'static, u64, Table<16>>,
    #[cfg(feature = "xz")]
    size: u64,
    #[cfg(not(feature = "xz"))]
    inner: W,
}

/// Counts written bytes.
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
    /// Begins a stream; fails in a build that cannot write xz.
    pub fn new(mut out: W) -> io::Result<Self> {
        // In one piece: nobody may read yet and make room.
        let mut start = MAGIC.to_vec();
        write_with_sum(&mut start, &StreamFlags::Crc64.bytes())?;
        write_with_sum(&mut start, &BLOCK_HEADER)?;
        out.write_all(&start)?;
        let out = CountedOutput { inner: out, count: 0 };
        let data = Box::new(Lzma2Writer::new(out, Lzma2Options::with_preset(LEVEL)));
        Ok(Self { data, sum: CRC64.digest(), size: 0 })
    }

    /// Ends the stream and returns the output.
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
    /// Begins a stream; fails in a build that cannot write xz.
    pub fn new(_: W) -> io::Result<Self> {
        let message = "this build of patchadm reads xz, and does not write it";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// Ends the stream and returns the output.
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

#[cfg(feature = "xz")]
fn write_with_sum(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.write_all(&crc32fast::hash(bytes).to_le_bytes())
}

#[cfg(feature = "xz")]
fn pad(out: &mut impl Write, length: u64) -> io::Result<()> {
    (length..length.next_multiple_of(4)).try_for_each(|_| out.write_all(&[0]))
}

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
