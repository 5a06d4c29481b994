//! The two headers of an rpm package: a list of tagged values each, in front of a store of bytes.

use std::collections::BTreeMap;
use std::io::Read;

use crate::release::error::ReleaseProblem;
use patchadm_inputs::sha256::Sha256;
use patchadm_rootfs::Digest;

/// The bytes that a header begins with.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];

/// The most values of a header, as in rpm itself.
const MOST_VALUES: u32 = 1 << 16;

/// The largest store of a header, in bytes; 20,000 files take five million.
const LARGEST_STORE: u32 = 64 << 20;

/// A header: values by tag.
#[derive(Debug)]
pub(super) struct RpmHeader {
    values: BTreeMap<u32, TaggedValue>,
    store: Vec<u8>,
    /// The bytes that it takes in the file.
    pub(super) length: u64,
    /// The SHA-256 of those bytes, in hexadecimal digits.
    pub(super) sha256: String,
}

#[derive(Clone, Copy, Debug)]
struct TaggedValue {
    value_type: u32,
    offset: usize,
    count: usize,
}

impl RpmHeader {
    /// Reads a header.
    pub(super) fn read(input: &mut dyn Read) -> Result<Self, ReleaseProblem> {
        let mut start = [0; 16];
        input.read_exact(&mut start).map_err(ReleaseProblem::of_archive)?;
        let [magic, sizes] = [start.get(..8), start.get(8..)].map(Option::unwrap_or_default);
        let (count, size) = (be32(sizes, 0).unwrap_or(0), be32(sizes, 4).unwrap_or(0));
        if magic != MAGIC || count == 0 || count > MOST_VALUES || size > LARGEST_STORE {
            return Err(damaged());
        }
        let index = bytes(input, u64::from(count) * 16)?;
        let store = bytes(input, size.into())?;
        let length = 16 + index.len() as u64 + store.len() as u64;
        let mut digest = Sha256::new();
        for part in [&start[..], &index, &store] {
            digest.update(part);
        }
        let sha256 = Digest(digest.finalize()).to_string();
        let mut values = BTreeMap::new();
        for entry in index.as_chunks::<16>().0 {
            let word = |at| be32(entry, at).unwrap_or_default();
            let size = |at| usize::try_from(word(at)).ok().filter(|&value| value <= store.len());
            let (Some(offset), Some(count)) = (size(8), size(12)) else { return Err(damaged()) };
            values.insert(word(0), TaggedValue { value_type: word(4), offset, count });
        }
        Ok(Self { values, store, length, sha256 })
    }

    /// Tells whether there is a value of this tag.
    pub(super) fn has(&self, tag: u32) -> bool {
        self.values.contains_key(&tag)
    }

    /// Returns the texts of a value; none if it is missing.
    pub(super) fn strings(&self, tag: u32) -> Result<Vec<&[u8]>, ReleaseProblem> {
        let Some(value) = self.values.get(&tag) else { return Ok(Vec::new()) };
        if !matches!(value.value_type, 6 | 8 | 9) {
            return Err(damaged());
        }
        let mut rest = self.store.get(value.offset..).ok_or_else(damaged)?;
        let mut found = Vec::new();
        for _ in 0..value.count {
            let end = rest.iter().position(|&byte| byte == 0).ok_or_else(damaged)?;
            let (text, behind) = rest.split_at(end);
            found.push(text);
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(found)
    }

    /// Returns the first text of a value.
    pub(super) fn string(&self, tag: u32) -> Result<Option<String>, ReleaseProblem> {
        Ok(self.strings(tag)?.first().map(|text| String::from_utf8_lossy(text).into_owned()))
    }

    /// Returns the numbers of a value, of any width; none if it is missing.
    pub(super) fn numbers(&self, tag: u32) -> Result<Vec<u64>, ReleaseProblem> {
        let Some(value) = self.values.get(&tag) else { return Ok(Vec::new()) };
        let width = match value.value_type {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => return Err(damaged()),
        };
        let end = value.count.checked_mul(width).and_then(|length| value.offset.checked_add(length));
        let bytes = end.and_then(|end| self.store.get(value.offset..end)).ok_or_else(damaged)?;
        let number = |digits: &[u8]| digits.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        Ok(bytes.chunks_exact(width).map(number).collect())
    }
}

pub(super) fn damaged() -> ReleaseProblem {
    ReleaseProblem::bad("the package is damaged: its header cannot be read")
}

fn bytes(input: &mut dyn Read, length: u64) -> Result<Vec<u8>, ReleaseProblem> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes).map_err(ReleaseProblem::of_archive)?;
    if (bytes.len() as u64) < length { Err(damaged()) } else { Ok(bytes) }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}
