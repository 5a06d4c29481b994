use elf::abi;
use elf::dynamic::DynamicTable;
use elf::endian::{AnyEndian, EndianParse as _};
use elf::file::{Class, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::section::{SectionHeader, SectionHeaderTable};
use elf::segment::{ProgramHeader, SegmentTable};

use crate::elf::source::{
    ElfError, ElfSource, MOST_ENTRIES, MOST_NAME_BYTES, SPARE_NAME_BYTES, USES_OF_STRINGS,
};

pub const MAGIC: [u8; 4] = *b"\x7fELF";

const MOST_SEGMENTS: usize = 4096;

/// In bytes; the limit of Linux.
const LONGEST_PATH: u64 = 4096;

pub(super) const LONGEST_NOTES: usize = 256 << 10;

const LONGEST_DYNAMIC: u64 = 16 * (MOST_ENTRIES as u64 + 1);

/// Programs and libraries of two machines never meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElfMachine {
    /// `e_machine`.
    pub number: u16,
    /// True for addresses of 64 bits.
    pub is_64: bool,
}

pub(super) struct ElfLayout {
    pub(super) machine: ElfMachine,
    pub(super) file_type: u16,
    pub(super) endian: AnyEndian,
    pub(super) class: Class,
    segments: Vec<ProgramHeader>,
    /// Offset and number of the section headers.
    sections: (u64, u16),
}

impl ElfLayout {
    /// Reads the headers. Returns `None` if the file is not an ELF file, or neither a program nor a library.
    pub(super) fn read(source: &mut dyn ElfSource) -> Result<Option<Self>, ElfError> {
        let head = source.slice(0, abi::EI_NIDENT + ELF64_EHDR_TAILSIZE)?;
        if !head.starts_with(&MAGIC) {
            return Ok(None);
        }
        let (ident, tail) =
            head.split_at_checked(abi::EI_NIDENT).ok_or_else(|| ElfError::damaged("no header"))?;
        let header = FileHeader::parse_tail(parse_ident::<AnyEndian>(ident)?, tail)?;
        if !matches!(header.e_type, abi::ET_EXEC | abi::ET_DYN) {
            return Ok(None);
        }
        let class = header.class;
        Ok(Some(Self {
            machine: ElfMachine { number: header.e_machine, is_64: class == Class::ELF64 },
            file_type: header.e_type,
            endian: header.endianness,
            class,
            segments: segments(source, &header)?,
            sections: (header.e_shoff, header.e_shnum),
        }))
    }

    /// Returns the segment of a type that counts: the last, as in the loader.
    pub(super) fn segment(&self, segment_type: u32) -> Option<&ProgramHeader> {
        self.segments.iter().rfind(|segment| segment.p_type == segment_type)
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.p_type == abi::PT_NOTE)
    }

    /// Returns the path of the interpreter: the first that is named, as in the kernel.
    pub(super) fn interpreter(&self, source: &mut dyn ElfSource) -> Result<Option<String>, ElfError> {
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type == abi::PT_INTERP) else {
            return Ok(None);
        };
        let length = usize::try_from(segment.p_filesz.min(LONGEST_PATH)).unwrap_or_default();
        let bytes = source.slice(segment.p_offset, length)?;
        let path = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let path = std::str::from_utf8(path).ok().filter(|path| path.starts_with('/'));
        path.map(|path| Some(path.to_owned())).ok_or_else(|| ElfError::damaged("no path of an interpreter"))
    }

    /// Returns begin and end of the parts named by program headers that are read.
    pub(super) fn named_parts(&self) -> impl Iterator<Item = (u64, u64)> {
        let most = |segment: &ProgramHeader| match segment.p_type {
            abi::PT_DYNAMIC => Some(LONGEST_DYNAMIC),
            abi::PT_INTERP => Some(LONGEST_PATH),
            abi::PT_NOTE => Some(LONGEST_NOTES as u64),
            _ => None,
        };
        self.segments.iter().filter_map(move |segment| {
            let size = segment.p_filesz.min(most(segment)?);
            Some((segment.p_offset, segment.p_offset.saturating_add(size)))
        })
    }

    pub(super) fn section_headers(&self) -> (u64, u64) {
        let (offset, count) = self.sections;
        (offset, offset.saturating_add(u64::from(count) * 64))
    }

    pub(super) fn program_headers(source: &mut dyn ElfSource) -> Option<(u64, u64)> {
        let head = source.slice(0, abi::EI_NIDENT + ELF64_EHDR_TAILSIZE).ok()?;
        let (ident, tail) = head.split_at_checked(abi::EI_NIDENT)?;
        let header = FileHeader::parse_tail(parse_ident::<AnyEndian>(ident).ok()?, tail).ok()?;
        let size = u64::from(header.e_phnum) * u64::from(header.e_phentsize);
        Some((header.e_phoff, header.e_phoff.saturating_add(size)))
    }

    /// Returns true if the section headers call the dynamic section empty, although the program headers still name it.
    pub(super) fn is_debug_data(&self, source: &mut dyn ElfSource) -> bool {
        let Some(segment) = self.segment(abi::PT_DYNAMIC) else { return false };
        let is_empty = |section: SectionHeader| {
            section.sh_type == abi::SHT_NOBITS
                && (section.sh_addr, section.sh_size) == (segment.p_vaddr, segment.p_memsz)
        };
        self.sections(source).into_iter().flatten().any(is_empty)
    }

    /// Reads the section headers; `None` if they are cut off.
    pub(super) fn sections(&self, source: &mut dyn ElfSource) -> Option<Vec<SectionHeader>> {
        let size = if self.class == Class::ELF64 { 64 } else { 40 };
        let (offset, count) = self.sections;
        let bytes = source.slice(offset, usize::from(count) * size).ok()?;
        Some(SectionHeaderTable::new(self.endian, self.class, bytes).iter().collect())
    }

    pub(super) fn word(&self, bytes: &[u8]) -> Result<u32, ElfError> {
        Ok(self.endian.parse_u32_at(&mut 0, bytes)?)
    }

    pub(super) fn wide(&self, bytes: &[u8]) -> Result<u64, ElfError> {
        Ok(self.endian.parse_u64_at(&mut 0, bytes)?)
    }

    pub(super) fn offset_of(&self, address: u64) -> Result<u64, ElfError> {
        let loaded = self.segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD);
        let mut offsets = loaded.filter_map(|segment| {
            let inside = address.checked_sub(segment.p_vaddr).filter(|inside| *inside < segment.p_filesz)?;
            segment.p_offset.checked_add(inside)
        });
        offsets.next().ok_or_else(|| ElfError::damaged(format!("nothing is loaded at {address:#x}")))
    }
}

fn segments(
    source: &mut dyn ElfSource,
    header: &FileHeader<AnyEndian>,
) -> Result<Vec<ProgramHeader>, ElfError> {
    let (count, size) = (usize::from(header.e_phnum), usize::from(header.e_phentsize));
    let expected = if header.class == Class::ELF64 { 56 } else { 32 };
    if count == 0 {
        return Ok(Vec::new());
    }
    if size != expected || count > MOST_SEGMENTS {
        return Err(ElfError::damaged(format!("{count} program headers of {size} bytes")));
    }
    let bytes = source.slice(header.e_phoff, count * size)?;
    if bytes.len() < count * size {
        return Err(ElfError::damaged("its program headers are truncated"));
    }
    Ok(SegmentTable::new(header.endianness, header.class, bytes).iter().collect())
}

const LONGEST_NAME: usize = 4096;

const LONGEST_SEARCH_PATH: usize = 64 << 10;

/// In bytes. Symbols of templates are long.
const LONGEST_SYMBOL: usize = 64 << 10;

/// Limits the bytes of a symbol or hash table in a streamed file.
const LONGEST_TABLE: u64 = 8 << 20;

pub(super) const LONGEST_VERSIONS: usize = 1 << 20;

/// The first read of a name; few are longer.
const FIRST_LOOK: usize = 256;

#[derive(Clone, Copy, Default)]
pub(super) struct CountedTable {
    pub(super) address: u64,
    pub(super) count: u64,
}

#[derive(Default)]
pub(super) struct DynamicSection {
    pub(super) needed: Vec<u64>,
    pub(super) soname: Option<u64>,
    pub(super) rpath: Option<u64>,
    pub(super) runpath: Option<u64>,
    pub(super) flags: u64,
    pub(super) definitions: CountedTable,
    pub(super) requirements: CountedTable,
    pub(super) symbols: u64,
    pub(super) hash: u64,
    pub(super) gnu_hash: u64,
    strings: (u64, u64),
    strings_at: u64,
    name_bytes: usize,
    entries: usize,
}

impl DynamicSection {
    /// `None` if there is no section or no string table: the file is linked statically, or was split off for debuggers.
    pub(super) fn read(source: &mut dyn ElfSource, layout: &ElfLayout) -> Result<Option<Self>, ElfError> {
        let segment = layout.segment(abi::PT_DYNAMIC).filter(|segment| segment.p_filesz > 0);
        let Some(segment) = segment else { return Ok(None) };
        let entry = if layout.class == Class::ELF64 { 16 } else { 8 };
        let most = entry * (MOST_ENTRIES + 1);
        let size = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX).min(most);
        let bytes = source.slice(segment.p_offset, size)?;
        if bytes.len() < size {
            return Err(ElfError::damaged("its dynamic section is truncated"));
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

    /// Returns begin and end of the parts of the file that can hold the tables, at their largest.
    pub(super) fn parts(&self, layout: &ElfLayout) -> Vec<(u64, u64)> {
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

    /// Counts entries of tables; the sum over all tables is limited.
    pub(super) fn count_entries(&mut self, count: usize) -> Result<(), ElfError> {
        self.entries = self.entries.saturating_add(count);
        if self.entries > MOST_ENTRIES { Err(ElfError::TooMany) } else { Ok(()) }
    }

    pub(super) fn name(&mut self, source: &mut dyn ElfSource, at: u64) -> Result<String, ElfError> {
        let name = self.text(source, at, LONGEST_NAME)?;
        if name.is_empty() { Err(ElfError::Name) } else { Ok(name) }
    }

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

    /// Reads the name of a symbol; the caller limits the total.
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
