//! The identity of a patch: a base code and a revision, safe as a file name. `105181-5` and `105181-05` are equal.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// A patch id: base, separator, revision, as in `105181-05`, `IDR148363-26`, `ACME-web-3`.
///
/// ```
/// use patchadm_svr4::patch::PatchId;
///
/// let id = PatchId::new("105181-05")?;
/// assert_eq!((id.base(), id.revision()), ("105181", "05"));
/// assert_eq!(id, PatchId::new("105181-5")?);
/// assert!(PatchId::new("105181-17")?.is_later_than(&id));
/// # Ok::<(), patchadm_svr4::patch::PatchIdError>(())
/// ```
///
/// The text is split at the *last* separator. The base has letters, digits, `_`, `.`, `+` and `-` and does not start with
/// `-` or `.`; the revision has any number of digits. Equality, hash and order compare the base byte by byte and the
/// revision as a number.
///
/// The order is that of listings: bases of digits come first and by number, the others after them by bytes. (A comparison
/// by number only if *both* are digits would not be an order: `9 < 10 < 1a < 9`.)
#[derive(Clone)]
pub struct PatchId {
    /// Shared by all copies.
    text: Arc<str>,
    base: usize,
    revision: usize,
    /// The base as a number if it fits 64 bits, because thousands of ids are sorted at a time.
    number: Option<u64>,
}

/// The reason a text is not a patch id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> is not a patch id: {reason}")]
#[non_exhaustive]
pub struct PatchIdError {
    /// The text, escaped and cut to a readable length.
    pub text: String,
    /// The rule that the text breaks.
    pub reason: &'static str,
}

impl PatchId {
    /// The usual separator of base and revision; a root's policy may set another one.
    pub const SEPARATOR: &str = "-";

    /// Bytes of the longest id: with any prefix or suffix of a record it is still a valid file name.
    pub const LONGEST: usize = 128;

    /// Parses an id with the usual separator.
    pub fn new(text: &str) -> Result<Self, PatchIdError> {
        Self::parse(text, Self::SEPARATOR)
    }

    /// Parses an id with this separator, a string of letters, `_`, `.`, `+` and `-`.
    pub fn parse(text: &str, separator: &str) -> Result<Self, PatchIdError> {
        let bad = |reason| {
            let shown = text.chars().take(Self::LONGEST).flat_map(char::escape_debug).collect();
            Err(PatchIdError { text: shown, reason })
        };
        if text.len() > Self::LONGEST {
            return bad("it is longer than 128 bytes");
        }
        if separator.is_empty() || !separator.bytes().all(|b| b.is_ascii_alphabetic() || b"_.+-".contains(&b))
        {
            return bad("the separator may contain only letters, `_`, `.`, `+` and `-`");
        }
        let Some((base, revision)) = text.rsplit_once(separator) else {
            return bad("it has no separator between base and revision");
        };
        if base.is_empty() || revision.is_empty() {
            return bad("base or revision is empty");
        }
        if !all_digits(revision) {
            return bad("the revision is not a number");
        }
        if base.starts_with(['-', '.']) {
            return bad("it begins with `-` or `.`");
        }
        if !base.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b)) {
            return bad("the base may contain only letters, digits, `_`, `.`, `+` and `-`");
        }
        let number = if all_digits(base) { base.parse().ok() } else { None };
        Ok(Self { base: base.len(), revision: base.len() + separator.len(), text: text.into(), number })
    }

    /// Returns the id in its first spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the part that all revisions of a patch share.
    pub fn base(&self) -> &str {
        &self.text[..self.base]
    }

    /// Returns the digits of the revision, as written.
    pub fn revision(&self) -> &str {
        &self.text[self.revision..]
    }

    /// Revision zero means every revision in a list of incompatible patches.
    pub(crate) fn is_revision_zero(&self) -> bool {
        significant(self.revision()).is_empty()
    }

    /// Returns an id above all revisions of this patch: no other one is as long.
    pub(crate) fn above_revisions(&self) -> Self {
        let text = format!("{}{}", &self.text[..self.revision], "9".repeat(Self::LONGEST));
        Self { text: text.into(), ..self.clone() }
    }

    /// Returns true if both are revisions of one patch.
    pub fn same_base(&self, other: &Self) -> bool {
        self.base() == other.base()
    }

    /// Returns true if this is a higher revision of the same patch.
    pub fn is_later_than(&self, other: &Self) -> bool {
        self.same_base(other) && self > other
    }

    /// Returns true if this revision contains `other`: the same patch at the same or a lower revision.
    pub fn contains(&self, other: &Self) -> bool {
        self.same_base(other) && self >= other
    }
}

impl FromStr for PatchId {
    type Err = PatchIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for PatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for PatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for PatchId {
    fn eq(&self, other: &Self) -> bool {
        self.same_base(other) && significant(self.revision()) == significant(other.revision())
    }
}

impl Eq for PatchId {}

impl Hash for PatchId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.base().hash(state);
        significant(self.revision()).hash(state);
    }
}

impl PartialOrd for PatchId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PatchId {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Some(own), Some(number)) = (self.number, other.number)
            && own != number
        {
            return own.cmp(&number);
        }
        base_order(self.base(), other.base()).then_with(|| number_order(self.revision(), other.revision()))
    }
}

fn base_order(a: &str, b: &str) -> Ordering {
    match (all_digits(a), all_digits(b)) {
        // `007` and `7` are different bases, so equal numbers must not count as equal bases.
        (true, true) => number_order(a, b).then_with(|| a.cmp(b)),
        (a_is_number, b_is_number) => b_is_number.cmp(&a_is_number).then_with(|| a.cmp(b)),
    }
}

fn number_order(a: &str, b: &str) -> Ordering {
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn significant(digits: &str) -> &str {
    digits.trim_start_matches('0')
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn id(text: &str) -> PatchId {
        PatchId::new(text).unwrap()
    }

    #[test]
    fn an_id_is_split_at_the_last_separator() {
        let web = id("ACME-web-03");
        assert_eq!((web.base(), web.revision(), web.as_str()), ("ACME-web", "03", "ACME-web-03"));
        let other = PatchId::parse("7_2_015", "_").unwrap();
        assert_eq!((other.base(), other.revision()), ("7_2", "015"));
        let long = PatchId::parse("foo--12", "--").unwrap();
        assert_eq!((long.base(), long.revision()), ("foo", "12"));
    }

    #[test]
    fn leading_zeros_of_a_revision_do_not_count_and_the_spelling_is_kept() {
        assert_eq!(id("105181-5"), id("105181-05"));
        assert_eq!(HashSet::from([id("105181-5"), id("105181-005")]).len(), 1);
        assert_eq!(id("105181-05").to_string(), "105181-05");
        assert!(id("1-00").is_revision_zero() && !id("1-10").is_revision_zero());
        assert_ne!(id("0105181-05"), id("105181-05"));
    }

    #[test]
    fn revisions_are_numbers_of_any_length() {
        assert!(id("100-10").is_later_than(&id("100-9")));
        assert!(id("100-100000000000000000000000000001").is_later_than(&id("100-99999999999999999999")));
        assert!(!id("100-05").is_later_than(&id("100-5")));
        assert!(!id("101-05").is_later_than(&id("100-04")));
        assert!(id("100-05").contains(&id("100-05")) && id("100-05").contains(&id("100-01")));
        assert!(!id("100-05").contains(&id("100-06")) && !id("100-05").contains(&id("200-01")));
    }

    #[test]
    fn a_listing_has_numbers_first_and_by_value() {
        let mut ids: Vec<PatchId> =
            ["IDR9-1", "1a-1", "105181-05", "99-2", "105181-4", "99-10", "ACME-1"].map(id).into();
        ids.sort();
        let shown: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["99-2", "99-10", "105181-4", "105181-05", "1a-1", "ACME-1", "IDR9-1"]);
    }

    #[test]
    fn what_is_not_an_id_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "it has no separator between base and revision"),
            ("105181", "it has no separator between base and revision"),
            ("-05", "base or revision is empty"),
            ("105181-", "base or revision is empty"),
            ("105181-0x5", "the revision is not a number"),
            ("105181-٣", "the revision is not a number"),
            ("--help-1", "it begins with `-` or `.`"),
            ("..-1", "it begins with `-` or `.`"),
            ("../../etc-1", "it begins with `-` or `.`"),
            ("a/b-1", "the base may contain only letters, digits, `_`, `.`, `+` and `-`"),
            ("a b-1", "the base may contain only letters, digits, `_`, `.`, `+` and `-`"),
            ("a\0-1", "the base may contain only letters, digits, `_`, `.`, `+` and `-`"),
            ("x@1-1", "the base may contain only letters, digits, `_`, `.`, `+` and `-`"),
        ] {
            assert_eq!(PatchId::new(text).unwrap_err().reason, reason, "{text:?}");
        }
        assert!(PatchId::new(&format!("{}-1", "9".repeat(126))).is_ok());
        assert!(PatchId::new(&format!("{}-1", "9".repeat(127))).is_err());
        assert_eq!(
            PatchId::new("a\nb").unwrap_err().to_string(),
            r"<a\nb> is not a patch id: it has no separator between base and revision"
        );
    }

    #[test]
    fn a_separator_that_could_be_taken_for_something_else_is_refused() {
        for separator in ["", "/", "0", "@", ",", " ", "\0"] {
            assert!(PatchId::parse(&format!("105181{separator}05"), separator).is_err(), "{separator:?}");
        }
    }

    proptest! {
        #[test]
        fn taking_any_text_never_panics(text in any::<String>(), separator in any::<String>()) {
            let _ = PatchId::parse(&text, &separator);
            let _ = PatchId::new(&text);
        }

        #[test]
        fn the_order_is_total_and_agrees_with_equality(
            a in "(0{0,2}[0-9]{1,2}|[01a]{1,2}|[+_1]a)-0{0,2}[0-3]",
            b in "(0{0,2}[0-9]{1,2}|[01a]{1,2}|[+_1]a)-0{0,2}[0-3]",
            c in "(0{0,2}[0-9]{1,2}|[01a]{1,2}|[+_1]a)-0{0,2}[0-3]",
        ) {
            let (a, b, c) = (id(&a), id(&b), id(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            if a <= b && b <= c {
                prop_assert!(a <= c, "{} {} {}", a, b, c);
            }
        }
    }
}
