//! The alphabet of deflate (RFC 1951): bits, symbols of lengths and distances, Huffman codes.

/// Up to 32 bits, the first one lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) value: u32,
    pub(super) count: u32,
}

impl Bits {
    pub(super) fn new(value: usize, count: u32) -> Self {
        Self { value: u32::try_from(value).unwrap_or_default(), count }
    }

    pub(super) fn then(self, more: Self) -> Self {
        Self { value: self.value | more.value << self.count, count: self.count + more.count }
    }
}

/// Writes bits into a fixed buffer, eight bytes at a time.
pub(super) struct BitWriter<'a> {
    room: &'a mut [u8],
    at: usize,
    held: u64,
    count: u32,
}

/// Bits between two calls of [`BitWriter::flush`].
pub(super) const BETWEEN_FLUSHES: u32 = 56;

impl<'a> BitWriter<'a> {
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self { room, at: 0, held: 0, count: 0 }
    }

    /// Flush after at most [`BETWEEN_FLUSHES`] bits.
    #[inline]
    pub(super) fn put(&mut self, bits: Bits) {
        self.held |= u64::from(bits.value) << self.count;
        self.count += bits.count;
    }

    #[inline]
    pub(super) fn flush(&mut self) {
        if let Some(next) = self.room.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut()) {
            *next = self.held.to_le_bytes();
        }
        self.at += self.count as usize / 8;
        self.held >>= self.count & !7;
        self.count &= 7;
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.flush();
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// The last byte must be full.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        if let Some(next) = self.room.get_mut(self.at..self.at + bytes.len()) {
            next.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }

    pub(super) fn finish(mut self) -> Option<&'a [u8]> {
        self.align();
        self.room.get(..self.at)
    }
}

/// Symbols for bytes, the end of a block, and lengths; the last two never occur, but have a fixed code.
pub(super) const LITERALS: usize = 288;

pub(super) const END_OF_BLOCK: usize = 256;

pub(super) const DISTANCES: usize = 30;

pub(super) const SHORTEST_MATCH: usize = 3;

pub(super) const LONGEST_MATCH: usize = 258;

/// `length` is from [`SHORTEST_MATCH`] to [`LONGEST_MATCH`]. Returns the symbol and extra bits.
pub(super) fn symbol_of_length(length: usize) -> (usize, Bits) {
    let over = length - SHORTEST_MATCH;
    match over {
        0..8 => (257 + over, Bits::default()),
        255 => (285, Bits::default()),
        _ => {
            let extra = over.ilog2() - 2;
            (257 + 4 * extra as usize + (over >> extra), Bits::new(over & ((1 << extra) - 1), extra))
        }
    }
}

/// Returns the symbol and extra bits.
#[inline]
pub(super) fn symbol_of_distance(less_one: u16) -> (usize, Bits) {
    let over = usize::from(less_one);
    if over < 4 {
        return (over, Bits::default());
    }
    let extra = over.ilog2() - 1;
    (2 * extra as usize + (over >> extra), Bits::new(over & ((1 << extra) - 1), extra))
}

const LONGEST_CODE: usize = 15;

/// Returns the best code lengths up to `longest`, zero for unused symbols.
///
/// At least two symbols get a code, because some readers accept no fewer.
pub(super) fn lengths<const N: usize>(counts: &[u32; N], longest: usize) -> [u8; N] {
    let mut counts = *counts;
    for spare in 0..2 {
        if counts.iter().filter(|count| **count > 0).count() < 2 {
            counts[spare] = counts[spare].max(1);
        }
    }
    let mut rarest_first: Vec<(u32, usize)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, count)| (*count, symbol))
        .collect();
    rarest_first.sort_unstable();
    let mut of_length = limited(&depths(&rarest_first), longest);
    let mut lengths = [0; N];
    let mut length = longest;
    for (_, symbol) in rarest_first {
        while length > 1 && of_length[length] == 0 {
            length -= 1;
        }
        of_length[length] = of_length[length].saturating_sub(1);
        lengths[symbol] = u8::try_from(length).unwrap_or_default();
    }
    lengths
}

fn depths(rarest_first: &[(u32, usize)]) -> Vec<usize> {
    let leaves = rarest_first.len();
    let nodes = 2 * leaves - 1;
    let mut weights: Vec<u32> = Vec::with_capacity(nodes);
    weights.extend(rarest_first.iter().map(|(count, _)| count));
    let mut parents = vec![0; nodes];
    // Nodes come in the order of weight: the two lightest are the next leaf or the next node.
    let (mut leaf, mut node) = (0, leaves);
    for parent in leaves..nodes {
        let mut weight = 0;
        for _ in 0..2 {
            let next = if leaf < leaves && (node == parent || weights[leaf] <= weights[node]) {
                &mut leaf
            } else {
                &mut node
            };
            weight += weights[*next];
            parents[*next] = parent;
            *next += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0; nodes];
    for node in (0..nodes - 1).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(leaves);
    depths
}

/// Counts codes of each length, limited to `longest`.
fn limited(depths: &[usize], longest: usize) -> [usize; LONGEST_CODE + 1] {
    let mut of_length = [0; LONGEST_CODE + 1];
    for depth in depths {
        of_length[*depth.min(&longest)] += 1;
    }
    // Shorter codes leave no room for some of the longest: a shorter code becomes two of the next length.
    let taken: usize = (1..=longest).map(|length| of_length[length] << (longest - length)).sum();
    for _ in (1 << longest)..taken {
        of_length[longest] -= 1;
        if let Some(shorter) = (1..longest).rev().find(|length| of_length[*length] > 0) {
            of_length[shorter] -= 1;
            of_length[shorter + 1] += 2;
        }
    }
    of_length
}

pub(super) fn codes<const N: usize>(lengths: &[u8; N]) -> [Bits; N] {
    let mut of_length = [0u32; LONGEST_CODE + 1];
    for length in lengths.iter().filter(|length| **length > 0) {
        of_length[usize::from(*length)] += 1;
    }
    let mut next = [0u32; LONGEST_CODE + 1];
    for length in 1..=LONGEST_CODE {
        next[length] = (next[length - 1] + of_length[length - 1]) << 1;
    }
    let mut codes = [Bits::default(); N];
    for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let value = &mut next[usize::from(*length)];
        let count = u32::from(*length);
        *code = Bits { value: value.reverse_bits() >> (u32::BITS - count), count };
        *value += 1;
    }
    codes
}

pub(super) fn cost(counts: &[u32], lengths: &[u8]) -> usize {
    counts.iter().zip(lengths).map(|(count, length)| *count as usize * usize::from(*length)).sum()
}

#[cfg(test)]
mod bits_tests {
    use super::*;

    #[test]
    fn the_first_bit_is_the_lowest_of_the_first_byte() {
        let mut room = [0; 16];
        let mut bits = BitWriter::new(&mut room);
        bits.put(Bits::new(1, 1).then(Bits::new(0b10, 2)));
        bits.put(Bits::new(0x1ff, 9));
        assert_eq!(bits.finish(), Some(&[0b1111_1101, 0b1111][..]));
    }

    #[test]
    fn what_does_not_fit_is_told_at_the_end() {
        let mut room = [0; 9];
        let mut bits = BitWriter::new(&mut room);
        bits.put_bytes(&[7; 9]);
        bits.put(Bits::new(1, 1));
        assert_eq!(bits.finish(), None);
    }
}

#[cfg(test)]
mod symbols_tests {
    use super::*;

    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_table() {
        assert_eq!(symbol_of_length(3), (257, Bits::default()));
        assert_eq!(symbol_of_length(11), (265, Bits::new(0, 1)));
        assert_eq!(symbol_of_length(12), (265, Bits::new(1, 1)));
        assert_eq!(symbol_of_length(227), (284, Bits::new(0, 5)));
        assert_eq!(symbol_of_length(257), (284, Bits::new(30, 5)));
        assert_eq!(symbol_of_length(258), (285, Bits::default()));
        assert_eq!(symbol_of_distance(0), (0, Bits::default()));
        assert_eq!(symbol_of_distance(5), (4, Bits::new(1, 1)));
        assert_eq!(symbol_of_distance(24_576), (29, Bits::new(0, 13)));
        assert_eq!(symbol_of_distance(32_767), (29, Bits::new(8_191, 13)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_symbols_get_long_codes() {
        assert_eq!(lengths(&[8, 1, 1, 2, 0, 4], 15), [1, 4, 4, 3, 0, 2]);
    }

    #[test]
    fn two_symbols_have_a_code_though_one_occurs() {
        assert_eq!(lengths(&[0, 0, 7], 15), [1, 0, 1]);
        assert_eq!(lengths(&[0, 0, 0], 15), [1, 1, 0]);
    }

    #[test]
    fn no_code_is_longer_than_the_limit_and_all_of_them_are_used() {
        // Fibonacci numbers make the deepest tree.
        let mut counts = [1u32; 30];
        for at in 2..counts.len() {
            counts[at] = counts[at - 1] + counts[at - 2];
        }
        for longest in [5, 7, 14, 15] {
            let lengths = lengths(&counts, longest);
            assert_eq!(lengths.iter().copied().max(), u8::try_from(longest).ok());
            assert_eq!(
                lengths.iter().map(|length| 1 << (longest - usize::from(*length))).sum::<usize>(),
                1 << longest
            );
        }
    }

    #[test]
    fn codes_of_one_length_are_numbers_in_a_row_read_from_their_first_bit() {
        // The example of RFC 1951, 3.2.2.
        let codes = codes(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let read = codes.map(|code| (code.value.reverse_bits() >> (u32::BITS - code.count), code.count));
        assert_eq!(read, [(2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (0, 2), (14, 4), (15, 4)]);
    }
}
