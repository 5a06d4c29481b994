//! Taking the compression off.

use std::io::{self, Read};

use super::{BITS_MASK, BLOCK_MODE, CLEAR, CompressError, FEWEST_BITS, GROUP, MAGIC, MOST_BITS};

/// Input is taken in pieces of this size, so the reader below needs no buffer.
const INPUT: usize = 32 << 10;

/// Output is handed on when there is this much of it; one code can add up to 64 KiB more.
const OUTPUT: usize = 64 << 10;

/// The longest string that a code can stand for has a byte less than there are codes.
const LONGEST: usize = CODES;

/// The most bytes that are written at once.
const TAIL: usize = 8;

/// Codes that there can be.
const CODES: usize = 1 << MOST_BITS;

/// Decodes `.Z` data; reading gives the plain bytes. Errors are [`CompressError`]s inside [`io::Error`], and come
/// after all bytes before them were given.
#[derive(Debug)]
pub struct CompressDecoder<R> {
    input: Groups<R>,
    block_mode: bool,
    most_bits: u32,
    table: Table,
    /// The present group, and how many of its codes are used.
    group: Group,
    used: usize,
    /// Room for a good piece and one string more; how much of it is filled, and how much of that given.
    output: Vec<u8>,
    filled: usize,
    given: usize,
    failed: Option<CompressError>,
}

/// What the codes stand for.
#[derive(Debug)]
struct Table {
    shapes: Vec<Shape>,
    /// The next code that gets a meaning, and the most there can be.
    next: u32,
    most: u32,
    /// Present width of codes, and the value of `next` at which it no longer suffices.
    bits: u32,
    widen_at: u32,
    /// The code before, and the first byte of its string; none at the beginning and after a clear code.
    before: Option<(u16, u8)>,
}

/// What a code stands for: the string of another code and up to [`TAIL`] bytes more. The first string of a row of ever
/// longer ones has one byte more than its prefix, the next has two and the same prefix, and so on: so a string is
/// written in few steps, a short one in a single one, whatever its length.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    tail: [u8; TAIL],
    /// Means nothing where the tail is all of it.
    prefix: u16,
    /// Bytes of the string, less one.
    extent: u16,
}

/// Codes that were read together; the last group may be short.
#[derive(Debug, Default)]
struct Group {
    codes: [u16; GROUP as usize],
    count: usize,
}

impl<R: Read> CompressDecoder<R> {
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
            group: Group::default(),
            used: 0,
            output: vec![0; OUTPUT + LONGEST + TAIL],
            filled: 0,
            given: 0,
            failed: None,
        })
    }

    /// Decodes until there is a good piece of output; fills nothing at the end of the input.
    fn decode(&mut self) -> io::Result<()> {
        (self.filled, self.given) = (0, 0);
        while self.filled < OUTPUT {
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

    /// Keeps an error of the data for when the output before it is gone.
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

    /// Writes the string of `code` to the beginning of `room`, which has [`TAIL`] bytes more, and gives the next code
    /// its meaning. The length of the string; none if the code has no meaning.
    fn expand(&mut self, code: u16, room: &mut [u8]) -> Option<usize> {
        let Some((before, first)) = self.before else {
            let byte = u8::try_from(code).ok()?;
            *room.first_mut()? = byte;
            self.before = Some((code, byte));
            return Some(1);
        };
        // The one code that may be used before it has a meaning: the string before and its own first byte.
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

    /// Writes the string of a code that has a meaning, its end first; its length.
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

    /// Gives the next code its meaning, if there is room for one more.
    fn define(&mut self, prefix: u16, byte: u8) {
        if self.next >= self.most {
            return;
        }
        let Shape { tail, prefix: far, extent } = self.shape(prefix);
        let extent = extent.saturating_add(1);
        let at = usize::from(extent) % TAIL;
        // As a number: a byte that is put into an array, which is then taken as a whole, holds up the processor.
        let kept = u64::from_le_bytes(tail) & ((1 << (8 * at)) - 1);
        let tail = (kept | u64::from(byte) << (8 * at)).to_le_bytes();
        if let Some(shape) = self.shapes.get_mut(self.next as usize) {
            *shape = Shape { tail, prefix: if at == 0 { prefix } else { far }, extent };
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
    /// The next group of codes of this width; the last one may be short. None at the end.
    fn next(&mut self, bits: u32) -> io::Result<Option<Group>> {
        let wanted = bits as usize;
        if self.end - self.start < wanted {
            self.refill()?;
        }
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let bytes = rest.get(..wanted).unwrap_or(rest);
        if bytes.is_empty() {
            return Ok(None);
        }
        let (length, filled) = (bytes.len(), bytes.len() * 8);
        if length < wanted && filled % wanted >= 8 {
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
        Ok(Some(Group { codes, count: filled / wanted }))
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
