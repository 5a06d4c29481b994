//! Lists of patches: `patch_order` of a cluster, and operators' lists, one word per line; `#` starts a comment.
//!
//! `CLUSTER_README` only gives the cluster's name.

use std::collections::HashSet;

use super::lines::{LineTooLong, numbered_lines};

/// The largest number of words in a list.
pub const MOST_WORDS: usize = 100_000;

const LONGEST_WORD: usize = 255;

const NAME: &[u8] = b"NAME:";

/// The reason a list of patches cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchOrderError {
    /// A line that is not one printable word of at most 255 bytes.
    #[error("line {line}: not one word")]
    Word {
        /// The line number, counted from 1.
        line: u64,
    },
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// More than [`MOST_WORDS`].
    #[error("more than {MOST_WORDS} lines")]
    TooMany,
}

/// Parses the words in order, dropping repeated ones.
pub fn parse(text: &[u8]) -> Result<Vec<String>, PatchOrderError> {
    let (mut words, mut seen) = (Vec::new(), HashSet::new());
    for line in numbered_lines(text) {
        let (line, content) = line?;
        let word = content.trim_ascii();
        if word.is_empty() || word.starts_with(b"#") {
            continue;
        }
        let fits = word.len() <= LONGEST_WORD && word.iter().all(u8::is_ascii_graphic);
        let word = std::str::from_utf8(word).ok().filter(|_| fits).ok_or(PatchOrderError::Word { line })?;
        if words.len() == MOST_WORDS {
            return Err(PatchOrderError::TooMany);
        }
        if seen.insert(word) {
            words.push(word.to_owned());
        }
    }
    Ok(words)
}

/// Returns the name of a cluster from its `CLUSTER_README`: the first line `NAME: …`, printable.
pub fn cluster_name(text: &[u8]) -> Option<String> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let name = lines.find_map(|line| line.trim_ascii().strip_prefix(NAME))?.trim_ascii();
    let name = String::from_utf8_lossy(name.get(..LONGEST_WORD).unwrap_or(name));
    let name: String = name.chars().filter(|character| !character.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_come_in_order_without_comments_and_repetitions() {
        let text = b"# Recommended\n\n118833-36\r\n  120900-04 \n118833-36\n119042";
        assert_eq!(parse(text).unwrap(), ["118833-36", "120900-04", "119042"]);
        assert_eq!(parse(b"").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_line_of_two_words_is_named() {
        assert_eq!(parse(b"1-01\n1-02 1-03\n"), Err(PatchOrderError::Word { line: 2 }));
        assert_eq!(parse(b"\xff\n"), Err(PatchOrderError::Word { line: 1 }));
        assert_eq!(parse(&[b'1'; LONGEST_WORD + 1]), Err(PatchOrderError::Word { line: 1 }));
    }

    #[test]
    fn a_list_has_a_limit() {
        let list = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
        assert_eq!(parse(list(MOST_WORDS).as_bytes()).unwrap().len(), MOST_WORDS);
        assert_eq!(parse(list(MOST_WORDS + 1).as_bytes()), Err(PatchOrderError::TooMany));
    }

    #[test]
    fn the_name_of_a_cluster_is_one_line() {
        let readme = b"\nNAME: Solaris 10 Recommended\x1b[31m Patch Cluster \nDATE: Nov/20/26\n";
        assert_eq!(cluster_name(readme).as_deref(), Some("Solaris 10 Recommended[31m Patch Cluster"));
        assert_eq!(cluster_name(b"NAME:\nDATE: x"), None);
        assert_eq!(cluster_name(b"CLUSTER DESCRIPTION\n"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text);
            let _ = cluster_name(&text);
        }
    }
}
