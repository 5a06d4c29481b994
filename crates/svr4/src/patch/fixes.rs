//! The fixes of a patch: ids of vulnerabilities and reports in `PATCH_FIXES`. A package records them under the patch's
//! name, so that the root knows them without the patch. No rule depends on them.

use super::PatchId;
use super::list::words;
use crate::package::{Params, rule};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The parameter of a delivered patch that names its fixes.
pub const FIXES: &str = "PATCH_FIXES";

const RECORDED_FIXES: &str = "PATCH_FIXES_";

const RECORDED_DIGEST: &str = "PATCH_SHA256_";

const CVE: &str = "CVE-";

/// The id of a fix, as in `CVE-2026-1234` or `ACME-17`.
///
/// ```
/// use patchadm_svr4::patch::FixId;
///
/// let id = FixId::new("CVE-2026-1234")?;
/// assert!(id.is_cve());
/// assert_eq!(FixId::new("CVE-26-1")?.cve_fault(), Some("its year does not have four digits"));
/// assert!(FixId::new("<script>").is_err());
/// # Ok::<(), patchadm_svr4::patch::FixIdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixId(String);

/// The reason a text is not the id of a fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> is not the id of a fix: {reason}")]
#[non_exhaustive]
pub struct FixIdError {
    /// The text, escaped and cut to a readable length.
    pub text: String,
    /// The rule that the text breaks.
    pub reason: &'static str,
}

/// The reason a value is not a list of fixes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FixListError {
    /// A word that is not the id of a fix.
    #[error(transparent)]
    Id(#[from] FixIdError),
    /// More entries than [`FixList::LIMIT`].
    #[error("a list of fixes has more than {} entries", FixList::LIMIT)]
    TooMany,
}

impl FixId {
    /// The length of the longest id, in bytes.
    pub const LONGEST: usize = 64;

    /// Reads an id: letters, digits and `._:+-`, starting with a letter or a digit.
    pub fn new(text: &str) -> Result<Self, FixIdError> {
        match Self::fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => {
                let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
                Err(FixIdError { text: shown, reason })
            }
        }
    }

    fn fault(text: &str) -> Option<&'static str> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._:+-".contains(&byte);
        if text.len() > Self::LONGEST {
            Some("it is longer than 64 bytes")
        } else if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            Some("it does not begin with a letter or a digit")
        } else if !text.bytes().all(is_part) {
            Some("it may contain only letters, digits, `.`, `_`, `:`, `+` and `-`")
        } else {
            None
        }
    }

    /// Returns the text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true for the id of a CVE record, in the form that scanners know.
    pub fn is_cve(&self) -> bool {
        self.0.starts_with(CVE) && self.cve_fault().is_none()
    }

    /// Returns the fault of an id that begins like that of a CVE record and is not one.
    pub fn cve_fault(&self) -> Option<&'static str> {
        let start = self.0.get(..CVE.len()).filter(|start| start.eq_ignore_ascii_case(CVE))?;
        let (year, number) = self.0.get(CVE.len()..)?.split_once('-').unwrap_or_default();
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if start != CVE {
            Some("scanners recognize it only with `CVE` in capital letters")
        } else if year.len() != 4 || !are_digits(year) {
            Some("its year does not have four digits")
        } else if !are_digits(number) || !(4..=19).contains(&number.len()) {
            Some("its number does not have 4 to 19 digits")
        } else {
            None
        }
    }
}

impl FromStr for FixId {
    type Err = FixIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for FixId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ids of fixes in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixList(Vec<FixId>);

impl FixList {
    /// The largest number of entries in a list.
    pub const LIMIT: usize = 10_000;

    /// Parses ids separated by blanks, commas or both; repeated ids are dropped.
    pub fn parse(value: &str) -> Result<Self, FixListError> {
        let ids: Vec<FixId> = words(value).map(FixId::new).collect::<Result<_, _>>()?;
        let list: Self = ids.into_iter().collect();
        if list.0.len() > Self::LIMIT { Err(FixListError::TooMany) } else { Ok(list) }
    }

    /// Parses the list of a delivered patch. Invalid words are skipped, because they must not prevent its application.
    pub fn parse_legible(value: &str) -> Self {
        words(value).filter_map(|word| FixId::new(word).ok()).take(Self::LIMIT).collect()
    }

    /// Skips words that are no ids, because anybody may have written the record.
    fn parse_recorded(value: &str) -> Self {
        let is_id = |word: &&str| rule::holds("pkginfo.fixes", FixId::fault(word).is_none());
        words(value).filter(is_id).take(Self::LIMIT).map(|word| FixId(word.to_owned())).collect()
    }

    /// Appends the ids of another list that this one lacks.
    pub fn unite(&mut self, other: &Self) {
        let known: BTreeSet<&FixId> = self.0.iter().collect();
        let new: Vec<FixId> = other.0.iter().filter(|id| !known.contains(id)).cloned().collect();
        self.0.extend(new);
    }

    /// Returns the ids in order.
    pub fn iter(&self) -> std::slice::Iter<'_, FixId> {
        self.0.iter()
    }

    /// Returns true if the list names this id, in exactly this spelling.
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|known| known.as_str() == id)
    }

    /// Returns true if the list has no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ids as texts.
    pub fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(|id| id.0.clone()).collect()
    }
}

impl FromIterator<FixId> for FixList {
    fn from_iter<I: IntoIterator<Item = FixId>>(ids: I) -> Self {
        let (mut seen, mut list) = (BTreeSet::new(), Vec::new());
        for id in ids {
            if seen.insert(id.clone()) {
                list.push(id);
            }
        }
        Self(list)
    }
}

impl<'a> IntoIterator for &'a FixList {
    type Item = &'a FixId;
    type IntoIter = std::slice::Iter<'a, FixId>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for FixList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.0.iter().enumerate() {
            let blank = if at > 0 { " " } else { "" };
            write!(f, "{blank}{id}")?;
        }
        Ok(())
    }
}

/// The record that the packages of a root keep about the fixes of one applied patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixRecord {
    /// The ids of the fixes.
    pub fixes: FixList,
    /// The SHA-256 of the patch, in 64 hexadecimal digits: of its file, or of the sorted list of its files.
    pub sha256: Option<String>,
}

impl FixRecord {
    /// Reads the record of an applied patch from all its packages. `id` is spelled as in their lists.
    pub fn from_params<'p>(id: &PatchId, packages: impl IntoIterator<Item = &'p Params>) -> Self {
        let (fixes, digest) = (format!("{RECORDED_FIXES}{id}"), format!("{RECORDED_DIGEST}{id}"));
        let mut found = Self::default();
        for params in packages {
            found.fixes.unite(&FixList::parse_recorded(&params.text(&fixes)));
            let is_digest = |text: &Cow<'_, str>| rule::holds("pkginfo.sha256", is_sha256(text));
            let recorded = Some(params.text(&digest)).filter(|text| !text.is_empty()).filter(is_digest);
            found.sha256 = found.sha256.or_else(|| recorded.map(Cow::into_owned));
        }
        found
    }

    /// Writes the record under the name of its patch. Writes nothing if the patch names no fixes.
    pub fn write(&self, id: &PatchId, params: &mut Params) {
        if self.fixes.is_empty() {
            return;
        }
        params.set(&format!("{RECORDED_FIXES}{id}"), self.fixes.to_string());
        if let Some(sha256) = &self.sha256 {
            params.set(&format!("{RECORDED_DIGEST}{id}"), sha256);
        }
    }
}

/// True for the record of an applied patch's fixes. No patch may write that of another one.
pub fn is_fix_record(name: &str) -> bool {
    name.starts_with(RECORDED_FIXES) || name.starts_with(RECORDED_DIGEST)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> PatchId {
        PatchId::new(text).unwrap()
    }

    #[test]
    fn an_id_is_a_short_word_of_harmless_characters() {
        for good in ["CVE-2026-1234", "ACME-17", "GHSA-jfh8-c2jp-5v3q", "RHSA-2026:1234", "17", "a.b_c+d"] {
            assert_eq!(FixId::new(good).unwrap().as_str(), good);
        }
        for (bad, reason) in [
            ("", "does not begin"),
            ("-17", "does not begin"),
            ("<b>", "does not begin"),
            ("ACME/17", "may contain only"),
            ("ACME\u{202e}17", "may contain only"),
            ("CVE\u{1b}[1m", "may contain only"),
            (&"A".repeat(65), "longer than 64"),
        ] {
            let error = FixId::new(bad).unwrap_err();
            assert!(error.to_string().contains(reason), "{bad:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}') && error.to_string().len() < 400, "{error:?}");
        }
    }

    #[test]
    fn an_id_that_begins_like_that_of_a_cve_record_is_one_or_is_faulty() {
        for good in ["CVE-2026-1234", "CVE-1999-0001", "CVE-2026-1234567890123456789"] {
            assert!(FixId::new(good).unwrap().is_cve(), "{good}");
        }
        for (bad, fault) in [
            ("cve-2026-1234", "capital letters"),
            ("CVE-26-1234", "four digits"),
            ("CVE-2026", "four digits"),
            ("CVE-2026-12", "4 to 19 digits"),
            ("CVE-2026-12345678901234567890", "4 to 19 digits"),
            ("CVE-2026-12x4", "4 to 19 digits"),
        ] {
            let id = FixId::new(bad).unwrap();
            assert!(id.cve_fault().is_some_and(|told| told.contains(fault)), "{bad}: {:?}", id.cve_fault());
            assert!(!id.is_cve(), "{bad}");
        }
        for other in ["ACME-17", "CVES", "CV"] {
            assert_eq!(FixId::new(other).unwrap().cve_fault(), None, "{other}");
        }
    }

    #[test]
    fn a_list_keeps_its_order_and_has_each_id_once() {
        let list = FixList::parse("CVE-2026-2, ACME-17\tCVE-2026-2 CVE-2026-1").unwrap();
        assert_eq!(list.to_string(), "CVE-2026-2 ACME-17 CVE-2026-1");
        assert!(list.contains("ACME-17") && !list.contains("acme-17"));
        assert!(FixList::parse("ACME-17 <b>").is_err());
        assert_eq!(FixList::parse_legible("ACME-17 <b> X-1").to_string(), "ACME-17 X-1");
        let many: Vec<String> = (0..=FixList::LIMIT).map(|number| format!("X-{number}")).collect();
        let many = many.join(" ");
        assert_eq!(FixList::parse(&many), Err(FixListError::TooMany));
        assert_eq!(FixList::parse_legible(&many).iter().len(), FixList::LIMIT);
        let mut both = list;
        both.unite(&FixList::parse("ACME-17 ACME-18").unwrap());
        assert_eq!(both.to_string(), "CVE-2026-2 ACME-17 CVE-2026-1 ACME-18");
    }

    #[test]
    fn what_is_recorded_of_a_patch_is_read_back_from_all_its_packages() {
        let (mut one, mut other) = (Params::new(), Params::new());
        let digest = "0f".repeat(32);
        let record = |text: &str, sha256: Option<&str>| FixRecord {
            fixes: FixList::parse(text).unwrap(),
            sha256: sha256.map(str::to_owned),
        };
        record("ACME-17", None).write(&id("1-01"), &mut one);
        record("CVE-2026-1234 ACME-17", Some(&digest)).write(&id("1-01"), &mut other);
        record("ACME-18", None).write(&id("2-01"), &mut other);
        record("", Some(&digest)).write(&id("3-01"), &mut other);
        assert_eq!(
            FixRecord::from_params(&id("1-01"), [&one, &other]),
            record("ACME-17 CVE-2026-1234", Some(&digest))
        );
        assert_eq!(FixRecord::from_params(&id("2-01"), [&one, &other]), record("ACME-18", None));
        assert_eq!(FixRecord::from_params(&id("3-01"), [&one, &other]), FixRecord::default());
        assert!(other.iter().all(|(name, _)| is_fix_record(name)) && !is_fix_record(FIXES));
    }

    #[test]
    fn words_of_a_record_that_no_patch_writes_are_neither_fixes_nor_digests() {
        let params: Params = [
            ("PATCH_FIXES_1-01", "ACME-17 <script> CVE\u{1b}]0;x\u{7} \u{202e}ACME-18"),
            ("PATCH_SHA256_1-01", "\u{1b}]0;x\u{7}"),
        ]
        .into_iter()
        .collect();
        let found = FixRecord::from_params(&id("1-01"), [&params]);
        assert_eq!((found.fixes.to_string().as_str(), found.sha256), ("ACME-17", None));
        let upper: Params = [("PATCH_SHA256_1-01", "0F".repeat(32))].into_iter().collect();
        assert_eq!(FixRecord::from_params(&id("1-01"), [&upper]).sha256, None);
    }

    proptest! {
        #[test]
        fn any_list_comes_back(words in prop::collection::vec("[A-Za-z0-9][A-Za-z0-9._:+-]{0,20}", 0..20)) {
            let list = FixList::parse(&words.join(" ")).unwrap();
            prop_assert_eq!(FixList::parse(&list.to_string()), Ok(list.clone()));
            prop_assert_eq!(FixList::parse_legible(&words.join(", ")), list);
        }

        #[test]
        fn reading_never_panics(any in any::<String>()) {
            let _ = FixList::parse(&any);
            let _ = FixId::new(&any).map(|id| id.is_cve());
            prop_assert!(FixList::parse_legible(&any).iter().all(|id| id.as_str().is_ascii()));
        }
    }
}
