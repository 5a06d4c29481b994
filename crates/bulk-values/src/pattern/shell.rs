//! Shell patterns over names.

/// A shell pattern: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before a letter that stands for itself. There are no special
/// letters in names: `*` matches a `/`, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellPattern {
    literal_prefix: Box<str>,
    /// What follows the literal beginning.
    parts: Box<[Part]>,
}

/// The usual length of a name.
const USUAL_NAME: u64 = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    AnyByte,
    AnyText,
    OneOf { negated: bool, ranges: Box<[(u8, u8)]> },
}

impl Part {
    /// Tells whether it stands for this byte.
    fn admits(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::AnyByte => true,
            Self::AnyText => false,
            Self::OneOf { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) != *negated
            }
        }
    }
}

impl ShellPattern {
    /// Reads a pattern; the error is the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let literal = text.find(['*', '?', '[', '\\']).unwrap_or(text.len());
        let (literal_prefix, rest) = text.split_at_checked(literal).unwrap_or((text, ""));
        let mut parts = Vec::new();
        let mut rest = rest.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            parts.push(match first {
                // Several stars are one.
                b'*' if parts.last() == Some(&Part::AnyText) => continue,
                b'*' => Part::AnyText,
                b'?' => Part::AnyByte,
                b'[' => {
                    let (set, after) = parse_set(after).ok_or("a [ has no ]")?;
                    rest = after;
                    set
                }
                b'\\' => {
                    let (&letter, after) = after.split_first().ok_or("it ends with \\")?;
                    rest = after;
                    Part::Byte(letter)
                }
                other => Part::Byte(other),
            });
        }
        Ok(Self { literal_prefix: literal_prefix.into(), parts: parts.into() })
    }

    /// Returns what every name begins with that it matches.
    pub(crate) fn literal_prefix(&self) -> &str {
        &self.literal_prefix
    }

    /// Returns about how many comparisons one name takes.
    pub(crate) fn cost(&self) -> u64 {
        let stars = self.parts.iter().filter(|part| **part == Part::AnyText).count();
        // What is behind a star that is not the last one may be tried at each letter.
        self.parts.len() as u64 * if stars > 1 { USUAL_NAME } else { 1 }
    }

    /// Tells whether it matches the whole of a name. The time is at most that of comparing each part with each letter.
    pub fn matches(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix(&*self.literal_prefix) else { return false };
        let name = name.as_bytes();
        let (mut part, mut at) = (0, 0);
        // Where to go on if what follows the last star does not match: that star takes one letter more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (self.parts.get(part), name.get(at)) {
                (None, None) => return true,
                (Some(Part::AnyText), _) => {
                    part += 1;
                    retry = Some((part, at));
                }
                (Some(wanted), Some(&byte)) if wanted.admits(byte) => (part, at) = (part + 1, at + 1),
                (_, here) => match retry {
                    Some((after_star, begin)) if here.is_some() => {
                        (part, at) = (after_star, begin + 1);
                        retry = Some((part, at));
                    }
                    _ => return false,
                },
            }
        }
    }
}

/// Reads what follows a `[`; returns the set and the text after its `]`.
fn parse_set(text: &[u8]) -> Option<(Part, &[u8])> {
    let (negated, mut rest) = match text.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        let (&low, after) = rest.split_first()?;
        if low == b']' && !ranges.is_empty() {
            return Some((Part::OneOf { negated, ranges: ranges.into() }, after));
        }
        let (range, after) = match after {
            [b'-', high, after @ ..] if *high != b']' => ((low, *high), after),
            _ => ((low, low), after),
        };
        ranges.push(range);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        ShellPattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_shell_pattern_matches_the_whole_name() {
        for (pattern, good, bad) in [
            ("a-[0-9]*", "a-1.0", "a-b-1.0"),
            ("a-1.*", "a-1.", "a-1"),
            ("*-[!0-9]*", "a-x", "a-1"),
            ("a?c", "abc", "ac"),
            ("[]a]b", "]b", "bb"),
            ("[^]a]b", "bb", "ab"),
            ("[a-]", "-", "b"),
            ("[a-c-]", "-", "d"),
            ("*b*c", "abxbc", "abxb"),
            ("a\\*", "a*", "ab"),
            ("net/*", "net/curl", "www/curl"),
            ("a**", "a", "b"),
        ] {
            assert!(matches(pattern, good), "{pattern} {good}");
            assert!(!matches(pattern, bad), "{pattern} {bad}");
        }
    }

    #[test]
    fn an_open_bracket_and_a_lone_backslash_are_refused() {
        assert_eq!(ShellPattern::parse("a-[0-9"), Err("a [ has no ]"));
        assert_eq!(ShellPattern::parse("a-[]"), Err("a [ has no ]"));
        assert_eq!(ShellPattern::parse("a\\"), Err("it ends with \\"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches(&"*a".repeat(400), &"a".repeat(399)));
        assert!(matches(&"*a".repeat(400), &"ba".repeat(400)));
    }

    /// What a shell pattern of `*`, `?` and letters means, told by trying everything.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                by_definition(rest, name)
                    || name.split_first().is_some_and(|(_, more)| by_definition(pattern, more))
            }
            (Some((wanted, rest)), Some((byte, more))) => {
                (wanted == byte || *wanted == b'?') && by_definition(rest, more)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stars_match_what_their_definition_says(pattern in "[ab?*]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
