//! Differences of two texts, in the unified form that patch(1) reads.

use std::fmt::{self, Write as _};
use std::io;
use std::ops::Range;

use similar::algorithms::{Capture, Compact, Replace, myers};
use similar::{ChangeTag, DiffOp, group_diff_ops};

use crate::surroundings::{Output, Shade};

/// Longer texts are not compared.
const MOST_LINES: usize = 10_000;

/// Lines around a change.
const CONTEXT: usize = 3;

/// Returns `None` if a file is not UTF-8 text, or has too many lines. A missing side is `None`, shown as `/dev/null`
/// like in diff(1).
pub fn unified_diff(path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Option<String> {
    let [old, new] = [before, after].map(|side| side.map(text));
    if [old, new].contains(&Some(None)) {
        return None;
    }
    text_difference(path, old.flatten(), new.flatten())
}

pub fn text_difference(path: &str, before: Option<&str>, after: Option<&str>) -> Option<String> {
    let side = |side: Option<&str>, label| side.map(|_| format!("{path} ({label})"));
    let names = [side(before, "before"), side(after, "after")];
    difference(names, before.unwrap_or_default(), after.unwrap_or_default())
}

/// Prints a difference, lines that come and lines that go in the colours of their states.
pub fn print_difference(output: &mut Output, difference: &str) -> io::Result<()> {
    for line in difference.lines() {
        let shade = match line.as_bytes().first() {
            Some(b'+') => Some(Shade::Effective),
            Some(b'-') => Some(Shade::Bad),
            _ => None,
        };
        output.shaded(shade, line)?;
        output.line("")?;
    }
    Ok(())
}

fn difference(names: [Option<String>; 2], before: &str, after: &str) -> Option<String> {
    let [old, new] = names.map(|name| name.unwrap_or_else(|| "/dev/null".to_owned()));
    let (before, after) = (lines(before), lines(after));
    let mut text = String::new();
    for hunk in group_diff_ops(changes(&before, &after), CONTEXT).iter().filter(|hunk| !hunk.is_empty()) {
        if text.is_empty() {
            text = format!("--- {old}\n+++ {new}\n");
        }
        write_hunk(&mut text, hunk, &before, &after).ok()?;
    }
    Some(text)
}

/// Returns the lines of a text, each with its newline.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Uses one algorithm: the crate's text functions compile all of them for several forms of lines, half a megabyte.
fn changes(before: &[&str], after: &[&str]) -> Vec<DiffOp> {
    let mut hooks = Compact::new(Replace::new(Capture::new()), before, after);
    match myers::diff(&mut hooks, before, 0..before.len(), after, 0..after.len()) {
        Ok(()) => hooks.into_inner().into_inner().into_ops(),
    }
}

fn write_hunk(text: &mut String, hunk: &[DiffOp], before: &[&str], after: &[&str]) -> fmt::Result {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return Ok(()) };
    let old = range(first.old_range().start..last.old_range().end);
    let new = range(first.new_range().start..last.new_range().end);
    writeln!(text, "@@ -{old} +{new} @@")?;
    for change in hunk.iter().flat_map(|op| op.iter_changes(before, after)) {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        let line = change.value();
        write!(text, "{sign}{line}")?;
        if !line.ends_with('\n') {
            writeln!(text, "\n\\ No newline at end of file")?;
        }
    }
    Ok(())
}

/// As in diff(1): lines count from 1, and a length of 1 is left out.
fn range(lines: Range<usize>) -> String {
    let first = if lines.is_empty() { lines.start } else { lines.start + 1 };
    match lines.len() {
        1 => first.to_string(),
        length => format!("{first},{length}"),
    }
}

/// Returns a text that people can read: UTF-8 without NUL, of not too many lines.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    (text.lines().count() <= MOST_LINES).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_those_around_it() {
        let diff = unified_diff("/etc/x", Some(b"a\nb\nc\n"), Some(b"a\nB\nc\n")).unwrap();
        assert_eq!(diff, "--- /etc/x (before)\n+++ /etc/x (after)\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        let gone = unified_diff("/etc/x", Some(b"a\n"), None).unwrap();
        assert_eq!(gone, "--- /etc/x (before)\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n");
    }

    #[test]
    fn hunks_far_apart_stand_by_themselves_and_a_last_line_without_a_newline_is_named() {
        let lines: Vec<String> = (1..=20).map(|line| line.to_string()).collect();
        let before = lines.join("\n") + "\n";
        let after = before.replace("2\n3\n", "2\n").replace("20\n", "twenty");
        let diff = unified_diff("/etc/x", Some(before.as_bytes()), Some(after.as_bytes())).unwrap();
        assert_eq!(
            diff,
            "--- /etc/x (before)\n+++ /etc/x (after)\n@@ -1,6 +1,5 @@\n 1\n 2\n-3\n 4\n 5\n 6\n\
             @@ -17,4 +16,4 @@\n 17\n 18\n 19\n-20\n+twenty\n\\ No newline at end of file\n"
        );
        assert_eq!(unified_diff("/etc/x", Some(b"same\n"), Some(b"same\n")).unwrap(), "");
    }

    #[test]
    fn what_is_no_text_has_no_difference_in_lines() {
        assert_eq!(unified_diff("/bin/x", Some(b"\x7fELF\0"), Some(b"a")), None);
        assert_eq!(unified_diff("/bin/x", Some(b"a"), Some(b"\xff")), None);
        let long = "\n".repeat(MOST_LINES + 1);
        assert_eq!(unified_diff("/bin/x", Some(long.as_bytes()), None), None);
    }
}
