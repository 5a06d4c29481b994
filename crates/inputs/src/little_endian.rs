//! Fields of little-endian cache files.

/// The remaining bytes. Each field is `None` if they end too early.
pub struct LittleEndianFields<'a>(pub &'a [u8]);

impl<'a> LittleEndianFields<'a> {
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Reads a line, without its end.
    pub fn line(&mut self) -> Option<&'a [u8]> {
        let line = self.bytes(self.0.iter().position(|byte| *byte == b'\n')?)?;
        self.0 = self.0.get(1..)?;
        Some(line)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_cut_off_is_none() {
        let mut fields = LittleEndianFields(b"\x01\x02\x03\0\0\0one\ntwo");
        assert_eq!((fields.u16(), fields.u32()), (Some(0x0201), Some(3)));
        assert_eq!((fields.u64(), fields.i64()), (None, None));
        assert_eq!((fields.line(), fields.line()), (Some(&b"one"[..]), None));
        assert_eq!((fields.bytes(4), fields.bytes(3)), (None, Some(&b"two"[..])));
        assert_eq!((fields.array::<1>(), fields.array::<0>()), (None, Some([])));
    }
}
