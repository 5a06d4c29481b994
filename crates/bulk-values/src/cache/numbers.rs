//! Lists of numbers, kept as runs: `0-137 140 150-163`.
//!
//! Most recipes of a tree read the same hundred files in the same order, so that their lists are a few runs.

use std::fmt::Write as _;

/// A list of numbers in its own order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct NumberRuns(Box<[(u32, u32)]>);

impl NumberRuns {
    /// Returns a list of these numbers.
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

    /// Reads a list of numbers below `end`.
    pub(super) fn parse(text: &str, end: usize) -> Option<Self> {
        let end = u32::try_from(end).ok()?;
        let runs = text.split_ascii_whitespace().map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let run: (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (run.0 <= run.1 && run.1 < end).then_some(run)
        });
        runs.collect::<Option<_>>().map(Self)
    }

    /// Returns the list as text.
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

    /// Returns the numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Returns the runs: first and last number of each.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
