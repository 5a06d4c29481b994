//! Lists of patches: the values of PATCHLIST, `SUNW_OBSOLETES` and `SUNW_INCOMPAT`.
//!
//! A list keeps its order and has no id twice. Lists with alternatives are
//! [`Requirements`](super::Requirements).

use super::{PatchId, PatchIdError};
use std::collections::HashSet;
use std::fmt;

/// Patch ids in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchList(Vec<PatchId>);

/// The reason a value is not a list of patches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchListError {
    /// A word that is not a patch id.
    #[error(transparent)]
    Id(#[from] PatchIdError),
    /// More entries than [`PatchList::LIMIT`], more than any root has patches.
    #[error("a list of patches has more than {} entries", PatchList::LIMIT)]
    TooMany,
}

impl PatchList {
    /// The largest number of entries in a list.
    pub const LIMIT: usize = 100_000;

    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses ids separated by blanks, commas or both; repeated ids are dropped.
    pub fn parse(value: &str, separator: &str) -> Result<Self, PatchListError> {
        let (mut seen, mut ids) = (HashSet::new(), Vec::new());
        for word in words(value) {
            let id = PatchId::parse(word, separator)?;
            if seen.insert(id.clone()) {
                if ids.len() == Self::LIMIT {
                    return Err(PatchListError::TooMany);
                }
                ids.push(id);
            }
        }
        Ok(Self(ids))
    }

    /// Parses a damaged list: words that are not ids, and entries above the limit, are skipped.
    pub(super) fn parse_legible<'a>(words: impl Iterator<Item = &'a str>, separator: &str) -> Self {
        words.filter_map(|word| PatchId::parse(word, separator).ok()).take(Self::LIMIT).collect()
    }

    /// Appends `id`. Returns false, with nothing changed, if the list has it already, in any spelling.
    pub fn push(&mut self, id: PatchId) -> bool {
        let new = !self.contains(&id);
        if new {
            self.0.push(id);
        }
        new
    }

    /// Removes `id`. Returns false if the list does not have it.
    pub fn remove(&mut self, id: &PatchId) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry != id);
        self.0.len() < before
    }

    /// Returns whether the list has `id`.
    pub fn contains(&self, id: &PatchId) -> bool {
        self.0.contains(id)
    }

    /// Returns whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of ids.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the ids in order; for PATCHLIST that is the order of application, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, PatchId> {
        self.0.iter()
    }

    /// Returns the patches that `own`, which obsoletes these, contains beyond its own revisions up to this one. If
    /// `own` names itself or an earlier revision, the entry states no more than the id does: a later revision contains
    /// the earlier ones, and repairs the faults that made others incompatible with them.
    pub fn beyond<'a>(&'a self, own: &PatchId) -> impl Iterator<Item = &'a PatchId> {
        self.iter().filter(|entry| !own.contains(entry))
    }

    /// Joins the ids with `glue`; listings such as showrev(1M) use `, `.
    pub fn joined(&self, glue: &str) -> String {
        self.0.iter().map(PatchId::as_str).collect::<Vec<_>>().join(glue)
    }
}

impl fmt::Display for PatchList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(" "))
    }
}

impl<'a> IntoIterator for &'a PatchList {
    type Item = &'a PatchId;
    type IntoIter = std::slice::Iter<'a, PatchId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<PatchId> for PatchList {
    fn from_iter<I: IntoIterator<Item = PatchId>>(ids: I) -> Self {
        let mut list = Self::new();
        list.extend(ids);
        list
    }
}

impl Extend<PatchId> for PatchList {
    fn extend<I: IntoIterator<Item = PatchId>>(&mut self, ids: I) {
        let mut seen: HashSet<PatchId> = self.0.iter().cloned().collect();
        self.0.extend(ids.into_iter().filter(|id| seen.insert(id.clone())));
    }
}

/// Splits a value into words, separated by blanks, commas or both.
pub(super) fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> PatchId {
        PatchId::new(text).unwrap()
    }

    fn list(text: &str) -> PatchList {
        PatchList::parse(text, "-").unwrap()
    }

    #[test]
    fn blanks_and_commas_separate_and_duplicates_are_dropped() {
        assert_eq!(
            list(" 103201-01,103201-1\t, 120134-02\n103200-05 ").to_string(),
            "103201-01 120134-02 103200-05"
        );
        assert_eq!(list("120220-01, 120222-31").joined(", "), "120220-01, 120222-31");
        assert!(list(" , ").is_empty());
        assert_eq!(PatchList::parse("A_1 B_2", "_").unwrap().len(), 2);
    }

    #[test]
    fn a_patch_is_in_a_list_once_in_its_first_spelling() {
        let mut patches = list("105181-5");
        assert!(!patches.push(id("105181-05")));
        assert!(patches.push(id("105181-06")));
        assert_eq!(patches.to_string(), "105181-5 105181-06");
        assert!(patches.remove(&id("105181-005")));
        assert!(!patches.remove(&id("105181-05")));
        assert!(patches.contains(&id("105181-6")) && !patches.contains(&id("105181-05")));
    }

    #[test]
    fn what_a_patch_says_of_itself_and_its_earlier_revisions_says_nothing() {
        let patches = list("105181-04 105181-5 105181-06 105182-05");
        let beyond: Vec<&str> = patches.beyond(&id("105181-05")).map(PatchId::as_str).collect();
        assert_eq!(beyond, ["105181-06", "105182-05"]);
    }

    #[test]
    fn a_word_that_is_no_id_is_named() {
        let error = PatchList::parse("103201-01 oops", "-").unwrap_err();
        assert_eq!(
            error.to_string(),
            "<oops> is not a patch id: it has no separator between base and revision"
        );
        assert!(PatchList::parse("( 1-1 | 2-1 )", "-").is_err());
    }

    #[test]
    fn a_list_has_a_limit() {
        use std::fmt::Write;
        let mut text = String::new();
        for number in 0..PatchList::LIMIT {
            write!(text, "{number}-1 ").unwrap();
        }
        assert_eq!(list(&text).len(), PatchList::LIMIT);
        text.push_str("0-1 more-1");
        assert_eq!(PatchList::parse(&text, "-"), Err(PatchListError::TooMany));
        assert_eq!(PatchList::parse_legible(words(&text), "-").len(), PatchList::LIMIT);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(texts in prop::collection::vec("[A-Za-z0-9]{1,4}-[0-9]{1,3}", 0..20)) {
            let patches: PatchList = texts.iter().map(|text| id(text)).collect();
            prop_assert_eq!(list(&patches.to_string()), patches.clone());
            prop_assert_eq!(list(&patches.joined(", ")), patches);
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = PatchList::parse(&text, "-");
        }
    }
}
