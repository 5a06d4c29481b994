//! Exported and expected symbols, read on demand because they are many. The dynamic section does not give their number:
//! hash tables give that of the symbols to look up, section headers that of all.

use elf::abi;
use elf::file::Class;
use elf::symbol::SymbolTable;

use crate::elf::layout::{DynamicSection, ElfLayout, ElfMachine};
use crate::elf::source::{ElfError, ElfSource};

const MOST_SYMBOLS: u64 = 1 << 18;

/// 16 MiB.
const MOST_SYMBOL_BYTES: usize = 16 << 20;

const PART: usize = 48 << 10;

/// Machines whose old hash tables have entries of 64 bits: s390x and Alpha.
const WIDE_HASHES: [ElfMachine; 2] =
    [ElfMachine { number: 22, is_64: true }, ElfMachine { number: 0x9026, is_64: true }];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfSymbols {
    pub exported: SymbolNames,
    /// Names that others must define, without weak ones.
    pub undefined: SymbolNames,
}

/// Reads the symbols of a file. Returns none if it is not a program or library that is linked dynamically.
pub fn read_symbols(source: &mut dyn ElfSource) -> Result<ElfSymbols, ElfError> {
    let mut symbols = ElfSymbols::default();
    let Some(layout) = ElfLayout::read(source)? else { return Ok(symbols) };
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
            return Err(ElfError::damaged("its symbol table is truncated"));
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

/// Returns the number of symbols: the largest that a table states.
fn count(source: &mut dyn ElfSource, layout: &ElfLayout, dynamic: &DynamicSection) -> Result<u64, ElfError> {
    let by_hash = if dynamic.hash == 0 { 0 } else { by_old_hash(source, layout, dynamic.hash)? };
    let by_gnu = if dynamic.gnu_hash == 0 { 0 } else { by_gnu_hash(source, layout, dynamic.gnu_hash)? };
    // A damaged or cut table of sections does not count.
    let by_section = by_section(source, layout, dynamic.symbols).unwrap_or_default();
    Ok(by_hash.max(by_gnu).max(by_section))
}

fn by_old_hash(source: &mut dyn ElfSource, layout: &ElfLayout, address: u64) -> Result<u64, ElfError> {
    let width = if WIDE_HASHES.contains(&layout.machine) { 8 } else { 4 };
    let offset = layout.offset_of(address)?;
    if width == 8 {
        return layout.wide(source.slice(offset.saturating_add(8), 8)?);
    }
    layout.word(source.slice(offset.saturating_add(4), 4)?).map(u64::from)
}

/// Returns the number of symbols: the last chain of the table ends with the last symbol.
fn by_gnu_hash(source: &mut dyn ElfSource, layout: &ElfLayout, address: u64) -> Result<u64, ElfError> {
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

fn by_section(source: &mut dyn ElfSource, layout: &ElfLayout, address: u64) -> Option<u64> {
    let mut sections = layout.sections(source)?.into_iter();
    let found = sections.find(|section| section.sh_type == abi::SHT_DYNSYM && section.sh_addr == address)?;
    found.sh_size.checked_div(found.sh_entsize)
}

#[derive(Clone, Default)]
pub struct SymbolNames {
    /// In the order in which they were added.
    text: String,
    /// Begin and end of each name, in the order of the names.
    places: Vec<(u32, u32)>,
}

impl SymbolNames {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| self.at(*place))
    }

    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.places.binary_search_by(|place| self.at(*place).cmp(name)).is_ok()
    }

    /// Returns the names that another set lacks, in their order.
    pub fn missing_in<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s str> {
        let mut others = other.iter().peekable();
        self.iter().filter(move |name| {
            while others.next_if(|other| other < name).is_some() {}
            others.peek() != Some(name)
        })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Adds a name. The names are a set only after [`sort`](Self::sort).
    pub(super) fn push(&mut self, name: &str) {
        let begin = self.text.len();
        self.text.push_str(name);
        // The reader takes no more than 16 MiB of names.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.places.push((place(begin), place(self.text.len())));
    }

    pub(super) fn sort(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable_by(|one, other| self.at(*one).cmp(self.at(*other)));
        places.dedup_by(|one, other| self.at(*one) == self.at(*other));
        self.places = places;
    }

    fn at(&self, (begin, end): (u32, u32)) -> &str {
        self.text.get(begin as usize..end as usize).unwrap_or_default()
    }
}

impl<'n> FromIterator<&'n str> for SymbolNames {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        let mut set = Self::default();
        names.into_iter().for_each(|name| set.push(name));
        set.sort();
        set
    }
}

impl PartialEq for SymbolNames {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SymbolNames {}

impl std::fmt::Debug for SymbolNames {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> SymbolNames {
        names.iter().copied().collect()
    }

    #[test]
    fn names_are_a_set_whatever_the_order_in_which_they_come() {
        let names = of(&["puts", "open", "puts", "", "openat"]);
        assert_eq!(names.iter().collect::<Vec<_>>(), ["", "open", "openat", "puts"]);
        assert_eq!(names, of(&["", "openat", "puts", "open"]));
        assert_ne!(names, of(&["openat", "puts", "open"]));
        assert!(names.contains("open") && names.contains("") && !names.contains("ope"));
    }

    #[test]
    fn what_another_set_lacks_is_named_once_and_in_order() {
        let (one, other) = (of(&["d", "a", "b", "c", "d"]), of(&["b", "e", "c", "aa"]));
        assert_eq!(one.missing_in(&other).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(other.missing_in(&one).collect::<Vec<_>>(), ["aa", "e"]);
        assert_eq!(one.missing_in(&one).count(), 0);
        assert_eq!(one.missing_in(&of(&[])).count(), 4);
    }
}
