//! Deflate by libdeflate, which takes whole buffers.

use std::io;

use libdeflater::{CompressionLvl, Compressor, Decompressor};

use super::{corrupt, longest, too_long};
use crate::gzip::CHUNK;

/// The fastest level that compresses; 0 would only store.
const LEVEL: i32 = 1;

/// Deflates one chunk after another.
#[derive(Default)]
pub(in crate::gzip) struct Deflater {
    compressor: Option<Compressor>,
    /// Room for the longest result, filled with zeros once and not for each chunk.
    room: Vec<u8>,
}

impl Deflater {
    /// Adds the deflated content to `out`.
    pub(in crate::gzip) fn deflate(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let level = CompressionLvl::new(LEVEL).map_err(|_| io::Error::other("libdeflate lacks the level"))?;
        let compressor = self.compressor.get_or_insert_with(|| Compressor::new(level));
        if self.room.len() < longest(content.len()) {
            self.room.resize(longest(content.len()), 0);
        }
        let length = compressor.deflate_compress(content, &mut self.room).map_err(|_| too_long())?;
        out.extend_from_slice(self.room.get(..length).unwrap_or_default());
        Ok(())
    }
}

/// Inflates one chunk after another.
#[derive(Default)]
pub(in crate::gzip) struct Inflater(Option<Decompressor>);

impl Inflater {
    /// Puts the content in the place of what `content` holds; it is no longer than a chunk.
    pub(in crate::gzip) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.resize(CHUNK, 0);
        let inflater = self.0.get_or_insert_with(Decompressor::new);
        let length = inflater.deflate_decompress(deflated, content).map_err(|_| corrupt())?;
        content.truncate(length);
        Ok(())
    }
}
