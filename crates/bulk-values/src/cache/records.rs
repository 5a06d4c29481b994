//! What `scan` printed, with the words of `SCAN_DEPENDS` as numbers.

use std::borrow::Cow;

use super::interned::InternedTexts;
use super::numbers::NumberRuns;

/// What the line begins with whose words are kept as numbers.
const SCAN_DEPENDS: &str = "SCAN_DEPENDS=";

/// The text of the records of a location: text, and after each piece of text but the last a list of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackedRecords {
    pieces: Vec<(Box<str>, NumberRuns)>,
    end: Box<str>,
}

impl PackedRecords {
    /// Packs what `scan` printed.
    pub(super) fn pack(records: &str, words: &mut InternedTexts) -> Self {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        for line in records.split_inclusive('\n') {
            let Some(value) = line.strip_prefix(SCAN_DEPENDS) else {
                text.push_str(line);
                continue;
            };
            text.push_str(SCAN_DEPENDS);
            let (value, newline) = value.strip_suffix('\n').map_or((value, ""), |value| (value, "\n"));
            // Split at single blanks, so that what is joined again is the same text.
            let numbers = NumberRuns::of(value.split(' ').map(|word| words.number(word)));
            pieces.push((std::mem::take(&mut text).into(), numbers));
            text.push_str(newline);
        }
        Self { pieces, end: text.into() }
    }

    /// Returns the text again.
    pub(super) fn text(&self, words: &InternedTexts) -> String {
        let mut out = String::new();
        for (text, numbers) in &self.pieces {
            out.push_str(text);
            for (index, number) in numbers.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(words.get(number).unwrap_or_default());
            }
        }
        out.push_str(&self.end);
        out
    }

    /// Returns the same with the numbers that other words give.
    pub(super) fn renumbered(&self, words: &InternedTexts, other: &mut InternedTexts) -> Self {
        let pieces = self.pieces.iter().map(|(text, numbers)| {
            let numbers = numbers.iter().filter_map(|number| words.get(number));
            (text.clone(), NumberRuns::of(numbers.map(|word| other.number(word))))
        });
        Self { pieces: pieces.collect(), end: self.end.clone() }
    }

    /// Returns its pieces for a line of the cache: text, and in every other place a list of words.
    pub(super) fn parts(&self) -> Vec<Cow<'_, str>> {
        let pieces = self.pieces.iter();
        let mut parts: Vec<Cow<'_, str>> =
            pieces.flat_map(|(text, numbers)| [Cow::Borrowed(&**text), Cow::Owned(numbers.text())]).collect();
        parts.push(Cow::Borrowed(&self.end));
        parts
    }

    /// Reads its pieces; `words` is how many words there are.
    pub(super) fn parse(parts: &[Cow<'_, str>], words: usize) -> Option<Self> {
        let (end, parts) = parts.split_last()?;
        let pairs = parts.chunks(2).map(|pair| match pair {
            [text, numbers] => Some((Box::from(&**text), NumberRuns::parse(numbers, words)?)),
            _ => None,
        });
        Some(Self { pieces: pairs.collect::<Option<_>>()?, end: Box::from(&**end) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_scan_printed_comes_back_byte_by_byte(
            lines in prop::collection::vec("(SCAN_DEPENDS=[ab /.]{0,12}|[A-Z]{1,3}=.{0,5}|SCAN_DEPENDS)", 0..8),
            end in "\n?",
        ) {
            let text = lines.join("\n") + &end;
            let mut words = InternedTexts::default();
            let packed = PackedRecords::pack(&text, &mut words);
            prop_assert_eq!(packed.text(&words), text.clone());
            prop_assert_eq!(PackedRecords::parse(&packed.parts(), words.len()), Some(packed.clone()));
            let mut other = InternedTexts::default();
            other.number("z");
            prop_assert_eq!(packed.renumbered(&words, &mut other).text(&other), text);
        }
    }

    #[test]
    fn a_common_list_of_files_is_one_run() {
        let mut words = InternedTexts::default();
        PackedRecords::pack("PKGNAME=a-1\nSCAN_DEPENDS=mk/a mk/b mk/c\n", &mut words);
        let packed =
            PackedRecords::pack("PKGNAME=b-1\nSCAN_DEPENDS=mk/a mk/b mk/c Makefile\nX=y\n", &mut words);
        assert_eq!(packed.parts(), ["PKGNAME=b-1\nSCAN_DEPENDS=", "0-3", "\nX=y\n"]);
    }
}
