//! The encoder of `.Z` data, which writes the same codes as compress(1).

use std::io::{self, Write};

use super::{BLOCK_MODE, CLEAR, CompressError, FEWEST_BITS, GROUP, MAGIC, MOST_BITS};

/// The number of input bytes between two checks of the compression ratio, once the table is full.
const CHECK_GAP: u64 = 10_000;

/// The number of slots in the hash table: twice the number of codes.
const SLOTS: usize = 1 << (MOST_BITS + 1);

/// The size of the output buffer, in bytes.
const OUTPUT: usize = 32 << 10;

/// An encoder of `.Z` data. Bytes written to it are compressed; without a call of [`CompressEncoder::finish`]
/// the output is incomplete.
#[derive(Debug)]
pub struct CompressEncoder<W> {
    out: W,
    buffer: Vec<u8>,
    written: u64,
    most_bits: u32,
    /// The code of the string matched so far; `None` before the first byte.
    prefix: Option<u32>,
    /// `(prefix << 8 | byte) + 1`, so that 0 is an empty slot, and the code of that string.
    keys: Vec<u32>,
    codes: Vec<u16>,
    next: u32,
    bits: u32,
    group: u128,
    filled: u32,
    /// The number of input bytes, the ratio at the last check, and the input position of the next check.
    taken: u64,
    ratio: u64,
    look_at: u64,
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
        let mut buffer = Vec::with_capacity(OUTPUT + 32);
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
            taken: 0,
            ratio: 0,
            look_at: CHECK_GAP,
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
        self.taken += 1;
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
        } else if self.taken >= self.look_at {
            self.look_at_ratio();
        }
    }

    /// Clears the table if the data compresses worse than at the last check.
    fn look_at_ratio(&mut self) {
        self.look_at = self.taken + CHECK_GAP;
        let ratio = (self.taken << 8) / (self.written + self.buffer.len() as u64).max(1);
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

    /// Writes the current group, padded to its full length, unless it is empty.
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
        let data = data.get(..OUTPUT).unwrap_or(data);
        for &byte in data {
            self.byte(byte);
        }
        if self.buffer.len() >= OUTPUT {
            self.drain()?;
        }
        Ok(data.len())
    }

    /// Passes on complete groups; the codes of an unfinished group stay.
    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.out.flush()
    }
}
