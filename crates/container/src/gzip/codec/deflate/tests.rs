//! Content deflated here is inflated by zlib-rs and, if built in, by libdeflate.

use proptest::prelude::*;

use super::super::Inflater;
use super::super::zlib::Inflater as ByZlib;
use super::*;
use crate::gzip::CHUNK;

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::new();
    Deflater::default().deflate(content, &mut deflated).unwrap();
    assert!(deflated.len() <= longest(content.len()));
    let mut back = Vec::new();
    Inflater::default().inflate(&deflated, &mut back).unwrap();
    assert!(back == content, "{} bytes came back as others", content.len());
    ByZlib::default().inflate(&deflated, &mut back).unwrap();
    assert!(back == content, "{} bytes came back from zlib-rs as others", content.len());
    deflated
}

/// Returns bytes without any order.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn nothing_is_ten_bits() {
    assert_eq!(deflated(b""), [3, 0]);
}

#[test]
fn a_short_text_gets_the_fixed_codes_and_a_long_one_its_own() {
    assert_eq!(deflated(b"PATCHLIST=")[0] >> 1 & 3, 1);
    let text: Vec<u8> = noise(5_000).iter().map(|byte| b"PATCHLIST= 0123"[usize::from(byte % 15)]).collect();
    let deflated = deflated(&text);
    assert_eq!(deflated[0] >> 1 & 3, 2);
    assert!(deflated.len() < 5_000 * 4 / 8 + 100, "{} bytes", deflated.len());
}

#[test]
fn noise_is_stored() {
    for length in [BLOCK - 1, BLOCK, CHUNK] {
        let deflated = deflated(&noise(length));
        assert!(deflated.len() <= length + 10 * length.div_ceil(BLOCK), "{} bytes", deflated.len());
    }
}

#[test]
fn the_same_content_becomes_the_same_bytes_whatever_came_before() {
    let content = [&noise(3_000)[..], &[0; 3_000], &noise(3_000)].concat();
    let (mut deflater, mut again) = (Deflater::default(), Vec::new());
    deflater.deflate(&noise(CHUNK), &mut Vec::new()).unwrap();
    deflater.deflate(&content, &mut again).unwrap();
    assert!(again == deflated(&content));
}

/// Returns content made of pieces: some new, some of one byte, some repeated.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = (0..4u8, any::<u8>(), 1..2_000usize, 1..70_000usize);
    proptest::collection::vec(piece, 0..200).prop_map(|pieces| {
        let mut content: Vec<u8> = Vec::new();
        for (kind, byte, length, back) in pieces {
            let length = length.min(CHUNK - content.len());
            match kind {
                0 => content.extend(noise(length)),
                1 => content.extend(std::iter::repeat_n(byte, length)),
                2 => content.extend((0..length).map(|at| byte.wrapping_mul(at.to_le_bytes()[0] & 7))),
                _ => {
                    for _ in 0..length {
                        let before = content.len().checked_sub(back).and_then(|at| content.get(at));
                        content.push(before.copied().unwrap_or(byte));
                    }
                }
            }
        }
        content
    })
}

proptest! {
    #[test]
    fn whatever_is_deflated_is_inflated_again(content in pieces()) {
        deflated(&content);
    }
}
