//! The statements of a program or library to the dynamic linker: its name, the libraries that it needs and their search
//! paths, its interpreter, the symbol versions that it defines and needs, the libraries that it may load later.
//!
//! Pure: bytes come through an [`ElfSource`], a slice or the pieces of a file, so that a file of any size is read in
//! little memory. Tables are found by the program headers, as the linker itself finds them; a file without section
//! headers is read as well. Every table has a limit, a file that contradicts itself is an error and no panic, and nothing
//! is ever executed.
//!
//! ```text
//! source    the bytes of a file: a slice, or an open file that is read on demand; limits and errors
//! layout    headers and dynamic section: class, machine, segments, tables, names
//! facts     what one file says, with symbol versions and the note of libraries that it may load itself
//! symbols   exported and undefined symbols, on demand
//! streamed  the bytes of a streamed file, kept where they will be asked for
//! ```

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
