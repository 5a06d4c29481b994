//! The statements of a program or library to the dynamic linker: its name, the libraries that it needs and their search
//! paths, its interpreter, the symbol versions that it defines and needs, the libraries that it may load later.
//!
//! Pure: bytes come through an [`ElfSource`], a slice or the pieces of a file, so that a file of any size is read in
//! little memory. Tables are found by the program headers, as the linker itself finds them; a file without section
//! headers is read as well. Every table has a limit, a file that contradicts itself is an error and no panic, and nothing
//! is ever executed.
//!
//! ```text
//! facts     what one file says, put together
//! layout    class, machine, segments; from an address to the bytes that are loaded there
//! dynamic   the dynamic section: which tables there are; names
//! versions  symbol versions that are defined and needed
//! dlopen    the note of libraries that a program loads by itself
//! symbol_names  names of symbols as a set
//! symbols   exported and undefined symbols, on demand
//! pieces    the bytes of an open file, read where they are asked for
//! streamed  the bytes of a file that goes by, kept where they will be asked for
//! ```

mod dlopen;
mod dynamic;
mod error;
mod facts;
mod layout;
mod pieces;
mod streamed;
mod symbol_names;
mod symbols;
mod versions;

pub use dlopen::DlopenNote;
pub use error::ElfError;
pub use facts::{ElfFacts, read};
pub use layout::{ElfMachine, MAGIC};
pub use pieces::{ElfSource, FilePieces};
pub use streamed::{MissingParts, PartsKeeper, StreamedParts};
pub use symbol_names::SymbolNames;
pub use symbols::{ElfSymbols, read_symbols};
pub use versions::NeededVersion;

#[cfg(test)]
pub(crate) mod tests;
