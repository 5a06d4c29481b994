//! Reads xz: streams one after another, with padding between them; and writes it where the build can.
//!
//! ```text
//!   stream = header, blocks, index, footer         block = header, LZMA2 data, padding, check
//! ```
//! Everything that the format lets a reader verify is verified: the CRC-32 of each header before any of its fields is
//! used, the check of each block (CRC-32, CRC-64, SHA-256), announced sizes, the index against the actual blocks, and
//! the footer against both. A dictionary of more than 64 MiB is refused before it is allocated. Filters other than
//! LZMA2 are refused by number. The caller must limit the number of bytes of output.

mod check;
mod encoder;
mod header;
mod index;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use lzma_rust2::Lzma2Reader;

use crate::compressed_input::{CompressedInput, damaged};
use check::BlockCheck;
pub use encoder::{IS_WRITTEN, XzEncoder};
use header::{BlockHeader, StreamFlags};
use index::IndexDigest;

/// The first bytes of a stream.
pub(crate) const MAGIC: &[u8; 6] = b"\xfd7zXZ\0";

/// The content of an xz file.
pub(crate) struct XzDecoder<R> {
    place: Place<R>,
    flags: StreamFlags,
    blocks: IndexDigest,
}

/// The place of the next byte in a stream.
enum Place<R> {
    BetweenBlocks(CompressedInput<R>),
    InBlock(Box<OpenBlock<R>>),
    Ended,
}

/// A block whose content is being read.
struct OpenBlock<R> {
    data: Lzma2Reader<CompressedInput<R>>,
    header: BlockHeader,
    /// Bytes of input before the data.
    start: u64,
    /// Bytes of content so far.
    size: u64,
    check: BlockCheck,
}

impl<R: Read> XzDecoder<R> {
    /// Reads `input` from its first byte on. The header of the first stream is read at once.
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut input = CompressedInput::new(input);
        let magic = input.array::<6>()?;
        if &magic != MAGIC {
            return Err(damaged("no xz stream"));
        }
        let flags = StreamFlags::read(&mut input)?;
        Ok(Self { place: Place::BetweenBlocks(input), flags, blocks: IndexDigest::default() })
    }

    /// Opens the next block, or the first one of the next stream, or finds the end.
    fn advance(&mut self, mut input: CompressedInput<R>) -> io::Result<Place<R>> {
        let before = input.count();
        let [size] = input.array()?;
        if size > 0 {
            let header = BlockHeader::read(size, &mut input)?;
            let start = input.count();
            let data = Lzma2Reader::new(input, header.dictionary, None);
            let check = BlockCheck::new(self.flags);
            return Ok(Place::InBlock(Box::new(OpenBlock { data, header, start, size: 0, check })));
        }
        let blocks = std::mem::take(&mut self.blocks);
        blocks.compare(&mut input)?;
        self.flags.read_footer(&mut input, before)?;
        self.next_stream(input)
    }

    /// Skips padding, and reads the header of the stream after it.
    fn next_stream(&mut self, mut input: CompressedInput<R>) -> io::Result<Place<R>> {
        loop {
            let four = input.up_to_four()?;
            match &four[..] {
                [] => return Ok(Place::Ended),
                [0, 0, 0, 0] => {}
                begin if MAGIC.starts_with(begin) && begin.len() == 4 => break,
                _ => {
                    return Err(damaged(
                        "bytes behind an xz stream that are neither padding nor another one",
                    ));
                }
            }
        }
        if input.array::<2>()? != MAGIC[4..] {
            return Err(damaged("no xz stream behind the padding"));
        }
        self.flags = StreamFlags::read(&mut input)?;
        Ok(Place::BetweenBlocks(input))
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

    /// Verifies the fields after the data.
    fn close(self, blocks: &mut IndexDigest) -> io::Result<CompressedInput<R>> {
        let mut input = self.data.into_inner();
        let packed = input.count() - self.start;
        let as_said = |said: Option<u64>, size| said.is_none_or(|said| said == size);
        if !as_said(self.header.packed_size, packed) || !as_said(self.header.content_size, self.size) {
            return Err(damaged("an xz block has another size than its header says"));
        }
        header::read_padding(&mut input, packed)?;
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
            self.place = match std::mem::replace(&mut self.place, Place::Ended) {
                Place::Ended => return Ok(0),
                Place::BetweenBlocks(input) => self.advance(input)?,
                Place::InBlock(mut block) => {
                    let count = block.read(buffer)?;
                    if count > 0 {
                        self.place = Place::InBlock(block);
                        return Ok(count);
                    }
                    Place::BetweenBlocks(block.close(&mut self.blocks)?)
                }
            };
        }
    }
}
