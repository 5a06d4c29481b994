//! The header of a block with its own codes: the lengths of the codes, themselves coded (RFC 1951, 3.2.7).

use super::bits::{BitWriter, Bits};
use super::huffman;
use super::symbols::{DISTANCES, LITERALS};

/// Symbols for lengths of codes: the lengths, and three for runs.
const SYMBOLS: usize = 19;

/// The order in which the code lengths of those symbols are written.
const ORDER: [usize; SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The longest code of a length.
const LONGEST: usize = 7;

/// A header ready to be written.
pub(super) struct Header {
    literals: usize,
    distances: usize,
    /// The symbols, each with the bits that follow it.
    items: Vec<(usize, Bits)>,
    counts: [u32; SYMBOLS],
    lengths: [u8; SYMBOLS],
}

impl Header {
    /// Makes the header for codes of these lengths.
    pub(super) fn new(literals: &[u8; LITERALS], distances: &[u8; DISTANCES]) -> Self {
        let (literals, distances) = (used(literals, 257), used(distances, 1));
        let items = runs(&[literals, distances].concat());
        let mut counts = [0; SYMBOLS];
        for (symbol, _) in &items {
            counts[*symbol] += 1;
        }
        let lengths = huffman::lengths(&counts, LONGEST);
        Self { literals: literals.len(), distances: distances.len(), items, counts, lengths }
    }

    /// Returns the number of bits it takes.
    pub(super) fn cost(&self) -> usize {
        let behind: u32 = self.items.iter().map(|(_, bits)| bits.count).sum();
        14 + 3 * self.written() + huffman::cost(&self.counts, &self.lengths) + behind as usize
    }

    /// Returns the number of symbols whose code length is written.
    fn written(&self) -> usize {
        (4..=SYMBOLS).rev().find(|count| self.lengths[ORDER[count - 1]] > 0).unwrap_or(4)
    }

    /// Writes the header.
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

/// Returns the lengths without the zeros at their end, but at least `least` of them.
fn used(lengths: &[u8], least: usize) -> &[u8] {
    let count = lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    lengths.get(..count.max(least)).unwrap_or(lengths)
}

/// Returns lengths as symbols: 18 and 17 stand for a run of zeros, 16 repeats the last length.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_length_become_one_symbol() {
        let lengths = [&[0; 150][..], &[8; 5], &[0, 0], &[7]].concat();
        let symbols: Vec<(usize, u32)> =
            runs(&lengths).iter().map(|(symbol, bits)| (*symbol, bits.value)).collect();
        assert_eq!(symbols, [(18, 127), (18, 1), (8, 0), (16, 1), (0, 0), (0, 0), (7, 0)]);
    }
}
