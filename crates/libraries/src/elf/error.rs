//! The reasons an ELF file is not understood, and the limits on it.

/// The most entries of all tables of a file that are read.
pub(super) const MOST_ENTRIES: usize = 1 << 16;

/// The most bytes that all names of a file may take: 1 MiB.
pub(super) const MOST_NAME_BYTES: usize = 1 << 20;

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
    #[error("its names take more than {} KiB", MOST_NAME_BYTES >> 10)]
    LongNames,
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
