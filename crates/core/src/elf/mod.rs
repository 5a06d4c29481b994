//! What a program or library says to the dynamic linker: its name, the names of the libraries that it needs, the symbol
//! versions that it defines and needs.
//!
//! Pure: it reads a slice, by the tables that the linker itself uses, so that a file without section headers is read as
//! well. Every table has a limit, and a file that contradicts itself is an error and no panic.

use std::collections::BTreeSet;

use elf::ElfBytes;
use elf::abi;
use elf::endian::AnyEndian;
use elf::file::Class;
use elf::gnu_symver::{VerDefIterator, VerNeedIterator};
use elf::string_table::StringTable;

/// The first bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

/// The most entries of a table that are read.
const MOST_ENTRIES: usize = 1 << 16;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 4096;

/// The flag of a version that may be missing.
const WEAK: u16 = 2;

/// The flag of the definition that names the file itself and no version.
const BASE: u16 = 1;

/// The machine that a file is for: programs and libraries of two machines never meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElfMachine {
    /// `e_machine`.
    pub number: u16,
    /// Whether its addresses have 64 bits.
    pub is_64: bool,
}

/// A program or library that is linked dynamically.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicObject {
    /// The machine that it is for.
    pub machine: ElfMachine,
    /// The name by which others need it.
    pub soname: Option<String>,
    /// The names of the libraries that it needs.
    pub needed: BTreeSet<String>,
    /// The symbol versions that it defines.
    pub defines: BTreeSet<String>,
    /// The symbol versions that it needs, each with the name of the library.
    pub needs: BTreeSet<(String, String)>,
}

/// The reason an ELF file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// A header or table that is none.
    #[error("damaged ELF file: {0}")]
    Damaged(String),
    /// More than is read.
    #[error("its dynamic section has more than {MOST_ENTRIES} entries")]
    TooMany,
    /// A name that is too long or is no text.
    #[error("its dynamic section has a name that is none")]
    Name,
}

impl From<elf::ParseError> for ElfError {
    fn from(error: elf::ParseError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Reads a file. Returns `None` of what is no ELF file, or is not linked dynamically.
pub fn read(bytes: &[u8]) -> Result<Option<DynamicObject>, ElfError> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(None);
    }
    let file = ElfBytes::<AnyEndian>::minimal_parse(bytes)?;
    let Some(dynamic) = file.dynamic()? else { return Ok(None) };
    let mut tags = DynamicTags::default();
    for (count, entry) in dynamic.iter().enumerate() {
        if count >= MOST_ENTRIES {
            return Err(ElfError::TooMany);
        }
        let value = entry.d_val();
        match entry.d_tag {
            abi::DT_NULL => break,
            abi::DT_NEEDED => tags.needed.push(value),
            abi::DT_SONAME => tags.soname = Some(value),
            abi::DT_STRTAB => tags.strings = value,
            abi::DT_STRSZ => tags.strings_size = value,
            abi::DT_VERDEF => tags.definitions = Some(value),
            abi::DT_VERDEFNUM => tags.definition_count = value,
            abi::DT_VERNEED => tags.requirements = Some(value),
            abi::DT_VERNEEDNUM => tags.requirement_count = value,
            _ => {}
        }
    }
    if tags.needed.is_empty() && tags.soname.is_none() && tags.definitions.is_none() {
        let machine = machine_of(&file);
        return Ok(Some(DynamicObject { machine, ..DynamicObject::default() }));
    }
    tags.resolved(&file, bytes).map(Some)
}

fn machine_of(file: &ElfBytes<'_, AnyEndian>) -> ElfMachine {
    ElfMachine { number: file.ehdr.e_machine, is_64: file.ehdr.class == Class::ELF64 }
}

/// The entries of the dynamic section that count, addresses and offsets as they are.
#[derive(Default)]
struct DynamicTags {
    needed: Vec<u64>,
    soname: Option<u64>,
    strings: u64,
    strings_size: u64,
    definitions: Option<u64>,
    definition_count: u64,
    requirements: Option<u64>,
    requirement_count: u64,
}

impl DynamicTags {
    fn resolved(&self, file: &ElfBytes<'_, AnyEndian>, bytes: &[u8]) -> Result<DynamicObject, ElfError> {
        let strings = from_address(file, bytes, self.strings)?;
        let size = usize::try_from(self.strings_size).unwrap_or(usize::MAX);
        let strings = StringTable::new(strings.get(..size).unwrap_or(strings));
        let mut object = DynamicObject { machine: machine_of(file), ..DynamicObject::default() };
        object.soname = self.soname.map(|offset| name(&strings, offset)).transpose()?;
        object.needed = self.needed.iter().map(|offset| name(&strings, *offset)).collect::<Result<_, _>>()?;
        let (endian, class) = (file.ehdr.endianness, file.ehdr.class);
        if let Some(address) = self.definitions {
            let table = from_address(file, bytes, address)?;
            let count = limited(self.definition_count)?;
            for (definition, mut names) in VerDefIterator::new(endian, class, count, 0, table) {
                if definition.vd_flags & BASE == 0
                    && let Some(first) = names.next()
                {
                    object.defines.insert(name(&strings, first.vda_name.into())?);
                }
            }
        }
        if let Some(address) = self.requirements {
            let table = from_address(file, bytes, address)?;
            let count = limited(self.requirement_count)?;
            for (library, versions) in VerNeedIterator::new(endian, class, count, 0, table) {
                let file = name(&strings, library.vn_file.into())?;
                for version in versions.filter(|version| version.vna_flags & WEAK == 0) {
                    object.needs.insert((file.clone(), name(&strings, version.vna_name.into())?));
                }
            }
        }
        Ok(object)
    }
}

/// The number of entries of a table.
fn limited(count: u64) -> Result<u64, ElfError> {
    if count > MOST_ENTRIES as u64 { Err(ElfError::TooMany) } else { Ok(count) }
}

/// The bytes of a file from those that are loaded at an address.
fn from_address<'a>(
    file: &ElfBytes<'_, AnyEndian>,
    bytes: &'a [u8],
    address: u64,
) -> Result<&'a [u8], ElfError> {
    let segments = file.segments().ok_or_else(|| ElfError::Damaged("no program headers".to_owned()))?;
    let loaded = segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD);
    let offset = loaded.take(MOST_ENTRIES).find_map(|segment| {
        let inside = address.checked_sub(segment.p_vaddr).filter(|inside| *inside < segment.p_filesz)?;
        usize::try_from(segment.p_offset.checked_add(inside)?).ok()
    });
    let rest = offset.and_then(|offset| bytes.get(offset..));
    rest.ok_or_else(|| ElfError::Damaged(format!("nothing is loaded at {address:#x}")))
}

/// A name of the string table.
fn name(strings: &StringTable<'_>, offset: u64) -> Result<String, ElfError> {
    let bytes = strings.get_raw(usize::try_from(offset).map_err(|_| ElfError::Name)?)?;
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && text.len() <= LONGEST_NAME);
    text.map(str::to_owned).ok_or(ElfError::Name)
}

#[cfg(test)]
pub(crate) mod tests;
