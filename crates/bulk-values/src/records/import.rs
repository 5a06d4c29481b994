//! The files `pscan` and `presolve` of pbulk.

use std::io::{self, BufRead, Read as _};

use super::read::{LONGEST_OUTPUT, RecordError, RecordFault, RecordReader};
use super::table::Records;

/// The most records of a file.
const MOST_RECORDS: usize = 10_000_000;

/// The reason a file of records cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It is no list of records.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Records {
    /// Reads records that were made elsewhere, each with its `PKG_LOCATION`. What later steps wrote, such as `DEPENDS`, is
    /// not believed. The text is never in memory whole.
    pub fn import(mut file: impl BufRead) -> Result<Self, ImportError> {
        let mut records = Self::new();
        let mut reader = RecordReader::new(&mut records.shared, None, MOST_RECORDS);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            number += 1;
            line.clear();
            let limit = LONGEST_OUTPUT as u64 + 1;
            if file.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() > LONGEST_OUTPUT {
                return Err(RecordError { line: number, fault: RecordFault::TooLong }.into());
            }
            reader.read_line(line.strip_suffix(b"\n").unwrap_or(&line))?;
        }
        let read = reader.finish()?;
        records.add_first_ones(read);
        Ok(records)
    }
}
