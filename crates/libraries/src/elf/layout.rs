//! The headers of an ELF file: class, machine, type, and the segments that lead to everything else.

use elf::abi;
use elf::endian::{AnyEndian, EndianParse as _};
use elf::file::{Class, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::section::{SectionHeader, SectionHeaderTable};
use elf::segment::{ProgramHeader, SegmentTable};

use super::error::{ElfError, MOST_ENTRIES};
use super::pieces::ElfSource;

/// The first bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

/// The most program headers that are read.
const MOST_SEGMENTS: usize = 4096;

/// The longest path of an interpreter, in bytes: that of Linux.
const LONGEST_PATH: u64 = 4096;

/// The most bytes of notes that are read of a segment: 256 KiB.
pub(super) const LONGEST_NOTES: usize = 256 << 10;

/// The most bytes of the dynamic section that are read.
const LONGEST_DYNAMIC: u64 = 16 * (MOST_ENTRIES as u64 + 1);

/// The machine that a file is for: programs and libraries of two machines never meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElfMachine {
    /// `e_machine`.
    pub number: u16,
    /// Whether its addresses have 64 bits.
    pub is_64: bool,
}

/// The information in the headers of a program or library.
pub(super) struct Layout {
    pub(super) machine: ElfMachine,
    pub(super) file_type: u16,
    pub(super) endian: AnyEndian,
    pub(super) class: Class,
    segments: Vec<ProgramHeader>,
    /// Where the section headers begin, and their number.
    sections: (u64, u16),
}

impl Layout {
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

    /// Returns the segment of a type that counts: the last, as the loader takes it.
    pub(super) fn segment(&self, segment_type: u32) -> Option<&ProgramHeader> {
        self.segments.iter().rfind(|segment| segment.p_type == segment_type)
    }

    /// Returns the segments with notes.
    pub(super) fn notes(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.p_type == abi::PT_NOTE)
    }

    /// Returns the path of the interpreter: the first that is named, as the kernel takes it.
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

    /// Returns the parts of the file that the program headers name and that are read: where each begins and ends.
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

    /// Returns where the section headers begin and end.
    pub(super) fn section_headers(&self) -> (u64, u64) {
        let (offset, count) = self.sections;
        (offset, offset.saturating_add(u64::from(count) * 64))
    }

    /// Returns where the program headers begin and end.
    pub(super) fn program_headers(source: &mut dyn ElfSource) -> Option<(u64, u64)> {
        let head = source.slice(0, abi::EI_NIDENT + ELF64_EHDR_TAILSIZE).ok()?;
        let (ident, tail) = head.split_at_checked(abi::EI_NIDENT)?;
        let header = FileHeader::parse_tail(parse_ident::<AnyEndian>(ident).ok()?, tail).ok()?;
        let size = u64::from(header.e_phnum) * u64::from(header.e_phentsize);
        Some((header.e_phoff, header.e_phoff.saturating_add(size)))
    }

    /// Tells whether a file has nothing but what debuggers want of a program: its section headers say that the dynamic
    /// section, which the program headers still name, has no bytes in it.
    pub(super) fn is_debug_data(&self, source: &mut dyn ElfSource) -> bool {
        let Some(segment) = self.segment(abi::PT_DYNAMIC) else { return false };
        let is_empty = |section: SectionHeader| {
            section.sh_type == abi::SHT_NOBITS
                && (section.sh_addr, section.sh_size) == (segment.p_vaddr, segment.p_memsz)
        };
        self.sections(source).into_iter().flatten().any(is_empty)
    }

    /// Reads the section headers; none if they are cut off or not there.
    pub(super) fn sections(&self, source: &mut dyn ElfSource) -> Option<Vec<SectionHeader>> {
        let size = if self.class == Class::ELF64 { 64 } else { 40 };
        let (offset, count) = self.sections;
        let bytes = source.slice(offset, usize::from(count) * size).ok()?;
        Some(SectionHeaderTable::new(self.endian, self.class, bytes).iter().collect())
    }

    /// Reads a number of 32 bits.
    pub(super) fn word(&self, bytes: &[u8]) -> Result<u32, ElfError> {
        Ok(self.endian.parse_u32_at(&mut 0, bytes)?)
    }

    /// Reads a number of 64 bits.
    pub(super) fn wide(&self, bytes: &[u8]) -> Result<u64, ElfError> {
        Ok(self.endian.parse_u64_at(&mut 0, bytes)?)
    }

    /// Returns the offset in the file of what is loaded at an address.
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
        return Err(ElfError::damaged("its program headers are cut off"));
    }
    Ok(SegmentTable::new(header.endianness, header.class, bytes).iter().collect())
}
