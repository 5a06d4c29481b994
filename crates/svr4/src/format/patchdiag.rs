//! The cross-reference of patches, `patchdiag.xref`: one line per patch revision, eleven fields between bars.
//!
//! Lines that do not begin with six digits and a bar are comments, or the frame of a page from which the file was
//! saved, and are skipped. A line with that beginning has all its fields, or is an error with its number. The lines are
//! in byte order, so that the revisions of a patch follow each other. A file that was read is written again unchanged,
//! except for the order of items within a field.

mod date;
mod error;
mod line;

use super::lines::{LONGEST_LINE, numbered};
pub use date::PatchdiagDate;
use error::MOST_LINES;
pub use error::{LARGEST_FILE, PatchdiagError};
pub use line::{PatchdiagLine, PatchdiagPackage};

/// The text of a first line before and after its date.
const HEADER: (&[u8], &str) = (b"## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF ", " ##");

/// A cross-reference file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patchdiag {
    /// The day of the file, if its header states it.
    pub as_of: Option<PatchdiagDate>,
    /// The lines, in the order of their bytes.
    pub lines: Vec<PatchdiagLine>,
}

/// Parses a file.
pub fn parse(text: &[u8]) -> Result<Patchdiag, PatchdiagError> {
    if text.len() > LARGEST_FILE {
        return Err(PatchdiagError::TooLarge);
    }
    let (mut lines, mut as_of, mut has_header) = (Vec::new(), None, false);
    for line in numbered(text) {
        let (number, raw) = line.map_err(|long| PatchdiagError::LineTooLong { line: long.line })?;
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        if line::is_about_patch(raw) {
            if lines.len() == MOST_LINES {
                return Err(PatchdiagError::TooMany);
            }
            lines.push((raw, PatchdiagLine::parse(raw, number)?));
        } else if let Some(rest) = raw.strip_prefix(HEADER.0) {
            has_header = true;
            let date = std::str::from_utf8(rest).unwrap_or_default();
            as_of = as_of.or_else(|| PatchdiagDate::parse(date.trim_end_matches('#').trim()));
        }
    }
    if lines.is_empty() && !has_header {
        return Err(PatchdiagError::NotOne);
    }
    lines.sort_by_key(|(raw, _)| *raw);
    Ok(Patchdiag { as_of, lines: lines.into_iter().map(|(_, line)| line).collect() })
}

/// Formats a file: the header, then the lines in the order of their bytes. A line is at most as long as one that can be
/// read; longer synopses are cut.
pub fn write(file: &Patchdiag) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = file.lines.iter().map(PatchdiagLine::write).collect();
    lines.sort();
    let date = file.as_of.map(|date| date.to_string()).unwrap_or_default();
    let mut text = [HEADER.0, date.as_bytes(), HEADER.1.as_bytes(), b"\n"].concat();
    for mut line in lines {
        line.truncate(LONGEST_LINE);
        text.append(&mut line);
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Feb/10/11 ##\n\
        100393|01|Sep/02/94| | |O|  |Unbundled|||OBSOLETED by 100394\n\
        146336|01|Jan/13/11|R|S| |  |10|sparc;118833-36;|SUNWarc:11.10.0,REV=2005.01.21.15.53;103640-36;|SunOS 5.10: a|b\n";

    #[test]
    fn a_file_comes_back_as_it_was() {
        let file = parse(FILE).unwrap();
        assert_eq!(file.as_of, Some(PatchdiagDate { year: 2011, month: 2, day: 10 }));
        assert_eq!(file.lines.len(), 2);
        assert_eq!(file.lines[1].synopsis, b"SunOS 5.10: a|b", "the last field may contain anything");
        assert_eq!(write(&file), FILE);
    }

    #[test]
    fn lines_come_in_the_order_of_their_bytes_and_with_any_line_ends() {
        let text = b"<PRE>\r\n200000|02|||||  ||||two\r\n\r\n# note\r\n200000|01|||||  ||||one\r\n</PRE>\r\n";
        let file = parse(text).unwrap();
        let ids: Vec<String> = file.lines.iter().map(|line| line.id.to_string()).collect();
        assert_eq!(ids, ["200000-01", "200000-02"]);
        assert_eq!(file.lines[1].synopsis, b"two");
        assert_eq!(file.as_of, None);
    }

    #[test]
    fn a_page_that_is_no_such_file_is_refused() {
        for text in [&b""[..], b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n", b"# nothing\n"]
        {
            assert_eq!(parse(text), Err(PatchdiagError::NotOne));
        }
        assert_eq!(parse(b"## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Feb/10/11 ##\n").unwrap().lines, []);
    }

    #[test]
    fn a_line_without_all_fields_is_named() {
        let text = b"#\n100393|01|Sep/02/94| | |O|  |Unbundled||OBSOLETED by 100394\n";
        let error = parse(text).unwrap_err();
        assert_eq!(error, PatchdiagError::Fields { line: 2, fields: 10 });
        assert_eq!(error.to_string(), "line 2 has 10 fields, not 11");
    }
}
