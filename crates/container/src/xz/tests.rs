//! Content compressed by `xz` comes back, and files that are cut, changed or too large are refused.

use super::*;

const WHOLE: &[u8] = include_bytes!("../../testdata/seq.xz");
const BLOCKS: &[u8] = include_bytes!("../../testdata/seq-blocks-sha256.xz");
const SIZES: &[u8] = include_bytes!("../../testdata/seq-sizes.xz");
const CRC32: &[u8] = include_bytes!("../../testdata/seq-crc32.xz");
const NO_CHECK: &[u8] = include_bytes!("../../testdata/seq-nocheck.xz");

fn text() -> Vec<u8> {
    (1..=2000).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

fn decoded(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    XzDecoder::new(bytes)?.read_to_end(&mut content)?;
    Ok(content)
}

#[test]
fn what_xz_compressed_comes_back_whatever_the_check() {
    for bytes in [WHOLE, BLOCKS, SIZES, CRC32, NO_CHECK] {
        assert_eq!(decoded(bytes).unwrap(), text());
    }
}

#[test]
fn streams_and_padding_may_follow_and_nothing_else() {
    let two = [WHOLE, &[0; 8], BLOCKS, &[0; 4]].concat();
    assert_eq!(decoded(&two).unwrap(), [text(), text()].concat());
    for rest in [&b"x"[..], b"\0", b"garbage garbage", b"\0\0\0\0\0", b"\xfd7zX"] {
        assert!(decoded(&[WHOLE, rest].concat()).is_err(), "{rest:?}");
    }
}

#[test]
fn a_dictionary_over_the_limit_and_other_filters_are_refused_by_name() {
    let large = decoded(include_bytes!("../../testdata/seq-dictionary-96MiB.xz")).unwrap_err().to_string();
    assert_eq!(large, "xz with a dictionary of 96 MiB, more than 64, is refused");
    let filter = decoded(include_bytes!("../../testdata/seq-x86.xz")).unwrap_err().to_string();
    assert_eq!(filter, "xz with the filter 0x4 is not supported");
}

#[test]
fn a_stream_that_is_cut_is_an_error_at_every_length() {
    for whole in [WHOLE, BLOCKS, SIZES] {
        for length in 0..whole.len() {
            assert!(decoded(&whole[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    for whole in [WHOLE, BLOCKS, SIZES, CRC32] {
        for at in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (at % 8);
            assert!(decoded(&bytes).is_err(), "byte {at}");
        }
    }
}
