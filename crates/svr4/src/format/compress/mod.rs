//! The `.Z` format of compress(1): adaptive LZW with codes of 9 to 16 bits.
//!
//! ```text
//! 1f 9d  flags            flags: 0x80 block mode, low five bits the longest code
//! codes                   least significant bit first, in groups of eight codes of one width
//! ```
//! A change of width and the clear code (256, in block mode) end a group early; the rest of it is padding.
//! The undo archives of Solaris patches have this format.
//!
//! The decoder reads 9 to 16 bits, with and without block mode. It produces output in pieces of bounded size and
//! refuses codes that no encoder can have written. The format has no length and no checksum: a file cut between two
//! codes decodes without an error, and only its content can show the cut. The encoder writes the bytes that compress(1)
//! writes, in block mode. It does not write 9 bits, because decoders disagree about where such a stream becomes wider.
//!
//! ```
//! use std::io::{Read, Write};
//! use patchadm_svr4::format::compress::{CompressDecoder, CompressEncoder};
//!
//! let mut encoder = CompressEncoder::new(Vec::new());
//! encoder.write_all(b"to be or not to be")?;
//! let packed = encoder.finish()?;
//!
//! let mut text = String::new();
//! CompressDecoder::new(&packed[..])?.read_to_string(&mut text)?;
//! assert_eq!(text, "to be or not to be");
//! # Ok::<(), std::io::Error>(())
//! ```

mod decoder;
mod encoder;

pub use decoder::CompressDecoder;
pub use encoder::CompressEncoder;

/// The first bytes of every `.Z` file.
pub const MAGIC: [u8; 2] = [0x1f, 0x9d];

const BLOCK_MODE: u8 = 0x80;
const BITS_MASK: u8 = 0x1f;
const FEWEST_BITS: u32 = 9;
const MOST_BITS: u32 = 16;

/// The code that clears the table, in block mode.
const CLEAR: u32 = 256;

/// The number of codes in a group. A group has as many bytes as a code has bits.
const GROUP: u32 = 8;

/// The reason a `.Z` stream cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// Data that does not start with [`MAGIC`].
    #[error("not in compressed (.Z) format")]
    NotCompressed,
    /// A longest code below 9 bits (10 for writing) or above 16.
    #[error("compressed (.Z) data with codes of up to {bits} bits is not supported")]
    Bits {
        /// The number of bits in the header.
        bits: u32,
    },
    /// A code without a meaning yet.
    #[error("compressed (.Z) data is corrupt: invalid code {code} at byte {offset}")]
    InvalidCode {
        /// The code's number.
        code: u32,
        /// The offset of the group that contains it, in bytes.
        offset: u64,
    },
    /// An end of the data inside a code.
    #[error("compressed (.Z) data ends inside a code at byte {offset}")]
    Truncated {
        /// The offset of the group that contains it, in bytes.
        offset: u64,
    },
}

impl From<CompressError> for std::io::Error {
    fn from(error: CompressError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn encode(bits: u32, data: &[u8]) -> Vec<u8> {
        let mut encoder = CompressEncoder::with_bits(Vec::new(), bits).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        CompressDecoder::new(bytes)?.read_to_end(&mut data)?;
        Ok(data)
    }

    /// Compressible at first, then noise, then compressible again: the ratio drops and the table is cleared.
    fn changing_data() -> Vec<u8> {
        let mut state = 1u32;
        (0..1_500_000u32)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if (at / 300_000) % 2 == 0 {
                    b"the quick brown fox"[(at % 19) as usize]
                } else {
                    (state >> 24) as u8
                }
            })
            .collect()
    }

    #[test]
    fn a_file_of_compress_is_read() {
        // 97, 257 (aa, while it is being defined), 258, 259, 257: one, two, three, four and two bytes.
        let bytes = b"\x1f\x9d\x90\x61\x02\x0a\x1c\x18\x10";
        assert_eq!(decode(bytes).unwrap(), [b'a'; 12]);
        assert_eq!(encode(16, &[b'a'; 12]), bytes);
    }

    #[test]
    fn every_width_brings_the_data_back_through_cleared_tables() {
        let data = changing_data();
        for bits in 10..=16 {
            let bytes = encode(bits, &data);
            assert!(decode(&bytes).unwrap() == data, "{bits} bits");
        }
    }

    #[test]
    fn gzip_reads_what_is_written() {
        let data = changing_data();
        for bits in [10, 12, 16] {
            let bytes = encode(bits, &data);
            let child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let Ok(mut child) = child else {
                crate::skipped("gzip_reads_what_is_written: gzip is not here");
                return;
            };
            let mut input = child.stdin.take().unwrap();
            let feeder = std::thread::spawn(move || input.write_all(&bytes));
            let output = child.wait_with_output().unwrap();
            feeder.join().unwrap().unwrap();
            assert!(output.status.success() && output.stdout == data, "{bits} bits");
        }
    }

    #[test]
    fn headers_that_no_compress_writes_are_refused() {
        let refused = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(refused(b"\x1f\x8b\x90"), "not in compressed (.Z) format");
        assert_eq!(refused(b"\x1f\x9d"), "not in compressed (.Z) format");
        for bits in [0u8, 8, 17, 31] {
            let expected = format!("compressed (.Z) data with codes of up to {bits} bits is not supported");
            assert_eq!(refused(&[0x1f, 0x9d, 0x80 | bits]), expected);
        }
        assert!(CompressEncoder::with_bits(Vec::new(), 9).is_err());
    }

    #[test]
    fn codes_that_stand_for_nothing_are_refused() {
        let code = |codes: &[u32]| {
            let mut bits = 0u128;
            for (at, code) in codes.iter().enumerate() {
                bits |= u128::from(*code) << (9 * at);
            }
            let mut bytes = b"\x1f\x9d\x90".to_vec();
            bytes.extend_from_slice(&bits.to_le_bytes()[..(codes.len() * 9).div_ceil(8)]);
            decode(&bytes)
        };
        assert_eq!(code(&[97, 257]).unwrap(), b"aaa", "the code that is being made");
        assert!(code(&[97, 258]).is_err());
        assert!(code(&[300]).is_err(), "the first code is a byte");
        assert_eq!(code(&[97, 256]).unwrap(), b"a", "a clear code at the end");
    }

    #[test]
    fn an_end_inside_a_code_is_an_error() {
        let bytes = encode(16, b"abc");
        let error = decode(&bytes[..4]).unwrap_err().to_string();
        assert_eq!(error, "compressed (.Z) data ends inside a code at byte 3");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            words in prop::collection::vec(prop::collection::vec(0u8..4, 1..40), 0..200), bits in 10u32..=16,
        ) {
            let data = words.concat();
            prop_assert_eq!(decode(&encode(bits, &data)).unwrap(), data);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(flags: u8, codes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut bytes = vec![0x1f, 0x9d, flags];
            bytes.extend(codes);
            let _ = decode(&bytes);
            bytes[2] = 0x80 | (9 + flags % 8);
            let _ = decode(&bytes);
        }
    }
}
