//! Files that tools split from programs for debuggers.

use super::Sample;

/// Returns the file that a tool leaves for debuggers: the headers, and section headers that say that nothing of the
/// program is there. The program headers have lengths of zero, or still the old ones.
pub(crate) fn debug_data(sample: &Sample<'_>, is_emptied: bool) -> Vec<u8> {
    let whole = sample.bytes();
    let segments = usize::from(whole[56]);
    let mut bytes = whole[..64 + segments * 56].to_vec();
    let word = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap());
    let at = |number: usize| 64 + number * 56;
    let (address, size) = (word(at(1) + 16), word(at(1) + 40));
    for number in (0..segments).filter(|_| is_emptied) {
        bytes[at(number) + 32..at(number) + 40].fill(0);
    }
    // Debug data that has nothing to do with what was there.
    bytes.resize(whole.len() + 4096, b'/');
    let sections = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&sections.to_le_bytes());
    bytes[58..62].copy_from_slice(&[64, 0, 1, 0]);
    bytes.extend([0, 0, 0, 0, 8, 0, 0, 0]);
    bytes.extend([3, address, 0, size, 0, 8, 16].iter().flat_map(|word: &u64| word.to_le_bytes()));
    bytes
}
