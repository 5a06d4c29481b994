//! Deflate made for speed: about twice as fast as libdeflate and zlib-rs at their level 1, with output some twelve per
//! cent longer than that of libdeflate (docs/benchmark/codecs.md).
//!
//! Content is cut into blocks (RFC 1951, 3.2.3). [`mod@matches`] finds repetitions of the preceding 32 KiB, [`huffman`]
//! gives the symbols of a block their codes, [`block`] writes it in the shortest of the three forms. There is no
//! `unsafe` here, and nothing depends on features of the processor. An inflater by other authors decodes all output
//! again before it counts ([`GzipEncoder`](super::super::GzipEncoder)).

mod bits;
mod block;
mod header;
mod huffman;
mod matches;
mod symbols;

#[cfg(test)]
mod tests;

use std::io;

use bits::BitWriter;
use matches::{Matcher, Parsed};

use super::{longest, too_long};

/// The bytes of content in one block, limited so that the codes adapt to the content.
const BLOCK: usize = 1 << 16;

/// Deflates one chunk after another; the same content becomes the same bytes, regardless of earlier chunks.
#[derive(Default)]
pub(in crate::gzip) struct Deflater {
    matcher: Matcher,
    parsed: Parsed,
    /// A buffer for the longest result, filled with zeros once and not for each chunk.
    room: Vec<u8>,
}

impl Deflater {
    /// Adds the deflated content to `out`.
    pub(in crate::gzip) fn deflate(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.matcher.forget();
        if self.room.len() < longest(content.len()) {
            self.room.resize(longest(content.len()), 0);
        }
        let mut bits = BitWriter::new(&mut self.room);
        let mut from = 0;
        loop {
            let to = content.len().min(from + BLOCK);
            self.matcher.parse(content, from..to, &mut self.parsed);
            let last = to == content.len();
            block::write(content.get(from..to).unwrap_or_default(), last, &self.parsed, &mut bits);
            from = to;
            if last {
                break;
            }
        }
        out.extend_from_slice(bits.finish().ok_or_else(too_long)?);
        Ok(())
    }
}
