//! space(4): the space that a package needs beyond its objects, in its `install` directory.
//!
//! ```text
//! # path    blocks  objects
//! var/db    1000    2
//! ```
//! Blocks have 512 bytes. Paths are absolute or relative to BASEDIR. A `#` starts a comment.

use crate::package::{PackagePath, PathError, unescape};

use super::lines::{LineTooLong, numbered_lines};

const MOST: usize = 100_000;

const BLOCK: u64 = 512;

/// The space that a package needs below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceRequest {
    /// The path whose file system must have the space.
    pub path: PackagePath,
    /// The space needed, in bytes.
    pub bytes: u64,
    /// The number of files and directories needed.
    pub inodes: u64,
}

/// The reason a `space` file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// A line that is not a path and two numbers.
    #[error("line {line}: it must have a path, a number of blocks and a number of files")]
    Fields {
        /// The line number, counted from 1.
        line: u64,
    },
    /// An invalid path.
    #[error("line {line}: {error}")]
    Path {
        /// The line number, counted from 1.
        line: u64,
        /// The fault in the path.
        error: PathError,
    },
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// More lines than are read.
    #[error("more than {MOST} lines")]
    TooMany,
}

/// Parses a file.
pub fn parse(text: &[u8]) -> Result<Vec<SpaceRequest>, SpaceError> {
    let mut found = Vec::new();
    for line in numbered_lines(text) {
        let (number, line) = line?;
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if found.len() == MOST {
            return Err(SpaceError::TooMany);
        }
        found.push(extra(number, line)?);
    }
    Ok(found)
}

fn extra(number: u64, line: &[u8]) -> Result<SpaceRequest, SpaceError> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut word = || words.next().ok_or(SpaceError::Fields { line: number });
    let count = |word: &[u8]| {
        let digits = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u64>().ok()).ok_or(SpaceError::Fields { line: number })
    };
    let (path, blocks, inodes) = (word()?, count(word()?)?, count(word()?)?);
    let path = PackagePath::new(&unescape(path)).map_err(|error| SpaceError::Path { line: number, error })?;
    Ok(SpaceRequest { path, bytes: blocks.saturating_mul(BLOCK), inodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_bytes_and_comments_nothing() {
        let found = parse(b"#path blocks inodes\n\n/var/db\t10 2\n  etc/conf 0     1 \n").unwrap();
        let extra = |path: &[u8], bytes, inodes| SpaceRequest {
            path: PackagePath::new(path).unwrap(),
            bytes,
            inodes,
        };
        assert_eq!(found, [extra(b"/var/db", 5120, 2), extra(b"etc/conf", 0, 1)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, error) in [
            ("# x\n/var 10\n", "line 2: it must have a path, a number of blocks and a number of files"),
            ("/var -1 0", "line 1: it must have a path, a number of blocks and a number of files"),
            (
                "/var 99999999999999999999 0",
                "line 1: it must have a path, a number of blocks and a number of files",
            ),
            ("/a/../b 1 1", "line 1: path </a/../b> has a `..` component"),
        ] {
            let said = parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(said, error, "{text}");
        }
        assert_eq!(parse(&b"/a 1 1\n".repeat(MOST + 1)), Err(SpaceError::TooMany));
    }
}
