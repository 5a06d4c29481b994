//! Inflates one chunk at a time, without state between chunks.
//!
//! libdeflate (in C) is about half as fast again as zlib-rs, which the static build uses instead.

use std::io;

#[cfg(any(test, not(feature = "libdeflate")))]
use flate2::{Decompress, FlushDecompress, Status};
#[cfg(feature = "libdeflate")]
use libdeflater::Decompressor;

use crate::gzip::deflate::CHUNK;

#[cfg(feature = "libdeflate")]
pub(super) type Inflater = LibdeflateInflater;

#[cfg(not(feature = "libdeflate"))]
pub(super) type Inflater = ZlibInflater;

#[cfg(feature = "libdeflate")]
#[derive(Default)]
pub(super) struct LibdeflateInflater(Option<Decompressor>);

#[cfg(feature = "libdeflate")]
impl LibdeflateInflater {
    /// Replaces `content` by at most a chunk.
    pub(super) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.resize(CHUNK, 0);
        let inflater = self.0.get_or_insert_with(Decompressor::new);
        let length = inflater.deflate_decompress(deflated, content).map_err(|_| corrupt())?;
        content.truncate(length);
        Ok(())
    }
}

#[cfg(any(test, not(feature = "libdeflate")))]
#[derive(Default)]
pub(super) struct ZlibInflater(Option<Decompress>);

#[cfg(any(test, not(feature = "libdeflate")))]
impl ZlibInflater {
    /// Replaces `content` by at most a chunk.
    pub(super) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.clear();
        content.reserve_exact(CHUNK + 1);
        let inflate = self.0.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let status = inflate.decompress_vec(deflated, content, FlushDecompress::Finish)?;
        if status == Status::StreamEnd && content.len() <= CHUNK { Ok(()) } else { Err(corrupt()) }
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "corrupt deflate stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gzip::deflate::Deflater;

    #[test]
    fn a_stream_that_is_cut_or_holds_more_than_a_chunk_is_refused() {
        let mut deflated = Vec::new();
        Deflater::default().deflate(&b"PATCHLIST=103500-01 ".repeat(CHUNK / 20), &mut deflated).unwrap();
        deflated.pop();
        let mut back = Vec::new();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(ZlibInflater::default().inflate(&deflated, &mut back).is_err());
        deflated.clear();
        Deflater::default().deflate(&vec![0; CHUNK + 1], &mut deflated).unwrap();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(ZlibInflater::default().inflate(&deflated, &mut back).is_err());
    }
}
