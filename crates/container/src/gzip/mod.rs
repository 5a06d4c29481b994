//! gzip in members of limited length, so that several cores can work on one file.
//!
//! RFC 1952 lets a gzip file be a sequence of members, and every gzip reads it as one. Ours hold [`CHUNK`] bytes of
//! content each (fewer in the last one, and in one that a flush ended). An extra field of each header (`FEXTRA`,
//! subfield `PA`) states the size of the whole member, so that a reader can cut the file into members without decoding
//! them. The division of work among threads does not affect the bytes: the same content gives the same file.
//!
//! ```text
//!   1f 8b 08 04  mtime 0  XFL 4  OS 255 │ 08 00  'P' 'A'  04 00  <size of the member> │ deflate │ CRC-32  size
//! ```
//! Numbers are little-endian. [`GzipEncoder`] writes, and decodes each member again before it lets it out; [`GzipDecoder`]
//! reads such files, and any other gzip file one member after another.

mod codec;
mod decoder;
mod encoder;
mod in_order;

pub use decoder::GzipDecoder;
pub use encoder::{GzipEncoder, MemberOutput, VerifiedMember};

/// The bytes of content in one member.
pub const CHUNK: usize = 1 << 18;

/// The size of our header, in bytes.
const HEADER: usize = 20;

/// The bytes after the deflated content: CRC-32 and length.
const TRAILER: usize = 8;

/// The start of our header, up to the size of the member.
const HEAD: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 4, 0xff, 8, 0, b'P', b'A', 4, 0];

/// The size of our longest possible member, in bytes.
const LONGEST: usize = codec::longest(CHUNK) + HEADER + TRAILER;

/// Returns the size of one of our members, by its header, or `None` if the header is not ours.
fn member_size(header: &[u8]) -> Option<usize> {
    let size = header.strip_prefix(&HEAD)?.first_chunk()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    (HEADER + TRAILER..=LONGEST).contains(&size).then_some(size)
}

/// Returns the bytes after the deflated content: its CRC-32 and its length.
fn trailer(content: &[u8]) -> [u8; TRAILER] {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut trailer = [0; TRAILER];
    let (crc, size) = trailer.split_at_mut(TRAILER / 2);
    crc.copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    size.copy_from_slice(&length.to_le_bytes());
    trailer
}

#[cfg(test)]
mod tests;
