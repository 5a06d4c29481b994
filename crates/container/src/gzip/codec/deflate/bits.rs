//! Bits in the order of deflate: the first is the lowest of its byte (RFC 1951, 3.1.1).

/// Up to 32 bits, the first of them the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) value: u32,
    pub(super) count: u32,
}

impl Bits {
    /// Makes this many bits of a value whose higher bits are zero.
    pub(super) fn new(value: usize, count: u32) -> Self {
        Self { value: u32::try_from(value).unwrap_or_default(), count }
    }

    /// Returns these bits followed by `more`.
    pub(super) fn then(self, more: Self) -> Self {
        Self { value: self.value | more.value << self.count, count: self.count + more.count }
    }
}

/// Writes bits into a buffer of fixed length, eight bytes at a time.
pub(super) struct BitWriter<'a> {
    room: &'a mut [u8],
    at: usize,
    held: u64,
    count: u32,
}

/// The most bits that may be put between one [`BitWriter::flush`] and the next.
pub(super) const BETWEEN_FLUSHES: u32 = 56;

impl<'a> BitWriter<'a> {
    /// Begins at the first byte of the buffer.
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self { room, at: 0, held: 0, count: 0 }
    }

    /// Adds bits; after [`BETWEEN_FLUSHES`] of them, they must be flushed.
    #[inline]
    pub(super) fn put(&mut self, bits: Bits) {
        self.held |= u64::from(bits.value) << self.count;
        self.count += bits.count;
    }

    /// Moves whole bytes into the buffer.
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

    /// Adds whole bytes after the last one, which is full.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        if let Some(next) = self.room.get_mut(self.at..self.at + bytes.len()) {
            next.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }

    /// Returns the bytes written, or `None` if the buffer was too small.
    pub(super) fn finish(mut self) -> Option<&'a [u8]> {
        self.align();
        self.room.get(..self.at)
    }
}

#[cfg(test)]
mod tests {
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
