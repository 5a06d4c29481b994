//! Inflates one whole chunk at a time; nothing is kept from one chunk to the next.
//!
//! The inflater is that of libdeflate or, in a build without its feature, of zlib-rs. The first is written in C and about
//! half as fast again; the second needs no C compiler, as the static build requires.

#[cfg(feature = "libdeflate")]
pub(super) use by_libdeflate::Inflater;
#[cfg(not(feature = "libdeflate"))]
pub(super) use by_zlib::Inflater;

#[cfg(feature = "libdeflate")]
mod by_libdeflate {
    use std::io;

    use libdeflater::Decompressor;

    #[derive(Default)]
    pub(in crate::gzip) struct Inflater(Option<Decompressor>);

    impl Inflater {
        pub(in crate::gzip) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
            content.resize(crate::gzip::CHUNK, 0);
            let inflater = self.0.get_or_insert_with(Decompressor::new);
            let length = inflater.deflate_decompress(deflated, content).map_err(|_| super::corrupt())?;
            content.truncate(length);
            Ok(())
        }
    }
}

#[cfg(any(test, not(feature = "libdeflate")))]
pub(super) mod by_zlib {
    use std::io;

    use flate2::{Decompress, FlushDecompress, Status};

    /// An inflater that gets each stream as a whole.
    #[derive(Default)]
    pub(in crate::gzip) struct Inflater(Option<Decompress>);

    impl Inflater {
        /// Replaces `content` by the inflated content, which is no longer than a chunk.
        pub(in crate::gzip) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
            let most = crate::gzip::CHUNK;
            content.clear();
            content.reserve_exact(most + 1);
            let inflate = self.0.get_or_insert_with(|| Decompress::new(false));
            inflate.reset(false);
            let status = inflate.decompress_vec(deflated, content, FlushDecompress::Finish)?;
            if status == Status::StreamEnd && content.len() <= most { Ok(()) } else { Err(super::corrupt()) }
        }
    }
}

fn corrupt() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "corrupt deflate stream")
}

#[cfg(test)]
mod tests {
    use super::by_zlib::Inflater as ByZlib;
    use super::*;
    use crate::gzip::CHUNK;
    use crate::gzip::deflate::Deflater;

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
