//! Zstandard: a reader of the whole format within limits, and a writer where the build has one.
//!
//! The reader reads frames one after another, and skippable frames between them. It verifies everything that the format
//! lets a reader verify: the content checksum and the content size of each frame that has them. It refuses a window of
//! more than 64 MiB before allocating it, and every frame with a dictionary. The caller must limit the number of bytes of
//! output.
//!
//! The writer is the reference implementation, so what the reader reads back is proved by two implementations. The bytes
//! depend on the content alone.

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::compressed_input::{CompressedInput, damaged};

/// The largest window that is allocated, in bytes.
const LARGEST_WINDOW: u64 = 64 << 20;

const MAGIC: [u8; 4] = *b"\x28\xb5\x2f\xfd";

pub(crate) struct ZstdDecoder<R> {
    input: CompressedInput<R>,
    frames: FrameDecoder,
    place: Position,
}

/// The place of the next byte in the file.
#[derive(Clone, Copy)]
enum Position {
    BetweenFrames,
    InFrame(OpenFrame),
    Ended,
}

/// A frame whose content is being read.
#[derive(Clone, Copy)]
struct OpenFrame {
    announced: Option<u64>,
    size: u64,
}

/// Returns true if these bytes begin a frame without content.
fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

impl<R: Read> ZstdDecoder<R> {
    /// Reads `input` from its first byte on; nothing is read yet.
    pub(crate) fn new(input: R) -> Self {
        let mut frames = FrameDecoder::new();
        frames.set_max_window_size(LARGEST_WINDOW);
        Self { input: CompressedInput::new(input), frames, place: Position::BetweenFrames }
    }

    fn next_frame(&mut self) -> io::Result<Position> {
        loop {
            let start = self.input.up_to_four()?;
            if start.is_empty() {
                return Ok(Position::Ended);
            }
            if is_skippable(&start) {
                let length = u64::from(u32::from_le_bytes(self.input.array()?));
                if io::copy(&mut (&mut self.input).take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            } else if start == MAGIC {
                return self.open_frame().map(Position::InFrame);
            } else {
                return Err(damaged("bytes behind a Zstandard frame that are no other one"));
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

    /// Reads a little-endian field whose length two bits select.
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

    /// Decodes until there is output, or until the end of the frame.
    fn decode(&mut self) -> io::Result<()> {
        while self.frames.can_collect() == 0 && !self.frames.is_finished() {
            let decoded = self.frames.decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1));
            decoded.map_err(|error| self.input.error(error.to_string()))?;
        }
        Ok(())
    }

    fn close_frame(&self, frame: OpenFrame) -> io::Result<()> {
        if frame.announced.is_some_and(|size| size != frame.size) {
            return Err(damaged("a Zstandard frame has another size than its header says"));
        }
        let checksum = self.frames.get_checksum_from_data();
        if checksum.is_some() && checksum != self.frames.get_calculated_checksum() {
            return Err(damaged("a Zstandard frame does not have its checksum"));
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
            self.place = match std::mem::replace(&mut self.place, Position::Ended) {
                Position::Ended => return Ok(0),
                Position::BetweenFrames => self.next_frame()?,
                Position::InFrame(mut frame) => {
                    self.decode()?;
                    let count = self.frames.read(buffer)?;
                    frame.size += count as u64;
                    if frame.announced.is_some_and(|size| frame.size > size) {
                        return Err(damaged("a Zstandard frame is longer than its header says"));
                    }
                    if count > 0 {
                        self.place = Position::InFrame(frame);
                        return Ok(count);
                    }
                    self.close_frame(frame)?;
                    Position::BetweenFrames
                }
            };
        }
    }
}

/// True if this build can write Zstandard. Every build reads it.
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
