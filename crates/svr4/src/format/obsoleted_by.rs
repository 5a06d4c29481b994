//! The `obsoleted_by` file of a save directory: words for the patches that obsolete its own patch, one per line.

use std::collections::HashSet;

use super::lines::{LineTooLong, numbered_lines};

const MOST_IDS: usize = 10_000;
const LONGEST_ID: usize = 64;

/// The reason an `obsoleted_by` file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObsoletedByError {
    /// A line that is not a printable word of at most 64 bytes.
    #[error("line {line}: not a patch id")]
    Id {
        /// The line number, counted from 1.
        line: u64,
    },
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// More than 10,000 ids.
    #[error("more than {MOST_IDS} patch ids")]
    TooMany,
}

/// Parses the ids in order, dropping repeated ones: Sun's scripts append without checking.
pub fn parse(text: &[u8]) -> Result<Vec<String>, ObsoletedByError> {
    let (mut ids, mut known) = (Vec::new(), HashSet::new());
    for line in numbered_lines(text) {
        let (line, content) = line?;
        let id = content.trim_ascii();
        if id.is_empty() {
            continue;
        }
        let fits = id.len() <= LONGEST_ID && id.iter().all(u8::is_ascii_graphic);
        let id = std::str::from_utf8(id).ok().filter(|_| fits).ok_or(ObsoletedByError::Id { line })?;
        if ids.len() == MOST_IDS {
            return Err(ObsoletedByError::TooMany);
        }
        if known.insert(id) {
            ids.push(id.to_owned());
        }
    }
    Ok(ids)
}

/// Formats the ids, one per line.
pub fn write(ids: &[impl AsRef<str>]) -> Vec<u8> {
    ids.iter().flat_map(|id| [id.as_ref(), "\n"]).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_come_once_and_in_order() {
        assert_eq!(parse(b"103201-02\n 103202-01 \n\n103201-02\n").unwrap(), ["103201-02", "103202-01"]);
        assert_eq!(write(&["103201-02", "103202-01"]), b"103201-02\n103202-01\n");
    }

    #[test]
    fn what_is_no_word_is_refused_with_its_line() {
        assert_eq!(parse(b"1-01\na b\n"), Err(ObsoletedByError::Id { line: 2 }));
        assert_eq!(parse(&[b'1'; 65]), Err(ObsoletedByError::Id { line: 1 }));
    }

    proptest! {
        #[test]
        fn any_ids_come_back(ids in proptest::collection::btree_set("[!-~]{1,64}", 0..10)) {
            let ids: Vec<String> = ids.into_iter().collect();
            prop_assert_eq!(parse(&write(&ids)), Ok(ids));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
