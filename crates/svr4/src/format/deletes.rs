//! `deletes`: the objects that a patch takes away, one path per line, in its `install` directory.
//!
//! Paths are absolute or below BASEDIR. Blanks around a line are not part of the path, as for the shell loop that
//! classic packages read it with; blanks inside are. The writer escapes as a pkgmap does, the reader reads that
//! back. There are no comments: a path may begin with `#`.

use crate::package::{PackagePath, PathError, escape, unescape};

use super::fields::is_blank;
use super::lines::{LineTooLong, numbered};
use super::pkgmap::MOST_ENTRIES;

/// Why bytes are no list of paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeletesError {
    /// A line is no path of a package.
    #[error("line {line}: {error}")]
    Path {
        /// Its number; the first is 1.
        line: u64,
        /// What is wrong.
        error: PathError,
    },
    /// A line is too long.
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// There are more paths than a package may have objects.
    #[error("more than {MOST_ENTRIES} paths")]
    TooMany,
}

/// Reads the list; a path that is there twice comes once.
pub fn parse(text: &[u8]) -> Result<Vec<PackagePath>, DeletesError> {
    let mut paths = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for line in numbered(text) {
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

/// The file, in the order of the list.
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
