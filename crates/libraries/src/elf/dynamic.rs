//! The dynamic section: the tables that exist, and the names that it points to.

use elf::abi;
use elf::dynamic::DynamicTable;
use elf::file::Class;

use super::error::{ElfError, MOST_ENTRIES, MOST_NAME_BYTES, SPARE_NAME_BYTES, USES_OF_STRINGS};
use super::layout::Layout;
use super::pieces::ElfSource;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 4096;

/// The longest list of directories, in bytes.
const LONGEST_SEARCH_PATH: usize = 64 << 10;

/// The longest name of a symbol, in bytes: those of templates are long.
const LONGEST_SYMBOL: usize = 64 << 10;

/// The most bytes of a table of symbols, or of a hash table, where a file is streamed.
const LONGEST_TABLE: u64 = 8 << 20;

/// The most bytes of a table of versions.
pub(super) const LONGEST_VERSIONS: usize = 1 << 20;

/// Bytes that are read of a name at first: few names are longer.
const FIRST_LOOK: usize = 256;

/// The table of the dynamic section with a number of entries.
#[derive(Clone, Copy, Default)]
pub(super) struct CountedTable {
    /// Its address.
    pub(super) address: u64,
    /// The number of its entries.
    pub(super) count: u64,
}

/// The entries of the dynamic section, names as offsets into the string table.
#[derive(Default)]
pub(super) struct DynamicSection {
    pub(super) needed: Vec<u64>,
    pub(super) soname: Option<u64>,
    pub(super) rpath: Option<u64>,
    pub(super) runpath: Option<u64>,
    pub(super) flags: u64,
    pub(super) definitions: CountedTable,
    pub(super) requirements: CountedTable,
    /// The address of the symbols.
    pub(super) symbols: u64,
    /// The address of the old hash table.
    pub(super) hash: u64,
    /// The address of the hash table of GNU.
    pub(super) gnu_hash: u64,
    /// Address and size of the string table.
    strings: (u64, u64),
    /// Where the string table begins in the file.
    strings_at: u64,
    /// The bytes that the names read so far take.
    name_bytes: usize,
    /// The entries of tables read so far.
    entries: usize,
}

impl DynamicSection {
    /// Reads the section. Returns `None` if there is none, or no string table in it, without which it can say nothing: the
    /// file is linked statically, or was split from a program for debuggers.
    pub(super) fn read(source: &mut dyn ElfSource, layout: &Layout) -> Result<Option<Self>, ElfError> {
        let segment = layout.segment(abi::PT_DYNAMIC).filter(|segment| segment.p_filesz > 0);
        let Some(segment) = segment else { return Ok(None) };
        let entry = if layout.class == Class::ELF64 { 16 } else { 8 };
        let most = entry * (MOST_ENTRIES + 1);
        let size = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX).min(most);
        let bytes = source.slice(segment.p_offset, size)?;
        if bytes.len() < size {
            return Err(ElfError::damaged("its dynamic section is cut off"));
        }
        let mut section = Self::default();
        for entry in DynamicTable::new(layout.endian, layout.class, bytes) {
            section.count_entries(1)?;
            if entry.d_tag == abi::DT_NULL {
                break;
            }
            section.take(entry.d_tag, entry.d_val());
        }
        if section.strings.0 == 0 {
            return Ok(None);
        }
        section.strings_at = layout.offset_of(section.strings.0)?;
        Ok(Some(section))
    }

    fn take(&mut self, tag: i64, value: u64) {
        match tag {
            abi::DT_NEEDED => self.needed.push(value),
            abi::DT_SONAME => self.soname = Some(value),
            abi::DT_RPATH => self.rpath = Some(value),
            abi::DT_RUNPATH => self.runpath = Some(value),
            abi::DT_FLAGS_1 => self.flags = value,
            abi::DT_STRTAB => self.strings.0 = value,
            abi::DT_STRSZ => self.strings.1 = value,
            abi::DT_SYMTAB => self.symbols = value,
            abi::DT_HASH => self.hash = value,
            abi::DT_GNU_HASH => self.gnu_hash = value,
            abi::DT_VERDEF => self.definitions.address = value,
            abi::DT_VERDEFNUM => self.definitions.count = value,
            abi::DT_VERNEED => self.requirements.address = value,
            abi::DT_VERNEEDNUM => self.requirements.count = value,
            _ => {}
        }
    }

    /// Returns the parts of the file that can hold the tables, at their largest: where each begins and ends.
    pub(super) fn parts(&self, layout: &Layout) -> Vec<(u64, u64)> {
        let offset = |address: u64| layout.offset_of(address).ok().filter(|_| address != 0);
        let (strings, size) = (offset(self.strings.0), self.strings.1);
        let unsized_tables = [self.symbols, self.hash, self.gnu_hash].map(offset);
        let versions = [self.definitions.address, self.requirements.address].map(offset);
        let begins = || unsized_tables.iter().chain(&versions).chain([&strings]).flatten();
        let until_next = |from: u64| {
            let next = begins().filter(|begin| **begin > from).min();
            let most = from.saturating_add(LONGEST_TABLE);
            next.map_or(most, |next| (*next).min(most))
        };
        let tables = unsized_tables.iter().flatten().map(|from| (*from, until_next(*from)));
        let versions =
            versions.iter().flatten().map(|from| (*from, from.saturating_add(LONGEST_VERSIONS as u64)));
        let strings = strings.map(|from| (from, from.saturating_add(size)));
        tables.chain(versions).chain(strings).collect()
    }

    /// Counts entries of a table; the sum over all tables is limited.
    pub(super) fn count_entries(&mut self, count: usize) -> Result<(), ElfError> {
        self.entries = self.entries.saturating_add(count);
        if self.entries > MOST_ENTRIES { Err(ElfError::TooMany) } else { Ok(()) }
    }

    /// Reads a name of the string table.
    pub(super) fn name(&mut self, source: &mut dyn ElfSource, at: u64) -> Result<String, ElfError> {
        let name = self.text(source, at, LONGEST_NAME)?;
        if name.is_empty() { Err(ElfError::Name) } else { Ok(name) }
    }

    /// Reads a list of directories of the string table.
    pub(super) fn search_path(&mut self, source: &mut dyn ElfSource, at: u64) -> Result<String, ElfError> {
        self.text(source, at, LONGEST_SEARCH_PATH)
    }

    fn text(&mut self, source: &mut dyn ElfSource, at: u64, longest: usize) -> Result<String, ElfError> {
        let text = self.string(source, at, longest, str::to_owned)?;
        self.name_bytes = self.name_bytes.saturating_add(text.len());
        let strings = usize::try_from(self.strings.1).unwrap_or(usize::MAX);
        let most = strings.saturating_mul(USES_OF_STRINGS).saturating_add(SPARE_NAME_BYTES);
        if self.name_bytes > most.min(MOST_NAME_BYTES) { Err(ElfError::LongNames) } else { Ok(text) }
    }

    /// Reads the name of a symbol; the caller has a limit for all of them.
    pub(super) fn symbol(
        &self,
        source: &mut dyn ElfSource,
        at: u64,
        take: impl FnOnce(&str),
    ) -> Result<(), ElfError> {
        self.string(source, at, LONGEST_SYMBOL, take)
    }

    fn string<T>(
        &self,
        source: &mut dyn ElfSource,
        at: u64,
        longest: usize,
        take: impl FnOnce(&str) -> T,
    ) -> Result<T, ElfError> {
        let left = self.strings.1.checked_sub(at).ok_or(ElfError::Name)?;
        let offset = self.strings_at.checked_add(at).ok_or(ElfError::Name)?;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(longest + 1);
        for length in [most.min(FIRST_LOOK), most] {
            let bytes = source.slice(offset, length)?;
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                return std::str::from_utf8(&bytes[..end]).map(take).map_err(|_| ElfError::Name);
            }
        }
        Err(ElfError::Name)
    }
}
