//! ELF files that a benchmark makes: programs and libraries of x86-64 with names, symbols and symbol versions.
//!
//! The tables are those that `readelf -dVW` and a loader read: dynamic section, hash table, symbols, versions that are
//! defined and needed. They stand at the beginning of a file; what follows is up to the caller. Nothing in such a file can
//! be executed.

use std::collections::HashMap;

/// The loader that programs name.
const INTERPRETER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Where the libraries are searched.
const RUNPATH: &str = "/opt/acme/lib";

/// Sizes of the headers, in bytes.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// The first number of a version: 0 is local, 1 is the file itself.
const FIRST_VERSION: u16 = 2;

/// What a program or library says to its loader.
#[derive(Clone, Debug, Default)]
pub(crate) struct ElfFile {
    /// The name by which others need it; a program has none.
    pub(crate) soname: Option<String>,
    /// The libraries that it needs, each with the versions and the symbols that it uses: version and name.
    pub(crate) needed: Vec<(String, Vec<(String, String)>)>,
    /// The versions that it defines, each with its symbols.
    pub(crate) defined: Vec<(String, Vec<String>)>,
}

/// The string table, each string once.
#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    known: HashMap<String, u32>,
}

impl Strings {
    fn at(&mut self, text: &str) -> u32 {
        if self.bytes.is_empty() {
            self.bytes.push(0);
        }
        *self.known.entry(text.to_owned()).or_insert_with(|| {
            let at = self.bytes.len() as u32;
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.push(0);
            at
        })
    }
}

/// The tables of a file, with what the dynamic section says of them.
struct Tables {
    hash: Vec<u8>,
    symbols: Vec<u8>,
    symbol_versions: Vec<u8>,
    definitions: Vec<u8>,
    requirements: Vec<u8>,
    strings: Vec<u8>,
    /// Tags and values that are no addresses.
    values: Vec<(u64, u64)>,
}

impl ElfFile {
    /// Returns the beginning of the file, of a length that is a multiple of 8; `size` is that of the whole file.
    pub(crate) fn head(&self, size: usize) -> Vec<u8> {
        let tables = self.tables();
        let interpreter =
            if self.soname.is_none() { [INTERPRETER.as_bytes(), b"\0"].concat() } else { Vec::new() };
        let headers = 2 + usize::from(!interpreter.is_empty());
        let interpreter_at = HEADER + headers * PROGRAM_HEADER;
        let dynamic_at = (interpreter_at + interpreter.len()).next_multiple_of(8);
        let (dynamic, behind) = tables.dynamic(dynamic_at);

        let mut head = Vec::new();
        head.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        put(&mut head, &[(2, 3), (2, 62), (4, 1), (8, 0), (8, HEADER as u64), (8, 0), (4, 0)]);
        put(&mut head, &[(2, 64), (2, PROGRAM_HEADER as u64), (2, headers as u64), (2, 64), (2, 0), (2, 0)]);
        if !interpreter.is_empty() {
            segment(&mut head, 3, (interpreter_at, interpreter.len()));
        }
        segment(&mut head, 1, (0, size));
        segment(&mut head, 2, (dynamic_at, dynamic.len()));
        head.extend_from_slice(&interpreter);
        head.resize(dynamic_at, 0);
        head.extend_from_slice(&dynamic);
        head.extend_from_slice(&behind);
        head
    }

    fn tables(&self) -> Tables {
        let mut strings = Strings::default();
        let mut values: Vec<(u64, u64)> =
            self.needed.iter().map(|(name, _)| (1, strings.at(name).into())).collect();
        values.extend(self.soname.iter().map(|name| (14, strings.at(name).into())));
        values.push((29, strings.at(RUNPATH).into()));
        let numbers = self.version_numbers();
        let mut symbols = vec![0; 24];
        let mut symbol_versions = vec![0; 2];
        let uses = self.needed.iter().flat_map(|(_, uses)| uses).map(|(version, name)| (version, name, 0));
        let defined =
            self.defined.iter().flat_map(|(version, names)| names.iter().map(move |name| (version, name, 1)));
        for (version, name, section) in uses.chain(defined) {
            put(&mut symbols, &[(4, strings.at(name).into()), (1, 0x12), (1, 0), (2, section)]);
            put(&mut symbols, &[(8, section * 0x1000), (8, section * 16)]);
            put(&mut symbol_versions, &[(2, numbers[version.as_str()].into())]);
        }
        let definitions = self.definitions(&mut strings, &numbers);
        let requirements = self.requirements(&mut strings, &numbers);
        let defined = if self.defined.is_empty() { 0 } else { self.defined.len() as u64 + 1 };
        let required = self.needed.iter().filter(|(_, uses)| !uses.is_empty()).count() as u64;
        values.extend(
            [(0x6fff_fffd, defined), (0x6fff_ffff, required)].into_iter().filter(|(_, count)| *count > 0),
        );
        let hash = hash_table(symbols.len() / 24);
        Tables { hash, symbols, symbol_versions, definitions, requirements, strings: strings.bytes, values }
    }

    /// The numbers of all versions, defined ones first.
    fn version_numbers(&self) -> HashMap<&str, u16> {
        let defined = self.defined.iter().map(|(version, _)| version.as_str());
        let used = self.needed.iter().flat_map(|(_, uses)| uses).map(|(version, _)| version.as_str());
        let mut numbers = HashMap::new();
        for version in defined.chain(used) {
            let next = FIRST_VERSION + numbers.len() as u16;
            numbers.entry(version).or_insert(next);
        }
        numbers
    }

    fn definitions(&self, strings: &mut Strings, numbers: &HashMap<&str, u16>) -> Vec<u8> {
        let mut table = Vec::new();
        if self.defined.is_empty() {
            return table;
        }
        let own = self.soname.iter().map(|name| (name.as_str(), 1, 1));
        let versions =
            self.defined.iter().map(|(version, _)| (version.as_str(), 0, numbers[version.as_str()]));
        let all: Vec<(&str, u64, u16)> = own.chain(versions).collect();
        for (index, (name, flags, number)) in all.iter().enumerate() {
            let next = if index + 1 == all.len() { 0 } else { 28 };
            put(
                &mut table,
                &[(2, 1), (2, *flags), (2, (*number).into()), (2, 1), (4, hash(name)), (4, 20), (4, next)],
            );
            put(&mut table, &[(4, strings.at(name).into()), (4, 0)]);
        }
        table
    }

    fn requirements(&self, strings: &mut Strings, numbers: &HashMap<&str, u16>) -> Vec<u8> {
        let mut table = Vec::new();
        let libraries: Vec<_> = self.needed.iter().filter(|(_, uses)| !uses.is_empty()).collect();
        for (index, (library, uses)) in libraries.iter().enumerate() {
            let mut versions: Vec<&str> = uses.iter().map(|(version, _)| version.as_str()).collect();
            versions.sort_unstable();
            versions.dedup();
            let count = versions.len() as u64;
            let next = if index + 1 == libraries.len() { 0 } else { 16 + 16 * count };
            put(&mut table, &[(2, 1), (2, count), (4, strings.at(library).into()), (4, 16), (4, next)]);
            for (index, version) in versions.iter().enumerate() {
                let next = if index as u64 + 1 == count { 0 } else { 16 };
                put(&mut table, &[(4, hash(version)), (2, 0), (2, numbers[version].into())]);
                put(&mut table, &[(4, strings.at(version).into()), (4, next)]);
            }
        }
        table
    }
}

impl Tables {
    /// The dynamic section at an offset, and the tables behind it.
    fn dynamic(&self, at: usize) -> (Vec<u8>, Vec<u8>) {
        let parts = [
            (4, &self.hash),
            (6, &self.symbols),
            (0x6fff_fff0, &self.symbol_versions),
            (0x6fff_fffc, &self.definitions),
            (0x6fff_fffe, &self.requirements),
            (5, &self.strings),
        ];
        let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
        let parts: Vec<(u64, &Vec<u8>)> = parts.collect();
        // Beside the values: the size of the string table, the size of a symbol, and the end.
        let length = 16 * (self.values.len() + parts.len() + 3);
        let (mut dynamic, mut behind) = (Vec::new(), Vec::new());
        for (tag, value) in &self.values {
            put(&mut dynamic, &[(8, *tag), (8, *value)]);
        }
        for (tag, part) in parts {
            put(&mut dynamic, &[(8, tag), (8, (at + length + behind.len()) as u64)]);
            behind.extend_from_slice(part);
            behind.resize(behind.len().next_multiple_of(8), 0);
        }
        put(&mut dynamic, &[(8, 10), (8, self.strings.len() as u64), (8, 11), (8, 24), (8, 0), (8, 0)]);
        (dynamic, behind)
    }
}

/// A hash table of one bucket with so many symbols.
fn hash_table(symbols: usize) -> Vec<u8> {
    let mut table = Vec::new();
    let first = u64::from(symbols > 1);
    put(&mut table, &[(4, 1), (4, symbols as u64), (4, first), (4, 0)]);
    for symbol in 1..symbols {
        put(&mut table, &[(4, if symbol + 1 == symbols { 0 } else { symbol as u64 + 1 })]);
    }
    table
}

/// The hash of the System V ABI.
fn hash(name: &str) -> u64 {
    let mut hash = 0_u32;
    for byte in name.bytes() {
        hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        hash = (hash ^ (high >> 24)) & !high;
    }
    hash.into()
}

/// A program header: a part of the file that is loaded at its offset.
fn segment(head: &mut Vec<u8>, kind: u64, (at, size): (usize, usize)) {
    let (at, size) = (at as u64, size as u64);
    put(head, &[(4, kind), (4, 4), (8, at), (8, at), (8, at), (8, size), (8, size), (8, 0x1000)]);
}

/// Appends numbers, little-endian, each with its width in bytes.
fn put(bytes: &mut Vec<u8>, fields: &[(usize, u64)]) {
    for (width, value) in fields {
        bytes.extend_from_slice(&value.to_le_bytes()[..*width]);
    }
}
