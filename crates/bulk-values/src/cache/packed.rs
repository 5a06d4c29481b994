//! The output of `scan`, with the words of `SCAN_DEPENDS` as numbers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use foldhash::fast::RandomState;

const SCAN_DEPENDS: &str = "SCAN_DEPENDS=";

/// Records of a location: pieces of text, with a list of words after each but the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PackedRecords {
    pieces: Vec<(Box<str>, NumberRuns)>,
    end: Box<str>,
}

impl PackedRecords {
    pub(super) fn pack(records: &str, words: &mut InternedTexts) -> Self {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        for line in records.split_inclusive('\n') {
            let Some(value) = line.strip_prefix(SCAN_DEPENDS) else {
                text.push_str(line);
                continue;
            };
            text.push_str(SCAN_DEPENDS);
            let (value, newline) = value.strip_suffix('\n').map_or((value, ""), |value| (value, "\n"));
            // Split at single blanks, so that joining restores the text.
            let numbers = NumberRuns::of(value.split(' ').map(|word| words.number(word)));
            pieces.push((std::mem::take(&mut text).into(), numbers));
            text.push_str(newline);
        }
        Self { pieces, end: text.into() }
    }

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

    /// Returns the same text with the numbers of other words.
    pub(super) fn renumbered(&self, words: &InternedTexts, other: &mut InternedTexts) -> Self {
        let pieces = self.pieces.iter().map(|(text, numbers)| {
            let numbers = numbers.iter().filter_map(|number| words.get(number));
            (text.clone(), NumberRuns::of(numbers.map(|word| other.number(word))))
        });
        Self { pieces: pieces.collect(), end: self.end.clone() }
    }

    pub(super) fn parts(&self) -> Vec<Cow<'_, str>> {
        let pieces = self.pieces.iter();
        let mut parts: Vec<Cow<'_, str>> =
            pieces.flat_map(|(text, numbers)| [Cow::Borrowed(&**text), Cow::Owned(numbers.text())]).collect();
        parts.push(Cow::Borrowed(&self.end));
        parts
    }

    pub(super) fn parse(parts: &[Cow<'_, str>], words: usize) -> Option<Self> {
        let (end, parts) = parts.split_last()?;
        let pairs = parts.chunks(2).map(|pair| match pair {
            [text, numbers] => Some((Box::from(&**text), NumberRuns::parse(numbers, words)?)),
            _ => None,
        });
        Some(Self { pieces: pairs.collect::<Option<_>>()?, end: Box::from(&**end) })
    }
}

/// Numbers as runs: `0-137 140 150-163`. Most recipes read the same hundred files in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct NumberRuns(Box<[(u32, u32)]>);

impl NumberRuns {
    pub(super) fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => runs.push((number, number)),
            }
        }
        Self(runs.into())
    }

    pub(super) fn parse(text: &str, end: usize) -> Option<Self> {
        let end = u32::try_from(end).ok()?;
        let runs = text.split_ascii_whitespace().map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let run: (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (run.0 <= run.1 && run.1 < end).then_some(run)
        });
        runs.collect::<Option<_>>().map(Self)
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.0.len() * 8);
        for (first, last) in &self.0 {
            let blank = if text.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = if first == last {
                write!(text, "{blank}{first}")
            } else {
                write!(text, "{blank}{first}-{last}")
            };
        }
        text
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().copied()
    }
}

/// Texts numbered from 0 in order of insertion.
#[derive(Clone, Debug, Default)]
pub(super) struct InternedTexts {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32, RandomState>,
}

impl InternedTexts {
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        // More than `u32::MAX` texts do not fit into memory.
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&str> {
        self.texts.get(usize::try_from(number).ok()?).map(AsRef::as_ref)
    }

    pub(super) fn from(&self, number: usize) -> impl Iterator<Item = &str> {
        self.texts.iter().skip(number).map(AsRef::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
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

    #[test]
    fn runs_are_written_short() {
        assert_eq!(NumberRuns::of([0, 1, 2, 7, 6, 7, u32::MAX]).text(), "0-2 7 6-7 4294967295");
        assert_eq!(NumberRuns::of([]).text(), "");
    }

    #[test]
    fn a_number_that_is_not_there_and_a_run_backwards_are_refused() {
        assert!(NumberRuns::parse("0-9", 10).is_some());
        for wrong in ["0-10", "3-2", "-1", "1-", "x", "1-2-3"] {
            assert!(NumberRuns::parse(wrong, 10).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_list_comes_back_in_its_order(numbers in prop::collection::vec(0_u32..40, 0..60)) {
            let list = NumberRuns::of(numbers.iter().copied());
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), numbers);
            prop_assert_eq!(NumberRuns::parse(&list.text(), 40), Some(list));
        }
    }
}
