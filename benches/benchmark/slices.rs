//! Generated content in slices of one block: object code like that of compilers, and text.
//!
//! Object code is instructions (a few opcodes very often, registers, small displacements, calls into one image),
//! constants, tables of symbols and of relocations, names, and padding. No two slices are equal, and neither object
//! code nor text contains noise for longer than [`LONGEST_NOISE`] bytes, so that an encoder gains nothing by skipping
//! noise.

use std::sync::LazyLock;

use super::random::Random;

/// The unit in which content is made, and in which a new version of a file differs, in bytes.
pub(crate) const BLOCK: usize = 4096;

/// The longest stretch of noise in object code and text, in bytes.
pub(crate) const LONGEST_NOISE: usize = 64;

/// The number of consecutive slices of one kind, like a section of an object file.
const SECTION: u64 = 8;

/// A kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Material {
    ObjectCode,
    Text,
}

impl Material {
    /// Fills slice `number` of the file with this key, in its first version (0) or after a change (1).
    pub(crate) fn fill(self, slice: &mut [u8], key: u64, number: u64, generation: u64) {
        let mut random = Random::seeded(&[2, key, number, generation]);
        match self {
            Self::ObjectCode => {
                let section = Random::seeded(&[6, key, number / SECTION]).below(100);
                object_code(slice, section, number, &mut random);
            }
            Self::Text => text(slice, &mut random),
        }
    }
}

/// Returns the length of the longest stretch of noise in `content`. In noise, any 64 bytes in a row have at least 53
/// different values; 64 random bytes have 57 on average.
pub(crate) fn longest_noise(content: &[u8]) -> usize {
    const WINDOW: usize = 64;
    let (mut counts, mut different) = ([0_u8; 256], 0);
    let (mut run, mut longest) = (0, 0);
    for (at, &byte) in content.iter().enumerate() {
        let count = &mut counts[usize::from(byte)];
        *count += 1;
        different += usize::from(*count == 1);
        if at >= WINDOW {
            let count = &mut counts[usize::from(content[at - WINDOW])];
            *count -= 1;
            different -= usize::from(*count == 0);
        }
        run = if at + 1 >= WINDOW && different >= 53 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    if longest == 0 { 0 } else { longest + WINDOW - 1 }
}

/// Fills a slice of an object file. The number of its section (0–99) decides the kind of its records.
fn object_code(slice: &mut [u8], section: usize, number: u64, random: &mut Random) {
    let mut out = Filler { slice, at: 0 };
    if number == 0 {
        out.put(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    }
    let mut state =
        Section { address: 0x40_0000 + number as u32 * BLOCK as u32, offset: random.below(1 << 16) as u32 };
    while out.has_room() {
        match section {
            0..74 => instruction(&mut out, &mut state, random),
            74..84 => constant(&mut out, random),
            84..90 => symbol(&mut out, &mut state, random),
            90..94 => relocation(&mut out, &mut state, random),
            94..99 => name(&mut out, random),
            _ => out.put(&[0; 64]),
        }
    }
}

/// Counters of the records of a section.
struct Section {
    address: u32,
    offset: u32,
}

/// The part of a slice that is not yet filled.
struct Filler<'s> {
    slice: &'s mut [u8],
    at: usize,
}

impl Filler<'_> {
    fn has_room(&self) -> bool {
        self.at < self.slice.len()
    }

    /// Adds bytes, as far as there is room.
    fn put(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(self.slice.len() - self.at);
        self.slice[self.at..self.at + length].copy_from_slice(&bytes[..length]);
        self.at += length;
    }
}

/// Returns a number below `end`, small ones far more often than large ones.
fn often_small(random: &mut Random, end: usize) -> usize {
    let part = random.unit();
    (part * part * part * end as f64) as usize
}

/// Adds an instruction: opcode, registers, and for some of them a displacement or an address.
fn instruction(out: &mut Filler<'_>, state: &mut Section, random: &mut Random) {
    let opcode = OPCODES[often_small(random, OPCODES.len())];
    let registers = 0xc0 | often_small(random, 64) as u8;
    match random.below(16) {
        0..5 => out.put(&[opcode, registers]),
        5..8 => out.put(&[0x48, opcode, registers]),
        8..12 => out.put(&[0x48, opcode, registers & 0x7f, (often_small(random, 32) * 8) as u8]),
        12 => out.put(&[0x0f, 0x80 | (opcode & 0xf), random.next() as u8, 0, 0, 0]),
        13 => {
            let distance = (random.below(1 << 18) as u32).wrapping_sub(state.offset);
            out.put(&[0xe8]);
            out.put(&distance.to_le_bytes());
        }
        14 => {
            out.put(&[0x48, 0x8d, 0x05]);
            out.put(&(state.address + (random.below(1 << 14) * 4) as u32).to_le_bytes());
        }
        _ => out.put(&[opcode, registers, (random.below(64) * 4) as u8, 0, 0]),
    }
    state.offset = state.offset.wrapping_add(5);
    if random.below(64) == 0 {
        out.put(&PADDING[..random.below(PADDING.len())]);
    }
}

/// Adds an entry of a table of constants, of eight bytes.
fn constant(out: &mut Filler<'_>, random: &mut Random) {
    match random.below(4) {
        0 => out.put(&(random.below(1000) as u64).to_le_bytes()),
        1 => out.put(&(0x40_0000 + random.below(1 << 20) as u64 * 8).to_le_bytes()),
        2 => out.put(&((random.below(100_000) as f64) / 100.0).to_le_bytes()),
        _ => out.put(&(random.below(1 << 16) as u64 * 0x1_0001).to_le_bytes()),
    }
}

/// Adds an entry of a symbol table, of 24 bytes.
fn symbol(out: &mut Filler<'_>, state: &mut Section, random: &mut Random) {
    state.offset += 8 + random.below(40) as u32;
    state.address += 16 * (1 + random.below(40) as u32);
    out.put(&state.offset.to_le_bytes());
    out.put(&[[0x12, 0x11, 0x02][often_small(random, 3)], 0, 14, 0]);
    out.put(&u64::from(state.address).to_le_bytes());
    out.put(&(8 * random.below(200) as u64).to_le_bytes());
}

/// Adds an entry of a relocation table, of 24 bytes.
fn relocation(out: &mut Filler<'_>, state: &mut Section, random: &mut Random) {
    state.address += 8 * (1 + random.below(6) as u32);
    out.put(&u64::from(state.address).to_le_bytes());
    out.put(&[[8, 6, 1][often_small(random, 3)], 0, 0, 0]);
    out.put(&(random.below(500) as u32).to_le_bytes());
    out.put(&(0x1000 + 16 * random.below(1 << 14) as u64).to_le_bytes());
}

/// Adds the name of a symbol as compilers write it, ended by a zero.
fn name(out: &mut Filler<'_>, random: &mut Random) {
    out.put(b"_ZN");
    for _ in 0..2 + random.below(3) {
        let word = &WORDS[often_small(random, WORDS.len())];
        out.put(word.len().to_string().as_bytes());
        out.put(word);
    }
    out.put(b"Ev\0");
}

/// Fills a slice with lines of words and some numbers, as in sources, tables and manuals.
fn text(slice: &mut [u8], random: &mut Random) {
    let mut out = Filler { slice, at: 0 };
    while out.has_room() {
        let indent = 4 * random.below(4);
        out.put(&b"                "[..indent]);
        for _ in 0..3 + random.below(10) {
            match random.below(12) {
                0 => out.put(random.below(100_000).to_string().as_bytes()),
                _ => out.put(&WORDS[often_small(random, WORDS.len())]),
            }
            out.put([b" ".as_slice(), b" ", b" ", b", ", b"_", b".", b" = ", b"("][random.below(8)]);
        }
        out.put(b"\n");
    }
}

/// Instructions that do nothing, between functions.
const PADDING: [u8; 16] = [0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x66, 0x90, 0x0f, 0x1f, 0x40, 0];

/// First bytes of instructions, the most frequent ones first.
static OPCODES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::seeded(&[7]);
    (0..64).map(|_| random.next() as u8).collect()
});

/// The words of all texts and names, the most frequent ones first.
static WORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| words(1_500, 8));

fn words(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::seeded(&[seed]);
    let mut word = || {
        let length = 3 + random.below(9);
        (0..length).map(|_| b'a' + random.below(26) as u8).collect()
    };
    (0..count).map(|_| word()).collect()
}
