//! Inflate by libdeflate, which takes whole buffers.

use std::io;

use libdeflater::Decompressor;

use super::corrupt;
use crate::gzip::CHUNK;

/// Inflates one chunk after another.
#[derive(Default)]
pub(in crate::gzip) struct Inflater(Option<Decompressor>);

impl Inflater {
    /// Replaces `content` by the inflated content, which is no longer than a chunk.
    pub(in crate::gzip) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.resize(CHUNK, 0);
        let inflater = self.0.get_or_insert_with(Decompressor::new);
        let length = inflater.deflate_decompress(deflated, content).map_err(|_| corrupt())?;
        content.truncate(length);
        Ok(())
    }
}
