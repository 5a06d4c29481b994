//! The headers of an ELF file: class, machine, type, and the segments by which everything else is found.

use elf::abi;
use elf::endian::{AnyEndian, EndianParse as _};
use elf::file::{Class, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};

use super::error::ElfError;
use super::pieces::ElfSource;

/// The first bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

/// The most program headers that are read.
const MOST_SEGMENTS: usize = 4096;

/// The longest path of an interpreter, in bytes: that of Linux.
const LONGEST_PATH: u64 = 4096;

/// The machine that a file is for: programs and libraries of two machines never meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElfMachine {
    /// `e_machine`.
    pub number: u16,
    /// Whether its addresses have 64 bits.
    pub is_64: bool,
}

/// What the headers of a program or library say.
pub(super) struct Layout {
    pub(super) machine: ElfMachine,
    pub(super) file_type: u16,
    pub(super) endian: AnyEndian,
    pub(super) class: Class,
    segments: Vec<ProgramHeader>,
    /// Where the section headers begin, and their number.
    pub(super) sections: (u64, u16),
}

impl Layout {
    /// Reads the headers. Returns `None` if the file is no ELF file, or neither a program nor a library.
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
