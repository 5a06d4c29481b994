//! Text of records and logs, made visible: nothing that a terminal or a mail would obey is left.

use std::borrow::Cow;

/// Returns a text on one line with each control character as an escape: C0 (so CR, LF and ESC), DEL, C1, line and paragraph
/// separators, and those that turn the direction of writing, by which a text can pose as another one.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_unseen(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_all_else_stays() {
        assert_eq!(visible("a@x\r\nBcc: b@y"), "a@x\\r\\nBcc: b@y");
        assert_eq!(visible("\u{1b}[2J\u{9b}31m\u{7f}\u{202e}"), "\\u{1b}[2J\\u{9b}31m\\u{7f}\\u{202e}");
        assert_eq!(visible("J\u{f6}rg \u{2192} C:\\x"), "J\u{f6}rg \u{2192} C:\\x");
    }
}
