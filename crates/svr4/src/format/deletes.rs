//! The `deletes` file of a patch: one deleted path per line, absolute or relative to BASEDIR.
//!
//! Blanks around a line are not part of the path. Special bytes are `\ooo` escapes. There are no comments.

use crate::package::{PackagePath, PathError, escape, unescape};

use super::fields::is_blank;
use super::lines::{LineTooLong, numbered_lines};
use super::pkgmap::MOST_ENTRIES;

/// The reason a `deletes` file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeletesError {
    /// A line that is not a valid path of a package.
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
    /// More paths than a package may have objects.
    #[error("more than {MOST_ENTRIES} paths")]
    TooMany,
}

/// Parses the paths in order, dropping repeated ones.
pub fn parse(text: &[u8]) -> Result<Vec<PackagePath>, DeletesError> {
    let mut paths = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for line in numbered_lines(text) {
        let (line, content) = line?;
        let content = trim(content);
        if content.is_empty() {
            continue;
        }
        if paths.len() == MOST_ENTRIES {
            return Err(DeletesError::TooMany);
        }
        let path =
            PackagePath::new(&unescape(content)).map_err(|error| DeletesError::Path { line, error })?;
        if seen.insert(path.clone()) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Formats the paths, in order.
pub fn write<'a>(paths: impl IntoIterator<Item = &'a PackagePath>) -> Vec<u8> {
    let mut out = Vec::new();
    for path in paths {
        out.extend_from_slice(&escape(path.as_bytes()));
        out.push(b'\n');
    }
    out
}

fn trim(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&byte| !is_blank(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_comes_back_as_it_was_written() {
        let text = b"share/old\n/etc/a\\040b\n#x\n";
        let paths = parse(text).unwrap();
        assert_eq!(paths[1].as_bytes(), b"/etc/a b");
        assert_eq!(write(&paths), text);
    }

    #[test]
    fn blanks_around_a_path_go_and_blanks_inside_stay() {
        let paths = parse(b"\n \t a b \nshare//old/\nshare/old\n").unwrap();
        assert_eq!(write(&paths), b"a\\040b\nshare/old\n");
    }

    #[test]
    fn a_path_that_leads_out_is_refused_with_its_line() {
        let error = parse(b"a\n../../etc/passwd\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: path <../../etc/passwd> has a `..` component");
    }

    proptest! {
        #[test]
        fn any_paths_come_back(raw: Vec<Vec<u8>>) {
            let paths: std::collections::BTreeSet<_> =
                raw.iter().filter_map(|path| PackagePath::new(path).ok()).collect();
            let list: Vec<_> = paths.into_iter().collect();
            prop_assert_eq!(parse(&write(&list)), Ok(list));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
