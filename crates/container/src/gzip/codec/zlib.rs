//! Inflate by zlib-rs, which gets each stream all at once.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

use super::corrupt;
use crate::gzip::CHUNK;

/// Inflates one chunk after another.
#[derive(Default)]
pub(in crate::gzip) struct Inflater(Option<Decompress>);

impl Inflater {
    /// Replaces `content` by the inflated content, which is no longer than a chunk.
    pub(in crate::gzip) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.clear();
        content.reserve_exact(CHUNK + 1);
        let inflate = self.0.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let status = inflate.decompress_vec(deflated, content, FlushDecompress::Finish)?;
        if status == Status::StreamEnd && content.len() <= CHUNK { Ok(()) } else { Err(corrupt()) }
    }
}
