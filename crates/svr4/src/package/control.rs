//! The escaping of control characters in text that is printed or logged, so that names and texts of a package
//! or root cannot drive a terminal.
//!
//! A control character becomes `\ooo`, three octal digits for each byte, as in pkgmap(5) and contents(5). The
//! characters are C0 except newline and tab, DEL, and C1, in UTF-8 or as single bytes. All other bytes stay,
//! even those that are not UTF-8.

use std::borrow::Cow;

/// Escapes the control characters of a text; newlines and tabs stay.
pub fn printable(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|&byte| is_suspect(byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes: &[u8] = letter.encode_utf8(&mut bytes).as_bytes();
            if letter.is_control() && !matches!(letter, '\n' | '\t') {
                for &byte in bytes {
                    escape(&mut out, byte);
                }
            } else {
                out.extend_from_slice(bytes);
            }
        }
        for &byte in chunk.invalid() {
            if matches!(byte, 0x80..=0x9f) { escape(&mut out, byte) } else { out.push(byte) }
        }
    }
    Cow::Owned(out)
}

/// Escapes the control characters of a text that must stay on one line, newlines included.
pub fn on_one_line(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in printable(text).iter() {
        if byte == b'\n' { escape(&mut out, byte) } else { out.push(byte) }
    }
    out
}

/// Returns whether a byte may be part of a control character other than newline and tab.
fn is_suspect(byte: u8) -> bool {
    !matches!(byte, b'\n' | b'\t' | b' '..=b'~')
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let digit = |shift: u32| b'0' + (byte >> shift & 7);
    out.extend([b'\\', digit(6), digit(3), digit(0)]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &[u8]) -> Vec<u8> {
        printable(text).into_owned()
    }

    #[test]
    fn what_a_terminal_obeys_is_shown_and_all_else_stays() {
        assert_eq!(shown(b"a\x1b[2Jb\rc\x07\x7f\n\td"), b"a\\033[2Jb\\015c\\007\\177\n\td");
        assert_eq!(shown("gr\u{fc}n \u{9b}31m".as_bytes()), "gr\u{fc}n \\302\\23331m".as_bytes());
        assert_eq!(shown(b"gr\xfcn \x9b31m"), b"gr\xfcn \\23331m");
        assert_eq!(on_one_line(b"a\nb\x1b"), b"a\\012b\\033");
    }

    proptest! {
        #[test]
        fn nothing_that_comes_out_is_a_control_character(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let once = shown(&text);
            prop_assert_eq!(shown(&once), once.clone());
            prop_assert!(!once.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t')));
        }
    }
}
