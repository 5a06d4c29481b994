//! The difference of two texts, in the unified form that patch(1) reads.

use similar::TextDiff;

/// The most lines of a text that is compared.
const MOST_LINES: usize = 10_000;

/// The lines around a change.
const CONTEXT: usize = 3;

/// Returns the difference of two files at `path`; `None` if one of them is not text in UTF-8, or has too many lines. A
/// missing side is `None`, and called `/dev/null` as diff(1) does it.
pub(crate) fn unified_diff(path: &str, now: Option<&[u8]>, then: Option<&[u8]>) -> Option<String> {
    let (before, after) = (text(now.unwrap_or_default())?, text(then.unwrap_or_default())?);
    let name = |side: Option<&[u8]>, label: &str| match side {
        Some(_) => format!("{path} ({label})"),
        None => "/dev/null".to_owned(),
    };
    let diff = TextDiff::from_lines(before, after);
    let mut unified = diff.unified_diff();
    unified.context_radius(CONTEXT).header(&name(now, "now"), &name(then, "then"));
    Some(unified.to_string())
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
        assert_eq!(diff, "--- /etc/x (now)\n+++ /etc/x (then)\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        let gone = unified_diff("/etc/x", Some(b"a\n"), None).unwrap();
        assert_eq!(gone, "--- /etc/x (now)\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n");
    }

    #[test]
    fn what_is_no_text_has_no_difference_in_lines() {
        assert_eq!(unified_diff("/bin/x", Some(b"\x7fELF\0"), Some(b"a")), None);
        assert_eq!(unified_diff("/bin/x", Some(b"a"), Some(b"\xff")), None);
        let long = "\n".repeat(MOST_LINES + 1);
        assert_eq!(unified_diff("/bin/x", Some(long.as_bytes()), None), None);
    }
}
