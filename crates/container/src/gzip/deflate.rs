//! Deflate made for speed, because it is most of the work of an undo archive: about twice as fast as libdeflate and
//! zlib-rs at level 1, with output some twelve per cent longer than libdeflate's. It does not search for matches of less
//! than six bytes, which save hardly a byte and cost as much time as long ones.
//!
//! [`Matcher`] finds repetitions of the preceding 32 KiB, [`huffman`] makes codes, and each block (RFC 1951, 3.2.3)
//! takes the shortest of three forms. An inflater by other authors verifies all output
//! ([`GzipEncoder`](super::GzipEncoder)).

use std::io;

#[cfg(any(test, not(feature = "libdeflate")))]
use flate2::{Decompress, FlushDecompress, Status};
#[cfg(feature = "libdeflate")]
use libdeflater::Decompressor;

use crate::gzip::huffman::{
    self, BETWEEN_FLUSHES, BitWriter, Bits, DISTANCES, END_OF_BLOCK, LITERALS, LONGEST_MATCH, SHORTEST_MATCH,
    symbol_of_distance, symbol_of_length,
};
use crate::gzip::matches::{Matcher, Parsed};

/// Bytes deflated at once, those of one member.
pub const CHUNK: usize = 1 << 18;

/// Bytes per block, limited so that codes adapt to the content.
const BLOCK: usize = 1 << 16;

pub(super) const fn longest(length: usize) -> usize {
    // With fixed codes, a byte takes nine bits at most.
    length + length / 8 + 64
}

/// Deflates chunks: the same content gives the same bytes, regardless of earlier chunks.
#[derive(Default)]
pub(super) struct Deflater {
    matcher: Matcher,
    parsed: Parsed,
    /// For the longest result; zeroed once, not for each chunk.
    room: Vec<u8>,
}

impl Deflater {
    pub(super) fn deflate(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.matcher.forget();
        if self.room.len() < longest(content.len()) {
            self.room.resize(longest(content.len()), 0);
        }
        let mut bits = BitWriter::new(&mut self.room);
        let mut from = 0;
        loop {
            let to = content.len().min(from + BLOCK);
            self.matcher.parse(content, from..to, &mut self.parsed);
            let last = to == content.len();
            write_block(content.get(from..to).unwrap_or_default(), last, &self.parsed, &mut bits);
            from = to;
            if last {
                break;
            }
        }
        out.extend_from_slice(
            bits.finish()
                .ok_or_else(|| io::Error::other("the compressed data is longer than deflate can make it"))?,
        );
        Ok(())
    }
}

/// [`AT_ONCE`] literals of this length fit between two flushes.
const LONGEST_LITERAL: usize = 14;

/// Literals between two flushes.
const AT_ONCE: usize = 4;

const _: () = assert!(AT_ONCE * LONGEST_LITERAL <= BETWEEN_FLUSHES as usize);

const STORED: usize = 0xffff;

fn write_block(content: &[u8], last: bool, parsed: &Parsed, out: &mut BitWriter<'_>) {
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

struct Counts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Extra bits after symbols.
    behind: usize,
}

impl Counts {
    fn new(parsed: &Parsed) -> Self {
        let mut literals = [0; LITERALS];
        literals[..END_OF_BLOCK].copy_from_slice(&parsed.bytes);
        literals[END_OF_BLOCK] = 1;
        let mut behind = 0;
        for length in SHORTEST_MATCH..=LONGEST_MATCH {
            let (symbol, bits) = symbol_of_length(length);
            literals[symbol] += parsed.lengths[length];
            behind += parsed.lengths[length] as usize * bits.count as usize;
        }
        for (symbol, count) in parsed.distances.iter().enumerate() {
            behind += *count as usize * (symbol / 2).saturating_sub(1);
        }
        Self { literals, distances: parsed.distances, behind }
    }
}

struct Lengths {
    literals: [u8; LITERALS],
    distances: [u8; DISTANCES],
}

impl Lengths {
    fn of(counts: &Counts) -> Self {
        let literals = huffman::lengths(&counts.literals, LONGEST_LITERAL);
        Self { literals, distances: huffman::lengths(&counts.distances, 15) }
    }

    fn fixed() -> Self {
        let mut literals = [8; LITERALS];
        literals[144..END_OF_BLOCK].fill(9);
        literals[END_OF_BLOCK..280].fill(7);
        Self { literals, distances: [5; DISTANCES] }
    }

    fn cost(&self, counts: &Counts) -> usize {
        huffman::cost(&counts.literals, &self.literals) + huffman::cost(&counts.distances, &self.distances)
    }
}

struct Codes {
    bytes: [Bits; 256],
    end: Bits,
    /// By length: the code and its extra bits.
    lengths: [Bits; LONGEST_MATCH + 1],
    distances: [Bits; DISTANCES],
}

impl Codes {
    fn new(lengths: &Lengths) -> Self {
        let literals = huffman::codes(&lengths.literals);
        let mut codes = Self {
            bytes: [Bits::default(); 256],
            end: literals[END_OF_BLOCK],
            lengths: [Bits::default(); LONGEST_MATCH + 1],
            distances: huffman::codes(&lengths.distances),
        };
        codes.bytes.copy_from_slice(&literals[..END_OF_BLOCK]);
        for length in SHORTEST_MATCH..=LONGEST_MATCH {
            let (symbol, behind) = symbol_of_length(length);
            codes.lengths[length] = literals[symbol].then(behind);
        }
        codes
    }
}

fn encode(content: &[u8], parsed: &Parsed, codes: &Codes, out: &mut BitWriter<'_>) {
    out.flush();
    let mut rest = content;
    for sequence in &parsed.sequences {
        let (literals, behind) = rest.split_at_checked(sequence.literals as usize).unwrap_or((rest, &[]));
        put_literals(literals, codes, out);
        let length = usize::from(sequence.length);
        if length > 0 {
            out.put(codes.lengths[length]);
            let (symbol, bits) = symbol_of_distance(sequence.less_one);
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
    // No branch for each: the number of remaining literals is hard to predict.
    let left = groups.remainder();
    for at in 0..AT_ONCE - 1 {
        out.put(left.get(at).map_or(Bits::default(), |byte| codes.bytes[usize::from(*byte)]));
    }
    out.flush();
}

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

/// Code lengths, and three symbols for runs.
const SYMBOLS: usize = 19;

const ORDER: [usize; SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

const LONGEST_LENGTH_CODE: usize = 7;

pub(super) struct Header {
    literals: usize,
    distances: usize,
    /// Symbols with their extra bits.
    items: Vec<(usize, Bits)>,
    counts: [u32; SYMBOLS],
    lengths: [u8; SYMBOLS],
}

impl Header {
    pub(super) fn new(literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> Self {
        let (literals, distances) = (used(literals, 257), used(distances, 1));
        let items = runs(&[literals, distances].concat());
        let mut counts = [0; SYMBOLS];
        for (symbol, _) in &items {
            counts[*symbol] += 1;
        }
        let lengths = huffman::lengths(&counts, LONGEST_LENGTH_CODE);
        Self { literals: literals.len(), distances: distances.len(), items, counts, lengths }
    }

    pub(super) fn cost(&self) -> usize {
        let behind: u32 = self.items.iter().map(|(_, bits)| bits.count).sum();
        14 + 3 * self.written() + huffman::cost(&self.counts, &self.lengths) + behind as usize
    }

    /// Symbols with a written code length.
    fn written(&self) -> usize {
        (4..=SYMBOLS).rev().find(|count| self.lengths[ORDER[count - 1]] > 0).unwrap_or(4)
    }

    pub(super) fn write(&self, out: &mut BitWriter<'_>) {
        out.put(Bits::new(self.literals - 257, 5));
        out.put(Bits::new(self.distances - 1, 5));
        out.put(Bits::new(self.written() - 4, 4));
        for symbol in &ORDER[..self.written()] {
            out.flush();
            out.put(Bits::new(usize::from(self.lengths[*symbol]), 3));
        }
        let codes = huffman::codes(&self.lengths);
        for (symbol, behind) in &self.items {
            out.flush();
            out.put(codes[*symbol].then(*behind));
        }
        out.flush();
    }
}

/// Drops zeros at the end, but keeps at least `least` lengths.
fn used(lengths: &[u8], least: usize) -> &[u8] {
    let count = lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    lengths.get(..count.max(least)).unwrap_or(lengths)
}

/// 18 and 17 stand for a run of zeros, 16 repeats the last length.
fn runs(lengths: &[u8]) -> Vec<(usize, Bits)> {
    let mut items = Vec::with_capacity(lengths.len());
    for run in lengths.chunk_by(|one, next| one == next) {
        let length = usize::from(run[0]);
        let mut left = run.len();
        if length == 0 {
            repeat(&mut items, &mut left, (18, 11..=138, 7));
            repeat(&mut items, &mut left, (17, 3..=10, 3));
        } else {
            items.push((length, Bits::default()));
            left -= 1;
            repeat(&mut items, &mut left, (16, 3..=6, 2));
        }
        items.extend(std::iter::repeat_n((length, Bits::default()), left));
    }
    items
}

/// Adds a symbol for runs while the rest is long enough.
fn repeat(
    items: &mut Vec<(usize, Bits)>,
    left: &mut usize,
    kind: (usize, std::ops::RangeInclusive<usize>, u32),
) {
    let (symbol, runs, bits) = kind;
    while *left >= *runs.start() {
        let run = *runs.end().min(left);
        items.push((symbol, Bits::new(run - runs.start(), bits)));
        *left -= run;
    }
}

/// Inflates one chunk at a time, without state between chunks. libdeflate (in C) is about half as fast again as
/// zlib-rs, which the static build uses instead.
#[cfg(feature = "libdeflate")]
pub(super) type Inflater = LibdeflateInflater;

#[cfg(not(feature = "libdeflate"))]
pub(super) type Inflater = ZlibInflater;

#[cfg(feature = "libdeflate")]
#[derive(Default)]
pub(super) struct LibdeflateInflater(Option<Decompressor>);

#[cfg(feature = "libdeflate")]
impl LibdeflateInflater {
    /// Replaces `content` by at most a chunk.
    pub(super) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.resize(CHUNK, 0);
        let inflater = self.0.get_or_insert_with(Decompressor::new);
        let length = inflater.deflate_decompress(deflated, content).map_err(|_| corrupt())?;
        content.truncate(length);
        Ok(())
    }
}

#[cfg(any(test, not(feature = "libdeflate")))]
#[derive(Default)]
pub(super) struct ZlibInflater(Option<Decompress>);

#[cfg(any(test, not(feature = "libdeflate")))]
impl ZlibInflater {
    /// Replaces `content` by at most a chunk.
    pub(super) fn inflate(&mut self, deflated: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        content.clear();
        content.reserve_exact(CHUNK + 1);
        let inflate = self.0.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let status = inflate.decompress_vec(deflated, content, FlushDecompress::Finish)?;
        if status == Status::StreamEnd && content.len() <= CHUNK { Ok(()) } else { Err(corrupt()) }
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "corrupt deflate stream")
}

#[cfg(test)]
mod header_tests {
    use super::*;

    #[test]
    fn runs_of_one_length_become_one_symbol() {
        let lengths = [&[0; 150][..], &[8; 5], &[0, 0], &[7]].concat();
        let symbols: Vec<(usize, u32)> =
            runs(&lengths).iter().map(|(symbol, bits)| (*symbol, bits.value)).collect();
        assert_eq!(symbols, [(18, 127), (18, 1), (8, 0), (16, 1), (0, 0), (0, 0), (7, 0)]);
    }
}

/// Content deflated here is inflated by zlib-rs and, if built in, by libdeflate.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deflated(content: &[u8]) -> Vec<u8> {
        let mut deflated = Vec::new();
        Deflater::default().deflate(content, &mut deflated).unwrap();
        assert!(deflated.len() <= longest(content.len()));
        let mut back = Vec::new();
        Inflater::default().inflate(&deflated, &mut back).unwrap();
        assert!(back == content, "{} bytes came back as others", content.len());
        ZlibInflater::default().inflate(&deflated, &mut back).unwrap();
        assert!(back == content, "{} bytes came back from zlib-rs as others", content.len());
        deflated
    }

    /// Returns bytes without any order.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn nothing_is_ten_bits() {
        assert_eq!(deflated(b""), [3, 0]);
    }

    #[test]
    fn a_short_text_gets_the_fixed_codes_and_a_long_one_its_own() {
        assert_eq!(deflated(b"PATCHLIST=")[0] >> 1 & 3, 1);
        let text: Vec<u8> =
            noise(5_000).iter().map(|byte| b"PATCHLIST= 0123"[usize::from(byte % 15)]).collect();
        let deflated = deflated(&text);
        assert_eq!(deflated[0] >> 1 & 3, 2);
        assert!(deflated.len() < 5_000 * 4 / 8 + 100, "{} bytes", deflated.len());
    }

    #[test]
    fn noise_is_stored() {
        for length in [BLOCK - 1, BLOCK, CHUNK] {
            let deflated = deflated(&noise(length));
            assert!(deflated.len() <= length + 10 * length.div_ceil(BLOCK), "{} bytes", deflated.len());
        }
    }

    #[test]
    fn the_same_content_becomes_the_same_bytes_whatever_came_before() {
        let content = [&noise(3_000)[..], &[0; 3_000], &noise(3_000)].concat();
        let (mut deflater, mut again) = (Deflater::default(), Vec::new());
        deflater.deflate(&noise(CHUNK), &mut Vec::new()).unwrap();
        deflater.deflate(&content, &mut again).unwrap();
        assert!(again == deflated(&content));
    }

    /// Returns content made of pieces: some new, some of one byte, some repeated.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = (0..4u8, any::<u8>(), 1..2_000usize, 1..70_000usize);
        proptest::collection::vec(piece, 0..200).prop_map(|pieces| {
            let mut content: Vec<u8> = Vec::new();
            for (kind, byte, length, back) in pieces {
                let length = length.min(CHUNK - content.len());
                match kind {
                    0 => content.extend(noise(length)),
                    1 => content.extend(std::iter::repeat_n(byte, length)),
                    2 => content.extend((0..length).map(|at| byte.wrapping_mul(at.to_le_bytes()[0] & 7))),
                    _ => {
                        for _ in 0..length {
                            let before = content.len().checked_sub(back).and_then(|at| content.get(at));
                            content.push(before.copied().unwrap_or(byte));
                        }
                    }
                }
            }
            content
        })
    }

    proptest! {
        #[test]
        fn whatever_is_deflated_is_inflated_again(content in pieces()) {
            deflated(&content);
        }
    }

    #[test]
    fn a_stream_that_is_cut_or_holds_more_than_a_chunk_is_refused() {
        let mut deflated = Vec::new();
        Deflater::default().deflate(&b"PATCHLIST=103500-01 ".repeat(CHUNK / 20), &mut deflated).unwrap();
        deflated.pop();
        let mut back = Vec::new();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(ZlibInflater::default().inflate(&deflated, &mut back).is_err());
        deflated.clear();
        Deflater::default().deflate(&vec![0; CHUNK + 1], &mut deflated).unwrap();
        assert!(Inflater::default().inflate(&deflated, &mut back).is_err());
        assert!(ZlibInflater::default().inflate(&deflated, &mut back).is_err());
    }
}
