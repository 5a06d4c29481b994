//! Deflating one chunk: what has no redundancy is stored as it is.
//!
//! Content that is compressed already, or encrypted, costs deflate most of its time and comes out longer than it went in.
//! Such blocks are recognised by how even their bytes are distributed, and become stored blocks (RFC 1951, 3.2.4); what
//! is between them is deflated, each run for itself.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

/// Bytes that are judged together.
const BLOCK: usize = 4096;

/// Fewer blocks of noise in a row are left to deflate: what is behind a run cannot refer to what is before it, and that
/// costs more than a short one saves.
const FEWEST: usize = 4;

/// The longest stored block.
const LONGEST_STORED: usize = 0xffff;

/// An empty last block with fixed codes: the end of the deflated content.
const END: [u8; 2] = [0x03, 0x00];

/// Bytes that are put between two runs at most: an empty stored block that brings deflated content to a whole byte, and
/// the header of a stored block.
pub(super) const BETWEEN: usize = 16;

/// Turns chunks into deflated content.
pub(super) struct Deflating {
    compress: Compress,
}

impl Deflating {
    pub(super) fn new() -> Self {
        Self { compress: Compress::new(Compression::fast(), false) }
    }

    /// Adds the deflated content to `out`, which has room for it.
    pub(super) fn deflate(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        for (is_noise, run) in runs(content) {
            if is_noise { store(run, out) } else { self.deflate_run(run, out)? }
        }
        out.extend_from_slice(&END);
        Ok(())
    }

    /// Deflates a run so that it ends at a whole byte and refers to nothing before itself.
    fn deflate_run(&mut self, run: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.compress.reset();
        let status = self.compress.compress_vec(run, out, FlushCompress::Sync)?;
        if status != Status::Ok || self.compress.total_in() != run.len() as u64 || out.len() == out.capacity()
        {
            // One that was stopped half-way cannot be used again.
            self.compress = Compress::new(Compression::fast(), false);
            return Err(io::Error::other("the compressed data is longer than deflate can make it"));
        }
        Ok(())
    }
}

/// The longest that content of this length can become.
pub(super) const fn longest(length: usize) -> usize {
    // With the fixed codes a byte takes nine bits at most; runs have a block at least.
    length + length / 8 + (length / BLOCK + 2) * BETWEEN + END.len()
}

fn store(run: &[u8], out: &mut Vec<u8>) {
    for part in run.chunks(LONGEST_STORED) {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(part);
    }
}

/// Runs of blocks of one kind: noise, or not.
fn runs(content: &[u8]) -> Vec<(bool, &[u8])> {
    let mut kinds: Vec<(bool, usize)> =
        content.chunks(BLOCK).map(|block| (is_noise(block), block.len())).collect();
    for few in kinds.chunk_by_mut(|one, next| one.0 == next.0).filter(|run| run.len() < FEWEST) {
        for (is_noise, _) in few {
            *is_noise = false;
        }
    }
    let mut rest = content;
    let of_one_kind = kinds.chunk_by(|one, next| one.0 == next.0);
    let run = |blocks: &[(bool, usize)]| {
        let (run, behind) = rest.split_at_checked(blocks.iter().map(|(_, length)| length).sum())?;
        rest = behind;
        Some((blocks.first()?.0, run))
    };
    of_one_kind.filter_map(run).collect()
}

/// Whether deflate would find nothing in a block: its bytes are distributed as evenly as those of a random one, and
/// few sequences of four come twice.
fn is_noise(block: &[u8]) -> bool {
    if block.len() < BLOCK {
        return false;
    }
    let mut counts = [0u32; 256];
    for &byte in block {
        counts[usize::from(byte)] += 1;
    }
    // For evenly distributed bytes the expected sum of squares is n²/256 + n.
    let squares: u32 = counts.iter().map(|count| count * count).sum();
    let even = u32::try_from(BLOCK * BLOCK / 256 + BLOCK).unwrap_or(u32::MAX);
    squares < even + even / 8 && repeats(block) < BLOCK / 64
}

/// How many of the sequences of four bytes came before in the block, as far as a small table tells.
fn repeats(block: &[u8]) -> usize {
    const SLOTS: usize = 1024;
    let mut last = [0u32; SLOTS];
    let mut found = 0;
    for (at, four) in block.windows(4).enumerate() {
        let value = four.try_into().map_or(0, u32::from_le_bytes);
        let slot = (value.wrapping_mul(0x9e37_79b1) >> 22) as usize % SLOTS;
        if last[slot] == value {
            found += 1;
        } else if at % 4 == 0 {
            last[slot] = value;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..BLOCK).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_what_neither_repeats_nor_prefers_any_byte() {
        assert!((1..200).all(|seed| is_noise(&noise(seed))));
        let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(BLOCK).collect();
        assert!(!is_noise(&text));
        let even_and_repeated: Vec<u8> = (0..=255).cycle().take(BLOCK).collect();
        assert!(!is_noise(&even_and_repeated));
        let six_bits: Vec<u8> = noise(7).iter().map(|byte| byte & 0x3f).collect();
        assert!(!is_noise(&six_bits));
        assert!(!is_noise(&noise(7)[1..]), "a block that is not whole is left to deflate");
    }

    #[test]
    fn a_little_noise_does_not_part_what_belongs_together() {
        let text: Vec<u8> =
            (0..=255).flat_map(|n: u8| [n, b' ', n.wrapping_mul(7)]).cycle().take(BLOCK).collect();
        let content = [&text[..], &noise(5), &text].concat();
        assert_eq!(runs(&content), [(false, &content[..])]);
    }

    #[test]
    fn noise_gets_hardly_longer_and_the_rest_is_deflated() {
        let text: Vec<u8> = b"PATCHLIST=103500-01 ".iter().copied().cycle().take(3 * BLOCK).collect();
        let noise = (1..=4).flat_map(noise).collect::<Vec<u8>>();
        let content = [&noise[..], &text, &noise, &text].concat();
        let mut out = Vec::with_capacity(longest(content.len()));
        Deflating::new().deflate(&content, &mut out).unwrap();
        assert!(out.len() < 8 * BLOCK + 400, "{}", out.len());
        let mut back = Vec::with_capacity(content.len() + 1);
        flate2::Decompress::new(false)
            .decompress_vec(&out, &mut back, flate2::FlushDecompress::Finish)
            .unwrap();
        assert!(back == content);
    }
}
