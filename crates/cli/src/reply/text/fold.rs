//! Folds messages into lines, as puttext(1) does. A word is never cut: one longer than a line has a line of its own. As
//! with the classic tool, a line is shorter than the width.

/// Returns the lines of a message. White space of any length, including newlines, is one blank; the two characters `\n`
/// begin a new line. `width` is in columns; a character takes one.
pub fn fold(text: &[u8], width: usize) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for paragraph in paragraphs(text) {
        let mut line: Vec<u8> = Vec::new();
        for word in paragraph.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            if !line.is_empty() && columns(&line) + 1 + columns(word) >= width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(b' ');
            }
            line.extend_from_slice(word);
        }
        lines.push(line);
    }
    lines
}

/// Returns the parts between requested breaks.
fn paragraphs(text: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.windows(2).position(|pair| pair == br"\n") {
        let (part, behind) = rest.split_at(place);
        parts.push(part);
        rest = behind.get(2..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}

/// Counts bytes that do not continue a UTF-8 character.
fn columns(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str, width: usize) -> Vec<String> {
        fold(text.as_bytes(), width).into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn a_message_of_a_patch_is_folded_where_the_classic_tool_folds_it() {
        let message = "PaTcH_MsG 6 ERROR: A later version of this patch is applied.";
        assert_eq!(folded(message, 60), ["PaTcH_MsG 6 ERROR: A later version of this patch is", "applied."]);
        assert_eq!(folded(message, 61), [message], "a line is shorter than the width");
    }

    #[test]
    fn white_space_is_one_blank_and_a_break_is_a_break() {
        assert_eq!(folded("  a \t b\nc", 60), ["a b c"]);
        assert_eq!(folded(r"a\nb\n\nc", 60), ["a", "b", "", "c"]);
        assert_eq!(folded("", 60), [""]);
    }

    #[test]
    fn a_word_is_never_cut_and_a_character_is_one_column() {
        let path = "/a/very/long/path/that/is/longer/than/a/line";
        assert_eq!(folded(&format!("see {path} now"), 20), ["see", path, "now"]);
        assert_eq!(folded("äöü äöü", 8), ["äöü äöü"]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_is_too_long(text in "[a-z ]{0,200}", width in 12usize..80) {
            let lines = folded(&text, width);
            let words: Vec<&str> = text.split_whitespace().collect();
            let joined = lines.join(" ");
            prop_assert_eq!(joined.split_whitespace().collect::<Vec<_>>(), words);
            let fits = |line: &String| line.len() < width || !line.contains(' ');
            prop_assert!(lines.iter().all(fits));
        }
    }
}
