//! Huffman codes: the more often a symbol occurs, the shorter its code (RFC 1951, 3.2.2).

use super::bits::Bits;

/// The longest code of deflate, in bits.
const LONGEST: usize = 15;

/// Returns the lengths of the best codes of at most `longest` bits for symbols that occur this often; zero for a symbol
/// that does not occur.
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

/// Returns the depth of each symbol in the Huffman tree.
fn depths(rarest_first: &[(u32, usize)]) -> Vec<usize> {
    let leaves = rarest_first.len();
    let nodes = 2 * leaves - 1;
    let mut weights: Vec<u32> = Vec::with_capacity(nodes);
    weights.extend(rarest_first.iter().map(|(count, _)| count));
    let mut parents = vec![0; nodes];
    // Nodes are made in the order of their weight: the two lightest are the next leaf or the next node.
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

/// Returns the number of codes of each length when none may be longer than `longest`.
fn limited(depths: &[usize], longest: usize) -> [usize; LONGEST + 1] {
    let mut of_length = [0; LONGEST + 1];
    for depth in depths {
        of_length[*depth.min(&longest)] += 1;
    }
    // The shorter codes leave no room for some codes of the greatest length: a shorter one becomes two of the next
    // length.
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

/// Returns the codes for these lengths, each with its first bit lowest.
pub(super) fn codes<const N: usize>(lengths: &[u8; N]) -> [Bits; N] {
    let mut of_length = [0u32; LONGEST + 1];
    for length in lengths.iter().filter(|length| **length > 0) {
        of_length[usize::from(*length)] += 1;
    }
    let mut next = [0u32; LONGEST + 1];
    for length in 1..=LONGEST {
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

/// Returns the number of bits for symbols that occur this often.
pub(super) fn cost(counts: &[u32], lengths: &[u8]) -> usize {
    counts.iter().zip(lengths).map(|(count, length)| *count as usize * usize::from(*length)).sum()
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
