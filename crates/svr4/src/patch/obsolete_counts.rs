//! Obsoletion counts: the value of the parameter `PATCH_OBSOLETES`.
//!
//! `id@n` means that *n* applied patches of the package obsolete patch *id* explicitly. With counts, patches
//! can be backed out in any order: a patch obsoleted by two others stays obsolete until both are gone.

use super::list::words;
use super::{PatchId, PatchList};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The obsoleted patches and the number of patches that obsolete each; no id twice, no count of zero.
///
/// Readers must not depend on the order, because the classic scripts write that of an awk array. Here old entries keep
/// their places and new ones are appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObsoleteCounts(Vec<(PatchId, u32)>);

/// The reason a value is not a list of obsoletion counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObsoleteCountsError {
    /// A word other than a patch id, `@` and a count up to [`PatchList::LIMIT`].
    #[error("<{0}> is not a patch id with the count of patches that obsolete it")]
    Word(String),
    /// More entries than any root has patches.
    #[error("a list of obsoleted patches has more than {} entries", PatchList::LIMIT)]
    TooMany,
}

impl ObsoleteCounts {
    /// Parses `id@count` words separated by blanks, commas or both. The first of several entries for one id
    /// counts, as in the classic scripts; an entry with count zero is dropped.
    pub fn parse(value: &str, separator: &str) -> Result<Self, ObsoleteCountsError> {
        let (mut known, mut entries) = (HashSet::new(), Vec::new());
        for word in words(value) {
            let entry = entry(word, separator).ok_or_else(|| {
                ObsoleteCountsError::Word(word.chars().take(200).flat_map(char::escape_debug).collect())
            })?;
            if known.insert(entry.0.clone()) {
                if entries.len() == PatchList::LIMIT {
                    return Err(ObsoleteCountsError::TooMany);
                }
                entries.push(entry);
            }
        }
        entries.retain(|(_, count)| *count > 0);
        Ok(Self(entries))
    }

    /// Raises the counts of the patches that a newly applied patch obsoletes.
    pub fn count_up(&mut self, obsoleted: &PatchList) {
        let places = self.places(obsoleted);
        for (id, place) in obsoleted.iter().zip(places) {
            match place.and_then(|place| self.0.get_mut(place)) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => self.0.push((id.clone(), 1)),
            }
        }
    }

    /// Lowers the counts of the patches that a backed out patch had obsoleted; those without an entry are
    /// skipped.
    pub fn count_down(&mut self, obsoleted: &PatchList) {
        for place in self.places(obsoleted).into_iter().flatten() {
            if let Some((_, count)) = self.0.get_mut(place) {
                *count = count.saturating_sub(1);
            }
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Returns the entry that makes `id` obsolete, if any: a patch that obsoletes `b-r` contains every `b-q`
    /// with q <= r.
    pub fn covers(&self, id: &PatchId) -> Option<&PatchId> {
        self.ids().find(|entry| entry.contains(id))
    }

    /// Returns the number of applied patches that obsolete exactly `id`.
    pub fn count(&self, id: &PatchId) -> u32 {
        self.0.iter().find(|(entry, _)| entry == id).map_or(0, |(_, count)| *count)
    }

    /// Returns the obsoleted ids in order.
    pub fn ids(&self) -> impl Iterator<Item = &PatchId> {
        self.0.iter().map(|(id, _)| id)
    }

    /// Returns whether no patch is obsoleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the position of each of `ids`, in one pass over both lists: a hostile pkginfo can make either
    /// long.
    fn places(&self, ids: &PatchList) -> Vec<Option<usize>> {
        let known: HashMap<&PatchId, usize> = self.ids().enumerate().map(|(place, id)| (id, place)).collect();
        ids.iter().map(|id| known.get(id).copied()).collect()
    }
}

fn entry(word: &str, separator: &str) -> Option<(PatchId, u32)> {
    let (id, count) = word.split_once('@')?;
    let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count: u32 = count.parse().ok().filter(|_| digits)?;
    let limit = u32::try_from(PatchList::LIMIT).unwrap_or(u32::MAX);
    (count <= limit).then_some((PatchId::parse(id, separator).ok()?, count))
}

impl fmt::Display for ObsoleteCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (id, count)) in self.0.iter().enumerate() {
            let gap = if index > 0 { " " } else { "" };
            write!(f, "{gap}{id}@{count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> PatchList {
        PatchList::parse(text, "-").unwrap()
    }

    fn counts(text: &str) -> ObsoleteCounts {
        ObsoleteCounts::parse(text, "-").unwrap()
    }

    #[test]
    fn counts_go_up_with_each_patch_and_down_with_each_backout() {
        let mut value = ObsoleteCounts::default();
        value.count_up(&list(""));
        assert_eq!(value.to_string(), "");
        value.count_up(&list("100-01 101-03"));
        assert_eq!(value.to_string(), "100-01@1 101-03@1");
        value.count_up(&list("100-01 200-01"));
        assert_eq!(value.to_string(), "100-01@2 101-03@1 200-01@1");
        value.count_down(&list("100-01 200-01"));
        assert_eq!(value.to_string(), "100-01@1 101-03@1");
        value.count_down(&list("100-01 101-03 999-09"));
        assert_eq!(value.to_string(), "");
    }

    #[test]
    fn an_obsoletion_covers_lower_revisions_and_no_higher_one() {
        let value = counts("650-04@1 700-01@2");
        let id = |text| PatchId::new(text).unwrap();
        assert_eq!(value.covers(&id("650-03")), Some(&id("650-04")));
        assert_eq!(value.covers(&id("650-4")), Some(&id("650-04")));
        assert_eq!(value.covers(&id("650-05")), None);
        assert_eq!(value.covers(&id("651-01")), None);
        assert_eq!((value.count(&id("700-1")), value.count(&id("650-03"))), (2, 0));
    }

    #[test]
    fn values_of_the_classic_scripts_are_read() {
        assert_eq!(counts("103200-05@1 103201-01@2 ").to_string(), "103200-05@1 103201-01@2");
        assert_eq!(counts("1-1@2, 2-1@1,1-01@7").to_string(), "1-1@2 2-1@1");
        assert_eq!(counts("1-1@0 2-1@1").to_string(), "2-1@1");
    }

    #[test]
    fn garbage_is_named() {
        for word in ["100-01", "100-01@", "100-01@x", "100-01@-1", "100-01@+1", "@1", "100@1", "1-1@100001"] {
            assert_eq!(
                ObsoleteCounts::parse(&format!("5-5@1 {word}"), "-"),
                Err(ObsoleteCountsError::Word(word.to_owned()))
            );
        }
    }

    proptest! {
        #[test]
        fn a_backout_undoes_the_application(
            before in prop::collection::vec("[0-9]-[0-9]@[1-9]", 0..12),
            obsoleted in prop::collection::vec("[0-9]-[0-9]", 0..12),
        ) {
            let before = counts(&before.join(" "));
            let obsoleted = list(&obsoleted.join(" "));
            let mut value = before.clone();
            value.count_up(&obsoleted);
            prop_assert!(obsoleted.iter().all(|id| value.covers(id).is_some()));
            prop_assert_eq!(&counts(&value.to_string()), &value);
            value.count_down(&obsoleted);
            prop_assert_eq!(value, before);
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = ObsoleteCounts::parse(&text, "-");
        }
    }
}
