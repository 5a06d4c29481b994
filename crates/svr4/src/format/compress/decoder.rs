//! The decoder of `.Z` data.

use std::io::{self, Read};

use super::{BITS_MASK, BLOCK_MODE, CLEAR, CompressError, FEWEST_BITS, GROUP, MAGIC, MOST_BITS};

/// The size of one read, in bytes; the input needs no buffer of its own.
const INPUT: usize = 32 << 10;

/// The size of a piece of output, in bytes. One code can add up to 64 KiB more.
const OUTPUT: usize = 64 << 10;

/// An upper bound for the length of a code's string, which is shorter than the number of codes.
const LONGEST: usize = CODES;

/// The number of bytes written at once.
const TAIL: usize = 8;

/// The largest number of codes.
const CODES: usize = 1 << MOST_BITS;

/// A decoder of `.Z` data. Reading yields the plain bytes; errors are [`CompressError`]s inside [`io::Error`]
/// and follow all bytes before the fault.
#[derive(Debug)]
pub struct CompressDecoder<R> {
    input: CodeGroups<R>,
    block_mode: bool,
    most_bits: u32,
    table: Table,
    /// The current group, and the number of its codes already used.
    group: CodeGroup,
    used: usize,
    /// A buffer for one piece of output and one more string, the number of bytes filled, and the number of
    /// those handed out.
    output: Vec<u8>,
    filled: usize,
    given: usize,
    failed: Option<CompressError>,
}

/// The meanings of the codes.
#[derive(Debug)]
struct Table {
    shapes: Vec<Shape>,
    /// The next code to get a meaning, and the end of all codes.
    next: u32,
    most: u32,
    /// The current width of codes, and the value of `next` that needs a greater one.
    bits: u32,
    widen_at: u32,
    /// The previous code and the first byte of its string; `None` at the start and after a clear code.
    before: Option<(u16, u8)>,
}

/// The meaning of a code: the string of another code and up to [`TAIL`] bytes more. In a chain of ever longer
/// strings, the first has one byte more than its prefix, the next two with the same prefix, and so on. A
/// string is thus written in few steps, a short one in a single step.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    tail: [u8; TAIL],
    /// The code of the prefix; meaningless if the tail is the whole string.
    prefix: u16,
    /// The length of the string minus one.
    extent: u16,
}

/// The codes of one group; the last group may be short.
#[derive(Debug, Default)]
struct CodeGroup {
    codes: [u16; GROUP as usize],
    count: usize,
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
            input: CodeGroups { input, buffer: vec![0; INPUT], start: 0, end: 0, group_at: 3, next_at: 3 },
            block_mode,
            most_bits,
            table: Table::new(most_bits, if block_mode { CLEAR + 1 } else { CLEAR }),
            group: CodeGroup::default(),
            used: 0,
            output: vec![0; OUTPUT + LONGEST + TAIL],
            filled: 0,
            given: 0,
            failed: None,
        })
    }

    /// Decodes one piece of output, which is empty at the end of the input.
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

    /// Keeps an error in the data until the output before it has been read.
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

    /// Moves to the next width. With the longest codes the table fills up without another change. A limit of 9 bits is
    /// noticed one code too late and continues with 10 bits, as in every decoder derived from compress(1).
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

    /// Writes the string of `code` to the start of `room`, which has [`TAIL`] spare bytes, and defines the
    /// next code. Returns the length of the string, or `None` if the code has no meaning.
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

    /// Defines the next code, if the table has room for it.
    fn define(&mut self, prefix: u16, byte: u8) {
        if self.next >= self.most {
            return;
        }
        let Shape { tail, prefix: far, extent } = self.shape(prefix);
        let extent = extent.saturating_add(1);
        let at = usize::from(extent) % TAIL;
        // As a number: putting a byte into an array and then reading the array as a whole stalls the processor.
        let kept = u64::from_le_bytes(tail) & ((1 << (8 * at)) - 1);
        let tail = (kept | u64::from(byte) << (8 * at)).to_le_bytes();
        if let Some(shape) = self.shapes.get_mut(self.next as usize) {
            *shape = Shape { tail, prefix: if at == 0 { prefix } else { far }, extent };
        }
        self.next += 1;
    }
}

/// The input, divided into groups of eight codes.
#[derive(Debug)]
struct CodeGroups<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The offsets of the current group and of the next one.
    group_at: u64,
    next_at: u64,
}

impl<R: Read> CodeGroups<R> {
    /// Reads the next group of codes of `bits` bits; the last one may be short. Returns `None` at the end.
    fn next(&mut self, bits: u32) -> io::Result<Option<CodeGroup>> {
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
        Ok(Some(CodeGroup { codes, count: filled / wanted }))
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
