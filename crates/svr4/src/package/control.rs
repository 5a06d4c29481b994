//! Dangerous characters in text from strangers: terminal controls, invisible characters, and changes of direction.
//!
//! Printed text escapes bytes as `\ooo`, except newlines, tabs, and invalid UTF-8. Documents use `\u{202e}`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// True for control characters (C0, DEL, C1), invisible ones, and those that change the direction or lines of a text.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The characters to escape in printed text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSet {
    /// All hidden characters, for people and terminals.
    #[default]
    Hidden,
    /// Control characters only, for programs that read the output of classic commands.
    Controls,
    /// All hidden characters except CR and BS, which move the cursor on its line: for the output of line editors.
    HiddenBesideEditing,
}

impl EscapedSet {
    fn contains(self, letter: char) -> bool {
        !matches!(letter, '\n' | '\t')
            && match self {
                Self::Hidden => is_hidden(letter),
                Self::Controls => letter.is_control(),
                Self::HiddenBesideEditing => is_hidden(letter) && !matches!(letter, '\r' | '\u{8}'),
            }
    }
}

/// Escapes the hidden characters of a text; newlines and tabs stay.
pub fn printable(text: &[u8]) -> Cow<'_, [u8]> {
    escaped(text, EscapedSet::Hidden)
}

/// Escapes the characters of a set; newlines and tabs stay.
pub fn escaped(text: &[u8], set: EscapedSet) -> Cow<'_, [u8]> {
    if text.iter().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes: &[u8] = letter.encode_utf8(&mut bytes).as_bytes();
            if set.contains(letter) {
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

/// Longest word and line of a message, in bytes. A path has up to 4,095.
const LONGEST_WORD: usize = 4_200;
const LONGEST_LINE: usize = 64 << 10;

const START_OF_WORD: usize = 200;

/// Shortens the words and lines of a message: a quoted value may be as long as a file.
pub fn shortened(text: &[u8]) -> Cow<'_, [u8]> {
    if text.len() <= LONGEST_WORD {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let (begin, line) = (out.len(), line.strip_suffix(b"\n").map_or((line, false), |line| (line, true)));
        for word in line.0.split_inclusive(|&byte| byte == b' ') {
            if out.len() - begin > LONGEST_LINE {
                out.extend_from_slice("…".as_bytes());
                break;
            }
            if word.len() > LONGEST_WORD {
                out.extend_from_slice(start_of(word, START_OF_WORD));
                out.extend_from_slice(format!("… ({} bytes) ", word.len()).as_bytes());
            } else {
                out.extend_from_slice(word);
            }
        }
        if line.1 {
            out.push(b'\n');
        }
    }
    Cow::Owned(out)
}

/// Returns the first bytes without a partial character.
fn start_of(text: &[u8], most: usize) -> &[u8] {
    let is_within = |&end: &usize| text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..=most).rev().find(|end| !is_within(end)).unwrap_or_default();
    text.get(..end).unwrap_or(text)
}

/// Cuts a text to so many characters. The last one kept is an ellipsis if something is missing.
pub fn truncated(text: &str, most: usize) -> Cow<'_, str> {
    // A byte is at most one character.
    if text.len() <= most || text.chars().nth(most).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(most.saturating_sub(1)).chain(['…']).collect())
}

/// Escapes the hidden characters of a text that must stay on one line, newlines included.
pub fn on_one_line(text: &[u8]) -> Vec<u8> {
    one_line(text, EscapedSet::Hidden)
}

/// Escapes control characters on one line, newlines included. The code that prints it escapes the others.
pub fn controls_on_one_line(text: &[u8]) -> Vec<u8> {
    one_line(text, EscapedSet::Controls)
}

fn one_line(text: &[u8], set: EscapedSet) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in escaped(text, set).iter() {
        if byte == b'\n' { escape(&mut out, byte) } else { out.push(byte) }
    }
    out
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let digit = |shift: u32| b'0' + (byte >> shift & 7);
    out.extend([b'\\', digit(6), digit(3), digit(0)]);
}

/// Replaces every hidden character of a document, newlines and tabs included, by `\u{202e}` and the like.
pub fn visible(text: &str) -> Cow<'_, str> {
    // Nearly every text has plain letters alone.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_hidden(letter) {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// Replaces hidden characters of a JSON document by `\\u` escapes, except for line ends. JSON has them only in strings.
pub fn visible_json(document: &str) -> Cow<'_, str> {
    if document.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
        return Cow::Borrowed(document);
    }
    let mut out = String::with_capacity(document.len() + 16);
    for letter in document.chars() {
        if is_hidden(letter) && letter != '\n' {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// Escapes a text that arrives in pieces, which may end anywhere.
#[derive(Clone, Debug, Default)]
pub struct PieceEscaper {
    set: EscapedSet,
    /// The beginning of a character whose other bytes have not arrived yet.
    open: Vec<u8>,
}

impl PieceEscaper {
    /// Creates an escaper of these characters.
    pub fn new(set: EscapedSet) -> Self {
        Self { set, open: Vec::new() }
    }

    /// Adds a piece, and returns the text that can be shown now.
    pub fn next(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.open);
        text.extend_from_slice(piece);
        let unfinished = text.utf8_chunks().last().map_or(0, |chunk| {
            let is_begun =
                std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if is_begun { chunk.invalid().len() } else { 0 }
        });
        self.open = text.split_off(text.len() - unfinished);
        escaped(&text, self.set).into_owned()
    }

    /// Returns the rest at the end of the text, escaped: text of another source may follow and complete the character.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in std::mem::take(&mut self.open) {
            escape(&mut out, byte);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_quotes_no_value_that_is_as_long_as_a_file() {
        let short = format!("owner {} is not known\n", "a".repeat(4_100));
        assert_eq!(shortened(short.as_bytes()), Cow::Borrowed(short.as_bytes()));
        let long = format!("owner {} is not known\nowner b\n", "ä".repeat(1_000_000));
        let start = "ä".repeat(START_OF_WORD / 2);
        let expected = format!("owner {start}… (2000001 bytes) is not known\nowner b\n");
        assert_eq!(String::from_utf8(shortened(long.as_bytes()).into_owned()).unwrap(), expected);
        let words = "word ".repeat(1_000_000) + "\nnext\n";
        let shown = shortened(words.as_bytes()).into_owned();
        assert!(shown.len() < LONGEST_LINE + 100 && shown.ends_with("word …\nnext\n".as_bytes()));
    }

    #[test]
    fn a_cut_text_ends_with_an_ellipsis_and_is_not_cut_again() {
        assert_eq!(truncated("änder", 5), Cow::Borrowed("änder"));
        assert_eq!(truncated("ändern", 5), "ände…");
        assert_eq!(truncated("ände…", 5), "ände…");
    }

    /// All characters to escape, by name and not by the function.
    fn hidden() -> impl Iterator<Item = char> {
        let ranges = [
            0..=0x1f,
            0x7f..=0x9f,
            0xad..=0xad,
            0x61c..=0x61c,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x206f,
            0xfeff..=0xfeff,
            0xe0000..=0xe007f,
        ];
        ranges.into_iter().flatten().filter_map(char::from_u32)
    }

    fn shown(text: &[u8]) -> Vec<u8> {
        printable(text).into_owned()
    }

    #[test]
    fn what_a_terminal_obeys_is_shown_and_all_else_stays() {
        assert_eq!(shown(b"a\x1b[2Jb\rc\x07\x7f\n\td"), b"a\\033[2Jb\\015c\\007\\177\n\td");
        assert_eq!(shown("gr\u{fc}n \u{9b}31m".as_bytes()), "gr\u{fc}n \\302\\23331m".as_bytes());
        assert_eq!(shown(b"gr\xfcn \x9b31m"), b"gr\xfcn \\23331m");
        assert_eq!(on_one_line(b"a\nb\x1b"), b"a\\012b\\033");
        assert_eq!(
            shown("J\u{f6}rg \u{2192} \u{6f22} C:\\x".as_bytes()),
            "J\u{f6}rg \u{2192} \u{6f22} C:\\x".as_bytes()
        );
    }

    #[test]
    fn no_hidden_character_is_left_in_any_form_and_its_neighbours_stay() {
        for letter in hidden() {
            let text = format!("a{letter}b");
            let plain = |text: &str| !text.chars().any(|shown| shown == letter);
            assert_eq!(visible(&text), format!("a\\u{{{:x}}}b", u32::from(letter)));
            assert!(plain(&String::from_utf8(on_one_line(text.as_bytes())).unwrap()) || letter == '\t');
            if !matches!(letter, '\n' | '\t') {
                assert!(plain(&String::from_utf8(shown(text.as_bytes())).unwrap()), "{letter:?}");
            }
        }
        let set: Vec<char> = hidden().collect();
        let all = (0..=0x10_ffff).filter_map(char::from_u32).filter(|letter| is_hidden(*letter));
        assert!(all.eq(set), "and no other one is hidden");
    }

    #[test]
    fn programs_read_format_characters_and_an_editing_terminal_moves_on_its_line() {
        let text = "a\u{202e}\x08 \x08\r\u{1b}c\u{200b}".as_bytes();
        assert_eq!(escaped(text, EscapedSet::Controls), "a\u{202e}\\010 \\010\\015\\033c\u{200b}".as_bytes());
        let edited = escaped(text, EscapedSet::HiddenBesideEditing);
        assert_eq!(edited.as_ref(), b"a\\342\\200\\256\x08 \x08\r\\033c\\342\\200\\213");
        assert_eq!(controls_on_one_line("a\n\u{202e}".as_bytes()), "a\\012\u{202e}".as_bytes());
    }

    #[test]
    fn documents_are_for_readers_of_text() {
        assert_eq!(visible("a\u{202e}b\0c\u{1b}[2Jd\ne"), r"a\u{202e}b\u{0}c\u{1b}[2Jd\u{a}e");
        assert_eq!(visible("</script> \"'& \u{e9} \u{6f22}"), "</script> \"'& \u{e9} \u{6f22}");
    }

    #[test]
    fn json_stays_json_and_means_the_same() {
        let document = "{\n  \"a\": \"\u{7f}\u{9b}\u{202e}\u{e0041}\u{e9}\u{1f600}\"\n}\n";
        let expected = "{\n  \"a\": \"\\u007f\\u009b\\u202e\\udb40\\udc41\u{e9}\u{1f600}\"\n}\n";
        assert_eq!(visible_json(document), expected);
    }

    #[test]
    fn a_piece_may_end_within_a_character() {
        let mut pieces = PieceEscaper::default();
        let mut all = pieces.next("a\tb\x1b[2J\r\n\u{e9}".as_bytes());
        for piece in [&b"\xc2"[..], b"\x9b31m\xe2", b"\x80", b"\xaex\xc2\xa9\xe2\x80"] {
            all.extend(pieces.next(piece));
        }
        let before_the_end = all.len();
        all.extend(pieces.rest());
        assert_eq!(&all[before_the_end..], b"\\342\\200", "an unfinished character is shown at the end");
        let expected = "a\tb\\033[2J\\015\n\u{e9}\\302\\23331m\\342\\200\\256x\u{a9}";
        assert_eq!(String::from_utf8_lossy(&all[..before_the_end]), expected);
    }

    #[test]
    fn no_text_ends_within_a_character_that_another_text_could_complete() {
        for (begun, shown) in [
            (&b"a\xc2"[..], &b"a\\302"[..]),
            (&b"a\xef\xbb"[..], &b"a\\357\\273"[..]),
            (&b"a\xf3\xa0\x81"[..], &b"a\\363\\240\\201"[..]),
        ] {
            let mut pieces = PieceEscaper::default();
            assert_eq!([pieces.next(begun), pieces.rest()].concat(), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_out_is_a_control_character(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let once = shown(&text);
            prop_assert_eq!(shown(&once), once.clone());
            prop_assert!(!once.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t')));
        }

        #[test]
        fn pieces_are_escaped_as_the_whole(
            mut text in proptest::collection::vec(any::<u8>(), 0..40),
            at in 0_usize..40,
        ) {
            // Otherwise it may end within a character.
            text.push(b'.');
            let (first, second) = text.split_at(at.min(text.len()));
            let mut pieces = PieceEscaper::default();
            let together = [pieces.next(first), pieces.next(second), pieces.rest()].concat();
            prop_assert_eq!(together, shown(&text));
        }
    }
}
