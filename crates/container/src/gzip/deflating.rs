//! Deflating one chunk: what has no redundancy is stored as it is.
//!
//! Content that is compressed already, or encrypted, costs deflate most of its time and comes out longer than it went in.
//! Such blocks are recognised by how even their bytes are distributed, and become stored blocks (RFC 1951, 3.2.4); what
//! is between them is deflated, each run for itself.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

/// Bytes that are judged together.
const BLOCK: usize = 1024;

/// Fewer blocks of noise in a row are left to deflate: what is behind a run cannot refer to what is before it, and that
/// costs more than a short one saves.
const FEWEST: usize = 9;

/// The longest stored block.
const LONGEST_STORED: usize = 0xffff;

/// An empty last block with fixed codes: the end of the deflated content.
const END: [u8; 2] = [0x03, 0x00];

/// Bytes that are put between two runs at most: an empty stored block that brings deflated content to a whole byte, and
/// the header of a stored block.
pub(super) const BETWEEN: usize = 16;

/// How much time a chunk is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// As `gzip -1`, about.
    Fast,
    /// As `gzip -6`: for what is small and all text.
    Thorough,
}

impl Effort {
    fn compress(self) -> Compress {
        let level = match self {
            Self::Fast => Compression::fast(),
            Self::Thorough => Compression::default(),
        };
        Compress::new(level, false)
    }
}

/// Turns chunks into deflated content.
#[derive(Default)]
pub(super) struct Deflating {
    fast: Option<Compress>,
    thorough: Option<Compress>,
}

impl Deflating {
    /// Adds the deflated content to `out`, which has room for it.
    pub(super) fn deflate(&mut self, content: &[u8], effort: Effort, out: &mut Vec<u8>) -> io::Result<()> {
        for (is_noise, run) in runs(content) {
            if is_noise { store(run, out) } else { self.deflate_run(run, effort, out)? }
        }
        out.extend_from_slice(&END);
        Ok(())
    }

    /// Deflates a run so that it ends at a whole byte and refers to nothing before itself.
    fn deflate_run(&mut self, run: &[u8], effort: Effort, out: &mut Vec<u8>) -> io::Result<()> {
        let kept = match effort {
            Effort::Fast => &mut self.fast,
            Effort::Thorough => &mut self.thorough,
        };
        // One that is stopped half-way cannot be used again, and is not put back.
        let mut compress = kept.take().unwrap_or_else(|| effort.compress());
        compress.reset();
        let status = compress.compress_vec(run, out, FlushCompress::Sync)?;
        if status != Status::Ok || compress.total_in() != run.len() as u64 || out.len() == out.capacity() {
            return Err(io::Error::other("the compressed data is longer than deflate can make it"));
        }
        *kept = Some(compress);
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

/// Runs of one kind: noise, or not.
fn runs(content: &[u8]) -> Vec<(bool, &[u8])> {
    let mut kinds: Vec<bool> = content.chunks(BLOCK).map(is_even).collect();
    let mut rest = content;
    for run in kinds.chunk_by_mut(|one, next| one == next) {
        let (bytes, behind) = rest.split_at(rest.len().min(run.len() * BLOCK));
        rest = behind;
        if run.first() == Some(&true) && (run.len() < FEWEST || repeats(bytes)) {
            run.fill(false);
        }
    }
    let mut rest = content;
    let run = |blocks: &[bool]| {
        let (run, behind) = rest.split_at(rest.len().min(blocks.len() * BLOCK));
        rest = behind;
        Some((*blocks.first()?, run))
    };
    kinds.chunk_by(|one, next| one == next).filter_map(run).collect()
}

/// Whether the bytes of a block are distributed as evenly as those of a random one.
fn is_even(block: &[u8]) -> bool {
    if block.len() < BLOCK {
        return false;
    }
    // Two tables, because the same byte may come twice in a row, and the second would wait for the first.
    let mut counts = [[0u16; 256]; 2];
    for two in block.as_chunks::<2>().0 {
        counts[0][usize::from(two[0])] += 1;
        counts[1][usize::from(two[1])] += 1;
    }
    let [one, other] = &counts;
    let squares: u32 = one.iter().zip(other).map(|(one, other)| u32::from(one + other).pow(2)).sum();
    // For evenly distributed bytes the expected sum of squares is n²/256 + n.
    let even = u32::try_from(BLOCK * BLOCK / 256 + BLOCK).unwrap_or(u32::MAX);
    squares < even + even / 8
}

/// Whether more than a few sequences of four bytes come again, as far as a small table tells. It is asked about every
/// sixteenth of them, chosen by what they begin with, so that both times the same are chosen.
fn repeats(run: &[u8]) -> bool {
    const SLOTS: usize = 4096;
    let mut last = [0u32; SLOTS];
    let (mut asked, mut found) = (0, 0);
    for four in run.windows(4).filter(|four| four[0] % 16 == 0) {
        let value = four.try_into().map_or(0, u32::from_le_bytes);
        let slot = (value.wrapping_mul(0x9e37_79b1) >> 20) as usize % SLOTS;
        asked += 1;
        found += usize::from(last[slot] == value);
        last[slot] = value;
    }
    found > asked / 32
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
        (0..FEWEST * BLOCK).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_what_neither_repeats_nor_prefers_any_byte() {
        assert!((1..200).all(|seed| runs(&noise(seed)) == [(true, &noise(seed)[..])]));
        let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(FEWEST * BLOCK).collect();
        let six_bits: Vec<u8> = noise(7).iter().map(|byte| byte & 0x3f).collect();
        let even_and_repeated: Vec<u8> = (0..=255).cycle().take(FEWEST * BLOCK).collect();
        let twice = [noise(7), noise(7)].concat();
        for deflated in [text, six_bits, even_and_repeated, twice] {
            assert_eq!(runs(&deflated), [(false, &deflated[..])]);
        }
        let end = &noise(7)[1..];
        assert_eq!(runs(end), [(false, end)], "a block that is not whole is left to deflate");
    }

    #[test]
    fn a_little_noise_does_not_part_what_belongs_together() {
        let text: Vec<u8> =
            (0..=255).flat_map(|n: u8| [n, b' ', n.wrapping_mul(7)]).cycle().take(BLOCK).collect();
        let content = [&text[..], &noise(5)[BLOCK..], &text].concat();
        assert_eq!(runs(&content), [(false, &content[..])]);
    }

    #[test]
    fn what_is_worth_more_time_gets_shorter() {
        let lines = (0..2000u32).map(|n| format!("{:08x} f none\n", n.wrapping_mul(0x9e37_79b1)));
        let content: Vec<u8> = lines.collect::<String>().into_bytes();
        let length = |effort| {
            let mut out = Vec::with_capacity(longest(content.len()));
            Deflating::default().deflate(&content, effort, &mut out).unwrap();
            out.len()
        };
        assert!(length(Effort::Thorough) * 10 < length(Effort::Fast) * 9);
    }

    #[test]
    fn noise_gets_hardly_longer_and_the_rest_is_deflated() {
        let text: Vec<u8> = b"PATCHLIST=103500-01 ".iter().copied().cycle().take(3 * BLOCK).collect();
        let content = [&noise(1)[..], &text, &noise(2), &text].concat();
        let mut out = Vec::with_capacity(longest(content.len()));
        Deflating::default().deflate(&content, Effort::Fast, &mut out).unwrap();
        assert!(out.len() < 2 * FEWEST * BLOCK + 400, "{}", out.len());
        let mut back = Vec::with_capacity(content.len() + 1);
        flate2::Decompress::new(false)
            .decompress_vec(&out, &mut back, flate2::FlushDecompress::Finish)
            .unwrap();
        assert!(back == content);
    }
}
