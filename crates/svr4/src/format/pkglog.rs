//! pkglog: changes of `contents` that another tool has logged but not yet written into that file.
//!
//! The package tools of later Solaris 10 and of illumos append changes to this log, and write `contents` later. Until then
//! only both files together are the database:
//!
//! ```text
//! +LINE         the line of a new path
//! =LINE         the new line of a path
//! -PATH         the path has no line any more
//! # COMMENT     the closing comments of the database
//! ###Marker     everything before it is complete
//! ```
//!
//! `contents` may have some of the changes already. Lines after the last marker belong to an incomplete change.
//!
//! ```
//! use patchadm_svr4::format::pkglog::Pkglog;
//! use patchadm_svr4::package::ObjectPath;
//!
//! let log = Pkglog::parse(b"+/opt/a=b s none ACMEa\n-/opt/c\n###Marker\n-/opt/d\n")?;
//! assert!(log.edits[&ObjectPath::new(b"/opt/a")?].is_some());
//! assert!(log.edits[&ObjectPath::new(b"/opt/c")?].is_none());
//! assert_eq!((log.edits.len(), log.unfinished), (2, 8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use super::FieldError;
use super::lines::LONGEST_LINE;
use crate::package::{ContentsLine, ObjectPath, unescape};

/// The line that completes a transaction, with its newline.
pub const MARKER: &[u8] = b"###Marker\n";

/// The complete changes of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pkglog {
    /// The new line of each changed path, or `None` for a path that has none any more. The last change of a path counts.
    pub edits: BTreeMap<ObjectPath, Option<Box<ContentsLine>>>,
    /// The number of bytes behind the last marker.
    pub unfinished: u64,
}

/// The reason a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PkglogError {
    /// A line that is no change.
    #[error("line {line}: it begins with none of + = - and #")]
    Kind {
        /// The line number, counted from 1.
        line: u64,
    },
    /// A change that does not describe an object.
    #[error("line {line}: {error}")]
    Line {
        /// The line number, counted from 1.
        line: u64,
        /// The fault in the line's fields.
        error: FieldError,
    },
    /// A line longer than [`LONGEST_LINE`].
    #[error("line {line}: it is longer than {LONGEST_LINE} bytes")]
    TooLong {
        /// The line number, counted from 1.
        line: u64,
    },
}

impl Pkglog {
    /// Parses a log. Every line up to the last marker has to be readable.
    pub fn parse(text: &[u8]) -> Result<Self, PkglogError> {
        match Self::parse_readable(text) {
            (log, None) => Ok(log),
            (_, Some(error)) => Err(error),
        }
    }

    /// Parses the readable lines of a log, and returns the fault of the first other line as well.
    pub fn parse_readable(text: &[u8]) -> (Self, Option<PkglogError>) {
        let complete = text.get(..end_of_complete(text)).unwrap_or_default();
        let mut log = Self { unfinished: (text.len() - complete.len()) as u64, ..Self::default() };
        let mut fault = None;
        for (line, number) in complete.split_inclusive(|&byte| byte == b'\n').zip(1..) {
            match edit(line.strip_suffix(b"\n").unwrap_or(line), number) {
                Ok(Some((path, edit))) => drop(log.edits.insert(path, edit)),
                Ok(None) => {}
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        (log, fault)
    }
}

/// Returns the end of the last marker at the beginning of a line.
fn end_of_complete(text: &[u8]) -> usize {
    let mut end = text.len();
    while let Some(at) = end.checked_sub(MARKER.len()) {
        let is_marker = text.get(at..end) == Some(MARKER);
        if is_marker && at.checked_sub(1).is_none_or(|before| text.get(before) == Some(&b'\n')) {
            return end;
        }
        end -= 1;
    }
    0
}

type Edit = (ObjectPath, Option<Box<ContentsLine>>);

fn edit(line: &[u8], number: u64) -> Result<Option<Edit>, PkglogError> {
    if line.len() > LONGEST_LINE {
        return Err(PkglogError::TooLong { line: number });
    }
    let faulty = |error| PkglogError::Line { line: number, error };
    match line.split_first() {
        None | Some((b'#', _)) => Ok(None),
        Some((b'+' | b'=', rest)) => {
            let line = ContentsLine::parse(rest).map_err(faulty)?;
            Ok(Some((line.path.clone(), Some(Box::new(line)))))
        }
        Some((b'-', rest)) => {
            let path = ObjectPath::new(&unescape(rest)).map_err(|error| faulty(error.into()))?;
            Ok(Some((path, None)))
        }
        Some(_) => Err(PkglogError::Kind { line: number }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Result<String, String> {
        let log = Pkglog::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let edit = |(path, line): (&ObjectPath, &Option<Box<ContentsLine>>)| {
            line.as_ref().map_or(format!("-{path}"), |line| {
                format!(
                    "{path}:{}",
                    line.owners.iter().map(|owner| owner.package.as_str()).collect::<String>()
                )
            })
        };
        let edits: Vec<String> = log.edits.iter().map(edit).collect();
        Ok(format!("{} ({})", edits.join(" "), log.unfinished))
    }

    #[test]
    fn the_last_change_of_each_path_before_the_last_marker_counts() {
        let text = "+/a=b s none X\n###Marker\n=/a=c s none Y\n+/c d none 0755 root root X\n-/c\n\
                    # Last modified by pkgadd for X package\n# Fri Nov 20 06:37:39 2026\n###Marker\n+/d=e s none X\n";
        assert_eq!(said(text).unwrap(), "/a:Y -/c (15)");
        assert_eq!(said("").unwrap(), " (0)");
        assert_eq!(said("+/a=b s none X\n").unwrap(), " (15)");
        assert_eq!(said("###Marker\n").unwrap(), " (0)");
        assert_eq!(said("-/a###Marker\n").unwrap(), " (13)", "a marker is a line of its own");
        assert_eq!(said("-/two\\040words\n###Marker\n").unwrap(), "-/two words (0)");
    }

    #[test]
    fn a_line_that_is_no_change_is_named_and_the_others_can_be_read() {
        assert_eq!(
            said("-/a\n/b=c s none X\n###Marker\n").unwrap_err(),
            "line 2: it begins with none of + = - and #"
        );
        assert_eq!(said("+/a q none X\n###Marker\n").unwrap_err(), "line 1: unknown ftype");
        assert!(said("-a\n###Marker\n").unwrap_err().starts_with("line 1: "));
        assert_eq!(said("-/a\nrubbish behind the marker").unwrap(), " (29)");
        let (log, fault) = Pkglog::parse_readable(b"-/a\nrubbish\n-/b\n###Marker\n");
        assert_eq!((log.edits.len(), fault), (2, Some(PkglogError::Kind { line: 2 })));
        let long = format!("+/{}\n###Marker\n", "a".repeat(LONGEST_LINE));
        assert!(said(&long).unwrap_err().starts_with("line 1: it is longer than "));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(text in prop::collection::vec(any::<u8>(), 0..300), marked: bool) {
            let text = if marked { [&text[..], b"\n", MARKER].concat() } else { text };
            let _ = Pkglog::parse(&text);
        }
    }
}
