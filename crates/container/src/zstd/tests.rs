//! Content compressed by `zstd` comes back, and files that are cut, changed or too large are refused.

use std::io::{self, Read as _};

use super::ZstdDecoder;
use crate::zstd::MAGIC;

const WHOLE: &[u8] = include_bytes!("../../testdata/seq.zst");
const STREAM: &[u8] = include_bytes!("../../testdata/seq-stream.zst");
const NO_CHECK: &[u8] = include_bytes!("../../testdata/seq-nocheck.zst");
const SKIPPABLE: &[u8] = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";

fn text() -> Vec<u8> {
    (1..=2000).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

fn decoded(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    ZstdDecoder::new(bytes).read_to_end(&mut content)?;
    Ok(content)
}

#[test]
fn what_zstd_compressed_comes_back() {
    for bytes in [WHOLE, STREAM, NO_CHECK] {
        assert_eq!(decoded(bytes).unwrap(), text());
    }
}

#[test]
fn frames_may_follow_and_skippable_ones_stand_anywhere() {
    let all = [SKIPPABLE, WHOLE, SKIPPABLE, STREAM, SKIPPABLE].concat();
    assert_eq!(decoded(&all).unwrap(), [text(), text()].concat());
    for rest in [&b"x"[..], b"garbage", &SKIPPABLE[..9], &WHOLE[..4]] {
        assert!(decoded(&[WHOLE, rest].concat()).is_err(), "{rest:?}");
    }
}

#[test]
fn a_window_over_the_limit_and_a_dictionary_are_refused() {
    let large = decoded(include_bytes!("../../testdata/seq-window-128MiB.zst")).unwrap_err().to_string();
    assert!(large.contains("indow"), "{large}");
    let huge = [&MAGIC[..], &[0xe0], &u64::MAX.to_le_bytes()].concat();
    assert!(decoded(&huge).is_err(), "a single segment of that size is its window");
    let dictionary = [&MAGIC[..], &[0x21, 7, 0, 1, 0, 0]].concat();
    assert_eq!(decoded(&dictionary).unwrap_err().to_string(), "Zstandard with a dictionary is not supported");
}

#[test]
fn a_frame_that_is_cut_is_an_error_at_every_length() {
    for whole in [WHOLE, STREAM, NO_CHECK] {
        for length in 1..whole.len() {
            assert!(decoded(&whole[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn a_flipped_bit_never_gives_other_bytes() {
    // The flipped bit may have no meaning; with a checksum, the content is never read differently.
    for whole in [WHOLE, STREAM] {
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.to_vec();
                bytes[at] ^= 1 << bit;
                let descriptor = at == 4;
                assert!(
                    descriptor || decoded(&bytes).map_or(true, |read| read == text()),
                    "byte {at}, bit {bit}"
                );
            }
        }
    }
}

#[cfg(feature = "zstd")]
mod written {
    use std::io::Write as _;

    use super::*;
    use crate::zstd::ZstdEncoder;

    fn encoded(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = ZstdEncoder::new(Vec::new()).unwrap();
        for piece in pieces {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_written_comes_back_with_a_checksum_whatever_the_pieces() {
        let text = text();
        let whole = encoded(&[&text]);
        assert!(whole.len() < text.len() / 2 && whole[4] & 4 != 0, "a frame with a checksum");
        assert_eq!(decoded(&whole).unwrap(), text);
        let pieces: Vec<&[u8]> = text.chunks(7).collect();
        assert_eq!(encoded(&pieces), whole, "the bytes depend on the content alone");
        assert_eq!(decoded(&encoded(&[])).unwrap(), b"");
    }

    #[test]
    fn a_flush_changes_nothing_of_what_comes_back() {
        let mut encoder = ZstdEncoder::new(Vec::new()).unwrap();
        encoder.write_all(b"manifest").unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&text()).unwrap();
        let whole = encoder.finish().unwrap();
        assert_eq!(decoded(&whole).unwrap(), [b"manifest", &text()[..]].concat());
    }
}

#[cfg(not(feature = "zstd"))]
#[test]
fn a_build_that_only_reads_it_says_so() {
    let refused = crate::zstd::ZstdEncoder::new(Vec::new()).err().unwrap();
    assert_eq!(refused.to_string(), "this build of patchadm reads Zstandard, and does not write it");
}
