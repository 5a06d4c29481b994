//! Deflate and inflate of one whole chunk at a time; nothing is kept from one chunk to the next.
//!
//! Deflate is our own, because it is most of the work of an undo archive and the well-maintained libraries take twice
//! as long (docs/benchmark/codecs.md). Inflate is that of libdeflate or, in a build without its feature, of zlib-rs:
//! the first is written in C and about half as fast again, the second needs no C compiler, as the static build
//! requires.

mod deflate;
#[cfg(feature = "libdeflate")]
mod libdeflate;
#[cfg(any(test, not(feature = "libdeflate")))]
mod zlib;

pub(super) use deflate::Deflater;
#[cfg(feature = "libdeflate")]
pub(super) use libdeflate::Inflater;
#[cfg(not(feature = "libdeflate"))]
pub(super) use zlib::Inflater;

use std::io;

/// Returns the largest deflated size of content of this length.
pub(super) const fn longest(length: usize) -> usize {
    // With the fixed codes, a byte takes nine bits at most.
    length + length / 8 + 64
}

/// Returns the error for bytes that are not a deflated chunk.
fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "corrupt deflate stream")
}

/// Returns the error for a chunk that became longer than deflate can make it.
fn too_long() -> io::Error {
    io::Error::other("the compressed data is longer than deflate can make it")
}

#[cfg(test)]
mod tests {
    use super::zlib::Inflater as ByZlib;
    use super::*;
    use crate::gzip::CHUNK;

    #[test]
    fn a_stream_that_is_cut_or_holds_more_than_a_chunk_is_refused() {
        let mut deflated = Vec::new();
        Deflater::default().deflate(&b"PATCHLIST=103500-01 ".repeat(CHUNK / 20), &mut deflated).unwrap();
        deflated.pop();
        let mut back = Vec::new();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(ByZlib::default().inflate(&deflated, &mut back).is_err());
        deflated.clear();
        Deflater::default().deflate(&vec![0; CHUNK + 1], &mut deflated).unwrap();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(ByZlib::default().inflate(&deflated, &mut back).is_err());
    }
}
