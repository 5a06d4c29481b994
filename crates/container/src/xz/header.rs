//! The headers of streams and blocks, and the footer of a stream.

use std::io::{self, Read};

use crate::compressed_input::{CompressedInput, damaged};

/// The largest dictionary that is allocated, in bytes: that of `xz -9`.
const LARGEST_DICTIONARY: u32 = 64 << 20;

/// The filter that every chain ends with, and the only one that is read.
pub(super) const LZMA2: u8 = 0x21;

/// The declaration of a stream about the checks of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamFlags {
    NoCheck,
    Crc32,
    Crc64,
    Sha256,
}

impl StreamFlags {
    /// Reads the header of a stream after its first six bytes.
    pub(super) fn read<R: Read>(input: &mut CompressedInput<R>) -> io::Result<Self> {
        let flags = input.array::<2>()?;
        if input.array()? != crc32fast::hash(&flags).to_le_bytes() {
            return Err(damaged("the header of an xz stream does not have its checksum"));
        }
        match flags {
            [0, 0] => Ok(Self::NoCheck),
            [0, 1] => Ok(Self::Crc32),
            [0, 4] => Ok(Self::Crc64),
            [0, 10] => Ok(Self::Sha256),
            [_, check] => Err(damaged(format!("xz with a check of type {check} is not supported"))),
        }
    }

    /// Returns the two bytes of header and footer.
    pub(super) fn bytes(self) -> [u8; 2] {
        match self {
            Self::NoCheck => [0, 0],
            Self::Crc32 => [0, 1],
            Self::Crc64 => [0, 4],
            Self::Sha256 => [0, 10],
        }
    }

    /// Reads the footer; the index before it began after `index_start` bytes of input.
    pub(super) fn read_footer<R: Read>(
        self,
        input: &mut CompressedInput<R>,
        index_start: u64,
    ) -> io::Result<()> {
        let index_size = input.count() - index_start;
        let sum = input.array::<4>()?;
        let [s0, s1, s2, s3, check @ ..] = input.array::<6>()?;
        let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let magic = input.array::<2>()?;
        let is_whole = sum == crc32fast::hash(&[s0, s1, s2, s3, check[0], check[1]]).to_le_bytes();
        if is_whole && &magic == b"YZ" && check == self.bytes() && (size + 1) * 4 == index_size {
            return Ok(());
        }
        Err(damaged("the footer of an xz stream does not fit it"))
    }
}

/// The description of a block.
#[derive(Debug)]
pub(super) struct BlockHeader {
    /// The bytes of the header.
    pub(super) length: u64,
    /// The bytes of LZMA2 data, if stated.
    pub(super) packed_size: Option<u64>,
    /// The bytes of content, if stated.
    pub(super) content_size: Option<u64>,
    /// The bytes of the dictionary.
    pub(super) dictionary: u32,
}

impl BlockHeader {
    /// Reads a header after its first byte, which states its length.
    pub(super) fn read<R: Read>(first: u8, input: &mut CompressedInput<R>) -> io::Result<Self> {
        let length = (u64::from(first) + 1) * 4;
        let mut bytes = vec![first];
        input.take(length - 1).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let damage = || damaged("the header of an xz block is damaged");
        let (fields, sum) = bytes.split_last_chunk::<4>().ok_or_else(damage)?;
        if *sum != crc32fast::hash(fields).to_le_bytes() {
            return Err(damaged("the header of an xz block does not have its checksum"));
        }
        Self::parse(length, fields.get(1..).unwrap_or_default())?.ok_or_else(damage)
    }

    /// Parses the fields; returns `None` if they are cut short.
    fn parse(length: u64, mut fields: &[u8]) -> io::Result<Option<Self>> {
        let Some(flags) = fields.split_off_first().copied() else { return Ok(None) };
        if flags & 0x3c != 0 {
            return Err(damaged("an xz block has flags of a later version"));
        }
        let mut size_if = |flag| if flags & flag == 0 { Some(None) } else { number(&mut fields).map(Some) };
        let (Some(packed_size), Some(content_size)) = (size_if(0x40), size_if(0x80)) else { return Ok(None) };
        let Some(filter) = number(&mut fields) else { return Ok(None) };
        if flags & 3 != 0 || filter != u64::from(LZMA2) {
            return Err(damaged(format!("xz with the filter {filter:#x} is not supported")));
        }
        let &[1, bits, ref padding @ ..] = fields else { return Ok(None) };
        let is_padding = padding.iter().all(|&byte| byte == 0);
        let dictionary = dictionary(bits)?;
        Ok(is_padding.then_some(Self { length, packed_size, content_size, dictionary }))
    }
}

/// Returns the size of a dictionary from its one byte.
fn dictionary(bits: u8) -> io::Result<u32> {
    let size = match bits {
        0..=39 => u64::from(2 | (bits & 1)) << (u32::from(bits) / 2 + 11),
        40 => u64::from(u32::MAX),
        _ => return Err(damaged("an xz block names no size of its dictionary")),
    };
    match u32::try_from(size) {
        Ok(size) if size <= LARGEST_DICTIONARY => Ok(size),
        _ => Err(damaged(format!("xz with a dictionary of {} MiB, more than 64, is refused", size >> 20))),
    }
}

/// Takes a number of up to nine bytes of seven bits each from the front.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..9 {
        let &byte = bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (byte != 0 || at == 0).then_some(value);
        }
    }
    None
}

/// Reads the zero bytes that fill `length` up to a multiple of four.
pub(super) fn read_padding<R: Read>(input: &mut CompressedInput<R>, length: u64) -> io::Result<()> {
    for _ in length..length.next_multiple_of(4) {
        if input.array()? != [0u8] {
            return Err(damaged("the padding of an xz stream is not empty"));
        }
    }
    Ok(())
}
