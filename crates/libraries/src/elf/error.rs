//! The reasons an ELF file is not understood, and the limits on it.

/// The most entries of all tables of a file that are read.
pub(super) const MOST_ENTRIES: usize = 1 << 16;

/// The most bytes that all names of a file may take: 1 MiB.
pub(super) const MOST_NAME_BYTES: usize = 1 << 20;

/// The most searches that a file may ask for: its needs, each in every directory of its search path. The largest known
/// programs need some hundreds of libraries from some dozens of directories.
pub(super) const MOST_SEARCHES: usize = 1 << 17;

/// How often the bytes of a string table may be used in names, beside [`SPARE_NAME_BYTES`]: names may end alike and share
/// their bytes, but the names of a small file must not take the memory of a large one.
pub(super) const USES_OF_STRINGS: usize = 4;

/// The bytes of names that a file may have whatever its string table is: 4 KiB.
pub(super) const SPARE_NAME_BYTES: usize = 4 << 10;

/// The reason an ELF file is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// A header or table contradicts itself.
    #[error("damaged ELF file: {0}")]
    Damaged(String),
    /// A table has more entries than are read.
    #[error("its tables have more than {MOST_ENTRIES} entries")]
    TooMany,
    /// The names are longer than what is read.
    #[error("its names take more than {} KiB, or far more than its string table", MOST_NAME_BYTES >> 10)]
    LongNames,
    /// It needs too many libraries from too many directories.
    #[error("it asks for more than {MOST_SEARCHES} searches of a library in a directory")]
    TooManySearches,
    /// A name is too long, empty or no text.
    #[error("its dynamic section has a name that is none")]
    Name,
    /// The file cannot be read.
    #[error("{0}")]
    Read(String),
}

impl ElfError {
    pub(super) fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged(reason.into())
    }
}

impl From<elf::ParseError> for ElfError {
    fn from(error: elf::ParseError) -> Self {
        Self::Damaged(error.to_string())
    }
}
