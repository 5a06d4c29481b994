//! One block, in the shortest of the three forms of deflate: stored, with fixed codes, or with its own codes.

use super::bits::{BETWEEN_FLUSHES, BitWriter, Bits};
use super::header::Header;
use super::huffman;
use super::matches::Parsed;
use super::symbols::{self, DISTANCES, END_OF_BLOCK, LITERALS, LONGEST, SHORTEST};

/// The longest code of a literal, so that [`AT_ONCE`] of them fit between two flushes.
const LONGEST_LITERAL: usize = 14;

/// The number of literals put between two flushes.
const AT_ONCE: usize = 4;

const _: () = assert!(AT_ONCE * LONGEST_LITERAL <= BETWEEN_FLUSHES as usize);

/// The most bytes in a stored block.
const STORED: usize = 0xffff;

/// Writes the block whose content was parsed.
pub(super) fn write(content: &[u8], last: bool, parsed: &Parsed, out: &mut BitWriter<'_>) {
    let counts = Counts::new(parsed);
    let own = Lengths::of(&counts);
    let header = Header::new(&own.literals, &own.distances);
    let fixed = Lengths::fixed();
    let (by_own, by_fixed) = (header.cost() + own.cost(&counts), fixed.cost(&counts));
    let stored = 8 * (content.len() + 5 * content.len().div_ceil(STORED).max(1));
    if stored <= by_own.min(by_fixed) + counts.behind {
        return store(content, last, out);
    }
    out.put(Bits::new(usize::from(last), 1));
    if by_fixed <= by_own {
        out.put(Bits::new(1, 2));
        encode(content, parsed, &Codes::new(&fixed), out);
    } else {
        out.put(Bits::new(2, 2));
        header.write(out);
        encode(content, parsed, &Codes::new(&own), out);
    }
}

/// The number of times each symbol occurs in a block.
struct Counts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// The extra bits after symbols.
    behind: usize,
}

impl Counts {
    fn new(parsed: &Parsed) -> Self {
        let mut literals = [0; LITERALS];
        literals[..END_OF_BLOCK].copy_from_slice(&parsed.bytes);
        literals[END_OF_BLOCK] = 1;
        let mut behind = 0;
        for length in SHORTEST..=LONGEST {
            let (symbol, bits) = symbols::of_length(length);
            literals[symbol] += parsed.lengths[length];
            behind += parsed.lengths[length] as usize * bits.count as usize;
        }
        for (symbol, count) in parsed.distances.iter().enumerate() {
            behind += *count as usize * (symbol / 2).saturating_sub(1);
        }
        Self { literals, distances: parsed.distances, behind }
    }
}

/// The lengths of the codes of a block.
struct Lengths {
    literals: [u8; LITERALS],
    distances: [u8; DISTANCES],
}

impl Lengths {
    /// Returns the best lengths for a block.
    fn of(counts: &Counts) -> Self {
        let literals = huffman::lengths(&counts.literals, LONGEST_LITERAL);
        Self { literals, distances: huffman::lengths(&counts.distances, 15) }
    }

    /// Returns the lengths of RFC 1951, 3.2.6.
    fn fixed() -> Self {
        let mut literals = [8; LITERALS];
        literals[144..END_OF_BLOCK].fill(9);
        literals[END_OF_BLOCK..280].fill(7);
        Self { literals, distances: [5; DISTANCES] }
    }

    /// Returns the number of bits that the symbols of a block take.
    fn cost(&self, counts: &Counts) -> usize {
        huffman::cost(&counts.literals, &self.literals) + huffman::cost(&counts.distances, &self.distances)
    }
}

/// The bits of all symbols with which a block is written.
struct Codes {
    bytes: [Bits; 256],
    end: Bits,
    /// Codes of lengths, with the bits that follow them, by the length.
    lengths: [Bits; LONGEST + 1],
    distances: [Bits; DISTANCES],
}

impl Codes {
    fn new(lengths: &Lengths) -> Self {
        let literals = huffman::codes(&lengths.literals);
        let mut codes = Self {
            bytes: [Bits::default(); 256],
            end: literals[END_OF_BLOCK],
            lengths: [Bits::default(); LONGEST + 1],
            distances: huffman::codes(&lengths.distances),
        };
        codes.bytes.copy_from_slice(&literals[..END_OF_BLOCK]);
        for length in SHORTEST..=LONGEST {
            let (symbol, behind) = symbols::of_length(length);
            codes.lengths[length] = literals[symbol].then(behind);
        }
        codes
    }
}

/// Writes the sequences and the end of a block.
fn encode(content: &[u8], parsed: &Parsed, codes: &Codes, out: &mut BitWriter<'_>) {
    out.flush();
    let mut rest = content;
    for sequence in &parsed.sequences {
        let (literals, behind) = rest.split_at_checked(sequence.literals as usize).unwrap_or((rest, &[]));
        put_literals(literals, codes, out);
        let length = usize::from(sequence.length);
        if length > 0 {
            out.put(codes.lengths[length]);
            let (symbol, bits) = symbols::of_distance(sequence.less_one);
            out.put(codes.distances[symbol]);
            out.put(bits);
            out.flush();
        }
        rest = behind.get(length..).unwrap_or_default();
    }
    out.put(codes.end);
    out.flush();
}

#[inline]
fn put_literals(literals: &[u8], codes: &Codes, out: &mut BitWriter<'_>) {
    let mut groups = literals.chunks_exact(AT_ONCE);
    for group in &mut groups {
        for byte in group {
            out.put(codes.bytes[usize::from(*byte)]);
        }
        out.flush();
    }
    // Without a branch for each: the number of literals left is hard to predict.
    let left = groups.remainder();
    for at in 0..AT_ONCE - 1 {
        out.put(left.get(at).map_or(Bits::default(), |byte| codes.bytes[usize::from(*byte)]));
    }
    out.flush();
}

/// Writes the content as stored blocks.
fn store(content: &[u8], last: bool, out: &mut BitWriter<'_>) {
    let mut parts = content.chunks(STORED).peekable();
    loop {
        let part = parts.next().unwrap_or_default();
        let last = last && parts.peek().is_none();
        out.put(Bits::new(usize::from(last), 3));
        out.align();
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        out.put_bytes(&length.to_le_bytes());
        out.put_bytes(&(!length).to_le_bytes());
        out.put_bytes(part);
        if parts.peek().is_none() {
            break;
        }
    }
}
