//! Writes one frame of Zstandard with a checksum of its content, by the reference implementation.
//!
//! Reading is done by another implementation, so that what reads back is proved twice. The bytes depend on the content
//! alone.

use std::io::{self, Write};

/// Whether this build can write Zstandard. Every build reads it.
pub const IS_WRITTEN: bool = cfg!(feature = "zstd");

/// The level. Of the undo archives of real releases, level 12 saves less than 1 % more in twice the time, and level 19 saves
/// 3 to 11 % more in some twenty times the time.
#[cfg(feature = "zstd")]
const LEVEL: i32 = 9;

/// Compresses what is written to it into one frame. A flush ends a block; the reader of this crate
/// nevertheless decodes a window ahead.
pub struct ZstdEncoder<W: Write> {
    #[cfg(feature = "zstd")]
    inner: ::zstd::stream::write::Encoder<'static, W>,
    #[cfg(not(feature = "zstd"))]
    inner: W,
}

#[cfg(feature = "zstd")]
impl<W: Write> ZstdEncoder<W> {
    /// Begins a frame; a build that cannot write Zstandard refuses.
    pub fn new(out: W) -> io::Result<Self> {
        let mut inner = ::zstd::stream::write::Encoder::new(out, LEVEL)?;
        inner.include_checksum(true)?;
        Ok(Self { inner })
    }

    /// Ends the frame, and returns what it was written to.
    pub fn finish(self) -> io::Result<W> {
        self.inner.finish()
    }
}

#[cfg(not(feature = "zstd"))]
impl<W: Write> ZstdEncoder<W> {
    /// Begins a frame; a build that cannot write Zstandard refuses.
    pub fn new(_: W) -> io::Result<Self> {
        let message = "this build of patchadm reads Zstandard, and does not write it";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// Ends the frame, and returns what it was written to.
    pub fn finish(self) -> io::Result<W> {
        Ok(self.inner)
    }
}

impl<W: Write> Write for ZstdEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
