//! The symbol versions that a file defines, and those that it needs of others.

use elf::gnu_symver::{VerDefIterator, VerNeedAux, VerNeedIterator};

use super::dynamic::{CountedTable, DynamicSection, LONGEST_VERSIONS};
use super::error::{ElfError, MOST_ENTRIES};
use super::layout::Layout;
use super::pieces::ElfSource;

/// The flag of a version that may be missing.
const WEAK: u16 = 2;

/// The flag of the definition that names the file itself and no version.
const BASE: u16 = 1;

/// Bytes that are read of a table at first.
const FIRST_LOOK: usize = 4 << 10;

/// A symbol version that a file needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeededVersion {
    /// The library that is to define it, by its name in `needed`.
    pub library: String,
    /// The version.
    pub version: String,
    /// Whether the file is loaded without it.
    pub is_weak: bool,
}

/// Reads the versions that a file defines.
pub(super) fn defined(
    source: &mut dyn ElfSource,
    layout: &Layout,
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

/// Reads the versions that a file needs.
pub(super) fn needed(
    source: &mut dyn ElfSource,
    layout: &Layout,
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

/// Reads the entries of a table whose length is not told, only their number: more of the file is read until all are there.
fn whole_table<T>(
    source: &mut dyn ElfSource,
    layout: &Layout,
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
    Err(ElfError::damaged("a table of versions is cut off or has other entries than it says"))
}
