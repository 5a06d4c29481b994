//! Texts of strangers on a page: invisible characters, and those that change the text direction, in a visible form.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns a text in which control characters and marks without a width or with a direction are written out, as
/// `\u{202e}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    // Nearly every text has plain letters alone.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unseen(letter) {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(visible("a\u{202e}b\0c\u{1b}[2Jd\ne"), r"a\u{202e}b\u{0}c\u{1b}[2Jd\u{a}e");
        assert_eq!(visible("\u{200f}\u{2066}\u{feff}\u{85}"), r"\u{200f}\u{2066}\u{feff}\u{85}");
        assert_eq!(visible("</script> \"'& é 漢"), "</script> \"'& é 漢", "the rest is the business of HTML");
    }
}
