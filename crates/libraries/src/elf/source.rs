use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

pub(super) const MOST_ENTRIES: usize = 1 << 16;

/// 1 MiB.
pub(super) const MOST_NAME_BYTES: usize = 1 << 20;

/// Each need of a file in each directory of its search path. The largest known programs need some hundreds of libraries
/// from some dozens of directories.
pub(super) const MOST_SEARCHES: usize = 1 << 17;

/// Limits the uses of a string table's bytes, in addition to [`SPARE_NAME_BYTES`]: names may share an ending, but a
/// small file must not take the memory of a large one.
pub(super) const USES_OF_STRINGS: usize = 4;

/// The bytes of names that any file may have: 4 KiB.
pub(super) const SPARE_NAME_BYTES: usize = 4 << 10;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    #[error("damaged ELF file: {0}")]
    Damaged(String),
    #[error("its tables have more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("its names need more than {} KiB, or far more than its string table", MOST_NAME_BYTES >> 10)]
    LongNames,
    #[error("it needs more than {MOST_SEARCHES} searches for libraries")]
    TooManySearches,
    #[error("its dynamic section has an invalid name")]
    Name,
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

pub trait ElfSource {
    /// Fewer than `length` bytes where the file ends.
    fn slice(&mut self, offset: u64, length: usize) -> Result<&[u8], ElfError>;
}

impl ElfSource for &[u8] {
    fn slice(&mut self, offset: u64, length: usize) -> Result<&[u8], ElfError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(&self[start..start.saturating_add(length).min(self.len())])
    }
}

/// In bytes; covers most headers and the names beside them.
const PIECE: usize = 16 << 10;

const MOST_HELD: usize = 4 << 20;

/// Reads pieces, and keeps them while they are few.
pub struct FilePieces<'f> {
    file: &'f File,
    pieces: Vec<Piece>,
    held: usize,
}

struct Piece {
    offset: u64,
    bytes: Vec<u8>,
    is_last: bool,
}

impl Piece {
    /// Returns the range of the requested bytes in this piece, if it has them all or the file ends in it.
    fn range(&self, offset: u64, length: usize) -> Option<(usize, usize)> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(length)?;
        if end <= self.bytes.len() {
            return Some((start, end));
        }
        (self.is_last && start <= self.bytes.len()).then_some((start, self.bytes.len()))
    }
}

impl<'f> FilePieces<'f> {
    pub fn new(file: &'f File) -> Self {
        Self { file, pieces: Vec::new(), held: 0 }
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Piece> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(Piece { offset, bytes, is_last: filled < length })
    }
}

impl ElfSource for FilePieces<'_> {
    fn slice(&mut self, offset: u64, length: usize) -> Result<&[u8], ElfError> {
        if i64::try_from(offset.saturating_add(length as u64)).is_err() {
            return Ok(&[]);
        }
        let found = self.pieces.iter().rposition(|piece| piece.range(offset, length).is_some());
        let index = if let Some(index) = found {
            index
        } else {
            let piece =
                self.read(offset, length.max(PIECE)).map_err(|error| ElfError::Read(error.to_string()))?;
            if self.held.saturating_add(piece.bytes.len()) > MOST_HELD {
                self.pieces.clear();
                self.held = 0;
            }
            self.held += piece.bytes.len();
            self.pieces.push(piece);
            self.pieces.len() - 1
        };
        let piece = &self.pieces[index];
        let (start, end) = piece.range(offset, length).unwrap_or_default();
        Ok(&piece.bytes[start..end])
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    #[test]
    fn a_file_in_pieces_says_the_same_as_the_whole() {
        let bytes: Vec<u8> = (0..=250).cycle().take(PIECE * 3 + 100).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut pieces = FilePieces::new(&file);
        let mut whole = &bytes[..];
        let lengths = [0, 1, 100, PIECE, PIECE * 2];
        for offset in [0, 5, PIECE - 3, PIECE, PIECE * 3, bytes.len() - 1, bytes.len(), bytes.len() + 7] {
            for length in lengths {
                let asked = pieces.slice(offset as u64, length).unwrap().to_vec();
                assert_eq!(asked, whole.slice(offset as u64, length).unwrap(), "{offset} {length}");
            }
        }
        assert_eq!(pieces.slice(u64::MAX, 1), Ok(&[][..]));
    }

    #[test]
    fn what_is_held_of_a_large_file_has_a_limit() {
        let mut file = tempfile::tempfile().unwrap();
        file.seek(SeekFrom::Start(10 << 30)).unwrap();
        file.write_all(b"end").unwrap();
        let mut pieces = FilePieces::new(&file);
        for number in 0..1000 {
            pieces.slice(number << 20, 1).unwrap();
            assert!(pieces.held <= MOST_HELD);
        }
        assert_eq!(pieces.slice(10 << 30, 10), Ok(&b"end"[..]));
    }
}
