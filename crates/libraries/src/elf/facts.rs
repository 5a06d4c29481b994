//! The facts of one file, put together from its tables.

use super::dlopen::{self, DlopenNote};
use super::dynamic::DynamicSection;
use super::error::{ElfError, MOST_SEARCHES};
use super::layout::{ElfMachine, Layout};
use super::pieces::ElfSource;
use super::versions::{self, NeededVersion};

/// The facts of a program or library that is linked dynamically.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfFacts {
    /// The machine that it is for.
    pub machine: ElfMachine,
    /// `e_type`: 2 of a program at a fixed address, 3 of a library or of a program at any address.
    pub file_type: u16,
    /// The name under which others need it.
    pub soname: Option<String>,
    /// The names of the libraries that it needs, in the order in which they are loaded.
    pub needed: Vec<String>,
    /// The directories searched for its libraries and for those of what it loads, as written; `None` if `runpath`
    /// takes its place.
    pub rpath: Option<String>,
    /// The directories searched for its own libraries only, as written.
    pub runpath: Option<String>,
    /// `DT_FLAGS_1`.
    pub flags: u64,
    /// The program that loads it, an absolute path.
    pub interpreter: Option<String>,
    /// The symbol versions that it defines, in the order of its table.
    pub defines: Vec<String>,
    /// The symbol versions that it needs, sorted.
    pub needs: Vec<NeededVersion>,
    /// The libraries that it says it may load by itself.
    pub dlopen: Vec<DlopenNote>,
}

impl ElfFacts {
    /// The flag of `DT_FLAGS_1` that forbids a search in the default directories.
    const NO_DEFAULT_DIRECTORIES: u64 = 0x800;

    /// Tells whether its libraries are searched in the default directories.
    pub fn searches_default_directories(&self) -> bool {
        self.flags & Self::NO_DEFAULT_DIRECTORIES == 0
    }

    /// Returns the number of its needs times the directories of its search path.
    fn searches(&self) -> usize {
        let path = self.runpath.as_deref().or(self.rpath.as_deref());
        let directories = path.map_or(0, |path| path.split(':').count());
        let later: usize = self.dlopen.iter().map(|note| note.soname.len()).sum();
        (self.needed.len() + later).saturating_mul(directories)
    }

    /// Tells whether it is started as a program: it has an interpreter, or a fixed address.
    pub fn is_program(&self) -> bool {
        self.interpreter.is_some() || self.file_type == elf::abi::ET_EXEC
    }
}

/// Reads the facts of a file. Returns `None` if it is not an ELF file, not a program or library, or not linked
/// dynamically: a file split off for debuggers has the headers of its program and nothing that could be loaded.
pub fn read(source: &mut dyn ElfSource) -> Result<Option<ElfFacts>, ElfError> {
    let Some(layout) = Layout::read(source)? else { return Ok(None) };
    match linked(source, &layout) {
        Err(_) if layout.is_debug_data(source) => Ok(None),
        facts => facts,
    }
}

/// Reads the facts of a program or library that is linked dynamically.
fn linked(source: &mut dyn ElfSource, layout: &Layout) -> Result<Option<ElfFacts>, ElfError> {
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
    facts.defines = versions::defined(source, layout, &mut dynamic)?;
    facts.needs = versions::needed(source, layout, &mut dynamic)?;
    facts.dlopen = dlopen::notes(source, layout)?;
    if facts.searches() > MOST_SEARCHES {
        return Err(ElfError::TooManySearches);
    }
    Ok(Some(facts))
}
