//! Finds parts of a block that repeat bytes of the preceding 32 KiB.
//!
//! One lookup per place: a table keeps the last place with the same hash of [`MATCHED`] bytes. Shorter matches would
//! save hardly a byte, and a larger table would leave the processor's cache.

use std::ops::Range;

use crate::gzip::huffman::{DISTANCES, LONGEST_MATCH, symbol_of_distance};

const WINDOW: usize = 1 << 15;

/// The shortest match.
const MATCHED: u32 = 6;

/// With two bytes for each value, the table takes 8 KiB.
const HASH_BITS: u32 = 12;

/// After so many places without a match, one more place is skipped each time.
const PATIENCE: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    /// Copied bytes; zero in the last sequence of a block.
    pub(super) length: u16,
    pub(super) less_one: u16,
}

pub(super) struct Parsed {
    pub(super) sequences: Vec<Sequence>,
    pub(super) bytes: [u32; 256],
    /// Counted bytes. The tables take turns, so that equal bytes in succession do not wait for each other.
    counted: [[u32; 256]; 4],
    /// Indexed by length.
    pub(super) lengths: [u32; LONGEST_MATCH + 1],
    /// Indexed by symbol.
    pub(super) distances: [u32; DISTANCES],
}

impl Default for Parsed {
    fn default() -> Self {
        Self {
            sequences: Vec::new(),
            bytes: [0; 256],
            counted: [[0; 256]; 4],
            lengths: [0; LONGEST_MATCH + 1],
            distances: [0; DISTANCES],
        }
    }
}

impl Parsed {
    fn clear(&mut self) {
        let sequences = std::mem::take(&mut self.sequences);
        *self = Self { sequences, ..Self::default() };
        self.sequences.clear();
    }

    fn add(&mut self, literals: &[u8], length: usize, less_one: u16) {
        self.count(literals);
        self.lengths[length] += 1;
        self.distances[symbol_of_distance(less_one).0] += 1;
        self.sequences.push(Sequence { literals: small(literals.len()), length: low(length), less_one });
    }

    fn end(&mut self, literals: &[u8]) {
        self.count(literals);
        self.sequences.push(Sequence { literals: small(literals.len()), length: 0, less_one: 0 });
        for (byte, count) in self.bytes.iter_mut().enumerate() {
            *count = self.counted.iter().map(|counted| counted[byte]).sum();
        }
    }

    fn count(&mut self, literals: &[u8]) {
        let [first, second, third, fourth] = &mut self.counted;
        let mut groups = literals.chunks_exact(4);
        for group in &mut groups {
            if let [a, b, c, d] = group {
                first[usize::from(*a)] += 1;
                second[usize::from(*b)] += 1;
                third[usize::from(*c)] += 1;
                fourth[usize::from(*d)] += 1;
            }
        }
        for byte in groups.remainder() {
            first[usize::from(*byte)] += 1;
        }
    }
}

pub(super) struct Matcher {
    /// Low 16 bits of a place. One outside the window leads to other bytes, which are compared.
    seen: Box<[u16; 1 << HASH_BITS]>,
}

impl Default for Matcher {
    fn default() -> Self {
        Self { seen: Box::new([0; 1 << HASH_BITS]) }
    }
}

impl Matcher {
    pub(super) fn forget(&mut self) {
        self.seen.fill(0);
    }

    /// Splits a block into sequences, which may refer to earlier content.
    pub(super) fn parse(&mut self, content: &[u8], block: Range<usize>, parsed: &mut Parsed) {
        parsed.clear();
        let last = block.end.saturating_sub(size_of::<u64>());
        let (mut at, mut literals_from, mut missed) = (block.start, block.start, 0);
        while at < last {
            let here = word(content, at);
            let distance = self.look(here, at);
            let differ = here ^ at.checked_sub(distance).map_or(!here, |before| word(content, before));
            if differ.trailing_zeros() < 8 * MATCHED || !(1..=WINDOW).contains(&distance) {
                at += 1 + missed / PATIENCE;
                missed += 1;
                continue;
            }
            let length = equal(content, at, distance, differ, block.end);
            let literals = content.get(literals_from..at).unwrap_or_default();
            parsed.add(literals, length, low(distance - 1));
            at += length;
            if at < last {
                self.look(word(content, at - 2), at - 2);
            }
            (literals_from, missed) = (at, 0);
        }
        parsed.end(content.get(literals_from..block.end).unwrap_or_default());
    }

    /// Returns the distance to the last place with this hash, as far as 16 bits tell, and records this place.
    #[inline]
    fn look(&mut self, word: u64, at: usize) -> usize {
        // Fibonacci hashing: two to the 64th divided by the golden ratio.
        let hash = (word << (64 - 8 * MATCHED)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS);
        let seen = &mut self.seen[usize::try_from(hash).unwrap_or_default()];
        let distance = low(at).wrapping_sub(*seen);
        *seen = low(at);
        usize::from(distance)
    }
}

/// Counts equal bytes at the distance. `differ` has the different bits of the first eight bytes.
#[inline]
fn equal(content: &[u8], at: usize, distance: usize, mut differ: u64, end: usize) -> usize {
    let most = LONGEST_MATCH.min(end - at);
    let mut length = 0;
    loop {
        if differ != 0 {
            return most.min(length + differ.trailing_zeros() as usize / 8);
        }
        length += size_of::<u64>();
        if length + size_of::<u64>() > most {
            break;
        }
        differ = word(content, at + length) ^ word(content, at + length - distance);
    }
    let same = |length: &usize| content.get(at + length) == content.get(at + length - distance);
    (length..most).find(|length| !same(length)).unwrap_or(most)
}

#[inline]
fn word(content: &[u8], at: usize) -> u64 {
    content.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[inline]
fn low(number: usize) -> u16 {
    u16::try_from(number & 0xffff).unwrap_or_default()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(content: &[u8], block: Range<usize>) -> Vec<(u32, u16, u16)> {
        let mut parsed = Parsed::default();
        Matcher::default().parse(content, block, &mut parsed);
        parsed
            .sequences
            .iter()
            .map(|sequence| (sequence.literals, sequence.length, sequence.less_one))
            .collect()
    }

    #[test]
    fn what_stood_before_is_referred_to_and_the_rest_is_literal() {
        let content = b"PATCHLIST=103500-01 PATCHLIST=103501-01 and no more";
        assert_eq!(sequences(content, 0..content.len()), [(20, 15, 19), (16, 0, 0)]);
    }

    #[test]
    fn a_run_is_one_byte_and_matches_of_what_stood_just_before() {
        assert_eq!(sequences(&[0; 600], 0..600), [(1, 258, 0), (0, 258, 1), (0, 83, 1), (0, 0, 0)]);
    }

    #[test]
    fn matches_are_found_up_to_the_end_of_the_window_and_no_farther() {
        let mark = b"PATCH_OBSOLETES=";
        let last_match = |zeros: usize| {
            let content = [&mark[..], &vec![0; zeros], mark, &[1; 20]].concat();
            let sequences = sequences(&content, 0..content.len());
            sequences.into_iter().rfind(|(_, length, less_one)| *length > 0 && *less_one > 1)
        };
        assert_eq!(last_match(WINDOW - mark.len()), Some((0, 16, 32_767)));
        assert_eq!(last_match(WINDOW - mark.len() + 1), None);
    }

    #[test]
    fn matches_end_with_their_block() {
        assert_eq!(sequences(&[0; 600], 0..100), [(1, 99, 0), (0, 0, 0)]);
    }
}
