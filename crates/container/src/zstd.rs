//! Reads Zstandard frames, and writes them in builds with that feature.
//!
//! The reader verifies checksums and sizes of content, and refuses dictionaries and windows of more than 64 MiB. The
//! caller must limit the output.
//!
//! The writer is the reference implementation, so two implementations prove the result.

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::compressed_input::{CompressedInput, damaged};

/// In bytes.
const LARGEST_WINDOW: u64 = 64 << 20;

const MAGIC: [u8; 4] = *b"\x28\xb5\x2f\xfd";

pub(crate) struct ZstdDecoder<R> {
    input: CompressedInput<R>,
    frames: FrameDecoder,
    place: ZstdPosition,
}

/// Place of the next byte.
#[derive(Clone, Copy)]
enum ZstdPosition {
    BetweenFrames,
    InFrame(OpenFrame),
    Ended,
}

/// A frame being read.
#[derive(Clone, Copy)]
struct OpenFrame {
    announced: Option<u64>,
    size: u64,
}

/// True for the start of a frame without content.
fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

impl<R: Read> ZstdDecoder<R> {
    /// Reads `input` from its first byte, but nothing yet.
    pub(crate) fn new(input: R) -> Self {
        let mut frames = FrameDecoder::new();
        frames.set_max_window_size(LARGEST_WINDOW);
        Self { input: CompressedInput::new(input), frames, place: ZstdPosition::BetweenFrames }
    }

    fn next_frame(&mut self) -> io::Result<ZstdPosition> {
        loop {
            let start = self.input.up_to_four()?;
            if start.is_empty() {
                return Ok(ZstdPosition::Ended);
            }
            if is_skippable(&start) {
                let length = u64::from(u32::from_le_bytes(self.input.array()?));
                if io::copy(&mut (&mut self.input).take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            } else if start == MAGIC {
                return self.open_frame().map(ZstdPosition::InFrame);
            } else {
                return Err(damaged("unexpected data after a Zstandard frame"));
            }
        }
    }

    fn open_frame(&mut self) -> io::Result<OpenFrame> {
        let [descriptor] = self.input.array()?;
        if descriptor & 0x08 != 0 {
            return Err(damaged("a Zstandard frame has flags of a later version"));
        }
        let is_single = descriptor & 0x20 != 0;
        let mut header = [&MAGIC[..], &[descriptor]].concat();
        if !is_single {
            header.extend(self.input.array::<1>()?);
        }
        let dictionary = self.field([0, 1, 2, 4], descriptor & 3, &mut header)?;
        if dictionary != 0 {
            return Err(damaged("Zstandard with a dictionary is not supported"));
        }
        let lengths = [u64::from(is_single), 2, 4, 8];
        let size = self.field(lengths, descriptor >> 6, &mut header)?;
        let announced = match descriptor >> 6 {
            0 => is_single.then_some(size),
            1 => Some(size + 256),
            _ => Some(size),
        };
        self.frames.reset(&header[..]).map_err(|error| damaged(error.to_string()))?;
        Ok(OpenFrame { announced, size: 0 })
    }

    /// Two bits select the length of a little-endian field.
    fn field(&mut self, lengths: [u64; 4], bits: u8, header: &mut Vec<u8>) -> io::Result<u64> {
        let length = lengths.get(usize::from(bits)).copied().unwrap_or_default();
        let mut value = 0;
        for at in 0..length {
            let [byte] = self.input.array()?;
            value |= u64::from(byte) << (8 * at);
            header.push(byte);
        }
        Ok(value)
    }

    /// Decodes until there is output or the frame ends.
    fn decode(&mut self) -> io::Result<()> {
        while self.frames.can_collect() == 0 && !self.frames.is_finished() {
            let decoded = self.frames.decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1));
            decoded.map_err(|error| self.input.error(error.to_string()))?;
        }
        Ok(())
    }

    fn close_frame(&self, frame: OpenFrame) -> io::Result<()> {
        if frame.announced.is_some_and(|size| size != frame.size) {
            return Err(damaged("the size of a Zstandard frame differs from its header"));
        }
        let checksum = self.frames.get_checksum_from_data();
        if checksum.is_some() && checksum != self.frames.get_calculated_checksum() {
            return Err(damaged("a Zstandard frame does not match its checksum"));
        }
        Ok(())
    }
}

impl<R: Read> Read for ZstdDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.place = match std::mem::replace(&mut self.place, ZstdPosition::Ended) {
                ZstdPosition::Ended => return Ok(0),
                ZstdPosition::BetweenFrames => self.next_frame()?,
                ZstdPosition::InFrame(mut frame) => {
                    self.decode()?;
                    let count = self.frames.read(buffer)?;
                    frame.size += count as u64;
                    if frame.announced.is_some_and(|size| frame.size > size) {
                        return Err(damaged("a Zstandard frame is longer than its header says"));
                    }
                    if count > 0 {
                        self.place = ZstdPosition::InFrame(frame);
                        return Ok(count);
                    }
                    self.close_frame(frame)?;
                    ZstdPosition::BetweenFrames
                }
            };
        }
    }
}

/// True if this build can write Zstandard. Every build reads it.
pub const IS_WRITTEN: bool = cfg!(feature = "zstd");

/// For undo archives of real releases, level 12 saves less than 1 % more in twice the time, and level 19 saves 3 to 11
/// % more in some twenty times the time.
#[cfg(feature = "zstd")]
const LEVEL: i32 = 9;

/// Compresses its input into one frame. A flush ends a block, but the reader of this crate decodes a window ahead.
pub struct ZstdEncoder<W: Write> {
    #[cfg(feature = "zstd")]
    inner: ::zstd::stream::write::Encoder<'static, W>,
    #[cfg(not(feature = "zstd"))]
    inner: W,
}

#[cfg(feature = "zstd")]
impl<W: Write> ZstdEncoder<W> {
    /// Begins a frame; fails in a build that cannot write Zstandard.
    pub fn new(out: W) -> io::Result<Self> {
        let mut inner = ::zstd::stream::write::Encoder::new(out, LEVEL)?;
        inner.include_checksum(true)?;
        Ok(Self { inner })
    }

    /// Ends the frame and returns the output.
    pub fn finish(self) -> io::Result<W> {
        self.inner.finish()
    }
}

#[cfg(not(feature = "zstd"))]
impl<W: Write> ZstdEncoder<W> {
    /// Begins a frame; fails in a build that cannot write Zstandard.
    pub fn new(_: W) -> io::Result<Self> {
        let message = "this build of patchadm reads Zstandard, and does not write it";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// Ends the frame and returns the output.
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
