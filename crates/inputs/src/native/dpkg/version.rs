//! Order of dpkg versions: epoch, upstream version and revision (deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions as `dpkg --compare-versions` does. Without a valid epoch, the epoch is 0.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (DebVersion::of(one), DebVersion::of(other));
    one.epoch
        .cmp(&other.epoch)
        .then_with(|| compare_part(one.upstream, other.upstream))
        .then_with(|| compare_part(one.revision, other.revision))
}

/// Returns the fault of a version by the rules of deb-version(7).
pub fn fault(version: &str) -> Option<&'static str> {
    let (epoch, rest) = version.split_once(':').map_or((None, version), |(epoch, rest)| (Some(epoch), rest));
    if epoch.is_some_and(|epoch| epoch.is_empty() || epoch.parse::<u32>().is_err()) {
        return Some("its epoch is not a number");
    }
    if !rest.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Some("it does not begin with a digit");
    }
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || ".-+~:".contains(letter);
    (!rest.chars().all(is_known)).then_some("it has a character that no version has")
}

struct DebVersion<'a> {
    epoch: u64,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> DebVersion<'a> {
    fn of(version: &'a str) -> Self {
        let version = version.trim();
        let (epoch, rest) = match version.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
            None => (0, version),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

/// Compares non-digits byte by byte and digits as numbers, in turn.
fn compare_part(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while !one.is_empty() || !other.is_empty() {
        loop {
            let (first, second) = (rank(one.first()), rank(other.first()));
            match first.cmp(&second) {
                Ordering::Equal if first == 0 => break,
                Ordering::Equal => {}
                differ => return differ,
            }
            (one, other) = (rest(one), rest(other));
        }
        let (first, after_first) = number(one);
        let (second, after_second) = number(other);
        let differ = first.len().cmp(&second.len()).then_with(|| first.cmp(second));
        if differ != Ordering::Equal {
            return differ;
        }
        (one, other) = (after_first, after_second);
    }
    Ordering::Equal
}

/// Tilde, end (or digit), letters, all others.
fn rank(byte: Option<&u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None | Some(b'0'..=b'9') => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

fn rest(bytes: &[u8]) -> &[u8] {
    bytes.get(1..).unwrap_or_default()
}

fn number(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(end);
    let zeros = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    (digits.get(zeros..).unwrap_or_default(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_dpkg() {
        let ascending = [
            "~~",
            "~~a",
            "~",
            "0~beta1",
            "",
            "0",
            "0a",
            "0+",
            "1.0~rc1-1",
            "1.0-1~deb12u1",
            "1.0-1",
            "1.0-1+b1",
            "1.0a",
            "1.0+dfsg",
            "1.0.1",
            "1.9",
            "1.10",
            "1:0.1",
            "2:0",
        ];
        for (at, one) in ascending.iter().enumerate() {
            for (behind, other) in ascending.iter().enumerate() {
                let expected = if (*one, *other) == ("", "0") || (*one, *other) == ("0", "") {
                    Ordering::Equal
                } else {
                    at.cmp(&behind)
                };
                assert_eq!(compare(one, other), expected, "{one} and {other}");
            }
        }
        assert_eq!(compare("1.01-0", "1.1"), Ordering::Equal, "an absent revision is 0");
    }

    #[test]
    fn a_wrong_version_is_told_by_its_fault() {
        assert_eq!(fault("1:3.0.18-1~deb12u1"), None);
        assert_eq!(fault("x:1"), Some("its epoch is not a number"));
        assert_eq!(fault("~~"), Some("it does not begin with a digit"));
        assert_eq!(fault("1.0 2"), Some("it has a character that no version has"));
        assert_eq!(fault(""), Some("it does not begin with a digit"));
    }
}
