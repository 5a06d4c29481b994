//! A library of 200 MiB whose tables lie far from its begin and its end, made while it is read.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// Its length, in bytes.
pub(crate) const LENGTH: u64 = 200 << 20;

const SYMBOLS: u64 = 60 << 20;
const HASH: u64 = 70 << 20;
const STRINGS: u64 = 100 << 20;
const DYNAMIC: u64 = 150 << 20;

/// The library: what is not in a piece is zero.
pub(crate) struct LargeLibrary {
    pieces: BTreeMap<u64, Vec<u8>>,
    at: u64,
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn halves(halves: &[u32]) -> Vec<u8> {
    halves.iter().flat_map(|half| half.to_le_bytes()).collect()
}

impl LargeLibrary {
    /// The library `liblarge.so.1`, which needs `libc.so.6`, exports `large` and wants `small`. Its program headers are at
    /// an offset.
    pub(crate) fn new(headers: u64) -> Self {
        let strings = b"\0liblarge.so.1\0libc.so.6\0large\0small\0".to_vec();
        let dynamic = words(&[
            1,
            15, // NEEDED
            14,
            1, // SONAME
            5,
            STRINGS,
            10,
            strings.len() as u64,
            6,
            SYMBOLS,
            4,
            HASH,
            0,
            0,
        ]);
        let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        head.extend([3, 0, 62, 0, 1, 0, 0, 0]);
        head.extend(words(&[0, headers, 0]));
        head.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
        let segment = |kind: u32, offset: u64, length: u64| {
            [halves(&[kind, 4]), words(&[offset, offset, offset, length, length, 8])].concat()
        };
        let segments = [segment(1, 0, LENGTH), segment(2, DYNAMIC, dynamic.len() as u64)].concat();
        // Name, information, section: a function that is defined, and one that is not.
        let symbol =
            |name: u32, section: u8| [halves(&[name]), vec![0x12, 0, section, 0], vec![0; 16]].concat();
        let symbols = [vec![0; 24], symbol(25, 1), symbol(31, 0)].concat();
        let hash = halves(&[1, 3]);
        let pieces = [
            (0, head),
            (headers, segments),
            (SYMBOLS, symbols),
            (HASH, hash),
            (STRINGS, strings),
            (DYNAMIC, dynamic),
        ];
        Self { pieces: pieces.into(), at: 0 }
    }
}

impl Read for LargeLibrary {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(LENGTH - self.at).unwrap());
        buffer[..count].fill(0);
        let end = self.at + count as u64;
        for (offset, bytes) in &self.pieces {
            let (from, to) = ((*offset).max(self.at), (offset + bytes.len() as u64).min(end));
            if from < to {
                let place = |begin: u64, at: u64| usize::try_from(at - begin).unwrap();
                let piece = &bytes[place(*offset, from)..place(*offset, to)];
                buffer[place(self.at, from)..place(self.at, to)].copy_from_slice(piece);
            }
        }
        self.at = end;
        Ok(count)
    }
}
