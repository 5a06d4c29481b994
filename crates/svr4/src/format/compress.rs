//! The `.Z` format of compress(1), as in undo archives of Solaris: adaptive LZW with codes of 9 to 16 bits.
//!
//! ```text
//! 1f 9d  flags            flags: 0x80 block mode, low five bits the longest code
//! codes                   least significant bit first, in groups of eight codes of one width
//! ```
//! A change of width and the clear code (256, in block mode) end a group early; the rest of it is padding.
//!
//! The decoder refuses codes that no encoder can have written. The format has no length and no checksum, so a file cut
//! between two codes decodes without an error. The encoder writes the bytes of compress(1) in block mode, but not 9 bits,
//! because decoders disagree about where such a stream becomes wider.
//!
//! ```
//! use std::io::{Read, Write};
//! use patchadm_svr4::format::compress::{CompressDecoder, CompressEncoder};
//!
//! let mut encoder = CompressEncoder::new(Vec::new());
//! encoder.write_all(b"to be or not to be")?;
//! let packed = encoder.finish()?;
//!
//! let mut text = String::new();
//! CompressDecoder::new(&packed[..])?.read_to_string(&mut text)?;
//! assert_eq!(text, "to be or not to be");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::io::{self, Read, Write};

/// The first bytes of every `.Z` file.
pub const MAGIC: [u8; 2] = [0x1f, 0x9d];

const BLOCK_MODE: u8 = 0x80;
const BITS_MASK: u8 = 0x1f;
const FEWEST_BITS: u32 = 9;
const MOST_BITS: u32 = 16;

/// Clears the table in block mode.
const CLEAR: u32 = 256;

const GROUP: u32 = 8;

/// The reason a `.Z` stream cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// Data that does not start with [`MAGIC`].
    #[error("not in compressed (.Z) format")]
    NotCompressed,
    /// A longest code below 9 bits (10 for writing) or above 16.
    #[error("compressed (.Z) data with codes of up to {bits} bits is not supported")]
    Bits {
        /// The number of bits in the header.
        bits: u32,
    },
    /// A code without a meaning yet.
    #[error("compressed (.Z) data is corrupt: invalid code {code} at byte {offset}")]
    InvalidCode {
        /// The code's number.
        code: u32,
        /// The offset of the group that contains it, in bytes.
        offset: u64,
    },
    /// An end of the data inside a code.
    #[error("compressed (.Z) data ends inside a code at byte {offset}")]
    Truncated {
        /// The offset of the group that contains it, in bytes.
        offset: u64,
    },
}

impl From<CompressError> for io::Error {
    fn from(error: CompressError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

const INPUT_BUFFER: usize = 32 << 10;

/// Bytes of a piece of output. One code can add up to 64 KiB more.
const PIECE: usize = 64 << 10;

const LONGEST_STRING: usize = CODES;

const TAIL: usize = 8;

const CODES: usize = 1 << MOST_BITS;

/// A decoder of `.Z` data. Errors are [`CompressError`]s inside [`io::Error`], after all bytes before the fault.
pub struct CompressDecoder<R> {
    input: CodeGroups<R>,
    block_mode: bool,
    most_bits: u32,
    table: Table,
    /// The current group, and the number of its used codes.
    group: CodeGroup,
    used: usize,
    /// Room for a piece and one more string, the filled bytes, and the returned bytes.
    output: Vec<u8>,
    filled: usize,
    given: usize,
    failed: Option<CompressError>,
}

struct Table {
    shapes: Vec<Shape>,
    /// The next code to define, and the end of all codes.
    next: u32,
    most: u32,
    /// The current width of codes, and the value of `next` that needs a greater one.
    bits: u32,
    widen_at: u32,
    /// The previous code and the first byte of its string; `None` at the start and after a clear code.
    before: Option<(u16, u8)>,
}

/// The string of a code: that of another code and up to [`TAIL`] bytes more, so that it is written in few steps.
#[derive(Clone, Copy, Default)]
struct Shape {
    tail: [u8; TAIL],
    prefix: u16,
    extent: u16,
}

#[derive(Default)]
struct CodeGroup {
    codes: [u16; GROUP as usize],
    count: usize,
}

impl<R> fmt::Debug for CompressDecoder<R> {
    /// Leaves out the tables, which have 65,536 entries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressDecoder").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl<R: Read> CompressDecoder<R> {
    /// Creates a decoder and reads the header of three bytes.
    pub fn new(mut input: R) -> io::Result<Self> {
        let mut head = Vec::with_capacity(3);
        input.by_ref().take(3).read_to_end(&mut head)?;
        let [first, second, flags] = head[..] else { return Err(CompressError::NotCompressed.into()) };
        if [first, second] != MAGIC {
            return Err(CompressError::NotCompressed.into());
        }
        let most_bits = u32::from(flags & BITS_MASK);
        if !(FEWEST_BITS..=MOST_BITS).contains(&most_bits) {
            return Err(CompressError::Bits { bits: most_bits }.into());
        }
        let block_mode = flags & BLOCK_MODE != 0;
        Ok(Self {
            input: CodeGroups {
                input,
                buffer: vec![0; INPUT_BUFFER],
                start: 0,
                end: 0,
                group_at: 3,
                next_at: 3,
            },
            block_mode,
            most_bits,
            table: Table::new(most_bits, if block_mode { CLEAR + 1 } else { CLEAR }),
            group: CodeGroup::default(),
            used: 0,
            output: vec![0; PIECE + LONGEST_STRING + TAIL],
            filled: 0,
            given: 0,
            failed: None,
        })
    }

    fn decode(&mut self) -> io::Result<()> {
        (self.filled, self.given) = (0, 0);
        while self.filled < PIECE {
            if self.table.next > self.table.widen_at {
                self.table.widen(self.most_bits);
                self.used = self.group.count;
            }
            if self.used == self.group.count {
                match self.input.next(self.table.bits) {
                    Ok(Some(group)) => (self.group, self.used) = (group, 0),
                    Ok(None) => return Ok(()),
                    Err(error) => return self.fail(error),
                }
            }
            let Some(&code) = self.group.codes.get(self.used) else { return Ok(()) };
            self.used += 1;
            if u32::from(code) == CLEAR && self.block_mode {
                self.table.clear();
                self.used = self.group.count;
                continue;
            }
            let room = self.output.get_mut(self.filled..).unwrap_or_default();
            let Some(length) = self.table.expand(code, room) else {
                let (code, offset) = (code.into(), self.input.group_at);
                return self.fail(CompressError::InvalidCode { code, offset }.into());
            };
            self.filled += length;
        }
        Ok(())
    }

    /// Holds back an error until the output before it has been read.
    fn fail(&mut self, error: io::Error) -> io::Result<()> {
        self.failed = Some(error.downcast::<CompressError>()?);
        Ok(())
    }
}

impl<R: Read> Read for CompressDecoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given >= self.filled && !buffer.is_empty() {
            if let Some(error) = &self.failed {
                return Err(error.clone().into());
            }
            self.decode()?;
            if let (0, Some(error)) = (self.filled, &self.failed) {
                return Err(error.clone().into());
            }
        }
        let mut rest = self.output.get(self.given..self.filled).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.given += count;
        Ok(count)
    }
}

impl Table {
    fn new(most_bits: u32, first: u32) -> Self {
        let mut shapes = vec![Shape::default(); CODES];
        for (byte, shape) in (0..=u8::MAX).zip(&mut shapes) {
            shape.tail[0] = byte;
        }
        Self {
            shapes,
            next: first,
            most: 1 << most_bits,
            bits: FEWEST_BITS,
            widen_at: (1 << FEWEST_BITS) - 1,
            before: None,
        }
    }

    /// Moves to the next width; with the longest codes the table only fills up. A limit of 9 bits is noticed one code
    /// too late and continues with 10 bits, as in every decoder derived from compress(1).
    fn widen(&mut self, most_bits: u32) {
        self.bits += 1;
        self.widen_at = if self.bits == most_bits { 1 << self.bits } else { (1 << self.bits) - 1 };
    }

    fn clear(&mut self) {
        self.next = CLEAR + 1;
        self.bits = FEWEST_BITS;
        self.widen_at = (1 << FEWEST_BITS) - 1;
        self.before = None;
    }

    /// Writes the string of `code`, defines the next code, and returns the length; `None` if the code has no meaning.
    fn expand(&mut self, code: u16, room: &mut [u8]) -> Option<usize> {
        let Some((before, first)) = self.before else {
            let byte = u8::try_from(code).ok()?;
            *room.first_mut()? = byte;
            self.before = Some((code, byte));
            return Some(1);
        };
        // The only code that may be used before it has a meaning: the previous string and its own first byte.
        let is_own = u32::from(code) == self.next;
        if is_own {
            self.define(before, first);
        }
        if u32::from(code) >= self.next {
            return None;
        }
        let length = self.write(code, room)?;
        let first = *room.first()?;
        if !is_own {
            self.define(before, first);
        }
        self.before = Some((code, first));
        Some(length)
    }

    /// Writes the string of a defined code, from its end backwards, and returns its length.
    fn write(&self, code: u16, room: &mut [u8]) -> Option<usize> {
        let mut shape = self.shape(code);
        let length = usize::from(shape.extent) + 1;
        let mut at = usize::from(shape.extent) / TAIL * TAIL;
        while at > 0 {
            *room.get_mut(at..)?.first_chunk_mut()? = shape.tail;
            shape = self.shape(shape.prefix);
            at -= TAIL;
        }
        *room.first_chunk_mut()? = shape.tail;
        Some(length)
    }

    fn shape(&self, code: u16) -> Shape {
        self.shapes.get(usize::from(code)).copied().unwrap_or_default()
    }

    fn define(&mut self, prefix: u16, byte: u8) {
        if self.next >= self.most {
            return;
        }
        let Shape { tail, prefix: far, extent } = self.shape(prefix);
        let extent = extent.saturating_add(1);
        let at = usize::from(extent) % TAIL;
        // As a number: reading an array after putting a byte into it stalls the processor.
        let kept = u64::from_le_bytes(tail) & ((1 << (8 * at)) - 1);
        let tail = (kept | u64::from(byte) << (8 * at)).to_le_bytes();
        if let Some(shape) = self.shapes.get_mut(self.next as usize) {
            *shape = Shape { tail, prefix: if at == 0 { prefix } else { far }, extent };
        }
        self.next += 1;
    }
}

struct CodeGroups<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    group_at: u64,
    next_at: u64,
}

impl<R: Read> CodeGroups<R> {
    fn next(&mut self, bits: u32) -> io::Result<Option<CodeGroup>> {
        let group_length = bits as usize;
        if self.end - self.start < group_length {
            self.refill()?;
        }
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let bytes = rest.get(..group_length).unwrap_or(rest);
        if bytes.is_empty() {
            return Ok(None);
        }
        let (length, filled) = (bytes.len(), bytes.len() * 8);
        if length < group_length && filled % group_length >= 8 {
            return Err(CompressError::Truncated { offset: self.next_at }.into());
        }
        let mut group = [0; 16];
        group.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let group = u128::from_le_bytes(group);
        let mut codes = [0; GROUP as usize];
        for (code, at) in codes.iter_mut().zip(0u32..) {
            #[allow(clippy::cast_possible_truncation)] // masked to 16 bits at most
            let bits_of_code = (group >> (at * bits)) as u16 & (u16::MAX >> (MOST_BITS - bits));
            *code = bits_of_code;
        }
        self.start += length;
        self.group_at = self.next_at;
        self.next_at += length as u64;
        Ok(Some(CodeGroup { codes, count: filled / group_length }))
    }

    fn refill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while let Some(room) = self.buffer.get_mut(self.end..).filter(|room| !room.is_empty()) {
            match self.input.read(room) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Input bytes between two checks of the ratio, once the table is full.
const CHECK_GAP: u64 = 10_000;

/// Slots in the hash table: twice the number of codes.
const SLOTS: usize = 1 << (MOST_BITS + 1);

const OUTPUT_BUFFER: usize = 32 << 10;

/// An encoder of `.Z` data. Without [`CompressEncoder::finish`] the output is incomplete.
pub struct CompressEncoder<W> {
    out: W,
    buffer: Vec<u8>,
    written: u64,
    most_bits: u32,
    /// The code of the string so far; `None` before the first byte.
    prefix: Option<u32>,
    /// `(prefix << 8 | byte) + 1`, so that 0 is an empty slot, and the code of that string.
    keys: Vec<u32>,
    codes: Vec<u16>,
    next: u32,
    bits: u32,
    group: u128,
    filled: u32,
    /// Input bytes, the ratio at the last check, and the position of the next check.
    consumed: u64,
    ratio: u64,
    check_at: u64,
}

impl<W> fmt::Debug for CompressEncoder<W> {
    /// Leaves out the tables, which have 131,072 entries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressEncoder").field("consumed", &self.consumed).finish_non_exhaustive()
    }
}

impl<W: Write> CompressEncoder<W> {
    /// Creates an encoder with codes of up to 16 bits, the default of compress(1).
    pub fn new(out: W) -> Self {
        Self::build(out, MOST_BITS)
    }

    /// Creates an encoder with codes of up to `bits` bits, 10 to 16.
    pub fn with_bits(out: W, bits: u32) -> Result<Self, CompressError> {
        if (FEWEST_BITS + 1..=MOST_BITS).contains(&bits) {
            Ok(Self::build(out, bits))
        } else {
            Err(CompressError::Bits { bits })
        }
    }

    fn build(out: W, most_bits: u32) -> Self {
        let mut buffer = Vec::with_capacity(OUTPUT_BUFFER + 32);
        buffer.extend_from_slice(&MAGIC);
        buffer.push(BLOCK_MODE | most_bits.to_le_bytes()[0]);
        Self {
            out,
            buffer,
            written: 0,
            most_bits,
            prefix: None,
            keys: vec![0; SLOTS],
            codes: vec![0; SLOTS],
            next: CLEAR + 1,
            bits: FEWEST_BITS,
            group: 0,
            filled: 0,
            consumed: 0,
            ratio: 0,
            check_at: CHECK_GAP,
        }
    }

    /// Writes the remaining codes and returns the output, not flushed.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(prefix) = self.prefix.take() {
            self.put(prefix);
            let bytes = (self.filled * self.bits).div_ceil(8) as usize;
            self.buffer.extend_from_slice(self.group.to_le_bytes().get(..bytes).unwrap_or_default());
        }
        self.drain()?;
        Ok(self.out)
    }

    fn byte(&mut self, byte: u8) {
        self.consumed += 1;
        let Some(prefix) = self.prefix else {
            self.prefix = Some(byte.into());
            return;
        };
        let key = (prefix << 8 | u32::from(byte)) + 1;
        let mut slot = (key.wrapping_mul(0x9e37_79b1) >> (32 - MOST_BITS - 1)) as usize;
        while let Some(&found) = self.keys.get(slot) {
            if found == key {
                self.prefix = self.codes.get(slot).map(|&code| code.into());
                return;
            }
            if found == 0 {
                break;
            }
            slot = (slot + 1) % SLOTS;
        }
        self.put(prefix);
        self.prefix = Some(byte.into());
        if self.next < 1 << self.most_bits {
            if let (Some(at), Some(code)) = (self.keys.get_mut(slot), self.codes.get_mut(slot)) {
                *at = key;
                *code = u16::try_from(self.next).unwrap_or(u16::MAX);
            }
            self.next += 1;
        } else if self.consumed >= self.check_at {
            self.check_ratio();
        }
    }

    fn check_ratio(&mut self) {
        self.check_at = self.consumed + CHECK_GAP;
        let ratio = (self.consumed << 8) / (self.written + self.buffer.len() as u64).max(1);
        if ratio > self.ratio {
            self.ratio = ratio;
            return;
        }
        self.ratio = 0;
        self.keys.fill(0);
        self.put(CLEAR);
        self.end_group();
        self.next = CLEAR + 1;
        self.bits = FEWEST_BITS;
    }

    fn put(&mut self, code: u32) {
        self.group |= u128::from(code) << (self.filled * self.bits);
        self.filled += 1;
        if self.filled == GROUP {
            self.end_group();
        }
        if self.next > (1 << self.bits) - 1 && self.bits < self.most_bits {
            self.end_group();
            self.bits += 1;
        }
    }

    fn end_group(&mut self) {
        if self.filled > 0 {
            let bytes = self.group.to_le_bytes();
            self.buffer.extend_from_slice(bytes.get(..self.bits as usize).unwrap_or_default());
            self.group = 0;
            self.filled = 0;
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for CompressEncoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let data = data.get(..OUTPUT_BUFFER).unwrap_or(data);
        for &byte in data {
            self.byte(byte);
        }
        if self.buffer.len() >= OUTPUT_BUFFER {
            self.drain()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn encode(bits: u32, data: &[u8]) -> Vec<u8> {
        let mut encoder = CompressEncoder::with_bits(Vec::new(), bits).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        CompressDecoder::new(bytes)?.read_to_end(&mut data)?;
        Ok(data)
    }

    /// Compressible at first, then noise, then compressible again: the ratio drops and the table is cleared.
    fn changing_data() -> Vec<u8> {
        let mut state = 1u32;
        (0..1_500_000u32)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if (at / 300_000) % 2 == 0 {
                    b"the quick brown fox"[(at % 19) as usize]
                } else {
                    (state >> 24) as u8
                }
            })
            .collect()
    }

    #[test]
    fn a_file_of_compress_is_read() {
        // 97, 257 (aa, while it is being defined), 258, 259, 257: one, two, three, four and two bytes.
        let bytes = b"\x1f\x9d\x90\x61\x02\x0a\x1c\x18\x10";
        assert_eq!(decode(bytes).unwrap(), [b'a'; 12]);
        assert_eq!(encode(16, &[b'a'; 12]), bytes);
    }

    #[test]
    fn every_width_brings_the_data_back_through_cleared_tables() {
        let data = changing_data();
        for bits in 10..=16 {
            let bytes = encode(bits, &data);
            assert!(decode(&bytes).unwrap() == data, "{bits} bits");
        }
    }

    #[test]
    fn gzip_reads_what_is_written() {
        let data = changing_data();
        for bits in [10, 12, 16] {
            let bytes = encode(bits, &data);
            let child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let Ok(mut child) = child else {
                crate::skipped("gzip_reads_what_is_written: gzip is not here");
                return;
            };
            let mut input = child.stdin.take().unwrap();
            let feeder = std::thread::spawn(move || input.write_all(&bytes));
            let output = child.wait_with_output().unwrap();
            feeder.join().unwrap().unwrap();
            assert!(output.status.success() && output.stdout == data, "{bits} bits");
        }
    }

    #[test]
    fn headers_that_no_compress_writes_are_refused() {
        let refused = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(refused(b"\x1f\x8b\x90"), "not in compressed (.Z) format");
        assert_eq!(refused(b"\x1f\x9d"), "not in compressed (.Z) format");
        for bits in [0u8, 8, 17, 31] {
            let expected = format!("compressed (.Z) data with codes of up to {bits} bits is not supported");
            assert_eq!(refused(&[0x1f, 0x9d, 0x80 | bits]), expected);
        }
        assert!(CompressEncoder::with_bits(Vec::new(), 9).is_err());
    }

    #[test]
    fn codes_that_stand_for_nothing_are_refused() {
        let code = |codes: &[u32]| {
            let mut bits = 0u128;
            for (at, code) in codes.iter().enumerate() {
                bits |= u128::from(*code) << (9 * at);
            }
            let mut bytes = b"\x1f\x9d\x90".to_vec();
            bytes.extend_from_slice(&bits.to_le_bytes()[..(codes.len() * 9).div_ceil(8)]);
            decode(&bytes)
        };
        assert_eq!(code(&[97, 257]).unwrap(), b"aaa", "the code that is being made");
        assert!(code(&[97, 258]).is_err());
        assert!(code(&[300]).is_err(), "the first code is a byte");
        assert_eq!(code(&[97, 256]).unwrap(), b"a", "a clear code at the end");
    }

    #[test]
    fn an_end_inside_a_code_is_an_error() {
        let bytes = encode(16, b"abc");
        let error = decode(&bytes[..4]).unwrap_err().to_string();
        assert_eq!(error, "compressed (.Z) data ends inside a code at byte 3");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            words in prop::collection::vec(prop::collection::vec(0u8..4, 1..40), 0..200), bits in 10u32..=16,
        ) {
            let data = words.concat();
            prop_assert_eq!(decode(&encode(bits, &data)).unwrap(), data);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(flags: u8, codes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut bytes = vec![0x1f, 0x9d, flags];
            bytes.extend(codes);
            let _ = decode(&bytes);
            bytes[2] = 0x80 | (9 + flags % 8);
            let _ = decode(&bytes);
        }
    }
}
