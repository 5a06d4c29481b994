//! The symbols of lengths and distances, and the extra bits after them (RFC 1951, 3.2.5).

use super::bits::Bits;

/// The number of symbols for bytes, for the end of a block and for lengths; the last two never occur, but have a fixed
/// code.
pub(super) const LITERALS: usize = 288;

/// The symbol at the end of a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// The number of symbols for distances.
pub(super) const DISTANCES: usize = 30;

/// The shortest length that has a symbol.
pub(super) const SHORTEST: usize = 3;

/// The longest length that has a symbol.
pub(super) const LONGEST: usize = 258;

/// Returns the symbol of a length from [`SHORTEST`] to [`LONGEST`], and the bits that follow it.
pub(super) fn of_length(length: usize) -> (usize, Bits) {
    let over = length - SHORTEST;
    match over {
        0..8 => (257 + over, Bits::default()),
        255 => (285, Bits::default()),
        _ => {
            let extra = over.ilog2() - 2;
            (257 + 4 * extra as usize + (over >> extra), Bits::new(over & ((1 << extra) - 1), extra))
        }
    }
}

/// Returns the symbol of a distance, which is given less one, and the bits that follow it.
#[inline]
pub(super) fn of_distance(less_one: u16) -> (usize, Bits) {
    let over = usize::from(less_one);
    if over < 4 {
        return (over, Bits::default());
    }
    let extra = over.ilog2() - 1;
    (2 * extra as usize + (over >> extra), Bits::new(over & ((1 << extra) - 1), extra))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_table() {
        assert_eq!(of_length(3), (257, Bits::default()));
        assert_eq!(of_length(11), (265, Bits::new(0, 1)));
        assert_eq!(of_length(12), (265, Bits::new(1, 1)));
        assert_eq!(of_length(227), (284, Bits::new(0, 5)));
        assert_eq!(of_length(257), (284, Bits::new(30, 5)));
        assert_eq!(of_length(258), (285, Bits::default()));
        assert_eq!(of_distance(0), (0, Bits::default()));
        assert_eq!(of_distance(5), (4, Bits::new(1, 1)));
        assert_eq!(of_distance(24_576), (29, Bits::new(0, 13)));
        assert_eq!(of_distance(32_767), (29, Bits::new(8_191, 13)));
    }
}
