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

#[cfg(feature = "xz")]
mod written {
    use std::io::Write as _;

    use super::*;

    fn encoded(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = XzEncoder::new(Vec::new()).unwrap();
        for piece in pieces {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_written_comes_back_whatever_the_pieces() {
        let text = text();
        let whole = encoded(&[&text]);
        assert!(whole.len() < text.len() / 2, "{}", whole.len());
        assert_eq!(decoded(&whole).unwrap(), text);
        let pieces: Vec<&[u8]> = text.chunks(7).collect();
        assert_eq!(encoded(&pieces), whole, "the bytes depend on the content alone");
        assert_eq!(decoded(&encoded(&[])).unwrap(), b"");
    }

    #[test]
    fn every_length_and_noise_come_back() {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        for length in (0..300).chain([65_535, 65_536, 65_537, 3 << 20]) {
            let bytes: Vec<u8> = (0..length).map(|_| noise()).collect();
            assert_eq!(decoded(&encoded(&[&bytes])).unwrap(), bytes, "{length}");
        }
    }

    /// A file that is looked at while it is written.
    struct Shared(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_flushed_is_read_before_the_rest_is_written() {
        let written = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut encoder = XzEncoder::new(Shared(written.clone())).unwrap();
        encoder.write_all(b"manifest").unwrap();
        encoder.flush().unwrap();
        encoder.flush().unwrap();
        let so_far = written.borrow().clone();
        let mut first = [0; 8];
        XzDecoder::new(&so_far[..]).unwrap().read_exact(&mut first).unwrap();
        assert_eq!(&first, b"manifest");
        encoder.write_all(&text()).unwrap();
        drop(encoder.finish().unwrap());
        assert_eq!(decoded(&written.borrow()).unwrap(), [b"manifest", &text()[..]].concat());
    }
}

#[cfg(not(feature = "xz"))]
#[test]
fn a_build_that_only_reads_it_says_so() {
    let refused = XzEncoder::new(Vec::new()).err().unwrap();
    assert_eq!(refused.to_string(), "this build of patchadm reads xz, and does not write it");
}
