//! The index at the end of a stream, compared with the actual blocks.

use std::io::{self, Read};

use super::check::CRC64;
use super::header::read_padding;
use crate::compressed_input::{CompressedInput, damaged};

/// The blocks of a stream: their number, and a sum of their sizes in place of a list, so that no number of blocks takes
/// memory.
#[derive(Default)]
pub(super) struct IndexDigest {
    count: u64,
    sum: u64,
}

impl IndexDigest {
    /// Adds a block: its bytes in the stream without padding, and those of its content.
    pub(super) fn add(&mut self, packed: u64, content: u64) {
        let mut digest = CRC64.digest_with_initial(self.sum);
        digest.update(&packed.to_le_bytes());
        digest.update(&content.to_le_bytes());
        self.sum = digest.finalize();
        self.count += 1;
    }

    /// Reads the index after its first byte, and compares.
    pub(super) fn compare<R: Read>(self, input: &mut CompressedInput<R>) -> io::Result<()> {
        let start = input.count() - 1;
        let mut hashed = Hashed { input, sum: crc32fast::Hasher::new() };
        hashed.sum.update(&[0]);
        let mut listed = Self::default();
        let count = hashed.number()?;
        if count != self.count {
            return Err(damaged("the index of an xz stream does not list its blocks"));
        }
        for _ in 0..count {
            let (packed, content) = (hashed.number()?, hashed.number()?);
            listed.add(packed, content);
        }
        let Hashed { input, mut sum } = hashed;
        let length = input.count() - start;
        read_padding(input, length)?;
        for _ in length..length.next_multiple_of(4) {
            sum.update(&[0]);
        }
        if input.array()? != sum.finalize().to_le_bytes() {
            return Err(damaged("the index of an xz stream does not have its checksum"));
        }
        if listed.sum == self.sum {
            Ok(())
        } else {
            Err(damaged("the index of an xz stream has other sizes than its blocks"))
        }
    }
}

/// The bytes of an index, with their sum.
struct Hashed<'a, R> {
    input: &'a mut CompressedInput<R>,
    sum: crc32fast::Hasher,
}

impl<R: Read> Hashed<'_, R> {
    fn number(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for at in 0..9 {
            let [byte] = self.input.array()?;
            self.sum.update(&[byte]);
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number in the index of an xz stream is too long"))
    }
}
