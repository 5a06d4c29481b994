//! Reads from an ELF file what the dynamic linker reads, through an [`ElfSource`], so that a file of any size takes
//! little memory. Program headers lead to the tables, so section headers may be missing. Every table has a limit, and a
//! file that contradicts itself is an error.

mod layout;
mod source;
mod streamed;
mod symbols;

pub use layout::{ElfMachine, MAGIC};
pub use source::{ElfError, ElfSource, FilePieces};
pub use streamed::{MissingParts, PartsKeeper, StreamedParts};
pub use symbols::{ElfSymbols, SymbolNames, read_symbols};

use elf::gnu_symver::{VerDefIterator, VerNeedAux, VerNeedIterator};
use elf::note::{Note, NoteIterator};
use serde::{Deserialize, Serialize};

use crate::elf::layout::{CountedTable, DynamicSection, ElfLayout, LONGEST_NOTES, LONGEST_VERSIONS};
use crate::elf::source::{MOST_ENTRIES, MOST_SEARCHES};

#[cfg(test)]
pub(crate) mod tests;

/// Of a dynamically linked program or library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfFacts {
    pub machine: ElfMachine,
    /// `e_type`: 2 for a program at a fixed address, 3 for a library or a program at any address.
    pub file_type: u16,
    /// The name under which others need it.
    pub soname: Option<String>,
    /// In the order of loading.
    pub needed: Vec<String>,
    /// Searched for its libraries and for those of what it loads, as written; `None` if `runpath` replaces it.
    pub rpath: Option<String>,
    /// Searched for its own libraries only, as written.
    pub runpath: Option<String>,
    /// `DT_FLAGS_1`.
    pub flags: u64,
    /// An absolute path.
    pub interpreter: Option<String>,
    /// In the order of its table.
    pub defines: Vec<String>,
    /// Sorted.
    pub needs: Vec<NeededVersion>,
    pub dlopen: Vec<DlopenNote>,
}

impl ElfFacts {
    const NO_DEFAULT_DIRECTORIES: u64 = 0x800;

    pub fn searches_default_directories(&self) -> bool {
        self.flags & Self::NO_DEFAULT_DIRECTORIES == 0
    }

    fn searches(&self) -> usize {
        let path = self.runpath.as_deref().or(self.rpath.as_deref());
        let directories = path.map_or(0, |path| path.split(':').count());
        let later: usize = self.dlopen.iter().map(|note| note.soname.len()).sum();
        (self.needed.len() + later).saturating_mul(directories)
    }

    /// Returns true if it is started as a program: it has an interpreter, or a fixed address.
    pub fn is_program(&self) -> bool {
        self.interpreter.is_some() || self.file_type == elf::abi::ET_EXEC
    }
}

/// Returns `None` for anything but a dynamically linked program or library. A file split off for debuggers has the
/// headers of its program and nothing to load.
pub fn read(source: &mut dyn ElfSource) -> Result<Option<ElfFacts>, ElfError> {
    let Some(layout) = ElfLayout::read(source)? else { return Ok(None) };
    match linked(source, &layout) {
        Err(_) if layout.is_debug_data(source) => Ok(None),
        facts => facts,
    }
}

fn linked(source: &mut dyn ElfSource, layout: &ElfLayout) -> Result<Option<ElfFacts>, ElfError> {
    let Some(mut dynamic) = DynamicSection::read(source, layout)? else { return Ok(None) };
    let mut facts = ElfFacts { machine: layout.machine, file_type: layout.file_type, ..ElfFacts::default() };
    facts.interpreter = layout.interpreter(source)?;
    facts.flags = dynamic.flags;
    facts.soname = dynamic.soname.map(|at| dynamic.name(source, at)).transpose()?;
    for at in std::mem::take(&mut dynamic.needed) {
        facts.needed.push(dynamic.name(source, at)?);
    }
    facts.runpath = dynamic.runpath.map(|at| dynamic.search_path(source, at)).transpose()?;
    if facts.runpath.is_none() {
        facts.rpath = dynamic.rpath.map(|at| dynamic.search_path(source, at)).transpose()?;
    }
    facts.defines = defined_versions(source, layout, &mut dynamic)?;
    facts.needs = needed_versions(source, layout, &mut dynamic)?;
    facts.dlopen = dlopen_notes(source, layout)?;
    if facts.searches() > MOST_SEARCHES {
        return Err(ElfError::TooManySearches);
    }
    Ok(Some(facts))
}

/// The version may be missing.
const WEAK: u16 = 2;

/// The definition names the file itself instead of a version.
const BASE: u16 = 1;

const FIRST_LOOK: usize = 4 << 10;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeededVersion {
    /// Its name in `needed`.
    pub library: String,
    pub version: String,
    /// The file loads even without it.
    pub is_weak: bool,
}

fn defined_versions(
    source: &mut dyn ElfSource,
    layout: &ElfLayout,
    dynamic: &mut DynamicSection,
) -> Result<Vec<String>, ElfError> {
    let table = dynamic.definitions;
    let entries = whole_table(source, layout, table, |bytes| {
        let definitions = VerDefIterator::new(layout.endian, layout.class, table.count, 0, bytes);
        // The first name is that of the version, the others are those of the versions before.
        Ok(definitions.map_while(|(definition, mut names)| Some((definition, names.next()?))).collect())
    })?;
    dynamic.count_entries(entries.len())?;
    let versions = entries.into_iter().filter(|(definition, _)| definition.vd_flags & BASE == 0);
    versions.map(|(_, name)| dynamic.name(source, name.vda_name.into())).collect()
}

fn needed_versions(
    source: &mut dyn ElfSource,
    layout: &ElfLayout,
    dynamic: &mut DynamicSection,
) -> Result<Vec<NeededVersion>, ElfError> {
    let table = dynamic.requirements;
    let entries = whole_table(source, layout, table, |bytes| {
        let requirements = VerNeedIterator::new(layout.endian, layout.class, table.count, 0, bytes);
        let (mut entries, mut count) = (Vec::new(), 0);
        for (library, versions) in requirements {
            let versions: Vec<VerNeedAux> = versions.collect();
            if versions.len() < usize::from(library.vn_cnt) {
                break;
            }
            count += versions.len();
            if count > MOST_ENTRIES {
                return Err(ElfError::TooMany);
            }
            entries.push((library.vn_file, versions));
        }
        Ok(entries)
    })?;
    let mut needed = Vec::new();
    for (library, versions) in entries {
        dynamic.count_entries(1 + versions.len())?;
        let library = dynamic.name(source, library.into())?;
        for version in versions {
            needed.push(NeededVersion {
                library: library.clone(),
                version: dynamic.name(source, version.vna_name.into())?,
                is_weak: version.vna_flags & WEAK != 0,
            });
        }
    }
    needed.sort();
    needed.dedup();
    Ok(needed)
}

/// Reads more of the file until all entries are there; only their number is known.
fn whole_table<T>(
    source: &mut dyn ElfSource,
    layout: &ElfLayout,
    table: CountedTable,
    entries: impl Fn(&[u8]) -> Result<Vec<T>, ElfError>,
) -> Result<Vec<T>, ElfError> {
    if table.address == 0 || table.count == 0 {
        return Ok(Vec::new());
    }
    if table.count > MOST_ENTRIES as u64 {
        return Err(ElfError::TooMany);
    }
    let offset = layout.offset_of(table.address)?;
    for length in [FIRST_LOOK, LONGEST_VERSIONS] {
        let found = entries(source.slice(offset, length)?)?;
        if found.len() as u64 == table.count {
            return Ok(found);
        }
    }
    Err(ElfError::damaged("a version table is truncated, or its number of entries is wrong"))
}

const OWNER: &str = "FDO";

const DLOPEN: u64 = 0x407c_0c0a;

const MOST_NOTES: usize = 1024;

/// An entry of `.note.dlopen`, whose text is JSON ("ELF metadata for dlopen dependencies").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DlopenNote {
    /// Any one of them serves.
    pub soname: Vec<String>,
    /// `required`, `recommended` or `suggested`.
    #[serde(default)]
    pub priority: String,
}

fn dlopen_notes(source: &mut dyn ElfSource, layout: &ElfLayout) -> Result<Vec<DlopenNote>, ElfError> {
    let mut found = Vec::new();
    for segment in layout.notes() {
        let align = usize::try_from(segment.p_align).unwrap_or_default().max(4);
        let length = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX).min(LONGEST_NOTES);
        let bytes = source.slice(segment.p_offset, length)?;
        for note in NoteIterator::new(layout.endian, layout.class, align, bytes).take(MOST_ENTRIES) {
            let Note::Unknown(note) = note else { continue };
            if note.n_type == DLOPEN && note.name_str().is_ok_and(|owner| owner == OWNER) {
                found.extend(parse_dlopen_notes(note.desc)?);
            }
            if found.len() > MOST_NOTES {
                return Err(ElfError::TooMany);
            }
        }
    }
    Ok(found)
}

fn parse_dlopen_notes(text: &[u8]) -> Result<Vec<DlopenNote>, ElfError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let notes: Vec<DlopenNote> = serde_json::from_slice(text)
        .map_err(|error| ElfError::damaged(format!("its dlopen note: {error}")))?;
    Ok(notes.into_iter().filter(|note| !note.soname.is_empty()).collect())
}
