//! The symbols that a file exports, and those that it expects of others; read on demand, because they are many.
//!
//! The dynamic section does not give the number of symbols. The hash tables give that of the symbols that can be looked
//! up; the section headers, if there are any, give that of all.

use elf::abi;
use elf::file::Class;
use elf::symbol::SymbolTable;

use super::dynamic::DynamicSection;
use super::error::ElfError;
use super::layout::ElfMachine;
use super::layout::Layout;
use super::pieces::ElfSource;
use super::symbol_names::SymbolNames;

/// The most symbols that are read.
const MOST_SYMBOLS: u64 = 1 << 18;

/// The most bytes that all names of symbols may take: 16 MiB.
pub(super) const MOST_SYMBOL_BYTES: usize = 16 << 20;

/// Bytes of a table that are read at a time.
const PART: usize = 48 << 10;

/// The machines whose old hash tables have entries of 64 bits: s390x and Alpha.
const WIDE_HASHES: [ElfMachine; 2] =
    [ElfMachine { number: 22, is_64: true }, ElfMachine { number: 0x9026, is_64: true }];

/// The symbols of a program or library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfSymbols {
    /// The names that others can use.
    pub exported: SymbolNames,
    /// The names that others have to define; without those that may be missing.
    pub undefined: SymbolNames,
}

/// Reads the symbols of a file. Returns none if it is not a program or library that is linked dynamically.
pub fn read_symbols(source: &mut dyn ElfSource) -> Result<ElfSymbols, ElfError> {
    let mut symbols = ElfSymbols::default();
    let Some(layout) = Layout::read(source)? else { return Ok(symbols) };
    let Some(dynamic) = DynamicSection::read(source, &layout)? else { return Ok(symbols) };
    if dynamic.symbols == 0 {
        return Ok(symbols);
    }
    let count = count(source, &layout, &dynamic)?;
    if count > MOST_SYMBOLS {
        return Err(ElfError::TooMany);
    }
    let size = if layout.class == Class::ELF64 { 24 } else { 16 };
    let table = layout.offset_of(dynamic.symbols)?;
    let mut at = 0;
    while at < count {
        let part = (PART / size).min(usize::try_from(count - at).unwrap_or(usize::MAX));
        let read = source.slice(table.saturating_add(at * size as u64), part * size)?.to_vec();
        if read.len() < part * size {
            return Err(ElfError::damaged("its table of symbols is cut off"));
        }
        for symbol in SymbolTable::new(layout.endian, layout.class, &read) {
            let is_visible = matches!(symbol.st_vis(), abi::STV_DEFAULT | abi::STV_PROTECTED);
            let names = match (symbol.is_undefined(), symbol.st_bind()) {
                (true, abi::STB_GLOBAL) => &mut symbols.undefined,
                (false, abi::STB_GLOBAL | abi::STB_WEAK | abi::STB_GNU_UNIQUE) if is_visible => {
                    &mut symbols.exported
                }
                _ => continue,
            };
            if symbol.st_name != 0 {
                dynamic.symbol(source, symbol.st_name.into(), |name| names.push(name))?;
            }
        }
        if symbols.exported.bytes() + symbols.undefined.bytes() > MOST_SYMBOL_BYTES {
            return Err(ElfError::TooMany);
        }
        at += part as u64;
    }
    symbols.exported.sort();
    symbols.undefined.sort();
    Ok(symbols)
}

/// Returns the number of symbols: the largest that a table says.
fn count(source: &mut dyn ElfSource, layout: &Layout, dynamic: &DynamicSection) -> Result<u64, ElfError> {
    let by_hash = if dynamic.hash == 0 { 0 } else { by_old_hash(source, layout, dynamic.hash)? };
    let by_gnu = if dynamic.gnu_hash == 0 { 0 } else { by_gnu_hash(source, layout, dynamic.gnu_hash)? };
    // A table of sections that is damaged or cut off is none.
    let by_section = by_section(source, layout, dynamic.symbols).unwrap_or_default();
    Ok(by_hash.max(by_gnu).max(by_section))
}

fn by_old_hash(source: &mut dyn ElfSource, layout: &Layout, address: u64) -> Result<u64, ElfError> {
    let width = if WIDE_HASHES.contains(&layout.machine) { 8 } else { 4 };
    let offset = layout.offset_of(address)?;
    if width == 8 {
        return layout.wide(source.slice(offset.saturating_add(8), 8)?);
    }
    layout.word(source.slice(offset.saturating_add(4), 4)?).map(u64::from)
}

/// Returns the number of symbols: the last chain of the table ends with the last symbol.
fn by_gnu_hash(source: &mut dyn ElfSource, layout: &Layout, address: u64) -> Result<u64, ElfError> {
    let offset = layout.offset_of(address)?;
    let mut header = [0; 3];
    for (number, field) in header.iter_mut().enumerate() {
        *field = u64::from(layout.word(source.slice(offset.saturating_add(number as u64 * 4), 4)?)?);
    }
    let [buckets, first, bloom] = header;
    if buckets > MOST_SYMBOLS || bloom > MOST_SYMBOLS {
        return Err(ElfError::TooMany);
    }
    let width = if layout.class == Class::ELF64 { 8 } else { 4 };
    let buckets_at = offset.saturating_add(16 + bloom * width);
    let mut last = 0;
    for number in 0..buckets {
        last = last.max(u64::from(layout.word(source.slice(buckets_at.saturating_add(number * 4), 4)?)?));
    }
    if last < first {
        return Ok(first);
    }
    let chains_at = buckets_at.saturating_add(buckets * 4);
    while last < MOST_SYMBOLS {
        let hash = layout.word(source.slice(chains_at.saturating_add((last - first) * 4), 4)?)?;
        last += 1;
        if hash & 1 != 0 {
            return Ok(last);
        }
    }
    Err(ElfError::TooMany)
}

/// Returns the size of the section at the address of the symbols.
fn by_section(source: &mut dyn ElfSource, layout: &Layout, address: u64) -> Option<u64> {
    let mut sections = layout.sections(source)?.into_iter();
    let found = sections.find(|section| section.sh_type == abi::SHT_DYNSYM && section.sh_addr == address)?;
    found.sh_size.checked_div(found.sh_entsize)
}
