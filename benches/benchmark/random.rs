//! A small pseudo-random number generator with the same output on every machine and in every year.
//!
//! xoshiro256\*\*, seeded by splitmix64. It makes data, not secrets.

/// A stream of numbers that follows from a seed.
pub(crate) struct Random([u64; 4]);

impl Random {
    /// Returns the stream of a seed. The seed has several parts, such as the kind, the number and the part of the
    /// data.
    pub(crate) fn seeded(seed: &[u64]) -> Self {
        let mut state = 0x7061_7463_6861_646d_u64;
        for part in seed {
            state = splitmix(&mut (state ^ part));
        }
        Self(std::array::from_fn(|_| splitmix(&mut state)))
    }

    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Returns a number below `end`, which must be above 0 and far below 2^64.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Returns a number from 0 to 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number of the standard normal distribution (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
