//! Order of rpm versions: epoch, version and release, by segments (rpm-version(7)).

use std::cmp::Ordering;

/// Compares `[EPOCH:]VERSION[-RELEASE]` as rpm does. A missing epoch is 0; if one release is missing, none counts.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (RpmVersion::of(one), RpmVersion::of(other));
    let releases = one.release.zip(other.release);
    one.epoch
        .cmp(&other.epoch)
        .then_with(|| compare_part(one.version, other.version))
        .then_with(|| releases.map_or(Ordering::Equal, |(one, other)| compare_part(one, other)))
}

pub fn fault(version: &str) -> Option<&'static str> {
    let (epoch, rest) = version.split_once(':').map_or(("0", version), |parts| parts);
    if epoch.parse::<u32>().is_err() {
        return Some("its epoch is not a number");
    }
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "._+-~^".contains(letter);
    if rest.is_empty() || !rest.chars().all(is_known) {
        return Some("it has a character that no version has");
    }
    None
}

struct RpmVersion<'a> {
    epoch: u64,
    version: &'a str,
    release: Option<&'a str>,
}

impl<'a> RpmVersion<'a> {
    fn of(text: &'a str) -> Self {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, text),
        };
        let (version, release) =
            rest.rsplit_once('-').map_or((rest, None), |(version, release)| (version, Some(release)));
        Self { epoch, version, release }
    }
}

/// Segments of digits or letters. A tilde sorts before the end, a caret after the end and before everything else.
fn compare_part(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        (one, other) = (without_separators(one), without_separators(other));
        match (rank(one.first()), rank(other.first())) {
            (TILDE, TILDE) | (CARET, CARET) => {
                (one, other) = (rest(one), rest(other));
                continue;
            }
            (SEGMENT, SEGMENT) => {}
            (first, second) => return first.cmp(&second),
        }
        let is_number = one.first().is_some_and(u8::is_ascii_digit);
        let (first, after_first) = segment(one, is_number);
        let (second, after_second) = segment(other, is_number);
        if second.is_empty() {
            // Digits are newer than letters.
            return if is_number { Ordering::Greater } else { Ordering::Less };
        }
        let differ = if is_number { compare_numbers(first, second) } else { first.cmp(second) };
        if differ != Ordering::Equal {
            return differ;
        }
        (one, other) = (after_first, after_second);
    }
}

const TILDE: u8 = 0;
const END: u8 = 1;
const CARET: u8 = 2;
const SEGMENT: u8 = 3;

fn rank(byte: Option<&u8>) -> u8 {
    match byte {
        Some(b'~') => TILDE,
        None => END,
        Some(b'^') => CARET,
        Some(_) => SEGMENT,
    }
}

fn without_separators(bytes: &[u8]) -> &[u8] {
    let is_kept = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^');
    let start = bytes.iter().position(is_kept).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

fn rest(bytes: &[u8]) -> &[u8] {
    bytes.get(1..).unwrap_or_default()
}

fn segment(bytes: &[u8], is_number: bool) -> (&[u8], &[u8]) {
    let is_in = |byte: &u8| if is_number { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
    let end = bytes.iter().position(|byte| !is_in(byte)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn compare_numbers(one: &[u8], other: &[u8]) -> Ordering {
    let significant = |digits: &'_ [u8]| -> usize {
        digits.len() - digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len())
    };
    let tail = |digits: &[u8]| digits.get(digits.len() - significant(digits)..).unwrap_or_default().to_vec();
    significant(one).cmp(&significant(other)).then_with(|| tail(one).cmp(&tail(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_rpm() {
        for (one, other, expected) in [
            ("1.0", "1.0", Ordering::Equal),
            ("1.0", "2.0", Ordering::Less),
            ("2.0.1a", "2.0.1", Ordering::Greater),
            ("5.5p10", "5.5p1", Ordering::Greater),
            ("xyz10", "xyz10.1", Ordering::Less),
            ("xyz.4", "8", Ordering::Less),
            ("6.0.rc1", "6.0", Ordering::Greater),
            ("10b2", "10a1", Ordering::Greater),
            ("1.05", "1.5", Ordering::Equal),
            ("1.0~rc1", "1.0", Ordering::Less),
            ("1.0~rc1~git123", "1.0~rc1", Ordering::Less),
            ("1.0^", "1.0", Ordering::Greater),
            ("1.0^20160101", "1.0.1", Ordering::Less),
            ("1.0^git1~pre", "1.0^git1", Ordering::Less),
            ("1.0~rc1^git1", "1.0~rc1", Ordering::Greater),
            ("2_0", "2.0", Ordering::Equal),
            ("+", "_", Ordering::Equal),
            ("1:1.0-1", "2.0-1", Ordering::Greater),
            ("1.0-2", "1.0-10", Ordering::Less),
            ("1.0-2", "1.0", Ordering::Equal),
        ] {
            assert_eq!(compare(one, other), expected, "{one} and {other}");
            assert_eq!(compare(other, one), expected.reverse(), "{other} and {one}");
        }
    }

    #[test]
    fn a_wrong_version_is_told_by_its_fault() {
        assert_eq!(fault("1:3.0.18-1.el9_2"), None);
        assert_eq!(fault("x:1"), Some("its epoch is not a number"));
        assert_eq!(fault("1 0"), Some("it has a character that no version has"));
        assert_eq!(fault(""), Some("it has a character that no version has"));
    }
}
