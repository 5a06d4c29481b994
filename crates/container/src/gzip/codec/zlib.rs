//! Deflate by zlib-rs, whose streams are given all at once.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{corrupt, longest, too_long};
use crate::gzip::CHUNK;

/// Deflates one chunk after another.
#[derive(Default)]
pub(in crate::gzip) struct Deflater(Option<Compress>);

impl Deflater {
    /// Adds the deflated content to `out`.
    pub(in crate::gzip) fn deflate(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let compress = self.0.get_or_insert_with(|| Compress::new(Compression::fast(), false));
        compress.reset();
        out.reserve(longest(content.len()));
        let status = compress.compress_vec(content, out, FlushCompress::Finish)?;
        if status == Status::StreamEnd { Ok(()) } else { Err(too_long()) }
    }
}

/// Inflates one chunk after another.
#[derive(Default)]
pub(in crate::gzip) struct Inflater(Option<Decompress>);

impl Inflater {
    /// Puts the content in the place of what `content` holds; it is no longer than a chunk.
    pub(in crate::gzip) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.clear();
        content.reserve_exact(CHUNK + 1);
        let inflate = self.0.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let status = inflate.decompress_vec(deflated, content, FlushDecompress::Finish)?;
        if status == Status::StreamEnd && content.len() <= CHUNK { Ok(()) } else { Err(corrupt()) }
    }
}
