//! Versions, and their order as in pkgsrc's `pkg_install`.

use std::cmp::Ordering;

/// What the words of a version count for; all that is not told here is skipped.
const WORDS: [(&str, i64); 7] =
    [("alpha", -3), ("beta", -2), ("pre", -1), ("rc", -1), ("pl", 0), ("_", 0), (".", 0)];

/// A version, ordered as `pkg_install` orders versions: `1.0alpha` < `1.0beta` < `1.0rc1` < `1.0` < `1.0nb1` < `1.0a` <
/// `1.1`. `1.0` and `1.0.0` are equal.
///
/// Numbers above 9,223,372,036,854,775,807 are equal to it.
#[derive(Clone, Debug)]
pub struct Version {
    /// Numbers, and words and letters as numbers.
    parts: Box<[i64]>,
    /// The number after `nb`, which counts after everything else.
    revision: i64,
}

impl Version {
    /// Reads a version; every text is one. Upper and lower case are the same.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut revision = 0;
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            if first.is_ascii_digit() {
                let (number, after) = split_number(rest);
                parts.push(number);
                rest = after;
            } else if let Some((value, after)) = split_word(rest) {
                parts.push(value);
                rest = after;
            } else if let Some(after) = strip_word(rest, "nb") {
                (revision, rest) = split_number(after);
            } else {
                if first.is_ascii_alphabetic() {
                    // A letter is a part of its own: `1.0b` is `1.0.2`, and follows `1.0a`.
                    parts.extend([0, i64::from(first.to_ascii_lowercase() - b'a') + 1]);
                }
                rest = after;
            }
        }
        while parts.last() == Some(&0) {
            parts.pop();
        }
        Self { parts: parts.into(), revision }
    }
}

fn split_number(text: &[u8]) -> (i64, &[u8]) {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(length).unwrap_or((text, b""));
    let number = digits
        .iter()
        .fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    (number, rest)
}

fn split_word(text: &[u8]) -> Option<(i64, &[u8])> {
    WORDS.iter().find_map(|(word, value)| Some((*value, strip_word(text, word)?)))
}

fn strip_word<'a>(text: &'a [u8], word: &str) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word.as_bytes()).then_some(rest)
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.parts.len().max(other.parts.len());
        let padded = |version: &Self, at: usize| version.parts.get(at).copied().unwrap_or(0);
        let mut parts = (0..longest).map(|at| padded(self, at).cmp(&padded(other, at)));
        parts.find(|order| order.is_ne()).unwrap_or_else(|| self.revision.cmp(&other.revision))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_as_pkg_install_orders_them() {
        let order = [
            "0.9",
            "1.0alpha",
            "1.0alphanb1",
            "1.0alpha2",
            "1.0beta",
            "1.0rc",
            "1.0RC1",
            "1.0",
            "1.0nb1",
            "1.0nb10",
            "1.0a",
            "1.0.1nb1",
            "1.0.1.1",
            "1.0B",
            "1.0c",
            "1.0.26.1",
            "1.1pre1",
            "1.1",
            "1.10",
            "2",
            "20251208",
        ];
        for pair in order.windows(2) {
            assert!(Version::parse(pair[0]) < Version::parse(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn versions_that_say_the_same_are_equal() {
        for (one, other) in [
            ("1.0", "1.0.0"),
            ("1", "1."),
            ("", "0"),
            ("1.0pl1", "1.0.1"),
            ("1_1", "1.1"),
            ("1a", "1.1"),
            ("1.0nb", "1.0"),
            ("1.0rc1", "1.0pre1"),
            ("1-é~:", "1"),
            ("1nb2", "1nb5nb2"),
            ("1nb01", "1nb1"),
            ("99999999999999999999", "99999999999999999998"),
        ] {
            assert_eq!(Version::parse(one), Version::parse(other));
        }
    }

    proptest! {
        #[test]
        fn the_order_is_one(texts in proptest::collection::vec("(alpha|beta|rc|pl|nb|[0-2a.]){0,6}", 3)) {
            let [a, b, c] = [0, 1, 2].map(|at| Version::parse(&texts[at]));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert!(!(a <= b && b <= c) || a <= c);
        }
    }
}
