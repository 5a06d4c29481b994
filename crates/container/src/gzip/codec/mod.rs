//! Deflate of one whole chunk at a time, by libdeflate or, in a build without its feature, by zlib-rs.
//!
//! Both make deflate that everybody reads, each the same bytes for the same content at every run. libdeflate is written in
//! C and decodes about half as fast again; zlib-rs needs no C compiler, as the static build wants it. Neither keeps anything
//! from one chunk to the next.

#[cfg(feature = "libdeflate")]
mod libdeflate;
#[cfg(any(test, not(feature = "libdeflate")))]
mod zlib;

#[cfg(feature = "libdeflate")]
pub(super) use libdeflate::{Deflater, Inflater};
#[cfg(not(feature = "libdeflate"))]
pub(super) use zlib::{Deflater, Inflater};

use std::io;

/// The longest that content of this length can become.
pub(super) const fn longest(length: usize) -> usize {
    // With the fixed codes a byte takes nine bits at most.
    length + length / 8 + 64
}

/// The error of bytes that are no deflated chunk.
fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "corrupt deflate stream")
}

/// The error of a chunk that became longer than deflate can make it.
fn too_long() -> io::Error {
    io::Error::other("the compressed data is longer than deflate can make it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gzip::CHUNK;

    /// Text, bytes without any order, and zeros, by turns.
    fn content(length: usize) -> Vec<u8> {
        let mut state = 7u64;
        let mut byte = |at: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match at / 5_000 % 3 {
                0 => b"PATCHLIST=103500-01 "[at % 20],
                1 => state.to_be_bytes()[0],
                _ => 0,
            }
        };
        (0..length).map(&mut byte).collect()
    }

    #[test]
    fn what_either_codec_deflates_the_other_inflates() {
        for length in [0, 1, 999, CHUNK] {
            let content = content(length);
            let (mut one, mut other) = (Vec::new(), Vec::new());
            Deflater::default().deflate(&content, &mut one).unwrap();
            zlib::Deflater::default().deflate(&content, &mut other).unwrap();
            assert!(one.len() <= longest(length) && other.len() <= longest(length));
            assert!(length < CHUNK || 2 * one.len() < length && 2 * other.len() < length);
            let mut back = Vec::new();
            zlib::Inflater::default().inflate(&one, &mut back).unwrap();
            assert!(back == content);
            Inflater::default().inflate(&other, &mut back).unwrap();
            assert!(back == content);
        }
    }

    #[test]
    fn a_stream_that_is_cut_or_holds_more_than_a_chunk_is_refused() {
        let mut deflated = Vec::new();
        Deflater::default().deflate(&content(CHUNK), &mut deflated).unwrap();
        deflated.pop();
        let mut back = Vec::new();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(zlib::Inflater::default().inflate(&deflated, &mut back).is_err());
        deflated.clear();
        Deflater::default().deflate(&vec![0; CHUNK + 1], &mut deflated).unwrap();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(zlib::Inflater::default().inflate(&deflated, &mut back).is_err());
    }
}
