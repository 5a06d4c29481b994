//! Taking the compression off.

use std::io::{self, Read};

use super::{BITS_MASK, BLOCK_MODE, CLEAR, CompressError, FEWEST_BITS, GROUP, MAGIC, MOST_BITS};

/// Input is taken in pieces of this size, so the reader below needs no buffer.
const INPUT: usize = 32 << 10;

/// Output is handed on when there is this much of it; one code can add up to 64 KiB more.
const OUTPUT: usize = 64 << 10;

/// Decodes `.Z` data; reading gives the plain bytes. Errors are [`CompressError`]s inside [`io::Error`], and come
/// after all bytes before them were given.
#[derive(Debug)]
pub struct Decoder<R> {
    input: Groups<R>,
    block_mode: bool,
    most_bits: u32,
    table: Table,
    /// The codes of the present group that are not yet used, lowest first, and how many they are.
    group: u128,
    left: u32,
    output: Vec<u8>,
    given: usize,
    failed: Option<CompressError>,
}

/// What the codes stand for: a string is a shorter string and one more byte.
#[derive(Debug)]
struct Table {
    prefix: Vec<u16>,
    suffix: Vec<u8>,
    /// Bytes of each string, less one.
    extent: Vec<u16>,
    /// The next code that gets a meaning, and the most there can be.
    next: u32,
    most: u32,
    /// Present width of codes, and the value of `next` at which it no longer suffices.
    bits: u32,
    widen_at: u32,
    /// The code before, and the first byte of its string; none at the beginning and after a clear code.
    before: Option<(u32, u8)>,
}

impl<R: Read> Decoder<R> {
    /// Reads the three bytes of the header.
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
            input: Groups { input, buffer: vec![0; INPUT], start: 0, end: 0, group_at: 3, next_at: 3 },
            block_mode,
            most_bits,
            table: Table::new(most_bits, if block_mode { CLEAR + 1 } else { CLEAR }),
            group: 0,
            left: 0,
            output: Vec::with_capacity(2 * OUTPUT),
            given: 0,
            failed: None,
        })
    }

    /// Decodes until there is a good piece of output; leaves `output` empty at the end of the input.
    fn decode(&mut self) -> io::Result<()> {
        self.output.clear();
        self.given = 0;
        while self.output.len() < OUTPUT {
            if self.table.next > self.table.widen_at {
                self.table.widen(self.most_bits);
                self.left = 0;
            }
            if self.left == 0 {
                match self.input.next(self.table.bits) {
                    Ok(Some((group, count))) => (self.group, self.left) = (group, count),
                    Ok(None) => return Ok(()),
                    Err(error) => return self.fail(error),
                }
            }
            #[allow(clippy::cast_possible_truncation)] // masked to 16 bits at most
            let code = self.group as u32 & ((1 << self.table.bits) - 1);
            self.group >>= self.table.bits;
            self.left -= 1;
            if code == CLEAR && self.block_mode {
                self.table.clear();
                self.left = 0;
            } else if !self.table.expand(code, &mut self.output) {
                return self.fail(CompressError::InvalidCode { code, offset: self.input.group_at }.into());
            }
        }
        Ok(())
    }

    /// Keeps an error of the data for when the output before it is gone.
    fn fail(&mut self, error: io::Error) -> io::Result<()> {
        self.failed = Some(error.downcast::<CompressError>()?);
        Ok(())
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given >= self.output.len() && !buffer.is_empty() {
            if let Some(error) = &self.failed {
                return Err(error.clone().into());
            }
            self.decode()?;
            if let (true, Some(error)) = (self.output.is_empty(), &self.failed) {
                return Err(error.clone().into());
            }
        }
        let mut rest = self.output.get(self.given..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.given += count;
        Ok(count)
    }
}

impl Table {
    fn new(most_bits: u32, first: u32) -> Self {
        let size = 1usize << most_bits;
        let mut suffix = vec![0; size];
        for (byte, slot) in (0..=u8::MAX).zip(&mut suffix) {
            *slot = byte;
        }
        Self {
            prefix: vec![0; size],
            suffix,
            extent: vec![0; size],
            next: first,
            most: 1 << most_bits,
            bits: FEWEST_BITS,
            widen_at: (1 << FEWEST_BITS) - 1,
            before: None,
        }
    }

    /// Goes to the next width. With the longest codes the table fills without a further change; a longest code of
    /// 9 bits is, as in every decoder that grew out of compress(1), found out one code too late and goes on with 10.
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

    /// Adds the string of `code` to `output` and gives the next code its meaning; false if the code has none.
    fn expand(&mut self, code: u32, output: &mut Vec<u8>) -> bool {
        let Some((before, first)) = self.before else {
            let Ok(byte) = u8::try_from(code) else { return false };
            output.push(byte);
            self.before = Some((code, byte));
            return true;
        };
        // The one code that may be used before it has a meaning: the string before and its own first byte.
        let own = code == self.next && self.next < self.most;
        if code >= self.next && !own {
            return false;
        }
        let known = if own { before } else { code };
        let Some(string) = self.string(known, output) else { return false };
        if own {
            output.push(first);
        }
        let first = if own { first } else { string };
        if self.next < self.most {
            self.define(before, first);
        }
        self.before = Some((code, first));
        true
    }

    /// Writes the string of a code that has a meaning; its first byte.
    fn string(&self, code: u32, output: &mut Vec<u8>) -> Option<u8> {
        let mut at = code as usize;
        let length = usize::from(*self.extent.get(at)?) + 1;
        let start = output.len();
        output.resize(start + length, 0);
        for slot in output.get_mut(start..)?.iter_mut().rev() {
            *slot = *self.suffix.get(at)?;
            at = usize::from(*self.prefix.get(at)?);
        }
        output.get(start).copied()
    }

    #[allow(clippy::cast_possible_truncation)] // codes are below 2^16
    fn define(&mut self, prefix: u32, byte: u8) {
        let at = self.next as usize;
        let extent = self.extent.get(prefix as usize).copied().unwrap_or(0);
        if let (Some(p), Some(s), Some(e)) =
            (self.prefix.get_mut(at), self.suffix.get_mut(at), self.extent.get_mut(at))
        {
            (*p, *s, *e) = (prefix as u16, byte, extent.saturating_add(1));
        }
        self.next += 1;
    }
}

/// The input, cut into groups of eight codes.
#[derive(Debug)]
struct Groups<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the present group and the next one begin.
    group_at: u64,
    next_at: u64,
}

impl<R: Read> Groups<R> {
    /// The next group of codes of this width: the codes, and how many there are; the last group may be short. None
    /// at the end.
    fn next(&mut self, bits: u32) -> io::Result<Option<(u128, u32)>> {
        let wanted = bits as usize;
        if self.end - self.start < wanted {
            self.refill()?;
        }
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let bytes = rest.get(..wanted).unwrap_or(rest);
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut group = [0; 16];
        for (to, from) in group.iter_mut().zip(bytes) {
            *to = *from;
        }
        let count = bytes.len();
        let (codes, spare) = if count == wanted {
            (GROUP, 0)
        } else {
            let filled = (count * 8) % wanted;
            (u32::try_from(count * 8 / wanted).unwrap_or(GROUP), filled)
        };
        if spare >= 8 {
            return Err(CompressError::Truncated { offset: self.next_at }.into());
        }
        self.start += count;
        self.group_at = self.next_at;
        self.next_at += count as u64;
        Ok(Some((u128::from_le_bytes(group), codes)))
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
