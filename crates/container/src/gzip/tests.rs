//! The output is gzip for every reader, the same for any number of threads, and can be read again.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// Returns bytes of any length that compress a little.
fn content(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0] & 0x3f
    };
    (0..length).map(|_| next()).collect()
}

fn encoded(content: &[u8], threads: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = GzipEncoder::new(
        |verified: VerifiedMember| {
            file.extend_from_slice(&verified.member);
            Ok(())
        },
        threads,
    );
    encoder.write_all(content).unwrap();
    assert!(encoder.finish().is_ok());
    file
}

fn decoded(file: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    GzipDecoder::new(file)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Returns a gzip file as another program makes it.
fn plain_gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_gzip_reads_what_is_written_and_the_bytes_do_not_depend_on_the_threads() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 77] {
        let content = content(length);
        let file = encoded(&content, 1);
        assert_eq!(file, encoded(&content, 3), "{length}");
        let mut other = Vec::new();
        MultiGzDecoder::new(&file[..]).read_to_end(&mut other).unwrap();
        assert!(other == content, "{length}");
        assert!(decoded(&file).unwrap() == content, "{length}");
    }
}

#[test]
fn a_flush_ends_the_member_and_what_is_before_it_is_read_without_what_follows() {
    for (before, after) in [(100, 3000), (CHUNK, 1), (0, 9), (CHUNK + 5, 2 * CHUNK), (7, 0)] {
        let (first, second) = (content(before), content(after));
        let mut members = Vec::new();
        let mut encoder = GzipEncoder::new(
            |verified: VerifiedMember| {
                members.push(verified.member);
                Ok(())
            },
            2,
        );
        encoder.write_all(&first).unwrap();
        encoder.flush().unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&second).unwrap();
        assert!(encoder.finish().is_ok());
        assert!(decoded(&members.concat()).unwrap() == [&first[..], &second].concat(), "{before}");
        let of_first = &members[..before.div_ceil(CHUNK)].concat();
        let mut alone = vec![0; before];
        if before > 0 {
            let damaged = [&of_first[..], &HEAD, &u32::MAX.to_le_bytes()].concat();
            GzipDecoder::new(&damaged[..]).unwrap().read_exact(&mut alone).unwrap();
        }
        assert!(alone == first, "{before}");
        let expected = before.div_ceil(CHUNK) + after.div_ceil(CHUNK);
        assert_eq!(members.len(), expected.max(1), "{before} and {after}");
    }
}

#[test]
fn what_cannot_be_compressed_fits() {
    let noise = content(6 * CHUNK);
    let content: Vec<u8> = noise.chunks(2).map(|two| two[0] ^ two[1] << 2).collect();
    assert!(decoded(&encoded(&content, 2)).unwrap() == content);
}

#[test]
fn files_of_other_programs_are_read_alone_and_behind_ours() {
    let (ours, others) = (content(CHUNK + 9), content(1000));
    assert_eq!(decoded(&plain_gzip(&others)).unwrap(), others);
    let both = [encoded(&ours, 2), plain_gzip(&others), encoded(&ours, 2)].concat();
    assert!(decoded(&both).unwrap() == [&ours[..], &others, &ours].concat());
}

#[test]
fn damage_is_found_wherever_it_is() {
    let content = content(2 * CHUNK + 100);
    let file = encoded(&content, 2);
    for at in (0..file.len()).step_by(997).chain([12, 16, 17, file.len() - 1, file.len() - 8]) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x55;
        // Time, flags and system in the header say nothing about the content.
        assert!(!matches!(decoded(&damaged), Ok(read) if read != content), "byte {at}");
    }
    for length in (1..file.len()).step_by(1009) {
        assert!(!matches!(decoded(&file[..length]), Ok(read) if read.len() == content.len()), "{length}");
    }
    assert!(decoded(&file[..file.len() - 1]).is_err());
    assert!(decoded(&[&file[..], b"something else that is longer than a header"].concat()).is_err());
}

#[test]
fn a_member_that_would_grow_beyond_its_length_is_refused() {
    let mut bomb = plain_gzip(&vec![0; CHUNK + 1]);
    let mut member = HEAD.to_vec();
    let deflated = bomb.split_off(10);
    member.extend_from_slice(&u32::try_from(HEADER + deflated.len()).unwrap().to_le_bytes());
    member.extend_from_slice(&deflated);
    assert!(decoded(&member).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(tail in prop::collection::vec(any::<u8>(), 0..300), ours: bool) {
        let head: &[u8] = if ours { &HEAD } else { &HEAD[..4] };
        let _ = decoded(&[head, &tail].concat());
    }
}
