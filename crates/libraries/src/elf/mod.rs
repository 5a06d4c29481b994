//! Reads from an ELF file what the dynamic linker reads, through an [`ElfSource`], so that a file of any size takes
//! little memory. Program headers lead to the tables, so section headers may be missing. Every table has a limit, and a
//! file that contradicts itself is an error.

mod facts;
mod layout;
mod source;
mod streamed;
mod symbols;

pub use facts::{DlopenNote, ElfFacts, NeededVersion, read};
pub use layout::{ElfMachine, MAGIC};
pub use source::{ElfError, ElfSource, FilePieces};
pub use streamed::{MissingParts, PartsKeeper, StreamedParts};
pub use symbols::{ElfSymbols, SymbolNames, read_symbols};

#[cfg(test)]
pub(crate) mod tests;
